//! The thread between the interface and everything that its packets are for.
//!
//! # Theory of operation
//!
//! One future, polled by a runtime of its own thread. Each time it is woken it goes round: flows whose far ends
//! have something, packets from the interface, what those meant for flows, connections that the far side
//! has said yes or no to, and then all that is to be sent goes out together. It sleeps when a round moved
//! nothing. Nothing here waits for anybody: what a peer or a target does comes back as a wake-up.

use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures::stream::FuturesUnordered;
use hypertap_engine::tcp::{Counters, Event, FlowId, Refusal as TcpRefusal, Tcp};
use hypertap_engine::udp::FlowKey;
use hypertap_wire::ip::{Ip, TCP, UDP};
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::service_stream::Refusal;
use tokio::time::{Instant, Sleep, sleep_until};

use super::far::Far;
use super::flow::{Flow, Next};
use super::interface::{Interface, ROOM};
use super::ready::Ready;
use super::udp::{self, Udp, UdpCounters};

/// Packets that are read from the interface before others have a turn.
const TURN: usize = 64;

/// What the shard asks for others' sake. All of it must return at once.
pub trait Surroundings: Send {
    /// Starts to open what a program asked for: `local` is the service's end, `remote` the program's.
    fn open(&self, local: SocketAddr, remote: SocketAddr) -> BoxFuture<'static, Result<Far, Refusal>>;

    /// The same for a program's datagrams.
    fn open_datagrams(&self, key: &FlowKey) -> udp::Opening;

    /// Whether an address is a service's, so that its TCP and UDP end here.
    fn is_service(&self, address: IpAddr) -> bool;

    /// Takes a packet that is neither TCP nor UDP to a service, after its header.
    fn packet(&mut self, header: &VirtioHeader, packet: &mut [u8], interface: &mut Interface);
}

/// The thread's work. It ends when the interface is gone.
pub struct Shard<S> {
    interface: Interface,
    surroundings: S,
    tcp: Tcp,
    udp: Udp,
    /// What [`Tcp`]'s times are counted from.
    epoch: Instant,
    flows: HashMap<FlowId, Flow>,
    ready: Arc<Ready<FlowId>>,
    /// Flows to look after in this round.
    due: Vec<FlowId>,
    opening: FuturesUnordered<BoxFuture<'static, Opened>>,
    /// The flows that wait for these, which end with them.
    asked: HashMap<FlowId, AbortHandle>,
    /// When flows give up far ends that take nothing any more, the first first.
    farewells: VecDeque<(Duration, FlowId)>,
    timer: Pin<Box<Sleep>>,
    room: Box<[u8]>,
}

/// What happened to programs' connections and datagrams.
#[derive(Clone, Copy, Debug)]
pub struct ShardCounts {
    /// Connections.
    pub tcp: Counters,
    /// Datagrams.
    pub udp: UdpCounters,
}

/// What the far side has said of a flow; nothing where that was no longer waited for.
type Opened = (FlowId, Result<Result<Far, Refusal>, Aborted>);

impl<S: Surroundings> Shard<S> {
    /// A shard on the interface's queue, which is non-blocking and has a virtio-net header.
    ///
    /// # Errors
    /// The descriptor cannot be waited on.
    pub fn new(queue: OwnedFd, tcp: Tcp, surroundings: S) -> io::Result<Self> {
        Ok(Self {
            interface: Interface::new(queue)?,
            surroundings,
            tcp,
            udp: Udp::default(),
            epoch: Instant::now(),
            flows: HashMap::new(),
            ready: Arc::default(),
            due: Vec::new(),
            opening: FuturesUnordered::new(),
            asked: HashMap::new(),
            farewells: VecDeque::new(),
            timer: Box::pin(sleep_until(Instant::now())),
            room: vec![0; ROOM].into(),
        })
    }

    /// What happened so far to programs' connections and datagrams.
    pub fn counts(&self) -> ShardCounts {
        ShardCounts { tcp: self.tcp.counters(), udp: self.udp.counters() }
    }

    /// Resets all connections, and tells the programs so.
    pub fn end(&mut self) {
        for (id, flow) in self.flows.drain() {
            self.tcp.reset(id);
            flow.reset();
        }
        // The interface may be gone, and then nobody is there to be told.
        let _ = self.transmit();
    }

    fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Looks after the flows that were woken.
    fn pump(&mut self) {
        let mut due = std::mem::take(&mut self.due);
        self.ready.take(&mut due);
        let now = self.now();
        for id in due.drain(..) {
            let Some(flow) = self.flows.get_mut(&id) else { continue };
            match flow.pump(id, &mut self.tcp, now) {
                Next::Wait => {}
                Next::Farewell { until } => self.farewells.push_back((until, id)),
                Next::Again => flow.wake(),
                Next::Over => drop(self.flows.remove(&id)),
                Next::Reset => {
                    self.tcp.reset(id);
                    if let Some(flow) = self.flows.remove(&id) {
                        flow.reset();
                    }
                }
            }
        }
        self.due = due;
    }

