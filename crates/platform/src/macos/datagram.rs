//! Batches of messages, one system call each: macOS publishes no call for several. Never run.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;

use hypertap_wire::batch::Batch;
use rustix::net::{RecvFlags, SendFlags, recvfrom, send, sendto};

use crate::datagram::{Message, Progress};

/// Messages that one call of [`Receiver::recv`] brings at most.
const MESSAGES: usize = 64;
/// Room for one message; the longest UDP datagram is shorter.
const SLOT: usize = 64 << 10;
/// How much is received before it is passed on, in bytes.
const RECEIVE_ENOUGH: usize = 128 << 10;

/// Prepares a UDP socket for batches: never blocking, with large buffers.
///
/// # Errors
/// What the kernel says of non-blocking mode.
pub fn prepare_udp(socket: &UdpSocket) -> io::Result<()> {
    socket.set_nonblocking(true)?;
    crate::program::enlarge_buffers(socket);
    Ok(())
}

/// Receives batches from a datagram socket.
pub struct Receiver {
    batch: Batch,
    messages: Vec<Message>,
}

impl Default for Receiver {
    fn default() -> Self {
        Self::new()
    }
}

impl Receiver {
    /// A receiver with memory of its own.
    pub fn new() -> Self {
        Self { batch: Batch::new(RECEIVE_ENOUGH + SLOT, MESSAGES), messages: Vec::with_capacity(MESSAGES) }
    }

    /// A receiver for a connected Unix socket.
    pub fn connected() -> Self {
        Self::new()
    }

    /// Receives the messages that wait, without blocking; what was received before is forgotten.
    /// Returns whether more may wait.
    ///
    /// # Errors
    /// What recvfrom(2) says; [`io::ErrorKind::WouldBlock`] when nothing waits. An error after the
    /// first message is left for the next call.
    pub fn recv(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.batch.clear();
        self.messages.clear();
        while self.messages.len() < MESSAGES && self.batch.used() < RECEIVE_ENOUGH {
            let room = self.batch.room();
            let end = room.len().min(SLOT);
            match recvfrom(socket, &mut room[..end], RecvFlags::DONTWAIT) {
                Ok((len, _, source)) => self.take(len, source.and_then(|name| name.try_into().ok())),
                Err(rustix::io::Errno::INTR) => {}
                Err(_) if !self.messages.is_empty() => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(true)
    }

    fn take(&mut self, len: usize, source: Option<SocketAddr>) {
        let first = self.batch.len();
        self.batch.commit(len);
        self.messages.push(Message { packets: first..self.batch.len(), source });
    }

    /// What was received last, to look at and to pass on.
    pub fn received(&mut self) -> (&mut Batch, &[Message]) {
        (&mut self.batch, &self.messages)
    }
}

/// Sends batches to a datagram socket.
pub struct Sender {
    destination: Option<SocketAddr>,
}

impl Sender {
    /// A sender of UDP datagrams to `destination`.
    pub fn udp(destination: SocketAddr) -> Self {
        Self { destination: Some(destination) }
    }

    /// A sender of messages over a connected socket.
    pub fn connected() -> Self {
        Self { destination: None }
    }

    /// Sends the packets of `batch` from the one at `first` on, without blocking, until all are
    /// sent or one is refused.
    pub fn send(&mut self, socket: BorrowedFd<'_>, batch: &Batch, first: usize) -> Progress {
        let mut next = first;
        while let Some(packet) = batch.get(next) {
            let sent = match &self.destination {
                Some(destination) => sendto(socket, packet, SendFlags::DONTWAIT, destination),
                None => send(socket, packet, SendFlags::DONTWAIT),
            };
            match sent {
                Ok(_) => next += 1,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Progress { next, error: Some(error.into()), refused: 1 },
            }
        }
        Progress { next, error: None, refused: 0 }
    }
}
