//! The side of the packets, inwards.

use std::time::Duration;

use hypertap_wire::ip::Ip;
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::tcp::{Segment as Parts, reset};

use super::flow::{Flow, ResetIs, State};
use super::segment::{ACK, FIN, RST, SYN, Segment, TCP_HEADER, after};
use super::stack::Known;
use super::{Event, FlowId, Refusal, Tcp};

/// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum has been verified.
const DATA_VALID: u8 = 2;

impl Tcp {
    /// Takes a packet that a program sent, with the header that the device put before it: whole or a segment
    /// of up to 64 KiB. Its bytes may be changed. Packets that are not TCP must not come here; what cannot
    /// be used is dropped and counted.
    pub fn handle_packet(&mut self, now: Duration, header: &VirtioHeader, packet: &mut [u8]) {
        let trusted = header.needs_checksum() || header.flags & DATA_VALID != 0;
        let Some(segment) = Segment::parse(packet, !trusted) else {
            self.counters.bad_packets += 1;
            return;
        };
        match self.table.find(&segment.key) {
            Some(id) => self.on_segment(now, id, segment, packet),
            None => self.on_stranger(now, &segment, packet),
        }
    }

    /// A segment that belongs to no flow.
    fn on_stranger(&mut self, now: Duration, segment: &Segment, packet: &[u8]) {
        let local = segment.key.local().ip();
        let prefixes = &self.settings.prefixes;
        if !prefixes.is_empty() && !prefixes.iter().any(|prefix| prefix.contains(&local)) {
            self.counters.bad_packets += 1;
        } else if segment.flags & (SYN | ACK | RST | FIN) == SYN {
            self.on_syn(now, segment, packet);
        } else {
            self.counters.strays += 1;
            self.refute(now, packet);
        }
    }

    /// Answers a segment that makes no sense with a reset (RFC 9293, section 3.10.7.1).
    fn refute(&mut self, now: Duration, packet: &[u8]) {
        let reset = Ip::parse(packet).ok().and_then(|ip| reset(&ip, &Parts::parse(&ip).ok()?));
        if let Some(reset) = reset
            && self.may_answer(now)
        {
            self.reply(reset);
        }
    }

    /// The first segment of a connection.
    fn on_syn(&mut self, now: Duration, segment: &Segment, packet: &[u8]) {
        if self.table.len() >= self.settings.max_flows
            || self.counters.half_open >= self.settings.max_half_open
        {
            self.counters.refused_syns += 1;
            return;
        }
        let mut options = segment.syn_options(packet);
        // The device carries no more, whatever the program says.
        let most = self.settings.mtu - segment.key.ip_header() - TCP_HEADER;
        options.mss = options.mss.min(u16::try_from(most).unwrap_or(u16::MAX));
        let until = now + self.settings.answer_within;
        let flow = Flow::new(segment, options, self.first_number(&segment.key, now), now, until);
        let id = self.table.insert(segment.key, flow);
        self.counters.half_open += 1;
        self.sweep_timers();
        if let Some(flow) = self.table.get_mut(id) {
            self.timers.set(id, Some(until), &mut flow.queued);
        }
        let (local, remote) = (segment.key.local(), segment.key.remote());
        self.events.push_back(Event::Syn { flow: id, local, remote });
    }

    fn on_segment(&mut self, now: Duration, id: FlowId, segment: Segment, packet: &mut [u8]) {
        let Some(flow) = self.table.get(id) else { return };
        match flow.state {
            State::Asked { .. } | State::Offered { .. } => self.on_half_open(now, id, segment, packet),
            State::Open(_) => self.on_open(now, id, segment, packet),
            State::Done { .. } => self.on_time_wait(now, id, &segment, packet),
        }
    }

