//! Datagrams to service addresses.
//!
//! # Theory of operation
//!
//! A program's first datagram from its address and port to one of a service's makes a flow (`flow`). It is asked
//! for as a connection is, and what the program sends meanwhile waits in a bounded box. Once the far
//! side has said yes, its stream carries each datagram with its length (`far`); there a relay (`relay`) passes them on
//! through a socket of their own, connected to the target (`target`). Nobody waits here: what finds no room is
//! dropped, the newest first, and counted.
//!
//! A flow ends when it was idle for its time; when the stream ends; and when the far side says no, which
//! the program learns as an ICMP error to its last packet. So it learns that the target has refused a
//! datagram, but that flow goes on.

mod far;
mod flow;
mod relay;
mod target;

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use hypertap_engine::udp::{FlowKey, FlowLimits, Flows, Fragments};
use hypertap_wire::ip::{Fragment, Ip};
use hypertap_wire::offload::{GsoType, VirtioHeader};
use hypertap_wire::service_stream::{self, ItemReader, Protocol, Refusal};
use hypertap_wire::udp::Datagram;

pub use far::DatagramFar;
pub use flow::Opening;
use flow::{Flow, Next};
pub use relay::serve;
use target::UdpTarget;

use super::client;
use super::interface::Interface;
use super::ready::Ready;
use super::state::Node;

/// Flows that there may be, and for how long without a datagram either way. A program that asks once from each
/// port, as a resolver does, leaves one behind each time: those give way to new ones earlier.
const LIMITS: FlowLimits =
    FlowLimits { flows: 4096, idle: Duration::from_secs(60), yields_after: Duration::from_secs(3) };
/// The most bytes that wait in all flows together.
const MAX_WAITING: usize = 32 << 20;
/// `VIRTIO_NET_HDR_F_DATA_VALID`: the checksum has been verified.
const DATA_VALID: u8 = 2;

/// Datagrams that were dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// They were not whole, or had a wrong checksum.
    pub bad: u64,
    /// There were as many flows as there may be, all in use.
    pub no_flow: u64,
    /// Too many waited for the far end already.
    pub no_room: u64,
}

/// All flows of one interface.
pub struct Udp {
    flows: Flows<Flow>,
    ready: Arc<Ready<FlowKey>>,
    /// Flows to look after in this round.
    due: Vec<FlowKey>,
    fragments: Fragments,
    waiting: usize,
    counters: UdpCounters,
}

impl Default for Udp {
    fn default() -> Self {
        Self {
            flows: Flows::new(LIMITS),
            ready: Arc::default(),
            due: Vec::new(),
            fragments: Fragments::new(),
            waiting: 0,
            counters: UdpCounters::default(),
        }
    }
}

impl Udp {
    /// Whom to wake when a flow has something to do.
    pub fn register(&self, waker: &Waker) {
        self.ready.register(waker);
    }

    /// What was dropped.
    pub fn counters(&self) -> UdpCounters {
        self.counters
    }

    /// When to call [`Self::handle_timeout`], on the clock that `now` is on.
    pub fn timeout(&self) -> Option<Duration> {
        self.flows.timeout()
    }

    /// Ends flows that were idle for too long.
    pub fn handle_timeout(&mut self, now: Duration) {
        while let Some(flow) = self.flows.expire(now) {
            self.waiting -= flow.waiting();
        }
    }

    /// Takes a UDP packet that a program sent to a service, with the header that the interface put before it.
    /// `open` starts to ask the far side for a new flow.
    pub fn handle_packet(
        &mut self,
        now: Duration,
        header: &VirtioHeader,
        packet: &[u8],
        open: impl FnOnce(&FlowKey) -> Opening,
    ) {
        let is_piece = Ip::parse(packet).is_ok_and(|ip| ip.fragment != Fragment::Whole);
        let whole;
        let (header, packet) = if is_piece {
            let Some(made) = self.fragments.add(now, packet) else { return };
            whole = made;
            (&VirtioHeader::default(), whole.as_slice())
        } else {
            (header, packet)
        };
        let Some((key, data, size)) = take_apart(header, packet) else {
            self.counters.bad += 1;
            return;
        };
        if self.flows.get_mut(&key).is_none() && !self.begin(now, key, open) {
            self.counters.no_flow += 1;
            return;
        }
        let Some(flow) = self.flows.get_mut(&key) else { return };
        flow.note(packet);
        let before = flow.waiting();
        let mut send = |data: &[u8]| {
            let is_full = self.waiting + flow.waiting() - before + data.len() > MAX_WAITING;
            self.counters.no_room += u64::from(is_full || !flow.push(data));
        };
        if data.is_empty() {
            send(data);
        }
        data.chunks(size).for_each(send);
        self.waiting = self.waiting + flow.waiting() - before;
        flow.wake();
        self.flows.touch(now, &key);
    }

    fn begin(&mut self, now: Duration, key: FlowKey, open: impl FnOnce(&FlowKey) -> Opening) -> bool {
        let Ok(ended) = self.flows.make_room(now) else { return false };
        let replaced = self.flows.insert(now, key, Flow::new(key, open(&key), &self.ready));
        for flow in ended.into_iter().chain(replaced) {
            self.waiting -= flow.waiting();
        }
        true
    }

