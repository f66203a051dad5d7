//! TCP in user space, for connections that programs on this machine open to service addresses.
//!
//! Packets in, packets out, bytes between: [`Tcp`] ends the programs' connections (RFC 9293), whatever
//! address and port they go to, and hands their bytes over. It does no I/O; time is an argument,
//! counted from any moment that does not change.
//!
//! # Theory of operation
//!
//! A SYN is told ([`Event::Syn`]) and not answered: of it only the essentials are kept, for a bounded
//! time and for a bounded number of SYNs. [`Tcp::accept`] sends the SYN-ACK, and [`Tcp::refuse`] what
//! makes the program's `connect` fail with the right error. The handshake is our own; so are keep-alive,
//! resets (RFC 5961), TIME-WAIT (RFC 6191) and all time limits. In between, transfer is
//! smoltcp's: retransmission, reassembly, windows, FIN. A flow has a smoltcp socket while it has something
//! to do, with buffers that grow with what passes; what remains of an idle one are its numbers
//! (`tcp/stack.rs` says how a socket is made in the middle of a connection).
//!
//! A packet costs the same however many flows there are: flows are found in a hash table with a secret,
//! each has a socket set of its own, timers are a heap, and those with something to send stand in a queue.
//!
//! Bytes are copied once on the way in (packet to receive buffer) and twice on the way out (to the
//! send buffer, and to the batch). With offload, packets are segments of up to 64 KiB for and from a device
//! that splits and joins them, and that completes their checksums.
//!
//! # What smoltcp 0.14 does wrong, and what is done about it
//!
//! - IPv6 packets never get their segmentation metadata: the segment size is computed here.
//! - A FIN on a segment that reaches beyond the window is taken, though the bytes before it were cut off:
//!   segments are trimmed before it sees them.
//! - The SYN-ACK's window, which is not scaled, is remembered as if it were; data beyond the buffer is then
//!   accepted, and panics. Each new socket is made to announce its window once before it is used.
//! - No probe of a window that closes over data in flight after the retransmission timer ran out: such a
//!   socket is reminded of the window.
//! - In LAST-ACK a segment that acknowledges nothing new does not open the window: our FIN after the program's is
//!   sent when all before it is acknowledged.
//! - A FIN that is alone in flight is never sent again after three duplicate acknowledgements: its socket is made
//!   anew.
//! - A FIN behind bytes that are there already is not seen, however often it comes: the bytes are taken away.
//! - A segment with an old acknowledgement is dropped with all that it carries: the acknowledgement is replaced.
//! - `set_timeout` ends connections that are merely idle, and a TIME-WAIT that ends takes unread
//!   bytes with it: neither is used.
//! - Any reset inside the window is believed, and a SYN in TIME-WAIT or in an established connection gets no
//!   answer: SYNs and resets do not reach it.
//! - `poll_at` says now, for ever, while a SYN-ACK is paused; buffers cannot be replaced; a set is searched
//!   from end to end; an acknowledgement is delayed by 10 ms.

use std::collections::VecDeque;
use std::hash::BuildHasher;
use std::net::SocketAddr;
use std::time::Duration;

mod app;
mod buffers;
mod clock;
mod device;
mod flow;
mod input;
mod output;
mod segment;
mod settings;
mod stack;
mod syn;
mod table;
#[cfg(test)]
mod tests;
mod timers;

use flow::Flow;
pub use settings::{KeepAlive, TcpSettings};
use stack::Stack;
pub use table::FlowId;
use table::{Secret, Table};
use timers::Timers;

/// The most answers without a flow's queue that wait for [`Tcp::poll_transmit`].
const MAX_REPLIES: usize = 1024;

/// The length of the longest packet that [`Tcp::poll_transmit`] makes, in bytes. A batch with less room
/// than this, and its prefix, gets none.
pub const MAX_PACKET: usize = device::MAX_FRAME;

/// What happened to a flow. A flow of which [`Event::Closed`] or [`Event::Reset`] was told is gone, and
/// calls with its id do nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A program asks for a connection: dial, then [`Tcp::accept`] or [`Tcp::refuse`].
    Syn {
        /// The new flow.
        flow: FlowId,
        /// The service's address, and the port.
        local: SocketAddr,
        /// The program's end.
        remote: SocketAddr,
    },
    /// There is something to [`peek`](Tcp::peek) at. Told again after `peek` has returned nothing.
    Readable {
        /// Which flow.
        flow: FlowId,
    },
    /// The handshake is done, or a [`write`](Tcp::write) that was cut short may go on.
    Writable {
        /// Which flow.
        flow: FlowId,
    },
    /// The program has all that was written, which [`poll_delivered`](Tcp::poll_delivered) had said no to.
    Delivered {
        /// Which flow.
        flow: FlowId,
    },
    /// The program has closed its direction, and all that it sent is consumed.
    Ended {
        /// Which flow.
        flow: FlowId,
    },
    /// Both directions are closed, all that was written is acknowledged and all that came is consumed.
    Closed {
        /// Which flow.
        flow: FlowId,
    },
    /// The program has reset the connection or is gone, or a limit was reached.
    Reset {
        /// Which flow.
        flow: FlowId,
    },
}

/// Why a connection is refused, and so what the program sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Connection refused, by a reset.
    Refused,
    /// Not authorized, by an ICMP message: permission denied.
    Prohibited,
    /// Nobody there, by an ICMP message: no route to host.
    Unreachable,
}

