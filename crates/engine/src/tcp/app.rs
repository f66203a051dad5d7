//! The side of the bytes: accept and refuse, read, write, close.

use std::time::Duration;

use hypertap_wire::icmp::{Unreachable, unreachable};
use hypertap_wire::ip::Ip;
use hypertap_wire::tcp;

use super::flow::{Flow, State};
use super::segment::{ACK, Fields, SYN, TCP_HEADER, Way, build, step};
use super::stack::CLASSES;
use super::syn::SynOptions;
use super::{Event, FlowId, Refusal, Tcp};

/// The time in which reading several buffers is fast.
const PACE: Duration = Duration::from_millis(100);

impl Tcp {
    /// Answers a SYN with a SYN-ACK. [`Event::Writable`] tells when the handshake is done.
    pub fn accept(&mut self, now: Duration, flow: FlowId) {
        let Some(asked) = self.table.get_mut(flow) else { return };
        if matches!(asked.state, State::Asked { .. }) {
            asked.marks.writable_owed = true;
            asked.window = step(self.stack.sizes[0].min(usize::from(u16::MAX)));
            self.offer(now, flow, 0);
        }
    }

    /// Sends the SYN-ACK, for the first time or again.
    pub(super) fn offer(&mut self, now: Duration, id: FlowId, tries: u8) {
        let Some(flow) = self.table.get_mut(id) else { return };
        // RFC 6298, sections 2.1 and 5.5.
        let again = now + Duration::from_secs(1 << tries.min(5));
        flow.state = State::Offered { tries, again };
        let mss = self.settings.mtu - flow.key.ip_header() - TCP_HEADER;
        let options = SynOptions {
            mss: u16::try_from(mss).unwrap_or(u16::MAX),
            scale: flow.options.scale.map(|_| self.stack.scale()),
            sack: flow.options.sack,
        };
        let fields = Fields {
            seq: flow.snd_end.wrapping_sub(1),
            ack: flow.rcv_read,
            flags: SYN | ACK,
            window: u16::try_from(flow.window).unwrap_or(u16::MAX),
            options: &options.emit(),
            payload: &[],
        };
        let mut packet = Vec::new();
        build(&mut packet, &flow.key, Way::Out, &fields);
        self.timers.set(id, Some(again), &mut flow.queued);
        self.reply(packet);
    }

    /// Answers a SYN with what makes the program's `connect` fail. The flow is gone.
    pub fn refuse(&mut self, flow: FlowId, refusal: Refusal) {
        let Some(asked) = self.table.get(flow).filter(|flow| flow.is_half_open()) else { return };
        // The SYN was not kept. What is answered is one made anew from its essentials, by which the
        // program's kernel finds the connection (RFC 1122, section 4.2.3.9).
        let mut syn = Vec::new();
        let fields = Fields { seq: asked.rcv_read.wrapping_sub(1), flags: SYN, ..Fields::default() };
        build(&mut syn, &asked.key, Way::In, &fields);
        let answer = Ip::parse(&syn).ok().and_then(|ip| match refusal {
            Refusal::Refused => tcp::reset(&ip, &tcp::Segment::parse(&ip).ok()?),
            Refusal::Prohibited => unreachable(&ip, Unreachable::Prohibited),
            Refusal::Unreachable => unreachable(&ip, Unreachable::Host),
        });
        if let Some(packet) = answer {
            self.reply(packet);
        }
        self.remove(flow);
    }

    /// The first bytes that came and are not consumed, or none. There may be more after them.
    pub fn peek(&mut self, flow: FlowId) -> &[u8] {
        match self.table.get_mut(flow) {
            Some(Flow { state: State::Open(Some(live)), marks, .. }) => {
                let bytes = live.socket().peek(usize::MAX).unwrap_or_default();
                marks.readable_told &= !bytes.is_empty();
                bytes
            }
            Some(Flow { state: State::Done { unread, read, .. }, .. }) => {
                unread.get(*read..).unwrap_or_default()
            }
            Some(Flow { marks, .. }) => {
                marks.readable_told = false;
                &[]
            }
            None => &[],
        }
    }

