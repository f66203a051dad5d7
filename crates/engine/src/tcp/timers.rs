//! When which flow is to be looked at: a heap, corrected when an entry comes up.
//!
//! A flow's deadline moves with each packet, nearly always to later. So it has at most one entry
//! that counts, for a time not after its deadline; when that comes up early, it is set anew. A
//! packet of a busy flow thus costs the heap nothing.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use super::FlowId;

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Duration, FlowId)>>,
}

impl Timers {
    /// Looks at a flow at `deadline`. `queued` is the flow's own note of its entry that counts.
    pub fn set(&mut self, id: FlowId, deadline: Option<Duration>, queued: &mut Option<Duration>) {
        if let Some(at) = deadline
            && queued.is_none_or(|queued| at < queued)
        {
            *queued = Some(at);
            self.heap.push(Reverse((at, id)));
        }
    }

    /// The next entry's time.
    pub fn next(&self) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes out an entry that is due.
    pub fn pop(&mut self, now: Duration) -> Option<(Duration, FlowId)> {
        let Reverse((at, id)) = *self.heap.peek()?;
        (at <= now).then(|| {
            self.heap.pop();
            (at, id)
        })
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Drops the entries that `keep` does not want.
    pub fn retain(&mut self, mut keep: impl FnMut(Duration, FlowId) -> bool) {
        self.heap.retain(|Reverse((at, id))| keep(*at, *id));
    }
}
