//! One connection: what is kept of it, and how it gets and loses a socket.
//!
//! What remains of an idle flow are its numbers. It gets a socket when there is something to do,
//! and loses it when all is acknowledged, read and without holes. In the same moments it may get
//! a socket with larger buffers. Writing stops until such a moment comes, which is a
//! round trip away; so none is forced, and none is waited for that may never come.

use std::time::Duration;

use smoltcp::socket::tcp::State as Phase;

use super::segment::{ACK, Fields, Key, RST, Segment, Way, after, build, step};
use super::stack::{CLASSES, Live, Resume, Stack};
use super::syn::SynOptions;

/// A connection, from its SYN to the end of TIME-WAIT.
#[derive(Debug)]
pub(super) struct Flow {
    pub key: Key,
    /// What the program's SYN said, its MSS not above our own.
    pub options: SynOptions,
    pub state: State,
    /// The number after the last byte that was written.
    pub snd_end: u32,
    /// The number after the last that was sent.
    pub snd_max: u32,
    /// The number of the next byte to be read.
    pub rcv_read: u32,
    /// The program's window, in bytes.
    pub peer_window: u32,
    /// Without a socket: our window as the program knows it, in bytes.
    pub window: u32,
    /// When the program last sent anything.
    pub heard: Duration,
    /// When bytes last went either way.
    pub active: Duration,
    /// Since when something waits to be acknowledged.
    pub waiting: Duration,
    /// From when so many bytes were read.
    pub pace: (Duration, usize),
    /// This flow's entry among the timers that counts.
    pub queued: Option<Duration>,
    /// Keep-alive probes without an answer.
    pub probes: u8,
    /// Which buffers it had last, and which it wants.
    pub class: u8,
    pub wanted: u8,
    pub marks: Marks,
}

/// What was said of a flow, and to whom.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of one another")]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    /// Our direction is closed, or to be closed.
    pub finished: bool,
    /// Our direction is to be closed as soon as it can be.
    pub finish_owed: bool,
    /// The program's FIN has come, in order.
    pub fin_received: bool,
    /// `Readable` was told, and not all read since.
    pub readable_told: bool,
    /// `Ended` was told.
    pub ended_told: bool,
    /// `Closed` was told, and the id is dead.
    pub closed_told: bool,
    /// A write was cut short: `Writable` is owed.
    pub writable_owed: bool,
    /// Somebody waits until all is delivered: `Delivered` is owed.
    pub delivery_owed: bool,
    /// In the queue of those that may have to transmit.
    pub dirty: bool,
    /// In the queue of those that may lose their socket.
    pub warm: bool,
}

#[derive(Debug)]
pub(super) enum State {
    /// A SYN came; nothing is answered yet.
    Asked { until: Duration },
    /// The SYN-ACK is sent, so many times.
    Offered { tries: u8, again: Duration },
    /// Established, or closed on one side.
    Open(Option<Live>),
    /// Closed on both sides: what is unread, and the end of TIME-WAIT if it is kept.
    Done { unread: Vec<u8>, read: usize, until: Option<Duration> },
}

impl Flow {
    /// A flow that begins with this SYN; `iss` is our first number.
    pub fn new(syn: &Segment, options: SynOptions, iss: u32, now: Duration, until: Duration) -> Self {
        Self {
            key: syn.key,
            options,
            state: State::Asked { until },
            snd_end: iss.wrapping_add(1),
            snd_max: iss.wrapping_add(1),
            rcv_read: syn.seq.wrapping_add(1),
            peer_window: u32::from(syn.window),
            window: 0,
            heard: now,
            active: now,
            waiting: now,
            pace: (now, 0),
            queued: None,
            probes: 0,
            class: 0,
            wanted: 0,
            marks: Marks::default(),
        }
    }

    pub fn live(&mut self) -> Option<&mut Live> {
        if let State::Open(live) = &mut self.state { live.as_mut() } else { None }
    }

