//! Batches over datagram sockets: many packets a system call, where the system has such calls.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;

#[cfg(target_os = "linux")]
pub use crate::linux::datagram::{Receiver, Sender, prepare_udp};
#[cfg(target_os = "linux")]
pub use crate::linux::socket::set_buffers;
#[cfg(target_os = "macos")]
pub use crate::macos::datagram::{Receiver, Sender, prepare_udp};
#[cfg(target_os = "macos")]
pub use crate::macos::socket::set_buffers;

/// The packets of one received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Where they stand in the batch.
    pub packets: Range<usize>,
    /// Who sent them, where the socket has internet addresses.
    pub source: Option<SocketAddr>,
}

/// How far a send came.
#[derive(Debug)]
pub struct Progress {
    /// The first packet of the batch that was not sent.
    pub next: usize,
    /// Why not; nothing when all were sent.
    pub error: Option<io::Error>,
    /// How many packets the error is about.
    pub refused: usize,
}

impl Progress {
    /// Whether the socket, or the kernel's memory, is full for now.
    pub fn is_full(&self) -> bool {
        let error = self.error.as_ref().and_then(io::Error::raw_os_error);
        matches!(error, Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM))
    }
}
