//! Who owns the other end of an internet socket on this machine: not known here. Never run.
//!
//! macOS has it in undocumented tables (`net.inet.tcp.pcblist_n`) that change between its versions, and
//! in libproc process by process. Neither is read: every question is an error, so that a client over
//! TCP or UDP is refused, never let in unchecked. A Unix socket carries its peer's uid.

use std::io;
use std::net::SocketAddr;

/// Would ask the kernel's socket tables; on macOS it has no answer.
pub struct PeerLookup(());

impl PeerLookup {
    /// Opens nothing.
    ///
    /// # Errors
    /// None here.
    pub fn new() -> io::Result<Self> {
        Ok(Self(()))
    }

    /// The uid that owns the other end of our TCP connection.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`], always.
    pub fn tcp_peer(&mut self, _ours: SocketAddr, _peer: SocketAddr) -> io::Result<Option<u32>> {
        Err(unsupported())
    }

    /// The uid that owns the UDP socket which would receive a datagram from `ours` to `peer`.
    ///
    /// # Errors
    /// [`io::ErrorKind::Unsupported`], always.
    pub fn udp_owner(&mut self, _ours: SocketAddr, _peer: SocketAddr) -> io::Result<Option<u32>> {
        Err(unsupported())
    }
}

fn unsupported() -> io::Error {
    let text = "hypertap cannot tell on macOS whose a TCP or UDP socket is: \
                connect to the Unix command socket, and take packets over a Unix stream";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