    /// Takes `count` of the bytes that [`Self::peek`] shows, and no more, out of the receive buffer.
    pub fn consume(&mut self, now: Duration, flow: FlowId, count: usize) {
        let Some(entry) = self.table.get_mut(flow) else { return };
        let taken = match &mut entry.state {
            State::Open(Some(live)) => live
                .socket()
                .recv(|bytes| {
                    let taken = count.min(bytes.len());
                    (taken, taken)
                })
                .unwrap_or(0),
            State::Done { unread, read, .. } => {
                let taken = count.min(unread.len() - *read);
                *read += taken;
                taken
            }
            _ => 0,
        };
        if taken == 0 {
            return;
        }
        entry.rcv_read = entry.rcv_read.wrapping_add(step(taken));
        entry.active = now;
        let (received, rcv_nxt) = (entry.received(), entry.rcv_nxt());
        entry.marks.readable_told &= received > 0;
        if let Some(live) = entry.live_ref() {
            let class = live.class;
            // A reader that keeps up with half a buffer before it is acknowledged, or with several in a
            // short time, is served better by larger ones.
            let (size, left) = (self.stack.sizes[class], live.window_left(rcv_nxt));
            if now.saturating_sub(entry.pace.0) > PACE {
                entry.pace = (now, 0);
            }
            entry.pace.1 += taken;
            let fast = left < size / 2 || entry.pace.1 > 4 * size;
            if received == 0 && fast && class + 1 < CLASSES {
                entry.wanted = entry.wanted.max(u8::try_from(class + 1).unwrap_or(0));
                self.grow(now, flow);
                self.mark_dirty(flow);
            } else if size - received >= (2 * left).max(size / 4) {
                self.mark_dirty(flow);
            }
        }
        if received == 0 {
            self.react(now, flow);
        }
    }

    /// Appends bytes to what is to be sent, as far as there is room, and returns how many.
    /// [`Event::Writable`] tells when it is worth another try. Zero also when the flow cannot send.
    pub fn write(&mut self, now: Duration, flow: FlowId, bytes: &[u8]) -> usize {
        let Some(entry) = self.table.get_mut(flow) else { return 0 };
        let open = matches!(entry.state, State::Open(_)) && !entry.marks.finished;
        if bytes.is_empty() || entry.marks.finished || entry.marks.finish_owed {
            return 0;
        }
        entry.marks.writable_owed = true;
        if !open || entry.is_growing() {
            return 0;
        }
        if entry.unacknowledged() == 0 {
            entry.waiting = now;
            let class = Flow::class_for(&self.stack, bytes.len()).max(usize::from(entry.class));
            let class = class.min(CLASSES - 1);
            let has = entry.live_ref().map(|live| live.class);
            if has.is_some_and(|has| has < class) {
                entry.wanted = u8::try_from(class).unwrap_or(0);
                self.grow(now, flow);
            } else if has.is_none() && !self.unfold(now, flow, class, false) {
                // The next time that memory is free will not be told: ask again soon.
                self.hurry(now, flow);
                return 0;
            }
        }
        let Some(entry) = self.table.get_mut(flow) else { return 0 };
        let Some(live) = entry.live() else { return 0 };
        let written = live.socket().send_slice(bytes).unwrap_or(0);
        let (class, full) = (live.class, written < bytes.len());
        entry.snd_end = entry.snd_end.wrapping_add(step(written));
        entry.active = now;
        entry.marks.writable_owed = full;
        if full && class + 1 < CLASSES {
            entry.wanted = entry.wanted.max(u8::try_from(class + 1).unwrap_or(0));
        }
        self.mark_dirty(flow);
        written
    }

    /// Whether the program has all that was written, and the end if it was told. If not, [`Event::Delivered`]
    /// tells when it has.
    pub fn poll_delivered(&mut self, flow: FlowId) -> bool {
        let Some(flow) = self.table.get_mut(flow) else { return true };
        flow.marks.delivery_owed = !flow.is_delivered();
        !flow.marks.delivery_owed
    }

    /// How far the program has taken what was written: its last acknowledgement, which moves on while it reads.
    pub fn taken(&self, flow: FlowId) -> u32 {
        self.table.get(flow).map_or(0, |flow| flow.snd_end.wrapping_sub(step(flow.unacknowledged())))
    }