    pub fn live_ref(&self) -> Option<&Live> {
        if let State::Open(live) = &self.state { live.as_ref() } else { None }
    }

    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::Asked { .. } | State::Offered { .. })
    }

    /// Bytes received in order and not yet read.
    pub fn received(&self) -> usize {
        match &self.state {
            State::Open(Some(live)) => live.received(),
            State::Done { unread, read, .. } => unread.len() - read,
            _ => 0,
        }
    }

    /// Bytes written and not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.live_ref().map_or(0, Live::unacknowledged)
    }

    /// Whether everything that was written, and the FIN, is acknowledged.
    pub fn all_acknowledged(&self) -> bool {
        let Some(live) = self.live_ref() else { return true };
        let fin =
            !self.marks.finished || matches!(live.state(), Phase::FinWait2 | Phase::TimeWait | Phase::Closed);
        live.unacknowledged() == 0 && fin
    }

    /// Whether the program has all that was written, and the end if it was told.
    pub fn is_delivered(&self) -> bool {
        self.all_acknowledged() && !self.marks.finish_owed
    }

    /// The next number to receive.
    pub fn rcv_nxt(&self) -> u32 {
        self.rcv_read.wrapping_add(step(self.received())).wrapping_add(u32::from(self.marks.fin_received))
    }

    /// The oldest number that is not acknowledged.
    pub fn una(&self) -> u32 {
        let acknowledged = self.all_acknowledged() && self.marks.finished;
        self.snd_end.wrapping_sub(step(self.unacknowledged())).wrapping_add(u32::from(acknowledged))
    }

    /// Whether a socket could be made anew from the flow's numbers, and this one be dropped.
    pub fn is_replaceable(&self) -> bool {
        let Some(live) = self.live_ref() else { return false };
        self.all_acknowledged()
            && !after(live.seen_end, self.rcv_nxt())
            && matches!(live.state(), Phase::Established | Phase::CloseWait | Phase::FinWait2)
    }

    /// Whether there is nothing to do for the socket.
    pub fn is_quiet(&self) -> bool {
        self.is_replaceable()
            && self.received() == 0
            && !self.marks.dirty
            && !self.marks.finish_owed
            && !self.is_growing()
    }

    /// Whether writing waits for larger buffers.
    pub fn is_growing(&self) -> bool {
        self.live_ref().is_some_and(|live| live.class < usize::from(self.wanted))
    }

    /// Whether nothing more is to be written.
    pub fn is_finishing(&self) -> bool {
        self.marks.finished || self.marks.finish_owed
    }

    /// Takes the socket away. The flow must be [quiet](Self::is_quiet).
    pub fn fold(&mut self) -> Option<Live> {
        let rcv_nxt = self.rcv_nxt();
        let State::Open(slot) = &mut self.state else { return None };
        let live = slot.take()?;
        self.window = step(live.window_left(rcv_nxt));
        Some(live)
    }

    /// Gives the flow a socket of a class, in place of the one that it has. Returns that one and
    /// the acknowledgement that tells the program of the new window. Nothing, and no change, if
    /// that failed.
    pub fn unfold(
        &mut self,
        stack: &mut Stack,
        now: Duration,
        class: usize,
    ) -> Option<(Option<Live>, Vec<u8>)> {
        let rcv_nxt = self.rcv_nxt();
        let mut unread = vec![0; self.received()];
        if let Some(live) = self.live() {
            live.socket().peek_slice(&mut unread).ok()?;
        }
        let from = Resume {
            key: &self.key,
            options: self.options,
            snd_nxt: self.una(),
            fin_sent: self.marks.finished,
            rcv_nxt,
            fin_received: self.marks.fin_received,
            unread: &unread,
            window: self.peer_window,
        };
        let (live, update) = stack.resume(now, class, &from)?;
        self.class = u8::try_from(class).unwrap_or(0);
        self.wanted = self.wanted.max(self.class);
        let State::Open(slot) = &mut self.state else { return None };
        Some((slot.replace(live), update))
    }

    /// The class of buffers that this many bytes ask for.
    pub fn class_for(stack: &Stack, bytes: usize) -> usize {
        stack.sizes.iter().position(|size| bytes <= *size).unwrap_or(CLASSES - 1)
    }

    /// Whether a segment to a flow without a socket changes nothing but the window and the time:
    /// no bytes, no flags, all acknowledged.
    pub fn take_trivial(&mut self, segment: &Segment) -> bool {
        let trivial = self.live_ref().is_none()
            && segment.flags == ACK
            && segment.len() == 0
            && segment.seq == self.rcv_nxt()
            && segment.ack == self.una();
        if trivial {
            self.peer_window = u32::from(segment.window) << self.options.scale.unwrap_or(0);
        }
        trivial
    }

    /// Whether a FIN is all that waits to be acknowledged.
    pub fn waits_for_fin_alone(&self) -> bool {
        !self.all_acknowledged() && self.unacknowledged() == 0
    }

    /// Reminds the socket of the program's closed window.
    pub fn remind(&mut self, stack: &mut Stack, now: Duration) {
        let (una, rcv_nxt, key) = (self.una(), self.rcv_nxt(), self.key);
        if let Some(live) = self.live() {
            stack.remind(now, live, &key, una, rcv_nxt);
        }
    }

    /// An acknowledgement of all that came, with our window.
    pub fn acknowledgement(&self, stack: &Stack) -> Vec<u8> {
        self.bare(stack, ACK, self.snd_max)
    }

    /// A segment that asks the program whether it is there (RFC 9293, section 3.8.4).
    pub fn keep_alive(&self, stack: &Stack) -> Vec<u8> {
        self.bare(stack, ACK, self.snd_max.wrapping_sub(1))
    }

    /// The segment that ends it.
    pub fn abort(&self, stack: &Stack) -> Vec<u8> {
        self.bare(stack, RST | ACK, self.snd_max)
    }

    fn bare(&self, stack: &Stack, flags: u8, seq: u32) -> Vec<u8> {
        let ack = self.rcv_nxt();
        let window = self.live_ref().map_or(self.window, |live| step(live.window_left(ack)));
        let scale = self.options.scale.map_or(0, |_| stack.scale());
        let window = u16::try_from(window >> scale).unwrap_or(u16::MAX);
        let mut packet = Vec::new();
        build(&mut packet, &self.key, Way::Out, &Fields { seq, ack, flags, window, ..Fields::default() });
        packet
    }

    /// Notes what a socket's state says of the two directions.
    pub fn note_phase(&mut self) {
        if let Some(phase) = self.live_ref().map(Live::state) {
            self.marks.fin_received |=
                matches!(phase, Phase::CloseWait | Phase::LastAck | Phase::Closing | Phase::TimeWait);
        }
    }

    /// Whether a reset with this number is the program's own (RFC 5961, section 3.2): exactly the
    /// next number. Of one inside the window the program is asked.
    pub fn judge_reset(&self, seq: u32) -> ResetIs {
        let ahead = seq.wrapping_sub(self.rcv_nxt());
        let window = self.live_ref().map_or(self.window, |live| step(live.window_left(self.rcv_nxt())));
        match ahead {
            0 => ResetIs::Right,
            ahead if ahead < window => ResetIs::Doubtful,
            _ => ResetIs::Old,
        }
    }

    /// Closes our direction: a FIN follows what was written.
    pub fn close(&mut self) {
        self.marks.finished = true;
        if let Some(live) = self.live() {
            live.socket().close();
        }
    }
}

/// What a reset is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResetIs {
    Right,
    Doubtful,
    Old,
}
