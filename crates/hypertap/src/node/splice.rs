//! Bytes from one stream to another, both ways.
//!
//! # Theory of operation
//!
//! Two pipes, one each way. A pipe reads a piece, writes it, and reads the next only when that is written, so
//! that neither side is read faster than the other takes it. The piece lies in memory that all
//! splices of a thread share, and only what could not be written at once is kept; an idle splice holds no
//! buffer.
//!
//! An end of file ends its own direction. An error of reading is a reset, and becomes one on the other side at once.
//! After an error of writing there may still be something to read from that side, as when a peer closes both
//! directions together: the other pipe goes on to its end, for a bounded time, and so it does where a peer resets or is
//! gone while what it sent waits to be written. As long what nobody takes is read
//! and thrown away, for the kernel makes a reset of a close with something unread, and that overtakes what was written.
//!
//! A side that has ended its direction may be reset later, or gone. A peer resets a stream of its own will, so that is
//! a reset of both. A target's kernel does it as well, where a target has closed both directions and something still
//! comes; its last words may be on their way then, so it is taken as one that takes no more.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

use super::far::Far;

/// The longest piece, in bytes. Larger ones leave the second-level cache before they are written.
pub const PIECE: usize = 128 * 1024;
/// How many pieces a pipe moves before others have a turn.
const TURN: usize = 16;
/// How long a side is still read from that takes nothing any more.
const FAREWELL: Duration = Duration::from_secs(10);

thread_local! {
    static SCRATCH: RefCell<Vec<u8>> = RefCell::new(vec![0; PIECE]);
}

/// Lends the thread's memory for a piece.
pub fn with_scratch<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    SCRATCH.with_borrow_mut(|scratch| work(scratch))
}