    fn on_half_open(&mut self, now: Duration, id: FlowId, segment: Segment, packet: &mut [u8]) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let offered = if let State::Offered { tries, .. } = flow.state { Some(tries) } else { None };
        let ahead = segment.seq.wrapping_sub(flow.rcv_read);
        if segment.has(SYN) {
            if segment.seq.wrapping_add(1) != flow.rcv_read {
                // The program has begun anew.
                self.give_up(id);
                self.on_stranger(now, &segment, packet);
            } else if let Some(tries) = offered {
                self.offer(now, id, tries);
            }
        } else if segment.has(RST) {
            // Before our SYN-ACK there is no window to be in but this.
            if ahead == 0 || ahead == u32::MAX && offered.is_none() {
                self.give_up(id);
            }
        } else if segment.has(ACK) && offered.is_some() {
            if segment.ack != flow.snd_end {
                self.refute(now, packet);
            } else if ahead > flow.window {
                // An old duplicate.
                let reply = flow.acknowledgement(&self.stack);
                self.reply(reply);
            } else {
                flow.peer_window = u32::from(segment.window) << flow.options.scale.unwrap_or(0);
                flow.state = State::Open(None);
                flow.active = now;
                let finish = flow.marks.finish_owed;
                self.counters.half_open -= 1;
                if finish {
                    self.shutdown_write(now, id);
                }
                self.on_open(now, id, segment, packet);
            }
        }
    }

    /// Forgets a flow whose program no longer asks.
    fn give_up(&mut self, id: FlowId) {
        self.counters.expired_syns += 1;
        self.events.push_back(Event::Reset { flow: id });
        self.remove(id);
    }

    fn on_open(&mut self, now: Duration, id: FlowId, segment: Segment, packet: &mut [u8]) {
        let Some(flow) = self.table.get_mut(id) else { return };
        if segment.has(RST) {
            match flow.judge_reset(segment.seq) {
                ResetIs::Right if flow.marks.fin_received && flow.waits_for_fin_alone() => {
                    // The program's end has outlived its TIME-WAIT: all has arrived.
                    return self.conclude(now, id, None);
                }
                ResetIs::Right => {
                    self.events.push_back(Event::Reset { flow: id });
                    self.remove(id);
                }
                ResetIs::Doubtful => self.challenge(now, id),
                ResetIs::Old => {}
            }
            return;
        }
        if segment.has(SYN) {
            return self.challenge(now, id);
        }
        if !segment.has(ACK) {
            self.counters.bad_packets += 1;
            return;
        }
        flow.heard = now;
        flow.probes = 0;
        if flow.take_trivial(&segment) {
            self.react(now, id);
            return self.rest(now, id);
        }
        if flow.live_ref().is_none() {
            if segment.len() <= 1 && !segment.has(FIN) && segment.seq.wrapping_add(1) == flow.rcv_nxt() {
                // A question whether we are there, or a probe of our window.
                return self.challenge(now, id);
            }
            let class = usize::from(flow.class);
            if !self.unfold(now, id, class, false) {
                return;
            }
        }
        self.pass_on(now, id, segment, packet);
    }

    /// Gives a segment to the flow's socket.
    fn pass_on(&mut self, now: Duration, id: FlowId, segment: Segment, packet: &mut [u8]) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let (options, rcv_nxt, una) = (flow.options, flow.rcv_nxt(), flow.una());
        if !after(rcv_nxt, segment.next_seq()) && !after(una, segment.ack) {
            flow.peer_window = u32::from(segment.window) << options.scale.unwrap_or(0);
        }
        let known = Known { options, rcv_nxt, una, window: flow.peer_window };
        if segment.len() > 0 {
            flow.active = now;
        }
        let State::Open(Some(live)) = &mut flow.state else { return };
        let unacknowledged = live.unacknowledged();
        let reply = self.stack.receive(now, live, segment, &known, packet);
        if live.unacknowledged() < unacknowledged {
            flow.waiting = now;
        }
        if let Some(reply) = reply {
            self.emit(id, reply);
        }
        self.mark_dirty(id);
        self.react(now, id);
    }

    /// Answers with what we have (RFC 5961, section 7), not without limit.
    fn challenge(&mut self, now: Duration, id: FlowId) {
        if self.may_answer(now) {
            self.acknowledge(id);
        }
    }

    /// Says what has come.
    pub(super) fn acknowledge(&mut self, id: FlowId) {
        if let Some(reply) = self.table.get(id).map(|flow| flow.acknowledgement(&self.stack)) {
            self.reply(reply);
        }
    }

    /// A segment to a flow that is closed both ways (RFC 9293, section 3.10.7.4; RFC 6191).
    fn on_time_wait(&mut self, now: Duration, id: FlowId, segment: &Segment, packet: &[u8]) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let next = flow.rcv_nxt();
        if segment.flags & (SYN | ACK | RST | FIN) == SYN && after(segment.seq, next) {
            let key = flow.key;
            self.table.forget_key(&key, id);
            self.end_time_wait(id);
            self.on_syn(now, segment, packet);
        } else if !segment.has(RST) && (segment.has(SYN) || segment.seq != next || segment.len() > 0) {
            if let State::Done { until: Some(until), .. } = &mut flow.state {
                *until = now + self.settings.time_wait;
            }
            self.challenge(now, id);
        }
    }

    /// Ends TIME-WAIT. What is unread stays to be read.
    pub(super) fn end_time_wait(&mut self, id: FlowId) {
        let Some(flow) = self.table.get_mut(id) else { return };
        let (key, told) = (flow.key, flow.marks.closed_told);
        if let State::Done { until, .. } = &mut flow.state {
            *until = None;
            self.table.forget_key(&key, id);
            if told {
                self.remove(id);
            }
        }
    }

    /// Takes back a SYN that nobody answered.
    pub(super) fn expire(&mut self, id: FlowId) {
        self.counters.expired_syns += 1;
        self.events.push_back(Event::Reset { flow: id });
        self.refuse(id, Refusal::Unreachable);
        self.remove(id);
    }
}
