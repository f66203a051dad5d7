//! A queue of a TUN or TAP whose descriptor reads and writes packets (frames) or, with offload, segments.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use hypertap_wire::batch::Batch;
use hypertap_wire::offload::{GsoType, Head, Layer, VirtioHeader, coalesce, finish, split};
use hypertap_wire::packet::{DropCause, Tally};
use nix::errno::Errno;

use crate::privileged::Offload;
use crate::queue::{PacketQueue, count_write, has_room, is_passing};

/// The longest thing that the kernel hands over at once, without an Ethernet header.
const MAX_SEGMENT: usize = 65_536;
/// What an Ethernet header takes before that, with as many VLAN tags as anybody stacks.
const LINK_ROOM: usize = 14 + 8 * 4;
/// What it takes in an ordinary frame: one tag at most.
const LINK_HEADER: usize = 14 + 4;
/// What is a small packet to read, in bytes.
const SMALL: usize = 512;
/// Reads of frames in one call at most. What they bring goes on while the next frames come, where a batch of all that
/// wait would leave those behind it with nothing to do.
const READS: usize = 32;
/// Packets in a write at most: what [`coalesce`] joins at most, and the header.
const MAX_PIECES: usize = 65;
/// After so many refused joined writes without one that worked, no more are tried.
const MAX_STRIKES: u8 = 8;

/// A queue of a TUN interface, of IP packets.
pub type TunQueue = DeviceQueue<false>;
/// A queue of a TAP interface, of Ethernet frames. Of what is sent, frames shorter than an Ethernet header
/// (14 bytes) are dropped and counted.
pub type TapQueue = DeviceQueue<true>;

/// A queue of an interface, of Ethernet frames or of IP packets.
#[derive(Debug)]
pub struct DeviceQueue<const FRAMES: bool> {
    file: Arc<File>,
    offload: Offload,
    /// The longest packet that is no segment, as long as the MTU stays.
    usual: usize,
    scratch: Box<[u8]>,
    /// How long the last packet or segment was, as the next will likely be.
    last: usize,
    head: Box<Head>,
    tcp: Joining,
    udp: Joining,
}

/// Whether the kernel takes joined packets. Some versions offer it and then refuse it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Joining {
    Untried { strikes: u8 },
    Works,
    Off,
}

impl Joining {
    fn is_on(self) -> bool {
        self != Self::Off
    }

    fn on_refused(&mut self) {
        if let Self::Untried { strikes } = self {
            *self =
                if *strikes + 1 < MAX_STRIKES { Self::Untried { strikes: *strikes + 1 } } else { Self::Off };
        }
    }
}

impl<const FRAMES: bool> DeviceQueue<FRAMES> {
    const LAYER: Layer = if FRAMES { Layer::Link } else { Layer::Network };
    const SCRATCH: usize = VirtioHeader::LEN + MAX_SEGMENT + if FRAMES { LINK_ROOM } else { 0 };

    /// A queue on a non-blocking descriptor of an interface whose MTU is `mtu` bytes. Longer packets are
    /// taken too, should that change; it is what reading is fast for.
    pub fn new(descriptor: OwnedFd, offload: Offload, mtu: u32) -> Self {
        let usual = (mtu as usize).min(MAX_SEGMENT) + if FRAMES { LINK_HEADER } else { 0 };
        Self::on(Arc::new(File::from(descriptor)), offload, usual)
    }

    fn on(file: Arc<File>, offload: Offload, usual: usize) -> Self {
        let joining = |wanted| if wanted { Joining::Untried { strikes: 0 } } else { Joining::Off };
        Self {
            file,
            offload,
            usual,
            scratch: vec![0; if offload == Offload::None { 0 } else { Self::SCRATCH }].into(),
            last: 0,
            head: Box::default(),
            tcp: joining(offload != Offload::None),
            udp: joining(offload == Offload::TcpUdp),
        }
    }

