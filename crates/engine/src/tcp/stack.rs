//! smoltcp's part: the connection's data transfer, behind a device made of two slices.
//!
//! smoltcp never sees a real handshake. A socket is made to order in the middle of a connection by
//! playing it one: a SYN, its SYN-ACK caught, an ACK, what was received and not yet read, and a
//! FIN each way if there was one. Its own first sequence number is drawn by smoltcp, so the flow
//! keeps the difference to the one on the wire, and adds it to what goes out and takes it off what
//! is acknowledged. The window's scale, too, is smoltcp's own, by the size of its buffer, and is
//! rewritten. This is what lets a flow have no socket at all while it is idle, and a socket with
//! larger buffers when it needs them, though smoltcp can neither replace a socket's buffers
//! nor set its state.

use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpListenEndpoint};

use super::device::Slices;
use super::segment::{ACK, FIN, Fields, IPV6_HEADER, Key, SYN, Segment, TCP_HEADER, Way, after, build, step};
use super::syn::SynOptions;

/// How many sizes of buffers there are.
pub(super) const CLASSES: usize = 3;
/// Room for an answer without payload.
const REPLY: usize = IPV6_HEADER + 60;
/// How much unread data one made segment carries into a new socket.
const CARRY: usize = 60_000;
/// Unused sockets that are kept, by class: 8 MiB, 8 MiB and 16 MiB with the usual buffers.
const POOL: [usize; CLASSES] = [256, 32, 8];

/// A smoltcp socket in its own set: looking into a set costs by the number of sockets in it.
pub(super) struct Live {
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    /// Size of its buffers, an index into [`Stack::sizes`].
    pub class: usize,
    /// Sequence number on the wire, less smoltcp's.
    delta: u32,
    /// Up to where smoltcp believes to have let the program send.
    window_end: u32,
    /// The highest sequence number seen; beyond what is received in order there is a hole.
    pub seen_end: u32,
}

impl std::fmt::Debug for Live {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Live").field("class", &self.class).finish_non_exhaustive()
    }
}

impl Live {
    pub fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    pub fn state(&self) -> State {
        self.sockets.get::<Socket<'static>>(self.handle).state()
    }

    /// Bytes received in order and not yet read.
    pub fn received(&self) -> usize {
        self.sockets.get::<Socket<'static>>(self.handle).recv_queue()
    }

    /// Bytes written and not yet acknowledged.
    pub fn unacknowledged(&self) -> usize {
        self.sockets.get::<Socket<'static>>(self.handle).send_queue()
    }

    /// How much of the window that was last told to the program is left after `rcv_nxt`.
    pub fn window_left(&self, rcv_nxt: u32) -> usize {
        let left = self.window_end.wrapping_sub(rcv_nxt).cast_signed();
        usize::try_from(left).unwrap_or(0)
    }
}

/// What a socket is made of: a connection that is established.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resume<'a> {
    pub key: &'a Key,
    pub options: SynOptions,
    /// The next number to send; all before it is acknowledged.
    pub snd_nxt: u32,
    /// Whether a FIN of ours is what came last before `snd_nxt`.
    pub fin_sent: bool,
    /// The next number to receive.
    pub rcv_nxt: u32,
    /// Whether a FIN is what came last before `rcv_nxt`.
    pub fin_received: bool,
    /// Received before that, and not yet read.
    pub unread: &'a [u8],
    /// The program's window, in bytes.
    pub window: u32,
}

/// What a flow knows that a segment is measured against.
#[derive(Clone, Copy, Debug)]
pub(super) struct Known {
    pub options: SynOptions,
    pub rcv_nxt: u32,
    /// The oldest number of ours that is not acknowledged.
    pub una: u32,
    /// The program's window, in bytes.
    pub window: u32,
}

/// What all sockets share.
pub(super) struct Stack {
    interface: Interface,
    offload: bool,
    /// Buffer sizes in bytes, by class.
    pub sizes: [usize; CLASSES],
    pool: [Vec<Live>; CLASSES],
    made: Vec<u8>,
    reply: [u8; REPLY],
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("sizes", &self.sizes).finish_non_exhaustive()
    }
}

impl Stack {
    pub fn new(offload: bool, sizes: [usize; CLASSES], seed: u64) -> Self {
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut device = Slices::new(None, &mut [], offload);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.set_any_ip(true);
        Self { interface, offload, sizes, pool: Default::default(), made: Vec::new(), reply: [0; REPLY] }
    }

    /// How far this end's windows are shifted on the wire, for a program that takes it.
    pub fn scale(&self) -> u8 {
        scale_of(self.sizes[CLASSES - 1])
    }

