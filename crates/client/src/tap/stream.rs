//! Frames over a connected stream socket, none of whose calls wait.
//!
//! The two directions have each a buffer behind a lock of its own, so one thread receives while
//! another sends. Reading takes all that is there, up to the buffer's size. Sending takes a frame
//! whole or not at all; what of it the socket has no room for stays in the outgoing buffer, and goes
//! with the next call in either direction.

use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypertap_wire::ethernet::HEADER;
use hypertap_wire::ethernet::sizing::{Sizing, frame_len};
use hypertap_wire::frames::{FrameReader, Framing, MAX_HEADER};
use rustix::net::{RecvFlags, Shutdown, recv, send, shutdown};

use super::{HEADERS, MAX_FRAME, TapError};
use crate::system::SEND;

/// How much is read at once, in bytes.
const BUFFER: usize = 256 << 10;

/// How often what is unread at the end is looked for, so that a peer that goes on sending is not read for ever.
const LAST_READS: usize = 64;

/// A connected stream socket that does not block, and the frames in it.
#[derive(Debug)]
pub(crate) struct Stream {
    socket: OwnedFd,
    framing: Framing,
    /// The longest frame that may be sent, in bytes.
    limit: usize,
    incoming: Mutex<FrameReader>,
    outgoing: Mutex<Outgoing>,
}

/// A frame, or the rest of one, with its header.
#[derive(Debug, Default)]
struct Outgoing {
    bytes: Vec<u8>,
    sent: usize,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing below can panic half-way through a change.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Stream {
    /// Takes a socket that does not block. `mtu` is the interface's, in bytes.
    pub(crate) fn new(socket: OwnedFd, framing: Framing, mtu: u32) -> Self {
        let limit = usize::try_from(mtu).unwrap_or(MAX_FRAME).saturating_add(HEADERS);
        // A frame a batch: each is handed out by itself.
        let incoming = Mutex::new(FrameReader::new(Some(framing), MAX_FRAME, BUFFER, 1));
        let limit = limit.min(MAX_FRAME).min(framing.max_len());
        Self { socket, framing, limit, incoming, outgoing: Mutex::default() }
    }

    /// The longest frame that can be sent, in bytes.
    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// Copies the next frame to `buffer` and returns its length; `None` when none is there.
    ///
    /// # Errors
    /// `Closed` at the end of the stream, `Cut` for a frame that does not fit, `Frame` and `Io`.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        let mut incoming = lock(&self.incoming);
        loop {
            if let Some(length) = take(&mut incoming, buffer)? {
                return Ok(Some(length));
            }
            match recv(&self.socket, incoming.room(), RecvFlags::DONTWAIT).map_err(std::io::Error::from) {
                Ok((0, _)) => return Err(TapError::Closed),
                Ok((length, _)) => incoming.advance(length).map_err(|error| {
                    TapError::of("receive", std::io::Error::new(ErrorKind::InvalidData, error))
                })?,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => return Err(TapError::of("receive", error)),
            }
        }
    }

    /// The same, of frames that need no system call any more.
    #[cfg(feature = "async")]
    pub(crate) fn receive_buffered(&self, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
        take(&mut lock(&self.incoming), buffer)
    }

    /// Takes a frame to send, and returns whether there was room. It may not all have left: [`Self::flush`].
    ///
    /// # Errors
    /// `Length` and `Unsizable` for a frame that cannot go, `Closed`, `Io`.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<bool, TapError> {
        let frame = self.sendable(frame)?;
        let mut outgoing = lock(&self.outgoing);
        if !outgoing.flush(&self.socket)? {
            return Ok(false);
        }
        let mut header = [0; MAX_HEADER];
        self.framing.write_header(&mut header, frame.len());
        outgoing.bytes.extend(header.iter().take(self.framing.header_len()));
        outgoing.bytes.extend_from_slice(frame);
        if !outgoing.flush(&self.socket)? && outgoing.sent == 0 {
            outgoing.clear();
            return Ok(false);
        }
        Ok(true)
    }

    /// Sends what was taken and has not left. Returns whether all has.
    ///
    /// # Errors
    /// `Closed`, `Io`.
    pub(crate) fn flush(&self) -> Result<bool, TapError> {
        lock(&self.outgoing).flush(&self.socket)
    }

    /// Whether something that was taken has not left.
    #[cfg(feature = "async")]
    pub(crate) fn has_unsent(&self) -> bool {
        !lock(&self.outgoing).bytes.is_empty()
    }

    /// Ends the connection, also where another process has inherited the socket. What is unread is read,
    /// since the peer may be told of a broken connection otherwise, and lose what was sent last.
    pub(crate) fn end(&self) {
        // There may be none any more.
        let _ = shutdown(&self.socket, Shutdown::Both);
        let mut scrap = [0; 16 << 10];
        for _ in 0..LAST_READS {
            match recv(&self.socket, &mut scrap, RecvFlags::DONTWAIT) {
                Ok((1.., _)) => {}
                _ => break,
            }
        }
    }

    /// The frame as it can be sent.
    fn sendable<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], TapError> {
        let length = frame.len();
        if !(HEADER..=self.limit).contains(&length) {
            return Err(TapError::Length { length, limit: self.limit });
        }
        if self.framing != Framing::Unframed {
            return Ok(frame);
        }
        // What follows the content, padding, would be taken for the next frame's beginning.
        match frame_len(frame) {
            Sizing::Len(whole) => frame.get(..whole).ok_or(TapError::Unsizable { length }),
            Sizing::NeedMore(_) | Sizing::Unknown(_) => Err(TapError::Unsizable { length }),
        }
    }
}

/// Takes the next frame that is whole.
fn take(incoming: &mut FrameReader, buffer: &mut [u8]) -> Result<Option<usize>, TapError> {
    let Some(batch) = incoming.next_batch()? else { return Ok(None) };
    let frame = batch.get(0).unwrap_or_default();
    let (length, room) = (frame.len(), buffer.len());
    let Some(place) = buffer.get_mut(..length) else { return Err(TapError::Cut { length, room }) };
    place.copy_from_slice(frame);
    Ok(Some(length))
}

impl Outgoing {
    fn flush(&mut self, socket: &OwnedFd) -> Result<bool, TapError> {
        while let Some(rest) = self.bytes.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match send(socket, rest, SEND).map_err(std::io::Error::from) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) => {
                    // Whoever sends next hears of it too, of its own frame.
                    self.clear();
                    return Err(TapError::of("send", error));
                }
            }
        }
        self.clear();
        Ok(true)
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.sent = 0;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.end();
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.socket.as_raw_fd()
    }
}

#[cfg(test)]
mod tests;
