//! One program's connection, ended in user space, and the stream that carries its bytes on.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hypertap_engine::tcp::{FlowId, Tcp};

use super::far::Far;
use super::ready::{Alarm, Ready};
use super::splice::with_scratch;

/// How many pieces a flow moves each way before others have a turn.
const TURN: usize = 8;
/// How long a far end is still read from that takes nothing any more.
const FAREWELL: Duration = Duration::from_secs(10);

/// What passes from the program to the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    Open,
    /// The program has closed; the far end is still to be told.
    Ending,
    Ended,
    /// The far end takes no more; what it sent is read until then.
    /// Or longer, as long as it is taken: up to there it was at the last look.
    Broken {
        until: Duration,
        taken: u32,
    },
}

/// A flow and its far end. Bytes wait in the flow's own buffers; here only what the program's
/// window had no room for.
#[derive(Debug)]
pub struct Flow {
    far: Far,
    up: Up,
    /// Whether the far end's end was passed on.
    is_down_ended: bool,
    /// Came from the far end and not yet written, from `written` on.
    rest: Vec<u8>,
    written: usize,
    /// Whether the far end may hold something back that was written to it.
    is_unsent: bool,
    /// Whether the program's side is over, and only the far end is still to be told.
    is_forsaken: bool,
    alarm: Alarm<FlowId>,
}

/// What is to be done with a flow afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on when it is woken.
    Wait,
    /// It has more to do and lets others go first.
    Again,
    /// The same as `Wait`, and it is to be woken at this time. Told once.
    Farewell {
        /// When.
        until: Duration,
    },
    /// It is over, in both directions.
    Over,
    /// One side was reset; the other is to be.
    Reset,
}

impl Flow {
    /// Joins a flow to its far end.
    pub fn new(flow: FlowId, far: Far, ready: &Arc<Ready<FlowId>>) -> Self {
        Self {
            far,
            up: Up::Open,
            is_down_ended: false,
            rest: Vec::new(),
            written: 0,
            is_unsent: false,
            is_forsaken: false,
            alarm: Alarm::new(flow, ready),
        }
    }

    /// Has it looked after soon.
    pub fn wake(&self) {
        self.alarm.ring();
    }

    /// The program has closed its direction, and all that it sent is passed on.
    pub fn end_up(&mut self) {
        if self.up == Up::Open {
            self.up = Up::Ending;
        }
        self.wake();
    }

    /// The program's side is closed both ways: nothing more comes from it or goes to it.
    pub fn forsake(&mut self) {
        self.is_forsaken = true;
        self.end_up();
    }

    /// Resets the far end.
    pub fn reset(self) {
        self.far.reset();
    }

    /// Moves what can be moved.
    pub fn pump(&mut self, id: FlowId, tcp: &mut Tcp, now: Duration) -> Next {
        let waker = self.alarm.answer();
        let cx = &mut Context::from_waker(&waker);
        if self.far.poll_cut(cx).is_ready() {
            return Next::Reset;
        }
        let was_broken = matches!(self.up, Up::Broken { .. });
        let is_up_busy = self.pump_up(id, tcp, now, cx);
        let is_down_busy = match self.pump_down(id, tcp, now, cx) {
            Poll::Ready(Err(_)) if self.is_forsaken => return Next::Over,
            Poll::Ready(Err(_)) => {
                self.is_down_ended = true;
                self.give_up(id, tcp, now);
                false
            }
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        let has_ended = self.is_down_ended && matches!(self.up, Up::Open | Up::Ending);
        let is_held = !self.rest.is_empty() && self.far.is_mesh() && !matches!(self.up, Up::Broken { .. });
        if (has_ended || is_held) && self.far.poll_dead(cx).is_ready() {
            self.give_up(id, tcp, now);
        }
        match self.up {
            Up::Broken { .. } | Up::Ended if self.is_forsaken => Next::Over,
            // Not before it has all that came, which a reset would take from it.
            Up::Broken { .. } if self.is_down_ended && tcp.poll_delivered(id) => Next::Reset,
            Up::Broken { until, taken } if now >= until => {
                if tcp.taken(id) == taken {
                    return Next::Reset;
                }
                self.up = Up::Open;
                self.give_up(id, tcp, now);
                Next::Farewell { until: now + FAREWELL }
            }
            Up::Broken { until, .. } if !was_broken => {
                if is_down_busy {
                    self.wake();
                }
                Next::Farewell { until }
            }
            _ if is_up_busy || is_down_busy => Next::Again,
            _ => Next::Wait,
        }
    }

    /// The far end takes no more. What it sent is still to reach the program; what the program sends is thrown away.
    fn give_up(&mut self, id: FlowId, tcp: &Tcp, now: Duration) {
        if !matches!(self.up, Up::Broken { .. }) {
            self.up = Up::Broken { until: now + FAREWELL, taken: tcp.taken(id) };
            self.wake();
        }
    }

    /// From the program to the far end. Returns whether there may be more to do at once.
    fn pump_up(&mut self, id: FlowId, tcp: &mut Tcp, now: Duration, cx: &mut Context<'_>) -> bool {
        for _ in 0..TURN {
            if self.up != Up::Open {
                break;
            }
            let bytes = tcp.peek(id);
            if bytes.is_empty() {
                break;
            }
            match self.far.poll_write(cx, bytes) {
                Poll::Ready(Ok(written)) => {
                    tcp.consume(now, id, written);
                    self.is_unsent = true;
                }
                Poll::Ready(Err(_)) => self.give_up(id, tcp, now),
                Poll::Pending => return false,
            }
        }
        if let Up::Broken { .. } = self.up {
            // Unread, it would hold up what tells how much has arrived. All of it, in pieces as it lies: only then is
            // more told of.
            while let len @ 1.. = tcp.peek(id).len() {
                tcp.consume(now, id, len);
            }
        } else if self.up == Up::Ending {
            match self.far.poll_close(cx) {
                Poll::Ready(Ok(())) => self.up = Up::Ended,
                Poll::Ready(Err(_)) => self.give_up(id, tcp, now),
                Poll::Pending => {}
            }
        } else if self.up == Up::Open && tcp.peek(id).is_empty() {
            if self.is_unsent && self.far.poll_flush(cx).is_ready() {
                // A failure shows at the next write, or by reading.
                self.is_unsent = false;
            }
        } else {
            return self.up == Up::Open;
        }
        false
    }

    /// From the far end to the program. Ready: there may be more to do at once.
    fn pump_down(
        &mut self,
        id: FlowId,
        tcp: &mut Tcp,
        now: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        for _ in 0..TURN {
            if self.is_down_ended || self.is_forsaken {
                return Poll::Pending;
            }
            if let rest @ [_, ..] = self.rest.get(self.written..).unwrap_or_default() {
                self.written += tcp.write(now, id, rest);
                if self.written < self.rest.len() {
                    return Poll::Pending;
                }
                self.rest = Vec::new();
                self.written = 0;
            }
            let (far, rest) = (&mut self.far, &mut self.rest);
            let read = with_scratch(|scratch| {
                let read = far.poll_read(cx, scratch);
                if let Poll::Ready(Ok(len)) = read {
                    let piece = scratch.get(..len).unwrap_or_default();
                    let written = tcp.write(now, id, piece);
                    rest.extend_from_slice(piece.get(written..).unwrap_or_default());
                }
                read
            });
            match read {
                Poll::Ready(Ok(0)) => {
                    self.is_down_ended = true;
                    tcp.shutdown_write(now, id);
                }
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}