    /// Reads one packet or segment with its virtio-net header.
    fn recv_segment(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<()> {
        self.last = if self.last < SMALL {
            self.recv_in_one_piece(batch, tally)?
        } else {
            self.recv_in_place(batch, tally)?
        };
        Ok(())
    }

    /// Reads into the scratch memory, from where a packet is copied and a segment is cut: for a small packet
    /// that costs less than to have the kernel put it in several pieces. Returns its length.
    fn recv_in_one_piece(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<usize> {
        let read = (&*self.file).read(&mut self.scratch)?;
        let taken = match self.scratch[..read].split_first_chunk() {
            Some((header, segment)) => split(Self::LAYER, &VirtioHeader::parse(header), segment, batch),
            None => Err(DropCause::BadOffload),
        };
        tally.drop(DropCause::BadOffload, usize::from(taken.is_err()));
        Ok(read.saturating_sub(VirtioHeader::LEN))
    }

    /// Reads a packet where it stays; of a segment, what is longer than a packet goes to the scratch memory,
    /// from where it is cut. Returns its length.
    fn recv_in_place(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<usize> {
        let mut header = [0; VirtioHeader::LEN];
        let room = batch.room();
        let inline = self.usual.min(room.len());
        let room = &mut room[..inline];
        let pieces = &mut [
            IoSliceMut::new(&mut header),
            IoSliceMut::new(room),
            IoSliceMut::new(&mut self.scratch[inline..]),
        ];
        let read = (&*self.file).read_vectored(pieces)?;
        let len = read.saturating_sub(VirtioHeader::LEN);
        let header = VirtioHeader::parse(&header);
        let taken = if header.gso() == Some(GsoType::None) && len <= inline {
            finish(&header, &mut room[..len]).map(|()| batch.commit(len))
        } else {
            self.scratch[..inline].copy_from_slice(room);
            split(Self::LAYER, &header, &self.scratch[..len], batch).map(|_| true)
        };
        match taken {
            Ok(true) => {}
            Ok(false) | Err(_) => tally.drop(DropCause::BadOffload, 1),
        }
        Ok(len)
    }

    fn recv_packet(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<()> {
        let len = (&*self.file).read(batch.room())?;
        if !batch.commit(len) {
            tally.drop(DropCause::BadOffload, 1);
        }
        Ok(())
    }

    /// Writes as many packets as one write takes. Returns how many, and how it went.
    fn write_some(&mut self, batch: &Batch, packets: Range<usize>) -> (usize, io::Result<usize>) {
        if self.offload == Offload::None {
            return (1, (&*self.file).write(batch.get(packets.start).unwrap_or_default()));
        }
        let end = if self.tcp.is_on() { packets.end } else { packets.start + 1 };
        let count = coalesce(Self::LAYER, batch, packets.start..end, self.udp.is_on(), &mut self.head);
        let result = if count == 1 {
            self.write_single(batch.get(packets.start).unwrap_or_default())
        } else {
            self.write_joined(batch, packets.start..packets.start + count)
        };
        (count, result)
    }

    fn write_single(&self, packet: &[u8]) -> io::Result<usize> {
        (&*self.file).write_vectored(&[IoSlice::new(&[0; VirtioHeader::LEN]), IoSlice::new(packet)])
    }

    fn write_joined(&self, batch: &Batch, packets: Range<usize>) -> io::Result<usize> {
        let mut pieces = [IoSlice::new(&[]); MAX_PIECES];
        let skip = self.head.skip();
        pieces[0] = IoSlice::new(self.head.bytes());
        let count = packets.len();
        for (piece, packet) in pieces[1..].iter_mut().zip(batch.iter().skip(packets.start).take(count)) {
            *piece = IoSlice::new(packet.get(skip..).unwrap_or_default());
        }
        (&*self.file).write_vectored(&pieces[..=count])
    }

    /// What is known of such joined packets as were written last.
    fn joining(&mut self) -> &mut Joining {
        if self.head.is_udp() { &mut self.udp } else { &mut self.tcp }
    }

    /// Writes packets one at a time.
    fn send_singly(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        for packet in batch.iter().skip(packets.start).take(packets.len()) {
            let result = retry(|| self.write_single(packet));
            count_write(result, 1, packet.len(), tally)?;
        }
        Ok(())
    }
}

impl<const FRAMES: bool> PacketQueue for DeviceQueue<FRAMES> {
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool> {
        for _ in 0..if FRAMES { READS } else { usize::MAX } {
            if !has_room(batch) {
                break;
            }
            let result = match self.offload {
                Offload::None => self.recv_packet(batch, tally),
                Offload::Tcp | Offload::TcpUdp => self.recv_segment(batch, tally),
            };
            match result {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        let mut at = packets.start;
        while at < packets.end {
            let (count, result) = self.write_some(batch, at..packets.end);
            let these = at..at + count;
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) if count > 1 && error.raw_os_error() == Some(libc::EINVAL) => {
                    self.joining().on_refused();
                    self.send_singly(batch, these, tally)?;
                }
                result => {
                    if count > 1 && result.is_ok() {
                        *self.joining() = Joining::Works;
                    }
                    let bytes = batch.lengths().skip(at).take(count).sum();
                    count_write(result, count, bytes, tally)?;
                }
            }
            at += count;
        }
        Ok(())
    }

    fn another(&self) -> Box<dyn PacketQueue> {
        Box::new(Self::on(Arc::clone(&self.file), self.offload, self.usual))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether the device is gone for good: the descriptor of a deleted interface says EBADFD.
pub(crate) fn is_gone(errno: Errno) -> bool {
    matches!(errno, Errno::EBADFD | Errno::EBADF | Errno::ENODEV | Errno::ENXIO)
}

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_is_given_up_only_after_strikes_without_success() {
        let mut joining = Joining::Untried { strikes: 0 };
        for _ in 1..MAX_STRIKES {
            joining.on_refused();
            assert!(joining.is_on());
        }
        joining.on_refused();
        assert!(!joining.is_on());
        let mut working = Joining::Works;
        (0..100).for_each(|_| working.on_refused());
        assert!(working.is_on());
    }
}

#[cfg(test)]
mod tun_tests;
