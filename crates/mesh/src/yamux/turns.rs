//! Who may write next, once the outgoing buffer was full.
//!
//! Streams that find it full queue. Each time the buffer is taken away to be written, the first of them get
//! a turn each, of one frame, as many as fill it; those that come meanwhile queue behind. Nobody can be waited for in vain: a
//! turn that was not used is void when the buffer is taken again, and its stream, should it come late, is
//! let in while there is room.

use std::collections::VecDeque;

/// Where a stream stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Turn {
    /// It does not want to write, or has not been refused.
    #[default]
    None,
    /// It is in the queue.
    Waiting,
    /// It may write a frame, surely as long as the round of this number lasts.
    Given(u64),
}

/// What room there is to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Room {
    None,
    Some,
    /// Nothing at all is on its way out.
    All,
}

#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Streams, and how many bytes they want to write.
    waiting: VecDeque<(u32, usize)>,
    round: u64,
    /// Turns of this round that were not used.
    unused: usize,
}

impl Turns {
    /// Whether `stream` may write a frame of `length` bytes; if not it is in the queue.
    pub(super) fn may_write(&mut self, stream: u32, turn: &mut Turn, length: usize, room: Room) -> bool {
        match *turn {
            Turn::Given(round) if round == self.round => {
                self.unused = self.unused.saturating_sub(1);
                *turn = Turn::None;
                true
            }
            Turn::Given(_) if room != Room::None => {
                *turn = Turn::None;
                true
            }
            Turn::Given(_) => {
                self.waiting.push_front((stream, length));
                *turn = Turn::Waiting;
                false
            }
            Turn::Waiting | Turn::None if room == Room::All => {
                self.leave(stream, turn);
                true
            }
            Turn::Waiting => false,
            Turn::None if room != Room::None && self.waiting.is_empty() && self.unused == 0 => true,
            Turn::None => {
                self.waiting.push_back((stream, length));
                *turn = Turn::Waiting;
                false
            }
        }
    }

    /// The stream does not want to write any more.
    pub(super) fn leave(&mut self, stream: u32, turn: &mut Turn) {
        match std::mem::take(turn) {
            Turn::Waiting => self.waiting.retain(|(waiting, _)| *waiting != stream),
            Turn::Given(round) if round == self.round => self.unused = self.unused.saturating_sub(1),
            Turn::None | Turn::Given(_) => {}
        }
    }

    /// Begins the next round: turns that were given before are void.
    pub(super) fn next_round(&mut self) {
        self.round += 1;
        self.unused = 0;
    }

    /// The next stream to have a turn, that, and how many bytes it wanted to write.
    pub(super) fn give(&mut self) -> Option<(u32, Turn, usize)> {
        let (stream, length) = self.waiting.pop_front()?;
        self.unused += 1;
        Some((stream, Turn::Given(self.round), length))
    }

    pub(super) fn is_anyone_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