/// What passed in one direction, and what did not.
#[derive(Debug, Default)]
struct Pipe {
    /// Read and not yet written, from `written` on.
    rest: Vec<u8>,
    written: usize,
    state: PipeState,
    /// Whether something was written that may not be on its way yet.
    unsent: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PipeState {
    #[default]
    Open,
    /// All was read; the end is still to be told.
    Ending,
    /// The end was told.
    Ended,
    /// The other side takes no more; what comes is thrown away.
    Broken,
    /// And nothing more comes.
    Drained,
}

/// How a splice ended.
#[derive(Debug, PartialEq, Eq)]
pub enum SpliceEnd {
    /// Both directions were closed, or one side took no more and both were read to their ends.
    Closed,
    /// One side was reset, and so the other; or one side took no more and the other did not end.
    Reset,
}

/// Two streams joined together, until both directions are closed or one side is reset.
#[derive(Debug)]
pub struct Splice {
    sides: Option<(Far, Far)>,
    there: Pipe,
    back: Pipe,
    farewell: Option<Pin<Box<Sleep>>>,
}

impl Splice {
    /// Joins two streams.
    pub fn new(one: Far, other: Far) -> Self {
        Self { sides: Some((one, other)), there: Pipe::default(), back: Pipe::default(), farewell: None }
    }
}

impl Future for Splice {
    type Output = SpliceEnd;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<SpliceEnd> {
        let this = &mut *self;
        let Some((one, other)) = &mut this.sides else { return Poll::Ready(SpliceEnd::Closed) };
        let is_cut = one.poll_cut(cx).is_ready() || other.poll_cut(cx).is_ready();
        let there = this.there.poll(cx, one, other);
        let back = this.back.poll(cx, other, one);
        let is_over = |pipe: &Pipe| matches!(pipe.state, PipeState::Ended | PipeState::Drained);
        let is_reset = is_cut || there.is_err() || back.is_err();
        if !is_reset && is_over(&this.there) && is_over(&this.back) {
            // Closed, not reset, so that what was written arrives.
            this.sides = None;
            return Poll::Ready(SpliceEnd::Closed);
        }
        let is_reset = is_reset
            || this.there.is_source_dead(cx, one, &mut this.back)
            || this.back.is_source_dead(cx, other, &mut this.there);
        let is_broken = [&this.there, &this.back]
            .iter()
            .any(|pipe| matches!(pipe.state, PipeState::Broken | PipeState::Drained));
        let mut is_gone = |pipe: &Pipe, from: &mut Far| {
            // A target that goes is seen when it is read from again.
            !pipe.rest.is_empty() && from.is_mesh() && from.poll_dead(cx).is_ready()
        };
        let is_broken = is_broken || is_gone(&this.there, one) || is_gone(&this.back, other);
        let mut is_late = false;
        if is_broken && !is_reset {
            let farewell = this.farewell.get_or_insert_with(|| Box::pin(sleep(FAREWELL)));
            is_late = farewell.as_mut().poll(cx).is_ready();
        }
        if is_reset || is_late {
            if let Some((one, other)) = this.sides.take() {
                one.reset();
                other.reset();
            }
            return Poll::Ready(SpliceEnd::Reset);
        }
        Poll::Pending
    }
}

impl Pipe {
    /// Moves what can be moved.
    ///
    /// # Errors
    /// The side that is read from was reset.
    fn poll(&mut self, cx: &mut Context<'_>, from: &mut Far, to: &mut Far) -> io::Result<()> {
        for _ in 0..TURN {
            if !self.rest.is_empty() && !self.poll_rest(cx, to) {
                return Ok(());
            }
            match self.state {
                PipeState::Open => {}
                PipeState::Ending => {
                    self.state = match to.poll_close(cx) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(Ok(())) => PipeState::Ended,
                        Poll::Ready(Err(_)) => PipeState::Drained,
                    };
                    return Ok(());
                }
                PipeState::Broken => {
                    self.state = match with_scratch(|scratch| from.poll_read(cx, scratch)) {
                        Poll::Pending => return Ok(()),
                        Poll::Ready(Ok(1..)) => continue,
                        Poll::Ready(Ok(0) | Err(_)) => PipeState::Drained,
                    };
                    return Ok(());
                }
                PipeState::Ended | PipeState::Drained => return Ok(()),
            }
            let read = with_scratch(|scratch| match from.poll_read(cx, scratch) {
                Poll::Ready(Ok(len)) => {
                    self.write(cx, to, scratch.get(..len).unwrap_or_default());
                    Poll::Ready(Ok(len))
                }
                other => other,
            });
            match read {
                Poll::Ready(Ok(0)) => self.state = PipeState::Ending,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => {
                    if self.unsent {
                        match to.poll_flush(cx) {
                            Poll::Ready(Ok(())) => self.unsent = false,
                            Poll::Ready(Err(_)) => self.state = PipeState::Broken,
                            Poll::Pending => {}
                        }
                    }
                    return Ok(());
                }
            }
        }
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Whether the side that is read from was reset after its end, so that both are to be. Where it only takes no
    /// more, the pipe to it is broken.
    fn is_source_dead(&self, cx: &mut Context<'_>, from: &mut Far, to_it: &mut Self) -> bool {
        if !matches!(self.state, PipeState::Ended | PipeState::Drained) || from.poll_dead(cx).is_pending() {
            return false;
        }
        if from.is_mesh() {
            return true;
        }
        let state = match to_it.state {
            PipeState::Open => PipeState::Broken,
            PipeState::Ending => PipeState::Drained,
            other => other,
        };
        if std::mem::replace(&mut to_it.state, state) != state {
            // The other side is read on, or both are over.
            cx.waker().wake_by_ref();
        }
        false
    }

    /// Writes a piece, and keeps what is not taken.
    fn write(&mut self, cx: &mut Context<'_>, to: &mut Far, mut piece: &[u8]) {
        while !piece.is_empty() {
            match to.poll_write(cx, piece) {
                Poll::Ready(Ok(written)) => {
                    self.unsent = true;
                    piece = piece.get(written..).unwrap_or_default();
                }
                Poll::Ready(Err(_)) => return self.state = PipeState::Broken,
                Poll::Pending => return self.rest.extend_from_slice(piece),
            }
        }
    }

    /// Writes what was kept. Returns whether nothing of it is left.
    fn poll_rest(&mut self, cx: &mut Context<'_>, to: &mut Far) -> bool {
        while let rest @ [_, ..] = self.rest.get(self.written..).unwrap_or_default() {
            match to.poll_write(cx, rest) {
                Poll::Ready(Ok(written)) => {
                    self.written += written;
                    self.unsent = true;
                }
                Poll::Ready(Err(_)) => {
                    self.state = PipeState::Broken;
                    break;
                }
                Poll::Pending => return false,
            }
        }
        self.rest = Vec::new();
        self.written = 0;
        true
    }
}
