//! Who has a socket, and how large: within one bound for all, the idle give theirs first.

use std::time::Duration;

use super::stack::Live;
use super::{FlowId, Tcp};

impl Tcp {
    /// Takes back a flow's socket.
    pub(super) fn release(&mut self, live: Live) {
        self.counters.live -= 1;
        self.counters.buffered -= 2 * self.stack.sizes[live.class];
        self.stack.recycle(live);
    }

    /// Gives a flow a socket with buffers of `class`, or smaller ones when memory is short, but none that
    /// are smaller than what it has. Returns whether it has one.
    pub(super) fn unfold(&mut self, now: Duration, id: FlowId, class: usize, announce: bool) -> bool {
        let Some(flow) = self.table.get(id) else { return false };
        let had = flow.live_ref().map(|live| live.class);
        let least = had.map_or(0, |had| had + 1);
        let fits = |tcp: &Self, class: usize| {
            tcp.counters.buffered + 2 * tcp.stack.sizes[class] <= tcp.settings.max_buffered
        };
        if !fits(self, class) {
            self.cool(0);
        }
        let Some(class) = (least..=class).rev().find(|class| fits(self, *class)) else {
            self.counters.no_buffers += u64::from(had.is_none());
            return had.is_some();
        };
        let Some(flow) = self.table.get_mut(id) else { return false };
        let Some((former, update)) = flow.unfold(&mut self.stack, now, class) else { return had.is_some() };
        self.counters.live += 1;
        self.counters.buffered += 2 * self.stack.sizes[class];
        if let Some(former) = former {
            self.release(former);
        }
        if announce {
            self.emit(id, update);
        }
        self.mark_dirty(id);
        true
    }

    /// Takes the sockets of idle flows away until only `most` are left.
    pub(super) fn cool(&mut self, most: usize) {
        while self.warm.len() > most {
            let Some(id) = self.warm.pop_front() else { return };
            if let Some(flow) = self.table.get_mut(id) {
                flow.marks.warm = false;
            }
            self.fold(id);
        }
    }

    /// Takes an idle flow's socket away.
    pub(super) fn fold(&mut self, id: FlowId) {
        if let Some(flow) = self.table.get_mut(id)
            && flow.is_quiet()
            && let Some(live) = flow.fold()
        {
            self.release(live);
        }
    }
}