    /// Reads packets. Returns whether there may be more.
    fn read(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let now = self.now();
        for _ in 0..TURN {
            let Poll::Ready(read) = self.interface.poll_read(cx, &mut self.room) else { return Ok(false) };
            let len = read?;
            let Some((header, packet)) =
                self.room.get_mut(..len).and_then(|read| read.split_first_chunk_mut())
            else {
                continue;
            };
            let header = VirtioHeader::parse(header);
            let Ok(ip) = Ip::parse(packet) else { continue };
            let protocol = ip.protocol;
            if matches!(protocol, TCP | UDP) && self.surroundings.is_service(ip.destination) {
                if protocol == TCP {
                    self.tcp.handle_packet(now, &header, packet);
                } else {
                    let open = |key: &FlowKey| self.surroundings.open_datagrams(key);
                    self.udp.handle_packet(now, &header, packet, open);
                }
            } else {
                self.surroundings.packet(&header, packet, &mut self.interface);
            }
        }
        Ok(true)
    }

    /// Deals with what happened to flows. Returns whether anything did.
    fn react(&mut self) -> bool {
        let mut has_any = false;
        while let Some(event) = self.tcp.poll_event() {
            has_any = true;
            match event {
                Event::Syn { flow, local, remote } => {
                    let (handle, registration) = AbortHandle::new_pair();
                    let opening = Abortable::new(self.surroundings.open(local, remote), registration);
                    self.asked.insert(flow, handle);
                    self.opening.push(Box::pin(async move { (flow, opening.await) }));
                }
                Event::Readable { flow } | Event::Writable { flow } | Event::Delivered { flow } => {
                    if let Some(flow) = self.flows.get(&flow) {
                        flow.wake();
                    }
                }
                Event::Ended { flow } => self.flows.get_mut(&flow).map_or((), Flow::end_up),
                Event::Closed { flow } => self.flows.get_mut(&flow).map_or((), Flow::forsake),
                Event::Reset { flow } => {
                    if let Some(opening) = self.asked.remove(&flow) {
                        opening.abort();
                    }
                    if let Some(flow) = self.flows.remove(&flow) {
                        flow.reset();
                    }
                }
            }
        }
        has_any
    }

    /// Does what is due.
    fn keep_time(&mut self) {
        let now = self.now();
        if self.tcp.timeout().is_some_and(|at| at <= now) {
            self.tcp.handle_timeout(now);
        }
        self.udp.handle_timeout(now);
        while self.farewells.front().is_some_and(|(until, _)| *until <= now) {
            if let Some(flow) = self.farewells.pop_front().and_then(|(_, id)| self.flows.get(&id)) {
                flow.wake();
            }
        }
    }

    /// Answers the programs whose far sides have said yes or no.
    fn answer(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((id, opened))) = self.opening.poll_next_unpin(cx) {
            let Ok(opened) = opened else { continue };
            let is_waiting = self.asked.remove(&id).is_some();
            match opened {
                Ok(far) if is_waiting => {
                    let flow = Flow::new(id, far, &self.ready);
                    flow.wake();
                    self.flows.insert(id, flow);
                    self.tcp.accept(self.now(), id);
                }
                Ok(far) => far.reset(),
                Err(refusal) => self.tcp.refuse(id, tcp_refusal(refusal)),
            }
        }
    }

    /// Sends all that is to be sent.
    fn transmit(&mut self) -> io::Result<()> {
        loop {
            let has_more = self.tcp.poll_transmit(self.now(), self.interface.out());
            self.interface.flush()?;
            if !has_more {
                return Ok(());
            }
        }
    }

    /// Sleeps until a flow wants something.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let farewell = self.farewells.front().map(|(until, _)| *until);
        let all = [self.tcp.timeout(), self.udp.timeout(), farewell];
        let Some(at) = all.into_iter().flatten().min() else { return };
        self.timer.as_mut().reset(self.epoch + at);
        if self.timer.as_mut().poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<S: Surroundings + Unpin> Future for Shard<S> {
    type Output = io::Error;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Error> {
        let this = &mut *self;
        this.ready.register(cx.waker());
        this.udp.register(cx.waker());
        let round = |this: &mut Self, cx: &mut Context<'_>| -> io::Result<bool> {
            let has_more = this.read(cx)?;
            this.react();
            // What comes of it is sent below; later it would wait for another round.
            this.keep_time();
            this.react();
            this.answer(cx);
            this.pump();
            this.udp.pump(this.now(), &mut this.interface);
            this.transmit()?;
            Ok(this.react() || has_more)
        };
        match round(this, cx) {
            Err(error) => return Poll::Ready(error),
            Ok(true) => cx.waker().wake_by_ref(),
            Ok(false) => {}
        }
        this.set_timer(cx);
        Poll::Pending
    }
}

fn tcp_refusal(refusal: Refusal) -> TcpRefusal {
    use hypertap_wire::icmp::Unreachable;
    use hypertap_wire::service_stream::Answer;
    match refusal.answer() {
        Answer::Reset => TcpRefusal::Refused,
        Answer::Unreachable(Unreachable::Prohibited) => TcpRefusal::Prohibited,
        Answer::Unreachable(_) => TcpRefusal::Unreachable,
    }
}