    /// Makes a socket in the middle of a connection. Also returns the acknowledgement that tells
    /// the program of its window. Nothing if smoltcp did not play along.
    pub fn resume(&mut self, now: Duration, class: usize, from: &Resume<'_>) -> Option<(Live, Vec<u8>)> {
        let mut live = self.pool[class].pop().unwrap_or_else(|| self.fresh(class));
        let local = from.key.local();
        live.socket().listen(IpListenEndpoint { addr: Some(local.ip().into()), port: local.port() }).ok()?;

        let first = from.rcv_nxt.wrapping_sub(u32::from(from.fin_received) + step(from.unread.len()));
        let syn = Fields {
            seq: first.wrapping_sub(1),
            flags: SYN,
            options: &from.options.emit(),
            ..Fields::default()
        };
        self.play(now, &mut live, from.key, &syn);
        let answer = self.catch(now, &mut live)?;
        let iss = answer.seq;
        live.delta = from.snd_nxt.wrapping_sub(u32::from(from.fin_sent)).wrapping_sub(iss.wrapping_add(1));

        let window = from.window >> from.options.scale.unwrap_or(0);
        let mut fields = Fields {
            seq: first,
            ack: iss.wrapping_add(1),
            flags: ACK,
            window: u16::try_from(window).unwrap_or(u16::MAX),
            ..Fields::default()
        };
        self.play(now, &mut live, from.key, &fields);
        for payload in from.unread.chunks(CARRY) {
            self.play(now, &mut live, from.key, &Fields { payload, ..fields });
            fields.seq = fields.seq.wrapping_add(step(payload.len()));
            self.catch(now, &mut live);
        }
        if from.fin_received {
            self.play(now, &mut live, from.key, &Fields { flags: ACK | FIN, ..fields });
            fields.seq = fields.seq.wrapping_add(1);
            self.catch(now, &mut live);
        }
        if from.fin_sent {
            live.socket().close();
            self.catch(now, &mut live)?;
            fields.ack = fields.ack.wrapping_add(1);
            self.play(now, &mut live, from.key, &fields);
        }
        // A byte from before the window has its answer made from the window as it is. Without it,
        // smoltcp would take the SYN-ACK's unscaled window for a scaled one, and data beyond the
        // buffer's end for acceptable, on which it panics.
        let stale = Fields { seq: fields.seq.wrapping_sub(1), payload: &[0], ..fields };
        let len = self.play(now, &mut live, from.key, &stale);
        live.seen_end = from.rcv_nxt;
        let phase = live.state();
        let as_asked = phase
            == match (from.fin_sent, from.fin_received) {
                (false, false) => State::Established,
                (false, true) => State::CloseWait,
                (true, _) => State::FinWait2,
            };
        let mut update = self.reply.get(..len?)?.to_vec();
        live.outbound(&mut update, from.key, scale_of(self.sizes[class]), self.wire_scale(from.options));
        (as_asked && live.received() == from.unread.len()).then_some((live, update))
    }

