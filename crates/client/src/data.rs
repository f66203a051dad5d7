//! Packets, for programs on tokio.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::channel::Channel;
use crate::socket::watch;

/// The program's end of a tunnel's data plane.
///
/// All calls take `&self`: one task may receive while another sends. It lives on its own: the tunnel
/// lasts as long as the [`Tunnel`](crate::Tunnel) that started it.
#[derive(Debug)]
pub struct DataSocket {
    channel: AsyncFd<Channel>,
}

impl DataSocket {
    pub(crate) fn new(channel: Channel) -> io::Result<Self> {
        Ok(Self { channel: watch(channel)? })
    }

    /// Receives one packet that the machine routed into the tunnel and returns its length.
    /// Cancel-safe, so `tokio::time::timeout` may be put around it.
    ///
    /// # Errors
    /// `UnexpectedEof` once the daemon closed the data plane; `InvalidInput` when the packet did not
    /// fit and is lost (room for the MTU is always enough, with `offload` 65,545 bytes); over UDP
    /// `ConnectionRefused` when the daemon's port is closed; and what else the machine says.
    pub async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.channel.get_ref().receive_buffered(buffer) {
            Some(outcome) => outcome,
            None => self.channel.async_io(Interest::READABLE, |channel| channel.receive(buffer)).await,
        }
    }

    /// Receives one packet if one is there, and `Ok(None)` if not.
    ///
    /// # Errors
    /// The same.
    pub fn try_recv(&self, buffer: &mut [u8]) -> io::Result<Option<usize>> {
        match self.channel.get_ref().receive(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            outcome => outcome.map(Some),
        }
    }

    /// Sends one packet for the machine to receive, waiting for room. The daemon drops and counts
    /// what is no whole IP packet or larger than the MTU ([`Stats`](crate::Stats)).
    ///
    /// Cancelled, it has sent the packet or not; on a stream, what is left of a packet that was begun
    /// goes with the next one.
    ///
    /// # Errors
    /// `InvalidInput` when the packet is empty or longer than 65,535 bytes; `BrokenPipe` once the
    /// daemon closed the data plane; over UDP `ConnectionRefused` when the daemon's port is closed;
    /// and what else the machine says.
    pub async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.send_batch(&[packet]).await
    }

    /// Sends many packets with few system calls: a stream takes them in one write, Unix and UDP
    /// sockets 64 at a time.
    ///
    /// # Errors
    /// The same; packets before the one that failed are sent.
    pub async fn send_batch(&self, packets: &[&[u8]]) -> io::Result<()> {
        let mut rest = packets;
        while !rest.is_empty() {
            let taken = self.channel.async_io(Interest::WRITABLE, |channel| channel.send(rest)).await?;
            rest = rest.get(taken..).unwrap_or_default();
        }
        match self.channel.get_ref().flush() {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.channel.async_io(Interest::WRITABLE, Channel::flush).await
            }
            outcome => outcome,
        }
    }

    /// The descriptor, whatever it is on this plane (after [`Plane::Fd`](crate::Plane::Fd): the
    /// device). It does not block. What a stream had buffered is lost.
    pub fn into_descriptor(self) -> OwnedFd {
        self.channel.into_inner().into_descriptor()
    }
}