    /// Looks after the flows that were woken.
    pub fn pump(&mut self, now: Duration, interface: &mut Interface) {
        let mut due = std::mem::take(&mut self.due);
        self.ready.take(&mut due);
        for key in due.drain(..) {
            let Some(flow) = self.flows.get_mut(&key) else { continue };
            self.waiting -= flow.waiting();
            let next = flow.pump(interface);
            match next {
                Next::Over => {
                    self.flows.remove(&key);
                    continue;
                }
                Next::Again => flow.wake(),
                Next::Active | Next::Wait => {}
            }
            self.waiting += flow.waiting();
            if next != Next::Wait {
                self.flows.touch(now, &key);
            }
        }
        self.due = due;
    }
}

/// Whose datagrams a packet has, their data, and how long each of them is but the last.
fn take_apart<'a>(header: &VirtioHeader, packet: &'a [u8]) -> Option<(FlowKey, &'a [u8], usize)> {
    let ip = Ip::parse(packet).ok()?;
    let datagram = Datagram::parse(&ip).ok()?;
    let is_trusted = header.needs_checksum() || header.flags & DATA_VALID != 0;
    if !is_trusted && !ip.is_checksum_right() {
        return None;
    }
    let size = match header.gso()? {
        GsoType::None => datagram.payload.len().max(1),
        GsoType::Udp => usize::from(NonZeroU16::new(header.gso_size)?.get()),
        GsoType::TcpV4 | GsoType::TcpV6 => return None,
    };
    // A port of 0 is nobody's, and nobody could answer.
    let end = |address, port| Some(SocketAddr::new(address, NonZeroU16::new(port)?.get()));
    let key = FlowKey {
        local: end(ip.destination, datagram.destination_port)?,
        remote: end(ip.source, datagram.source_port)?,
    };
    Some((key, datagram.payload, size))
}

/// Opens the far end of a flow.
///
/// # Errors
/// What the program is to be told.
pub async fn open(node: &Node, key: &FlowKey) -> Result<DatagramFar, Refusal> {
    let asked = node.asked(key.local.ip()).ok_or(Refusal::NoSuchService)?;
    if node.tables().peers.is_own(&asked.node) {
        let target = UdpTarget::open(node, &asked.node, asked.service, asked.name.as_ref()).await?;
        return Ok(DatagramFar::Target(target));
    }
    let opening = service_stream::Opening {
        service: asked.service,
        name: asked.name.clone(),
        client_port: key.remote.port(),
        port: NonZeroU16::new(key.local.port()).ok_or(Refusal::TargetRefused)?,
        protocol: Protocol::Udp,
    };
    let stream = client::ask_service(node, &asked, &opening).await?;
    Ok(DatagramFar::Mesh(stream, ItemReader::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::udp::emit;

    fn packet(v6: bool, data: &[u8]) -> Vec<u8> {
        let ends = if v6 { ["[fd00::1]:9", "[fd00::2]:53"] } else { ["10.0.0.1:9", "10.0.0.2:53"] };
        let [source, destination] = ends.map(|end| end.parse().expect("an address"));
        let mut packet = vec![0; data.len() + 48];
        let len = emit(&mut packet, source, destination, data).expect("it fits");
        packet.truncate(len);
        packet
    }

    /// What the kernel says of datagrams of so many bytes that it hands over together.
    fn segment(gso_type: u8, gso_size: u16) -> VirtioHeader {
        VirtioHeader { flags: 1, gso_type, gso_size, ..VirtioHeader::default() }
    }

    #[test]
    fn a_segment_is_cut_by_its_size_and_a_datagram_is_not_cut() {
        for v6 in [false, true] {
            let packet = packet(v6, &[7; 2500]);
            let (key, data, size) = take_apart(&segment(5, 1000), &packet).expect("a segment");
            assert_eq!(data.chunks(size).map(<[u8]>::len).collect::<Vec<_>>(), [1000, 1000, 500]);
            assert_eq!((key.remote.port(), key.local.port(), key.local.is_ipv6()), (9, 53, v6));
            let (_, data, size) = take_apart(&VirtioHeader::default(), &packet).expect("a datagram");
            assert_eq!(data.chunks(size).count(), 1);
        }
    }

    #[test]
    fn what_is_no_whole_datagram_is_none() {
        let good = packet(true, b"data");
        assert!(take_apart(&segment(5, 0), &good).is_none(), "pieces of nothing");
        assert!(take_apart(&segment(1, 1000), &good).is_none(), "tcp's segments");
        assert!(take_apart(&segment(9, 1000), &good).is_none(), "a type that nobody knows");
        for at in [40, 42, 46, 48] {
            let mut wrong = good.clone();
            wrong[at] ^= 1;
            assert!(take_apart(&VirtioHeader::default(), &wrong).is_none(), "byte {at} is wrong");
        }
        for at in [41, 43] {
            let mut portless = good.clone();
            portless[at] = 0;
            assert!(take_apart(&segment(0, 0), &portless).is_none(), "port 0");
        }
    }
}
