//! A queue of a utun. Never run.
//!
//! Before each packet stand four bytes, its address family in network byte order (`net/if_utun.h`), in
//! both directions. They are taken off and put on here: everybody else sees bare packets. A TAP's
//! descriptor is a socket ([`super::tap`]), and has bare frames already.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use hypertap_wire::batch::Batch;
use hypertap_wire::packet::{DropCause, Tally};
use nix::errno::Errno;

use crate::privileged::Offload;
use crate::queue::{PacketQueue, count_write, has_room, is_passing};

const FAMILY: usize = 4;
const IPV4: [u8; FAMILY] = libc::AF_INET.to_be_bytes();
const IPV6: [u8; FAMILY] = libc::AF_INET6.to_be_bytes();

/// A queue of a utun.
pub type TunQueue = DeviceQueue<false>;
/// A queue of a TAP.
pub type TapQueue = DeviceQueue<true>;

/// A queue of an interface. There is one an interface; [`PacketQueue::another`] shares its descriptor.
#[derive(Debug)]
pub struct DeviceQueue<const FRAMES: bool>(Arc<File>);

impl<const FRAMES: bool> DeviceQueue<FRAMES> {
    /// A queue on a non-blocking descriptor of an interface. There is no offload, whatever was granted, and
    /// the kernel's packets are no longer than the MTU.
    pub fn new(descriptor: OwnedFd, _offload: Offload, _mtu: u32) -> Self {
        Self(Arc::new(File::from(descriptor)))
    }

    /// Reads one packet. Returns its length.
    fn read(&self, room: &mut [u8]) -> io::Result<usize> {
        if FRAMES {
            return (&*self.0).read(room);
        }
        let mut family = [0; FAMILY];
        let read = (&*self.0).read_vectored(&mut [IoSliceMut::new(&mut family), IoSliceMut::new(room)])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(read.saturating_sub(FAMILY))
    }

    fn write(&self, packet: &[u8]) -> io::Result<usize> {
        let family: &[u8] = match packet.first() {
            _ if FRAMES => &[],
            Some(first) if first >> 4 == 6 => &IPV6,
            _ => &IPV4,
        };
        if FRAMES && packet.len() < hypertap_wire::ethernet::HEADER {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        loop {
            match (&*self.0).write_vectored(&[IoSlice::new(family), IoSlice::new(packet)]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl<const FRAMES: bool> PacketQueue for DeviceQueue<FRAMES> {
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool> {
        while has_room(batch) {
            match self.read(batch.room()) {
                Ok(len) if len > 0 && batch.commit(len) => {}
                Ok(_) => tally.drop(DropCause::BadOffload, 1),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if is_passing(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        for packet in batch.iter().skip(packets.start).take(packets.len()) {
            count_write(self.write(packet), 1, packet.len(), tally)?;
        }
        Ok(())
    }

    fn another(&self) -> Box<dyn PacketQueue> {
        Box::new(Self(Arc::clone(&self.0)))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Whether the device is gone for good: its control socket is no longer connected to the utun, or nobody
/// carries frames to the feth any more.
pub(crate) fn is_gone(errno: Errno) -> bool {
    use Errno::{EBADF, ECONNRESET, EDESTADDRREQ, ENODEV, ENOTCONN, ENXIO, EPIPE};
    matches!(errno, EBADF | ENODEV | ENXIO | ENOTCONN | EPIPE | ECONNRESET | EDESTADDRREQ)
}
