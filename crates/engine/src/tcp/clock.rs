//! The side of the time: limits, keep-alive, TIME-WAIT.

use std::time::Duration;

use smoltcp::socket::tcp::State as Phase;

use super::flow::{Flow, State};
use super::{Event, FlowId, Tcp};

/// How often a SYN-ACK is sent again, after 1, 2, 4, … seconds.
const SYN_ACK_RETRIES: u8 = 5;
/// When a flow that found no memory tries again.
const RETRY: Duration = Duration::from_millis(20);
/// Timers that are kept though nothing waits for them, before they are swept.
const STALE_TIMERS: usize = 1024;

impl Tcp {
    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some((at, id)) = self.timers.pop(now) {
            if let Some(flow) = self.table.get_mut(id)
                && flow.queued == Some(at)
            {
                flow.queued = None;
                self.on_time(now, id);
            }
        }
        self.sweep_timers();
    }

    /// Drops the timers that nothing waits for, when they are the most.
    pub(super) fn sweep_timers(&mut self) {
        if self.timers.len() > 2 * self.table.len() + STALE_TIMERS {
            let Self { timers, table, .. } = self;
            timers.retain(|at, id| table.get(id).is_some_and(|flow| flow.queued == Some(at)));
        }
    }

    fn on_time(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        match &flow.state {
            State::Asked { until } if *until <= now => self.expire(id),
            State::Offered { tries, again } if *again <= now => {
                let tries = tries + 1;
                if tries > SYN_ACK_RETRIES {
                    self.events.push_back(Event::Reset { flow: id });
                    self.counters.expired_syns += 1;
                    self.remove(id);
                } else {
                    self.offer(now, id, tries);
                }
            }
            State::Done { until: Some(until), .. } if *until <= now => self.end_time_wait(id),
            State::Open(_) => self.on_open_time(now, id),
            State::Asked { until: at }
            | State::Offered { again: at, .. }
            | State::Done { until: Some(at), .. } => {
                let at = *at;
                self.timers.set(id, Some(at), &mut flow.queued);
            }
            State::Done { until: None, .. } => {}
        }
    }

    fn on_open_time(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get(id) else { return };
        let due = |at: Option<Duration>| at.is_some_and(|at| at <= now);
        if due(self.patience_ends(id)) && flow.marks.fin_received && flow.waits_for_fin_alone() {
            // All bytes have arrived; nobody is there to say so of the FIN.
            return self.conclude(now, id, None);
        }
        if due(self.patience_ends(id)) || due(self.idle_ends(id)) {
            self.events.push_back(Event::Reset { flow: id });
            let abort = flow.abort(&self.stack);
            self.reply(abort);
            return self.remove(id);
        }
        if due(self.keep_alive_at(id)) {
            let most = self.settings.keep_alive.map_or(u8::MAX, |keep_alive| keep_alive.probes);
            if flow.probes >= most {
                self.events.push_back(Event::Reset { flow: id });
                let abort = flow.abort(&self.stack);
                self.reply(abort);
                return self.remove(id);
            }
            let probe = flow.keep_alive(&self.stack);
            self.reply(probe);
            if let Some(flow) = self.table.get_mut(id) {
                flow.probes += 1;
            }
        }
        let Some(flow) = self.table.get(id) else { return };
        if flow.marks.finish_owed && flow.live_ref().is_none() {
            self.shutdown_write(now, id);
        }
        if due(self.cold_at(id)) {
            self.fold(id);
        }
        let due = self.table.get(id).and_then(Flow::live_ref);
        if due.is_some_and(|live| self.stack.poll_at(now, live).is_some_and(|at| at <= now)) {
            // What its deadline is then is seen when it has sent.
            return self.mark_dirty(id);
        }
        self.rest(now, id);
    }

    /// Looks at a flow again soon.
    pub(super) fn hurry(&mut self, now: Duration, id: FlowId) {
        if let Some(flow) = self.table.get_mut(id) {
            self.timers.set(id, Some(now + RETRY), &mut flow.queued);
        }
    }

    /// When a flow's own limits want it looked at, but for its socket.
    pub(super) fn deadline(&self, now: Duration, id: FlowId) -> Option<Duration> {
        let lacks = |flow: &Flow| flow.marks.finish_owed && flow.live_ref().is_none();
        let owed = self.table.get(id).is_some_and(lacks).then(|| now + RETRY);
        [self.patience_ends(id), self.idle_ends(id), self.keep_alive_at(id), self.cold_at(id), owed]
            .into_iter()
            .flatten()
            .min()
    }

    /// When the program has been silent for too long with something to acknowledge.
    fn patience_ends(&self, id: FlowId) -> Option<Duration> {
        let flow = self.table.get(id).filter(|flow| !flow.all_acknowledged())?;
        Some(flow.heard.max(flow.waiting) + self.settings.user_timeout)
    }

    fn idle_ends(&self, id: FlowId) -> Option<Duration> {
        Some(self.table.get(id)?.active + self.settings.idle_timeout?)
    }

    fn keep_alive_at(&self, id: FlowId) -> Option<Duration> {
        let keep_alive = self.settings.keep_alive?;
        let flow = self.table.get(id).filter(|flow| flow.all_acknowledged())?;
        Some(flow.heard.max(flow.waiting) + keep_alive.after + keep_alive.every * u32::from(flow.probes))
    }

    /// When an idle flow loses its socket.
    fn cold_at(&self, id: FlowId) -> Option<Duration> {
        let flow = self.table.get(id).filter(|flow| flow.is_quiet())?;
        Some(flow.heard.max(flow.active) + self.settings.warm_for)
    }

    /// Takes over from a socket that is closed both ways.
    pub(super) fn finish(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let Some(phase) = flow.live_ref().map(super::stack::Live::state) else { return };
        if !matches!(phase, Phase::TimeWait | Phase::Closed) {
            return;
        }
        if phase == Phase::TimeWait {
            self.conclude(now, id, Some(now + self.settings.time_wait));
            self.acknowledge(id);
            self.time_wait.push_back(id);
            self.shorten_time_wait();
        } else {
            self.conclude(now, id, None);
        }
    }

    /// Makes a flow one that is closed both ways, in TIME-WAIT until some time or never. What is unread
    /// is kept apart from the socket.
    pub(super) fn conclude(&mut self, now: Duration, id: FlowId, until: Option<Duration>) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let State::Open(live) = &mut flow.state else { return };
        let Some(mut live) = live.take() else { return };
        let mut unread = vec![0; live.received()];
        let read = live.socket().peek_slice(&mut unread).unwrap_or(0);
        unread.truncate(read);
        flow.state = State::Done { unread, read: 0, until };
        flow.marks.fin_received = true;
        self.timers.set(id, until, &mut flow.queued);
        if until.is_none() {
            let key = flow.key;
            self.table.forget_key(&key, id);
        }
        self.release(live);
        self.react(now, id);
    }

    /// Ends the oldest TIME-WAIT when there are too many.
    fn shorten_time_wait(&mut self) {
        while let Some(id) = self.time_wait.front().copied() {
            let over = !self
                .table
                .get(id)
                .is_some_and(|flow| matches!(flow.state, State::Done { until: Some(_), .. }));
            if !over && self.time_wait.len() <= self.settings.max_flows / 4 {
                return;
            }
            self.time_wait.pop_front();
            if !over {
                self.end_time_wait(id);
            }
        }
    }
}
