//! A client at a socket that keeps messages apart: each is a frame.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use hypertap_platform::guest_socket::{Answer, GuestSocket, Refusal};
use hypertap_wire::batch::Batch;
use hypertap_wire::frames::Framing;

use super::DropReason;
use super::outgoing::{LIMIT, Outgoing};
use super::report::Counters;

/// The client's outgoing half.
pub(super) struct Messages {
    answer: Answer,
    /// Frames, as [`Framing::Be32`].
    pub(super) outgoing: Outgoing,
    /// Nobody is there any more.
    pub(super) is_gone: bool,
}

impl Messages {
    /// The outgoing half of a connected socket.
    ///
    /// # Errors
    /// When there is no descriptor left.
    pub(super) fn new(socket: &GuestSocket) -> io::Result<Self> {
        Ok(Self { answer: Answer::connected(socket)?, outgoing: Outgoing::default(), is_gone: false })
    }

    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.answer.descriptor()
    }

    pub(super) fn deliver(&mut self, batch: &Batch, frames: Range<usize>, counters: &mut Counters) {
        for frame in batch.iter().skip(frames.start).take(frames.len()) {
            match self.outgoing.push(Framing::Be32, frame, LIMIT) {
                Ok(len) => counters.send(1, len as u64),
                Err(reason) => counters.drop(reason, 1),
            }
        }
    }

    pub(super) fn flush(&mut self, counters: &mut Counters) {
        let Some(socket) = self.answer.descriptor() else { return };
        while !self.outgoing.is_empty() {
            let sent = self.answer.send(socket, self.outgoing.frames());
            self.outgoing.take_frames(sent.frames);
            let (reason, most) = match sent.refusal {
                None => continue,
                Some(Refusal::Full) => return,
                Some(Refusal::Other(error)) => {
                    tracing::debug!(%error, "a frame cannot be sent");
                    (DropReason::Unsendable, 1)
                }
                Some(Refusal::Gone | Refusal::Connected) => {
                    self.is_gone = true;
                    (DropReason::Gone, usize::MAX)
                }
            };
            let (frames, bytes) = self.outgoing.drop_frames(most);
            counters.lose(reason, frames, bytes);
        }
    }
}
