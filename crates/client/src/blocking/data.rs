//! Packets, for programs that wait in their calls.

use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::PollFlags;

use crate::channel::Channel;
use crate::socket::{Deadline, wait};

/// The program's end of a tunnel's data plane.
///
/// All calls take `&self`: one thread may receive while another sends. It lives on its own: the
/// tunnel lasts as long as the [`Tunnel`](super::Tunnel) that started it.
#[derive(Debug)]
pub struct DataSocket {
    channel: Channel,
}

impl DataSocket {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// Receives one packet that the machine routed into the tunnel, waiting at most that long
    /// (`None`: for ever), and returns its length; `Ok(None)` when none came.
    ///
    /// # Errors
    /// `UnexpectedEof` once the daemon closed the data plane; `InvalidInput` when the packet did not
    /// fit and is lost (room for the MTU is always enough, with `offload` 65,545 bytes); over UDP
    /// `ConnectionRefused` when the daemon's port is closed; and what else the machine says.
    pub fn recv(&self, buffer: &mut [u8], timeout: impl Into<Option<Duration>>) -> io::Result<Option<usize>> {
        let deadline = Deadline::after(timeout.into());
        loop {
            match self.channel.receive(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !wait(self.channel.as_fd(), PollFlags::IN, deadline)? {
                        return Ok(None);
                    }
                }
                outcome => return outcome.map(Some),
            }
        }
    }

    /// Sends one packet for the machine to receive, waiting for room. The daemon drops and counts
    /// what is no whole IP packet or larger than the MTU ([`Stats`](crate::Stats)).
    ///
    /// # Errors
    /// `InvalidInput` when the packet is empty or longer than 65,535 bytes; `BrokenPipe` once the
    /// daemon closed the data plane; over UDP `ConnectionRefused` when the daemon's port is closed;
    /// and what else the machine says.
    pub fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.send_batch(&[packet])
    }

    /// Sends many packets with few system calls: a stream takes them in one write, Unix and UDP
    /// sockets 64 at a time.
    ///
    /// # Errors
    /// The same; packets before the one that failed are sent.
    pub fn send_batch(&self, packets: &[&[u8]]) -> io::Result<()> {
        let mut rest = packets;
        while !rest.is_empty() {
            let taken = self.with_room(|channel| channel.send(rest))?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        self.with_room(Channel::flush)
    }

    /// The descriptor, whatever it is on this plane (after [`Plane::Fd`](crate::Plane::Fd): the
    /// device). It does not block. What a stream had buffered is lost.
    pub fn into_descriptor(self) -> OwnedFd {
        self.channel.into_descriptor()
    }

    fn with_room<T>(&self, mut attempt: impl FnMut(&Channel) -> io::Result<T>) -> io::Result<T> {
        loop {
            match attempt(&self.channel) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    wait(self.channel.as_fd(), PollFlags::OUT, Deadline::after(None))?;
                }
                outcome => return outcome,
            }
        }
    }
}

/// To wait for packets along with other descriptors. A stream reads ahead: receive with a timeout
/// of zero until nothing is there before waiting.
impl AsFd for DataSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}
