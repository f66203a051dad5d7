//! The program's end of a Unix data plane, as the threads that send to it see it.
//!
//! A program that does not read first holds the interface up, for as long as a burst takes to pass;
//! then its packets are dropped, until it reads again. Of a frame that was begun the rest is kept, for
//! it must be ended before the next.

use std::io::{ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypertap_platform::datagram::Sender;
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_wire::batch::Batch;
use hypertap_wire::framing::{FRAME_HEADER, MAX_FRAME, frame};
use hypertap_wire::packet::{DropCause, Tally};

/// How long a full socket may hold up the interface before packets are dropped.
pub(super) const PATIENCE: Duration = Duration::from_millis(100);

/// How packets are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each is a message.
    Messages,
    /// Each has its length before it.
    Frames,
}

/// A program's connection.
pub(super) struct Connection {
    socket: UnixStream,
    outgoing: Mutex<Outgoing>,
}

/// What one thread at a time needs to send.
enum Outgoing {
    Messages { sender: Box<Sender>, is_slow: bool },
    Frames { rest: Vec<u8>, is_slow: bool },
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicked thread left is still whole: every change of it is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(super) fn new(socket: OwnedFd, framing: Framing) -> Self {
        let outgoing = match framing {
            Framing::Messages => Outgoing::Messages { sender: Box::new(Sender::connected()), is_slow: false },
            Framing::Frames => Outgoing::Frames { rest: Vec::with_capacity(MAX_FRAME), is_slow: false },
        };
        Self { socket: socket.into(), outgoing: Mutex::new(outgoing) }
    }

    /// The socket, to wait on and to receive from.
    pub(super) fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// Sends or drops all packets of a batch, counting each. Returns whether a frame was begun and not
    /// ended; [`Self::finish`] goes on with it.
    pub(super) fn deliver(&self, batch: &mut Batch, tally: &mut Tally, stop: &Stop) -> bool {
        match &mut *lock(&self.outgoing) {
            Outgoing::Messages { sender, is_slow } => {
                self.send_messages(sender, is_slow, batch, tally, stop);
                false
            }
            Outgoing::Frames { rest, is_slow } => {
                self.send_frames(rest, is_slow, batch, tally, stop);
                !rest.is_empty()
            }
        }
    }

    /// Goes on with a frame that was begun. Returns whether it is still not ended.
    pub(super) fn finish(&self, stop: &Stop) -> bool {
        match &mut *lock(&self.outgoing) {
            Outgoing::Messages { .. } => false,
            Outgoing::Frames { rest, is_slow } => {
                let sent = self.send_rest(rest, is_slow, stop);
                sent.is_ok() && !rest.is_empty()
            }
        }
    }

    /// Waits until there is room again, once for as long as patience lasts. Returns whether there is.
    fn wait_for_room(&self, is_slow: &mut bool, stop: &Stop) -> bool {
        let wait = || stop.wait(&[(self.socket.as_fd(), Interest::Writable)], Some(PATIENCE));
        let has_room = !*is_slow && matches!(wait(), Ok(Wake::Ready(_)));
        *is_slow = !has_room;
        has_room
    }

    fn send_messages(
        &self,
        sender: &mut Sender,
        is_slow: &mut bool,
        batch: &Batch,
        tally: &mut Tally,
        stop: &Stop,
    ) {
        let mut next = 0;
        while next < batch.len() {
            let progress = sender.send(self.socket.as_fd(), batch, next);
            let sent = progress.next - next;
            tally.pass(sent, batch.lengths().skip(next).take(sent).sum());
            *is_slow &= sent == 0;
            next = progress.next;
            if progress.is_full() {
                if !self.wait_for_room(is_slow, stop) {
                    return tally.drop(DropCause::ProgramSlow, batch.len() - next);
                }
            } else if progress.error.is_some() {
                return tally.drop(DropCause::NoReceiver, batch.len() - next);
            }
        }
    }

    fn send_frames(
        &self,
        rest: &mut Vec<u8>,
        is_slow: &mut bool,
        batch: &mut Batch,
        tally: &mut Tally,
        stop: &Stop,
    ) {
        frame(batch);
        // A frame that was begun must be ended before the next.
        let ended = self.send_rest(rest, is_slow, stop);
        if !rest.is_empty() {
            return tally.drop(DropCause::ProgramSlow, batch.len());
        }
        let stream = batch.taken();
        let (written, cause) = match ended {
            Ok(()) => self.write(stream, is_slow, stop),
            Err(cause) => (0, cause),
        };
        let mut end = 0;
        for len in batch.lengths() {
            let start = end;
            end += FRAME_HEADER + len;
            if start < written {
                tally.pass(1, len);
                if written < end && cause == DropCause::ProgramSlow {
                    rest.extend_from_slice(&stream[written..end]);
                }
            } else {
                tally.drop(cause, 1);
            }
        }
    }

    /// Goes on with a frame that was begun; forgets it when nobody is there to read it.
    fn send_rest(&self, rest: &mut Vec<u8>, is_slow: &mut bool, stop: &Stop) -> Result<(), DropCause> {
        let (written, cause) = self.write(rest, is_slow, stop);
        rest.drain(..written);
        if rest.is_empty() || cause == DropCause::ProgramSlow {
            return Ok(());
        }
        rest.clear();
        Err(cause)
    }

    /// Writes what the socket takes. Returns how much, and why not the rest.
    fn write(&self, bytes: &[u8], is_slow: &mut bool, stop: &Stop) -> (usize, DropCause) {
        let mut written = 0;
        while written < bytes.len() {
            match (&self.socket).write(&bytes[written..]) {
                Ok(0) => return (written, DropCause::NoReceiver),
                Ok(len) => {
                    written += len;
                    *is_slow = false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait_for_room(is_slow, stop) {
                        return (written, DropCause::ProgramSlow);
                    }
                }
                Err(_) => return (written, DropCause::NoReceiver),
            }
        }
        (written, DropCause::ProgramSlow)
    }
}