    fn fresh(&self, class: usize) -> Live {
        let buffer = || SocketBuffer::new(vec![0; self.sizes[class]]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_ack_delay(None);
        socket.set_nagle_enabled(false);
        let mut sockets = SocketSet::new(Vec::with_capacity(1));
        let handle = sockets.add(socket);
        Live { sockets, handle, class, delta: 0, window_end: 0, seen_end: 0 }
    }

    /// Takes a socket that is no longer needed.
    pub fn recycle(&mut self, mut live: Live) {
        let pool = &mut self.pool[live.class];
        if pool.len() < POOL[live.class] {
            // The next `listen` clears all the rest.
            live.socket().abort();
            pool.push(live);
        }
    }

    /// Gives a socket a segment that the program sent. Returns what it answers at once, ready for
    /// the wire but for checksums.
    pub fn receive(
        &mut self,
        now: Duration,
        live: &mut Live,
        mut segment: Segment,
        known: &Known,
        packet: &mut [u8],
    ) -> Option<Vec<u8>> {
        let Known { options, rcv_nxt, una, window } = *known;
        if segment.is_dated(una) {
            // smoltcp drops what has an old acknowledgement, with all that it carries.
            segment.ack = una;
            segment.rewrite_window(
                packet,
                u16::try_from(window >> options.scale.unwrap_or(0)).unwrap_or(u16::MAX),
            );
        }
        if segment.has(FIN) && segment.len() > 0 && segment.next_seq() == rcv_nxt.wrapping_add(1) {
            // Only the FIN is new: smoltcp looks for a segment's end without it, and would not see that.
            segment.leave_fin(packet);
        }
        // What is beyond the window is cut off here, the FIN with it: smoltcp cuts off data alone,
        // and then takes the FIN for the end of less than was sent. What is wholly outside it
        // answers rightly by itself.
        let left = live.window_left(rcv_nxt);
        let room = self.sizes[live.class].saturating_sub(live.received()).min(left);
        let end = segment.seq.wrapping_add(step(segment.len()));
        let beyond = end.wrapping_sub(rcv_nxt.wrapping_add(step(room))).cast_signed();
        let beyond = usize::try_from(beyond).unwrap_or(0);
        if beyond > 0 && (beyond < segment.len() || room < left) {
            segment.trim(packet, beyond);
        }
        if beyond == 0 || beyond < segment.len() {
            let seen = segment.next_seq();
            live.seen_end = if after(seen, live.seen_end) { seen } else { live.seen_end };
        }
        segment.rewrite_ack(packet, segment.ack.wrapping_sub(live.delta));
        let len = self.ingress(now, live, packet.get(..segment.end)?)?;
        let mut reply = self.reply.get(..len)?.to_vec();
        live.outbound(&mut reply, &segment.key, scale_of(self.sizes[live.class]), self.wire_scale(options));
        Some(reply)
    }

    /// Has a socket make its next packet in `room`, ready for the wire but for checksums. Returns
    /// its length and the sequence number after it.
    pub fn transmit(
        &mut self,
        now: Duration,
        live: &mut Live,
        key: &Key,
        options: SynOptions,
        room: &mut [u8],
    ) -> Option<(usize, u32)> {
        let len = self.egress(now, live, room)?;
        let next = live.outbound(
            room.get_mut(..len)?,
            key,
            scale_of(self.sizes[live.class]),
            self.wire_scale(options),
        );
        Some((len, next))
    }

    /// When a socket wants to transmit without further input.
    pub fn poll_at(&mut self, now: Duration, live: &Live) -> Option<Duration> {
        let at = self.interface.poll_at(instant(now), &live.sockets)?;
        Some(Duration::from_micros(u64::try_from(at.total_micros()).unwrap_or(0)))
    }

    /// Reminds a socket that has data and no timer of a closed window, so that it probes it:
    /// smoltcp forgets to when the window closes over data in flight, and a lost update would
    /// then stall the connection for ever.
    pub fn remind(&mut self, now: Duration, live: &mut Live, key: &Key, una: u32, rcv_nxt: u32) {
        let ack = una.wrapping_sub(live.delta);
        self.play(now, live, key, &Fields { seq: rcv_nxt, ack, flags: ACK, ..Fields::default() });
    }

    /// The scale on the wire towards a program with these options.
    fn wire_scale(&self, options: SynOptions) -> Option<u8> {
        options.scale.map(|_| self.scale())
    }

    fn play(&mut self, now: Duration, live: &mut Live, key: &Key, fields: &Fields<'_>) -> Option<usize> {
        let mut made = std::mem::take(&mut self.made);
        build(&mut made, key, Way::In, fields);
        let len = self.ingress(now, live, &made);
        self.made = made;
        len
    }

    /// Takes what a socket transmits, instead of the wire.
    fn catch(&mut self, now: Duration, live: &mut Live) -> Option<Segment> {
        let mut room = [0; REPLY];
        let len = self.egress(now, live, &mut room)?;
        let packet = room.get_mut(..len)?;
        Segment::parse(packet, false)
    }

    fn ingress(&mut self, now: Duration, live: &mut Live, packet: &[u8]) -> Option<usize> {
        let offload = self.offload;
        let mut device = Slices::new(Some(packet), &mut self.reply, offload);
        self.interface.poll_ingress_single(instant(now), &mut device, &mut live.sockets);
        device.made
    }

    fn egress(&mut self, now: Duration, live: &mut Live, room: &mut [u8]) -> Option<usize> {
        let mut device = Slices::new(None, room, self.offload);
        self.interface.poll_egress(instant(now), &mut device, &mut live.sockets);
        device.made
    }
}

impl Live {
    /// Turns a packet of smoltcp's into one of the connection's. Returns the sequence number after it.
    fn outbound(&mut self, packet: &mut [u8], key: &Key, own: u8, wire: Option<u8>) -> u32 {
        let tcp = key.ip_header();
        let Some(header) = packet.get_mut(tcp..).and_then(<[u8]>::first_chunk_mut::<TCP_HEADER>) else {
            return self.delta;
        };
        let number =
            |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let seq = number(4).wrapping_add(self.delta);
        let (ack, flags) = (number(8), header[13]);
        // Without the option on the SYN smoltcp does not shift.
        let window = u32::from(u16::from_be_bytes([header[14], header[15]])) << wire.map_or(0, |_| own);
        self.window_end = ack.wrapping_add(window);
        let shown = u16::try_from(window >> wire.unwrap_or(0)).unwrap_or(u16::MAX);
        header[4..8].copy_from_slice(&seq.to_be_bytes());
        header[14..16].copy_from_slice(&shown.to_be_bytes());
        let offset = usize::from(header[12] >> 4) * 4;
        let payload = packet.len().saturating_sub(tcp + offset);
        seq.wrapping_add(step(payload)).wrapping_add(u32::from(flags & FIN != 0))
    }
}

/// smoltcp's shift for a receive buffer of this size.
fn scale_of(size: usize) -> u8 {
    u8::try_from((usize::BITS - size.leading_zeros()).saturating_sub(16)).unwrap_or(14).min(14)
}

fn instant(now: Duration) -> Instant {
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}
