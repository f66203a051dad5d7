//! A guest behind a datagram socket, as the frames see it that are for it.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use hypertap_platform::guest_socket::{Answer, GuestName, NoAnswer, Refusal, Sender};
use hypertap_wire::batch::Batch;
use hypertap_wire::frames::Framing;

use super::outgoing::{LIMIT, Outgoing};
use super::report::Counters;
use super::{DropReason, Place};

/// How many frames are not tried to be sent to a guest that has no room and cannot be waited for.
const SKIPPED: usize = 32;
/// How many frames such a guest is sent at once.
const AT_ONCE: usize = 32;
/// What one that shares its memory with others may be sent at least without having sent anything itself, in bytes.
const UNHEARD: usize = 32 << 10;
/// How often a guest's path is looked at while it sends.
const LOOK: Duration = Duration::from_millis(100);

/// A guest's outgoing half.
pub(super) struct Guest {
    pub(super) name: GuestName,
    /// The number of the socket that it sends to.
    pub(super) door: usize,
    sender: Option<u32>,
    /// The socket that it sends to.
    ours: Rc<OwnedFd>,
    answer: Answer,
    /// Frames, as [`Framing::Be32`].
    pub(super) outgoing: Outgoing,
    skipped: usize,
    /// Bytes that it was sent since it last sent something.
    unheard: usize,
    looked: Duration,
    /// Its socket is gone, or another.
    pub(super) is_gone: bool,
    /// Its socket is there, and takes nothing of ours: it is connected elsewhere, or shut down for reading.
    pub(super) takes_nothing: bool,
    /// The way to it is another, to be watched anew.
    pub(super) is_reopened: bool,
    pub(super) place: Place,
}

impl Guest {
    pub(super) fn new(
        name: GuestName,
        sender: Sender,
        (door, ours): (usize, Rc<OwnedFd>),
        answer: Answer,
        now: Duration,
        place: Place,
    ) -> Self {
        Self {
            name,
            door,
            sender: sender.uid,
            ours,
            answer,
            outgoing: Outgoing::default(),
            skipped: 0,
            unheard: 0,
            looked: now,
            is_gone: false,
            takes_nothing: false,
            is_reopened: false,
            place,
        }
    }

    /// What tells when there is room, if anything does.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.answer.descriptor()
    }

    /// It has sent something. Returns whether it still is who it was.
    pub(super) fn on_heard(&mut self, now: Duration) -> bool {
        self.skipped = 0;
        self.unheard = 0;
        if now.saturating_sub(self.looked) >= LOOK {
            self.looked = now;
            self.is_gone |= !self.answer.is_current(&self.name);
        }
        !self.is_gone
    }

    /// Finds out whether nobody receives at its name any more, without sending anything. Whoever came again there is
    /// the same guest; and what else keeps it from being answered, such as a want of descriptors, may pass.
    pub(super) fn is_dead(&self) -> bool {
        self.is_gone
            || match Answer::open(&self.name, self.sender) {
                Ok(_) => false,
                Err(NoAnswer::Gone | NoAnswer::NotASocket) => true,
                Err(_) => !self.answer.is_current(&self.name),
            }
    }

    pub(super) fn deliver(&mut self, batch: &Batch, frames: Range<usize>, counters: &mut Counters) {
        for frame in batch.iter().skip(frames.start).take(frames.len()) {
            if self.skipped > 0 {
                self.skipped -= 1;
                counters.drop(DropReason::Slow, 1);
                continue;
            }
            match self.outgoing.push(Framing::Be32, frame, LIMIT) {
                Ok(len) => counters.send(1, len as u64),
                Err(reason) => counters.drop(reason, 1),
            }
        }
    }

    pub(super) fn flush(&mut self, counters: &mut Counters) {
        let mut is_reopened = false;
        while !self.outgoing.is_empty() {
            let is_alone = self.answer.descriptor().is_some();
            if !is_alone && self.unheard >= UNHEARD && self.answer.is_crowded(self.ours.as_fd()) {
                return self.skip(counters);
            }
            let most = if is_alone { usize::MAX } else { AT_ONCE };
            let sent = self.answer.send(self.ours.as_fd(), self.outgoing.frames().take(most));
            self.unheard = self.unheard.saturating_add(self.outgoing.take_frames(sent.frames));
            match sent.refusal {
                None => {}
                Some(Refusal::Full) if is_alone => return,
                Some(Refusal::Full) => return self.skip(counters),
                Some(Refusal::Other(error)) => {
                    tracing::debug!(guest = %self.name, %error, "a frame cannot be sent");
                    self.lose(DropReason::Unsendable, 1, counters);
                }
                Some(Refusal::Gone | Refusal::Connected) => match self.reopen() {
                    Ok(()) if !is_reopened => is_reopened = true,
                    Err(NoAnswer::Io(error)) => {
                        tracing::debug!(guest = %self.name, %error, "a guest cannot be reached now");
                        return self.skip(counters);
                    }
                    result => {
                        self.lose(DropReason::Gone, usize::MAX, counters);
                        self.is_gone = true;
                        self.takes_nothing = result.is_ok();
                    }
                },
            }
        }
    }

    /// Finds the way to a guest that has connected its socket, connected it anew, or come again with another.
    fn reopen(&mut self) -> Result<(), NoAnswer> {
        self.answer = Answer::open(&self.name, self.sender)?;
        self.is_reopened = true;
        Ok(())
    }

    /// Drops what waits and some of what comes next: nothing tells when this guest reads again but what it sends.
    fn skip(&mut self, counters: &mut Counters) {
        self.lose(DropReason::Slow, usize::MAX, counters);
        self.skipped = SKIPPED;
    }

    /// Drops the first frames that wait.
    fn lose(&mut self, reason: DropReason, most: usize, counters: &mut Counters) {
        let (frames, bytes) = self.outgoing.drop_frames(most);
        counters.lose(reason, frames, bytes);
    }
}