    /// Closes our direction after what was written. Bytes still come the other way.
    pub fn shutdown_write(&mut self, now: Duration, flow: FlowId) {
        let Some(entry) = self.table.get_mut(flow) else { return };
        if entry.marks.finished || matches!(entry.state, State::Done { .. }) {
            return;
        }
        let State::Open(live) = &entry.state else {
            entry.marks.finish_owed = true;
            return;
        };
        let class = usize::from(entry.class);
        if live.is_none() && !self.unfold(now, flow, class, false) {
            if let Some(entry) = self.table.get_mut(flow) {
                entry.marks.finish_owed = true;
                self.hurry(now, flow);
            }
            return;
        }
        if let Some(entry) = self.table.get_mut(flow) {
            // In LAST-ACK smoltcp takes no window from a segment that acknowledges nothing new, so a closed
            // window would stay closed. The FIN waits until nothing needs a window any more.
            let waits = entry.marks.fin_received && entry.unacknowledged() > 0;
            entry.marks.finish_owed = waits;
            if waits {
                return;
            }
            entry.waiting = now;
            entry.close();
        }
        self.mark_dirty(flow);
    }

    /// Ends a flow at once, in any state, and tells the program so. The flow is gone.
    pub fn reset(&mut self, flow: FlowId) {
        match self.table.get(flow).map(|flow| &flow.state) {
            Some(State::Asked { .. }) => self.refuse(flow, Refusal::Refused),
            Some(State::Done { .. }) => self.forsake(flow),
            Some(_) => {
                if let Some(packet) = self.table.get(flow).map(|flow| flow.abort(&self.stack)) {
                    self.reply(packet);
                }
                self.remove(flow);
            }
            None => {}
        }
    }

    /// Forgets what is unread of a flow that is closed both ways; TIME-WAIT goes on.
    fn forsake(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if let State::Done { unread, read, until } = &mut flow.state {
            *unread = Vec::new();
            *read = 0;
            flow.marks.closed_told = true;
            flow.marks.ended_told = true;
            if until.is_none() {
                self.remove(id);
            }
        }
    }

    /// Gives a flow the larger buffers that it wants, if this is a moment for it.
    pub(super) fn grow(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if !flow.is_growing() {
            return;
        }
        let (wanted, has) = (usize::from(flow.wanted), flow.class);
        if flow.is_replaceable() {
            self.unfold(now, id, wanted, true);
        }
        if let Some(flow) = self.table.get_mut(id)
            && flow.all_acknowledged()
        {
            // Done, or out of memory, or there are holes: then not now.
            flow.wanted = flow.class.max(has);
        }
    }

    /// Tells what is new of a flow after something was done to it.
    pub(super) fn react(&mut self, now: Duration, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        flow.note_phase();
        if flow.is_growing() && flow.all_acknowledged() {
            self.grow(now, id);
        }
        if owes_fin(self.table.get(id)) {
            self.shutdown_write(now, id);
        }
        self.finish(now, id);
        let Some(flow) = self.table.get_mut(id) else { return };
        let received = flow.received();
        if received > 0 && !flow.marks.readable_told {
            flow.marks.readable_told = true;
            self.events.push_back(Event::Readable { flow: id });
        }
        if received == 0 && flow.marks.fin_received && !flow.marks.ended_told {
            flow.marks.ended_told = true;
            self.events.push_back(Event::Ended { flow: id });
        }
        let room = match &flow.state {
            State::Open(Some(live)) => live.unacknowledged() <= self.stack.sizes[live.class] / 2,
            State::Open(None) => true,
            _ => false,
        };
        if flow.marks.writable_owed && room && !flow.is_growing() && !flow.is_finishing() {
            flow.marks.writable_owed = false;
            self.events.push_back(Event::Writable { flow: id });
        }
        if flow.marks.delivery_owed && flow.is_delivered() {
            flow.marks.delivery_owed = false;
            self.events.push_back(Event::Delivered { flow: id });
        }
        self.close_done(id);
    }

    /// Tells that a flow that is closed both ways and read to the end is over.
    fn close_done(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let empty = flow.received() == 0;
        if let State::Done { until, .. } = &flow.state
            && empty
            && !flow.marks.closed_told
        {
            let until = *until;
            flow.marks.closed_told = true;
            self.events.push_back(Event::Closed { flow: id });
            if until.is_none() {
                self.remove(id);
            }
        }
    }
}

/// Whether a flow's FIN waited for what was written to be acknowledged, and now it is.
fn owes_fin(flow: Option<&Flow>) -> bool {
    flow.is_some_and(|flow| flow.marks.finish_owed && flow.live_ref().is_some() && flow.unacknowledged() == 0)
}
