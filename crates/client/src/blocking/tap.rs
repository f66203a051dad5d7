//! An Ethernet interface, for programs that wait in their calls.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::PollFlags;

use crate::socket::{Deadline, wait};
use crate::tap::stream::Stream;
use crate::tap::{Program, TapError, TapServer, TapSpec, connect, open};

/// Something that frames go into and come out of, so that a program need not know what.
pub trait FrameInterface {
    /// Sends one frame, waiting for room.
    ///
    /// # Errors
    /// What [`TapInterface::send`] says.
    fn send(&self, frame: &[u8]) -> Result<(), TapError>;

    /// Receives one frame, waiting at most that long (`None`: for ever), and returns its length; `Ok(None)`
    /// when none came.
    ///
    /// # Errors
    /// What [`TapInterface::recv`] says.
    fn recv(&self, buffer: &mut [u8], timeout: Option<Duration>) -> Result<Option<usize>, TapError>;
}

/// An Ethernet interface, while this lives.
///
/// All calls take `&self`: one thread may receive while another sends. Dropped, it removes the
/// interface: one that it made itself is gone when dropping returns; a server removes its own when it
/// sees the connection's end, a moment later.
#[derive(Debug)]
pub struct TapInterface {
    // Before the program, which ends with it.
    stream: Stream,
    program: Option<Mutex<Program>>,
    name: Option<String>,
}

impl TapInterface {
    /// Connects to a server, which makes the interface then, a moment later.
    ///
    /// # Errors
    /// [`TapError::Connect`].
    pub fn connect(server: &TapServer) -> Result<Self, TapError> {
        Ok(Self { stream: connect(server)?, program: None, name: None })
    }

    /// Makes an interface, which is there and has its addresses when this returns.
    ///
    /// # Errors
    /// [`TapError::Start`], [`TapError::Refused`] with what the program said, [`TapError::NotReady`].
    pub fn open(spec: &TapSpec) -> Result<Self, TapError> {
        let (stream, program, name) = open(spec)?;
        Ok(Self { stream, program: Some(Mutex::new(program)), name: Some(name) })
    }

    /// The interface's name, where this program made it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The longest frame that can be sent, in bytes: the MTU and the headers.
    pub fn max_frame(&self) -> usize {
        self.stream.limit()
    }

    /// Receives one frame that the machine sent, waiting at most that long (`None`: for ever), and
    /// returns its length; `Ok(None)` when none came. Room for [`MAX_FRAME`](crate::tap::MAX_FRAME) bytes
    /// is always enough.
    ///
    /// # Errors
    /// [`TapError::Closed`] or [`TapError::Ended`] once the interface is gone, [`TapError::Cut`] when the
    /// frame did not fit and is lost, [`TapError::Frame`], [`TapError::Io`].
    pub fn recv(
        &self,
        buffer: &mut [u8],
        timeout: impl Into<Option<Duration>>,
    ) -> Result<Option<usize>, TapError> {
        let deadline = Deadline::after(timeout.into());
        loop {
            // Where the rest of a frame can never leave, whoever sends next hears of it.
            let is_flushed = self.stream.flush().unwrap_or(true);
            if let Some(length) = self.explained(self.stream.receive(buffer))? {
                return Ok(Some(length));
            }
            let interest = if is_flushed { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            if !self.wait(interest, deadline)? {
                return Ok(None);
            }
        }
    }

    /// Sends one frame to the machine, waiting for room.
    ///
    /// # Errors
    /// [`TapError::Length`] or [`TapError::Unsizable`] for a frame that cannot go, of which nothing is
    /// sent; [`TapError::Closed`] or [`TapError::Ended`] once the interface is gone; [`TapError::Io`].
    pub fn send(&self, frame: &[u8]) -> Result<(), TapError> {
        self.send_timeout(frame, None).map(|_| ())
    }

    /// The same, waiting for room at most that long (`None`: for ever), and returns whether the frame was
    /// taken. It is taken whole or not at all: what of one that was taken has not left in time goes
    /// with the next call of this or of [`Self::recv`], before everything else.
    ///
    /// # Errors
    /// The same.
    pub fn send_timeout(&self, frame: &[u8], timeout: impl Into<Option<Duration>>) -> Result<bool, TapError> {
        let deadline = Deadline::after(timeout.into());
        while !self.explained(self.stream.send(frame))? {
            if !self.wait(PollFlags::OUT, deadline)? {
                return Ok(false);
            }
        }
        while !self.explained(self.stream.flush())? {
            if !self.wait(PollFlags::OUT, deadline)? {
                break;
            }
        }
        Ok(true)
    }

    fn wait(&self, interest: PollFlags, deadline: Deadline) -> Result<bool, TapError> {
        wait(self.stream.as_fd(), interest, deadline)
            .map_err(|source| TapError::Io { doing: "wait for the socket", source })
    }

    /// The outcome; of a connection that ended, with what the program says of it.
    fn explained<T>(&self, outcome: Result<T, TapError>) -> Result<T, TapError> {
        match (outcome, &self.program) {
            (Err(TapError::Closed), Some(program)) => {
                Err(TapError::Ended(program.lock().unwrap_or_else(PoisonError::into_inner).end()))
            }
            (outcome, _) => outcome,
        }
    }
}

impl FrameInterface for TapInterface {
    fn send(&self, frame: &[u8]) -> Result<(), TapError> {
        self.send(frame)
    }

    fn recv(&self, buffer: &mut [u8], timeout: Option<Duration>) -> Result<Option<usize>, TapError> {
        self.recv(buffer, timeout)
    }
}

/// To wait for frames along with other descriptors. Reading is ahead: receive with a timeout of zero
/// until nothing is there before waiting.
impl AsFd for TapInterface {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests;
