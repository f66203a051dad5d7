//! Frames on the helper's socket: a length (u32, big endian), then that many bytes, with descriptors
//! on the first of them.
//!
//! Both directions keep a frame that is half through in `self`, so dropping the future that reads or
//! writes loses nothing: the next call goes on with it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::net::UnixStream;

use crate::descriptor;

/// The largest frame, in bytes without its length. A frame this long is a million routes.
pub(super) const MAX_FRAME: usize = 64 * 1024 * 1024;
const HEADER: usize = 4;
/// How much is made room for ahead of what has come.
const CHUNK: usize = 64 * 1024;

/// A frame's bytes and descriptors.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) body: Vec<u8>,
    pub(super) descriptors: Vec<OwnedFd>,
}

/// The socket, and what is half through.
#[derive(Debug)]
pub(super) struct Framed {
    socket: UnixStream,
    bytes: Vec<u8>,
    descriptors: Vec<OwnedFd>,
    outgoing: Vec<u8>,
    sent: usize,
    outgoing_descriptors: Vec<OwnedFd>,
}

impl Framed {
    /// Speaks over a connected Unix stream socket. Needs a runtime.
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true)?;
        let socket = UnixStream::from_std(socket)?;
        Ok(Self {
            socket,
            bytes: Vec::new(),
            descriptors: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            outgoing_descriptors: Vec::new(),
        })
    }

    /// Reads the next frame; `None` at a clean end of the stream. Cancel-safe.
    ///
    /// # Errors
    /// Of the socket; `InvalidData` for a frame that is too long or brings too many descriptors,
    /// `UnexpectedEof` for one that is cut off. The stream is of no more use then.
    pub(super) async fn read(&mut self) -> io::Result<Option<Frame>> {
        loop {
            let wanted = match self.bytes.first_chunk::<HEADER>() {
                None => HEADER,
                Some(header) => HEADER + body_length(*header)?,
            };
            let have = self.bytes.len();
            if have == wanted && wanted > HEADER {
                let body = self.bytes.split_off(HEADER);
                self.bytes.clear();
                return Ok(Some(Frame { body, descriptors: std::mem::take(&mut self.descriptors) }));
            }
            if self.receive(wanted - have).await? == 0 {
                let clean = have == 0 && self.descriptors.is_empty();
                return if clean { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        }
    }

    /// Reads at most `wanted` bytes behind what there is; returns how many.
    async fn receive(&mut self, wanted: usize) -> io::Result<usize> {
        let have = self.bytes.len();
        let room = wanted.min(CHUNK);
        loop {
            self.socket.readable().await?;
            self.bytes.resize(have + room, 0);
            let bytes = &mut self.bytes[have..];
            let got =
                self.socket.try_io(Interest::READABLE, || descriptor::receive(self.socket.as_fd(), bytes));
            let count = got.as_ref().map_or(0, |(count, _)| *count);
            self.bytes.truncate(have + count);
            match got {
                Ok((count, descriptors)) => {
                    self.descriptors.extend(descriptors);
                    if self.descriptors.len() > descriptor::MAX_DESCRIPTORS {
                        return Err(invalid("too many descriptors on a frame"));
                    }
                    return Ok(count);
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes a frame, after what was left of an earlier one. Cancel-safe: what was not written is
    /// written by the next call, or by [`Self::flush`].
    ///
    /// # Errors
    /// Of the socket; `InvalidInput` for a frame that is too long, of which nothing is sent.
    pub(super) async fn write(&mut self, body: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        self.flush().await?;
        self.push(body, descriptors)?;
        self.flush().await
    }

    /// Puts a frame where [`Self::flush`] writes it from. There must be none half through.
    ///
    /// # Errors
    /// `InvalidInput` for a frame that is too long, of which nothing is sent.
    pub(super) fn push(&mut self, body: &[u8], descriptors: Vec<OwnedFd>) -> io::Result<()> {
        let length = u32::try_from(body.len()).ok().filter(|_| !body.is_empty() && body.len() <= MAX_FRAME);
        let Some(length) = length.filter(|_| descriptors.len() <= descriptor::MAX_DESCRIPTORS) else {
            return Err(io::Error::from(io::ErrorKind::InvalidInput));
        };
        self.outgoing.extend(length.to_be_bytes());
        self.outgoing.extend(body);
        self.outgoing_descriptors = descriptors;
        Ok(())
    }

    /// Says that nothing more will be written: the other side ends, as if we were gone.
    pub(super) fn end(&self) {
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
    }

    /// Writes what is left of a frame. Cancel-safe.
    pub(super) async fn flush(&mut self) -> io::Result<()> {
        while self.sent < self.outgoing.len() {
            self.socket.writable().await?;
            let descriptors: Vec<_> = self.outgoing_descriptors.iter().map(AsFd::as_fd).collect();
            let sent = self.socket.try_io(Interest::WRITABLE, || {
                descriptor::send(self.socket.as_fd(), &self.outgoing[self.sent..], &descriptors)
            });
            match sent {
                Ok(sent) => {
                    self.sent += sent;
                    // They went with the first byte.
                    self.outgoing_descriptors.clear();
                }
                Err(error) if is_passing(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.outgoing = Vec::new();
        self.sent = 0;
        Ok(())
    }
}

fn body_length(header: [u8; HEADER]) -> io::Result<usize> {
    match usize::try_from(u32::from_be_bytes(header)) {
        Ok(length) if (1..=MAX_FRAME).contains(&length) => Ok(length),
        _ => Err(invalid("a frame of no length, or over 64 MiB")),
    }
}

/// Whether nothing is wrong, and nothing was there.
pub(super) fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
