//! One connection to a daemon: its socket, what is still to be sent on it, and its protocol.
//!
//! Nothing here waits. A caller, blocking or not, asks the protocol whether what it wants is there,
//! and if not lets the session write and read as far as it goes and waits for the socket.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use serde_json::{Map, Value};

use crate::error::{Error, Result};
use crate::protocol::{Protocol, Ticket};
use crate::socket::Socket;

/// How long connecting, greeting included, may take.
pub(crate) const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long a reply may take, unless the program says otherwise; the daemon gives `start` 10 s.
pub(crate) const REPLY_TIME: Duration = Duration::from_secs(30);
/// How much is read at once, in bytes.
const READ: usize = 16 * 1024;
/// How many descriptors that nobody asked for are kept: the latest belongs to the latest reply.
const KEPT_DESCRIPTORS: usize = 2;

/// A line on its way out.
#[derive(Debug)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
    /// Rides on the first byte.
    descriptor: Option<OwnedFd>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    socket: Socket,
    pub(crate) protocol: Protocol,
    outgoing: VecDeque<Outgoing>,
    descriptors: Vec<OwnedFd>,
    buffer: Box<[u8]>,
}

impl Session {
    /// A session on a fresh connection.
    pub(crate) fn new(socket: Socket) -> Self {
        Self {
            socket,
            protocol: Protocol::new(),
            outgoing: VecDeque::new(),
            descriptors: Vec::new(),
            buffer: vec![0; READ].into_boxed_slice(),
        }
    }

    /// Queues a request.
    ///
    /// # Errors
    /// Of [`Protocol::request`]; [`Error::Io`] when the connection cannot carry the descriptor.
    pub(crate) fn submit(
        &mut self,
        verb: &str,
        fields: Map<String, Value>,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Ticket> {
        let failed = |source| Error::Io { doing: "send a descriptor", source };
        if descriptor.is_some() && !self.socket.carries_descriptors() {
            let text = "only a connection over a Unix socket carries descriptors";
            return Err(failed(std::io::Error::new(ErrorKind::Unsupported, text)));
        }
        let descriptor =
            descriptor.map(|borrowed| borrowed.try_clone_to_owned()).transpose().map_err(failed)?;
        let (ticket, bytes) = self.protocol.request(verb, fields)?;
        self.outgoing.push_back(Outgoing { bytes, sent: 0, descriptor });
        Ok(ticket)
    }

    /// Whether something is still to be sent.
    #[cfg(feature = "async")]
    pub(crate) fn wants_to_write(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Writes as far as the socket takes it. Returns whether there is nothing left.
    ///
    /// # Errors
    /// Of the socket, except that it was closed: why, is there to be read.
    pub(crate) fn write(&mut self) -> Result<bool> {
        while let Some(line) = self.outgoing.front_mut() {
            let rest = line.bytes.get(line.sent..).unwrap_or_default();
            match self.socket.write(rest, line.descriptor.as_ref().map(OwnedFd::as_fd)) {
                Ok(count) => {
                    line.descriptor = None;
                    line.sent += count;
                    if line.sent >= line.bytes.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(error) => match error.kind() {
                    ErrorKind::Interrupted => {}
                    ErrorKind::WouldBlock => return Ok(false),
                    ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => self.outgoing.clear(),
                    _ => return Err(Error::Io { doing: "send to the daemon", source: error }),
                },
            }
        }
        Ok(true)
    }

    /// Reads once. Returns whether something was there.
    ///
    /// # Errors
    /// The end of the connection, with the daemon's reason where it gave one; violations.
    pub(crate) fn read(&mut self) -> Result<bool> {
        match self.socket.read(&mut self.buffer, &mut self.descriptors) {
            Ok(0) => Err(self.ended()),
            Ok(count) => {
                let surplus = self.descriptors.len().saturating_sub(KEPT_DESCRIPTORS);
                self.descriptors.drain(..surplus);
                self.protocol.handle_bytes(self.buffer.get(..count).unwrap_or_default())?;
                Ok(true)
            }
            Err(error) => match error.kind() {
                ErrorKind::Interrupted => Ok(true),
                ErrorKind::WouldBlock => Ok(false),
                ErrorKind::ConnectionReset => Err(self.ended()),
                _ => Err(Error::Io { doing: "read from the daemon", source: error }),
            },
        }
    }

    /// The descriptor that came last, and no older one.
    pub(crate) fn take_descriptor(&mut self) -> Option<OwnedFd> {
        let latest = self.descriptors.pop();
        self.descriptors.clear();
        latest
    }

    fn ended(&self) -> Error {
        self.protocol.farewell().unwrap_or(Error::Closed)
    }
}

impl AsFd for Session {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Session {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}
