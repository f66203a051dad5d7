//! One program's connection, ended in user space, and the stream that carries its bytes on.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures::task::AtomicWaker;
use hypertap_engine::tcp::{FlowId, Tcp};

use super::far::Far;
use super::splice::with_scratch;

/// How many pieces a flow moves each way before others have a turn.
const TURN: usize = 8;
/// How long a far end is still read from that takes nothing any more.
const FAREWELL: Duration = Duration::from_secs(10);

/// The flows whose far ends have something to do, and who is to be woken for them.
#[derive(Debug, Default)]
pub struct Ready {
    flows: Mutex<Vec<FlowId>>,
    shard: AtomicWaker,
}

impl Ready {
    /// Whom to wake from now on.
    pub fn register(&self, waker: &Waker) {
        self.shard.register(waker);
    }

    /// Moves the flows that were woken since the last time to the end of `flows`.
    pub fn take(&self, flows: &mut Vec<FlowId>) {
        flows.append(&mut self.flows.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Wakes one flow.
#[derive(Debug)]
struct FlowWaker {
    flow: FlowId,
    is_queued: AtomicBool,
    ready: Arc<Ready>,
}

impl Wake for FlowWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.ready.flows.lock().unwrap_or_else(PoisonError::into_inner).push(self.flow);
            self.ready.shard.wake();
        }
    }
}

/// What passes from the program to the far end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Up {
    Open,
    /// The program has closed; the far end is still to be told.
    Ending,
    Ended,
    /// The far end takes no more; what it sent is read until then.
    Broken {
        until: Duration,
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
    waker: Waker,
    awake: Arc<FlowWaker>,
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
    pub fn new(flow: FlowId, far: Far, ready: &Arc<Ready>) -> Self {
        let awake = Arc::new(FlowWaker { flow, is_queued: AtomicBool::new(false), ready: Arc::clone(ready) });
        Self {
            far,
            up: Up::Open,
            is_down_ended: false,
            rest: Vec::new(),
            written: 0,
            is_unsent: false,
            is_forsaken: false,
            waker: Waker::from(Arc::clone(&awake)),
            awake,
        }
    }

    /// Has it looked after soon.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
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
        // Whoever wakes it from here on means something new.
        self.awake.is_queued.store(false, Ordering::Release);
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        let was_broken = matches!(self.up, Up::Broken { .. });
        let is_up_busy = self.pump_up(id, tcp, now, cx);
        let is_down_busy = match self.pump_down(id, tcp, now, cx) {
            Poll::Ready(Err(_)) if !self.is_forsaken => return Next::Reset,
            Poll::Ready(Err(_)) => return Next::Over,
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        match self.up {
            Up::Broken { .. } if self.is_forsaken => Next::Over,
            Up::Broken { until } if self.is_down_ended || now >= until => Next::Reset,
            Up::Ended if self.is_forsaken => Next::Over,
            Up::Broken { until } if !was_broken => {
                if is_down_busy {
                    self.wake();
                }
                Next::Farewell { until }
            }
            _ if is_up_busy || is_down_busy => Next::Again,
            _ => Next::Wait,
        }
    }

    /// From the program to the far end. Returns whether there may be more to do at once.
    fn pump_up(&mut self, id: FlowId, tcp: &mut Tcp, now: Duration, cx: &mut Context<'_>) -> bool {
        let broken = Up::Broken { until: now + FAREWELL };
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
                Poll::Ready(Err(_)) => self.up = broken,
                Poll::Pending => return false,
            }
        }
        if self.up == Up::Ending {
            match self.far.poll_close(cx) {
                Poll::Ready(Ok(())) => self.up = Up::Ended,
                Poll::Ready(Err(_)) => self.up = broken,
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