/// What happened so far, and how much there is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Packets that are not TCP segments between unicast addresses, or have a wrong checksum.
    pub bad_packets: u64,
    /// SYNs that found no room.
    pub refused_syns: u64,
    /// SYNs that nobody answered in time, or that the program gave up.
    pub expired_syns: u64,
    /// Segments that found no memory for buffers.
    pub no_buffers: u64,
    /// Answers that were not sent, because too many were.
    pub dropped_answers: u64,
    /// Segments that belong to no flow.
    pub strays: u64,
    /// Flows, of whatever state.
    pub flows: usize,
    /// Of those, half-open ones.
    pub half_open: usize,
    /// Of those, ones with a socket.
    pub live: usize,
    /// The buffers of these together, in bytes.
    pub buffered: usize,
}

/// All connections of one device.
#[derive(Debug)]
pub struct Tcp {
    settings: TcpSettings,
    stack: Stack,
    table: Table<Flow>,
    timers: Timers,
    events: VecDeque<Event>,
    /// Packets that are ready, before what flows have to send.
    replies: VecDeque<Vec<u8>>,
    /// Flows that may have to transmit.
    dirty: VecDeque<FlowId>,
    /// Flows that may lose their socket, the first to do so first.
    warm: VecDeque<FlowId>,
    /// Flows in TIME-WAIT, the oldest first.
    time_wait: VecDeque<FlowId>,
    /// Answers that may be sent, and when they were last counted.
    allowance: (f64, Duration),
    counters: Counters,
}

impl Tcp {
    /// Nothing yet.
    ///
    /// # Panics
    /// When buffer sizes are not between 1 KiB and 64 MiB, ascending, or the MTU is below 1280 bytes.
    pub fn new(settings: TcpSettings) -> Self {
        let [first, .., last] = settings.buffers;
        assert!(
            first >= 1024 && last <= 64 << 20 && settings.buffers.is_sorted(),
            "buffers have sizes that TCP can use"
        );
        assert!(settings.mtu >= 1280, "the MTU is at least that of IPv6");
        let secret = Secret(settings.secret);
        Self {
            stack: Stack::new(settings.offload, settings.buffers, settings.secret[0]),
            table: Table::new(secret),
            timers: Timers::default(),
            events: VecDeque::new(),
            replies: VecDeque::new(),
            dirty: VecDeque::new(),
            warm: VecDeque::new(),
            time_wait: VecDeque::new(),
            allowance: (f64::from(settings.answers_per_second), Duration::ZERO),
            counters: Counters::default(),
            settings,
        }
    }

    /// What happened next, if anything did.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`] at the latest, on the clock that `now` is on.
    pub fn timeout(&self) -> Option<Duration> {
        self.timers.next()
    }

    /// Whether [`Self::poll_transmit`] may have something.
    pub fn wants_transmit(&self) -> bool {
        !self.dirty.is_empty() || !self.replies.is_empty()
    }

    /// What happened so far, and how much there is.
    pub fn counters(&self) -> Counters {
        Counters { flows: self.table.len(), ..self.counters }
    }

    /// Queues a packet; a full queue drops it.
    fn reply(&mut self, packet: Vec<u8>) {
        if self.replies.len() < MAX_REPLIES {
            self.replies.push_back(packet);
        } else {
            self.counters.dropped_answers += 1;
        }
    }

    /// Whether one more answer to nobody's packet may be sent.
    fn may_answer(&mut self, now: Duration) -> bool {
        let most = f64::from(self.settings.answers_per_second);
        let (left, since) = self.allowance;
        let left = (left + now.saturating_sub(since).as_secs_f64() * most).min(most);
        let may = left >= 1.0;
        self.allowance = (if may { left - 1.0 } else { left }, now);
        self.counters.dropped_answers += u64::from(!may);
        may
    }

    /// Has a flow looked at by [`Self::poll_transmit`].
    fn mark_dirty(&mut self, id: FlowId) {
        if let Some(flow) = self.table.get_mut(id)
            && !flow.marks.dirty
        {
            flow.marks.dirty = true;
            self.dirty.push_back(id);
        }
    }

    /// Removes a flow and all that belongs to it.
    fn remove(&mut self, id: FlowId) {
        let Some(mut flow) = self.table.remove(id) else { return };
        self.table.forget_key(&flow.key, id);
        self.counters.half_open -= usize::from(flow.is_half_open());
        if let flow::State::Open(live) = &mut flow.state
            && let Some(live) = live.take()
        {
            self.release(live);
        }
    }

    /// Queues a packet of a flow's socket, whose checksum is not made yet.
    fn emit(&mut self, id: FlowId, mut packet: Vec<u8>) {
        if let Some(flow) = self.table.get(id) {
            segment::checksum(&mut packet, &flow.key, false);
            self.reply(packet);
        }
    }

    /// Our first sequence number (RFC 6528).
    fn first_number(&self, key: &segment::Key, now: Duration) -> u32 {
        let [a, b] = self.settings.secret;
        let hash = Secret([b, a]).hash_one(key);
        let ticks = now.as_micros() / 4;
        u32::try_from(hash >> 32).unwrap_or(0).wrapping_add(u32::try_from(ticks % (1 << 32)).unwrap_or(0))
    }
}
