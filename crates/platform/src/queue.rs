//! A queue of packets between this program and a network interface.
//!
//! [`PacketQueue`] moves batches. [`TunQueue`] is the kernel's, [`TapQueue`] too, whose packets are
//! Ethernet frames: with offload they split what the kernel hands over and join what it takes, so that on
//! this side there are only packets.
//! [`MemoryQueue`] is the double for tests, and the two ends of a cable.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use hypertap_wire::batch::Batch;
use hypertap_wire::packet::{DropCause, Tally};
use nix::errno::Errno;

#[cfg(target_os = "linux")]
pub use crate::linux::queue::{TapQueue, TunQueue};
#[cfg(target_os = "linux")]
use crate::linux::{queue::is_gone, socket::message_pair};
#[cfg(target_os = "macos")]
pub use crate::macos::queue::{TapQueue, TunQueue};
#[cfg(target_os = "macos")]
use crate::macos::{queue::is_gone, socket::message_pair};

/// Reading into a batch ends when it holds this much, in bytes: what the second-level cache still
/// holds while the batch is written out again.
const READ_ENOUGH: usize = 128 << 10;
/// Room for one more segment of 64 KiB cut into the smallest packets that TCP makes (a payload of
/// 48 bytes), with headers and prefix of each.
const SEGMENT_ROOM: usize = 216 << 10;
/// Packets that reading leaves room for: the most that one segment becomes.
const SEGMENT_PACKETS: usize = 1400;

/// One queue of an interface.
pub trait PacketQueue: Send {
    /// Appends the packets that wait to `batch`, until none is left or the batch holds enough to
    /// pass on. Returns whether more may wait. Never blocks. What could not be appended is counted
    /// in `tally`.
    ///
    /// # Errors
    /// When the interface is gone for good.
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool>;

    /// Injects some packets of `batch`, each of which [`hypertap_wire::packet::validate`] let pass; frames
    /// may be any bytes. What went in, and what did not, is counted in `tally`.
    ///
    /// # Errors
    /// When the interface is gone for good.
    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()>;

    /// The same queue for another thread.
    fn another(&self) -> Box<dyn PacketQueue>;

    /// What to wait on until there is something to receive.
    fn descriptor(&self) -> BorrowedFd<'_>;
}

/// A batch of the size that [`PacketQueue::recv`] fills, with `prefix` bytes before each packet.
pub fn receive_batch(prefix: usize) -> Batch {
    Batch::with_prefix(READ_ENOUGH + SEGMENT_ROOM, 4096, prefix)
}

pub(crate) fn has_room(batch: &Batch) -> bool {
    batch.used() < READ_ENOUGH && batch.left() > SEGMENT_ROOM && batch.packets_left() >= SEGMENT_PACKETS
}

/// Whether an error passes by itself: nothing to read, or no memory right now.
pub(crate) fn is_passing(error: &io::Error) -> bool {
    matches!(error.raw_os_error().map(Errno::from_raw), Some(Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM))
}

/// Counts what a write did. Only a device that is gone is an error: one whose interface is down says
/// EIO, and one odd packet EINVAL.
pub(crate) fn count_write(
    result: io::Result<usize>,
    packets: usize,
    bytes: usize,
    tally: &mut Tally,
) -> io::Result<()> {
    let Err(error) = result else {
        tally.pass(packets, bytes);
        return Ok(());
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(errno) if is_gone(errno) => return Err(error),
        Some(Errno::EIO) => tally.drop(DropCause::DeviceDown, packets),
        _ => tally.drop(DropCause::DeviceRefused, packets),
    }
    Ok(())
}

/// One end of a cable without a kernel interface: what is sent into one end comes out of the other.
#[derive(Clone, Debug)]
pub struct MemoryQueue(Arc<File>);

impl MemoryQueue {
    /// The two ends of a cable.
    ///
    /// # Errors
    /// What socketpair(2) says.
    pub fn pair() -> io::Result<(Self, Self)> {
        let (one, other) = message_pair()?;
        Ok((Self(Arc::new(one.into())), Self(Arc::new(other.into()))))
    }
}

impl PacketQueue for MemoryQueue {
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool> {
        while has_room(batch) {
            match (&*self.0).read(batch.room()) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(len) if batch.commit(len) => {}
                Ok(_) => tally.drop(DropCause::BadOffload, 1),
                Err(error) if is_passing(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        for packet in batch.iter().skip(packets.start).take(packets.len()) {
            match (&*self.0).write(packet) {
                Err(error) if error.kind() == ErrorKind::BrokenPipe => return Err(error),
                result => count_write(result, 1, packet.len(), tally)?,
            }
        }
        Ok(())
    }

    fn another(&self) -> Box<dyn PacketQueue> {
        Box::new(self.clone())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soon::soon;

    #[test]
    fn what_one_end_of_a_cable_sends_the_other_receives() {
        let (mut one, mut other) = MemoryQueue::pair().unwrap();
        let (mut sent, mut received, mut tally) = (receive_batch(0), receive_batch(0), Tally::default());
        sent.push(b"abc");
        sent.push(b"de");
        one.send(&sent, 0..2, &mut tally).unwrap();
        other.recv(&mut received, &mut tally).unwrap();
        assert_eq!(received.iter().collect::<Vec<_>>(), [b"abc".as_slice(), b"de"]);
        assert_eq!((tally.packets, tally.bytes), (2, 5));
        drop(one);
        assert!(soon(|| other.recv(&mut received, &mut tally).is_err()));
    }
}
