//! The thread between the interface and everything that its packets are for.
//!
//! # Theory of operation
//!
//! One future, polled by a runtime of its own thread. Each time it is woken it goes round: flows whose far ends
//! have something, packets from the interface, what those meant for flows, connections that the far side
//! has said yes or no to, and then all that is to be sent goes out together. It sleeps when a round moved
//! nothing. Nothing here waits for anybody: what a peer or a target does comes back as a wake-up.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hypertap_engine::tcp::{Event, FlowId, MAX_PACKET, Refusal as TcpRefusal, Tcp};
use hypertap_wire::batch::Batch;
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::service_stream::Refusal;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, Sleep, sleep_until};

use super::far::Far;
use super::flow::{Flow, Next, Ready};

/// Packets that are read from the interface before others have a turn.
const TURN: usize = 64;
/// The longest packet that the interface hands over, with its header.
const ROOM: usize = VirtioHeader::LEN + 65_536;

/// What the shard asks for others' sake. All of it must return at once.
pub trait Surroundings: Send {
    /// Starts to open what a program asked for: `local` is the service's end, `remote` the program's.
    fn open(&self, local: SocketAddr, remote: SocketAddr) -> BoxFuture<'static, Result<Far, Refusal>>;

    /// Whether an address is a service's, so that its TCP ends here.
    fn is_service(&self, address: IpAddr) -> bool;

    /// Takes a packet that is not TCP to a service, after its header. What is appended to `answers` goes
    /// back into the interface, each packet after a header of its own.
    fn packet(&mut self, header: &VirtioHeader, packet: &mut [u8], answers: &mut Batch);
}

/// The thread's work. It ends when the interface is gone.
pub struct Shard<S> {
    device: AsyncFd<File>,
    surroundings: S,
    tcp: Tcp,
    /// What [`Tcp`]'s times are counted from.
    epoch: Instant,
    flows: HashMap<FlowId, Flow>,
    ready: Arc<Ready>,
    /// Flows to look after in this round.
    due: Vec<FlowId>,
    opening: FuturesUnordered<BoxFuture<'static, (FlowId, Result<Far, Refusal>)>>,
    /// Where the far side is asked for a flow that waits.
    asked: HashSet<FlowId>,
    /// When flows give up far ends that take nothing any more, the first first.
    farewells: VecDeque<(Duration, FlowId)>,
    timer: Pin<Box<Sleep>>,
    room: Box<[u8]>,
    out: Batch,
}

impl<S: Surroundings> Shard<S> {
    /// A shard on the interface's queue, which is non-blocking and has a virtio-net header.
    ///
    /// # Errors
    /// The descriptor cannot be waited on.
    pub fn new(queue: OwnedFd, tcp: Tcp, surroundings: S) -> io::Result<Self> {
        Ok(Self {
            device: AsyncFd::new(File::from(queue))?,
            surroundings,
            tcp,
            epoch: Instant::now(),
            flows: HashMap::new(),
            ready: Arc::default(),
            due: Vec::new(),
            opening: FuturesUnordered::new(),
            asked: HashSet::new(),
            farewells: VecDeque::new(),
            timer: Box::pin(sleep_until(Instant::now())),
            room: vec![0; ROOM].into(),
            out: Batch::with_prefix(2 * MAX_PACKET + (256 << 10), 256, VirtioHeader::LEN),
        })
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
        for _ in 0..TURN {
            let Poll::Ready(guard) = self.device.poll_read_ready(cx) else { return Ok(false) };
            let mut guard = guard?;
            let len = match guard.get_inner().read(&mut self.room) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    guard.clear_ready();
                    continue;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let now = self.now();
            let Some((header, packet)) = self.room.get_mut(..len).and_then(|read| read.split_first_chunk_mut())
            else {
                continue;
            };
            let header = VirtioHeader::parse(header);
            if is_tcp(packet).is_some_and(|destination| self.surroundings.is_service(destination)) {
                self.tcp.handle_packet(now, &header, packet);
            } else {
                self.surroundings.packet(&header, packet, &mut self.out);
            }
            if self.out.packets_left() == 0 || self.out.left() < MAX_PACKET {
                self.flush()?;
            }
        }
        Ok(true)
    }

    /// Deals with what happened to flows.
    fn react(&mut self) {
        let now = self.now();
        while let Some(event) = self.tcp.poll_event() {
            match event {
                Event::Syn { flow, local, remote } => {
                    let opening = self.surroundings.open(local, remote);
                    self.asked.insert(flow);
                    self.opening.push(Box::pin(async move { (flow, opening.await) }));
                }
                Event::Readable { flow } | Event::Writable { flow } => {
                    if let Some(flow) = self.flows.get(&flow) {
                        flow.wake();
                    }
                }
                Event::Ended { flow } => self.flows.get_mut(&flow).map_or((), Flow::end_up),
                Event::Closed { flow } => self.flows.get_mut(&flow).map_or((), Flow::forsake),
                Event::Reset { flow } => {
                    self.asked.remove(&flow);
                    if let Some(flow) = self.flows.remove(&flow) {
                        flow.reset();
                    }
                }
            }
        }
        if self.tcp.timeout().is_some_and(|at| at <= now) {
            self.tcp.handle_timeout(now);
        }
        while let Some((_, flow)) = self.farewells.pop_front_if(|(until, _)| *until <= now) {
            if let Some(flow) = self.flows.get(&flow) {
                        flow.wake();
                    }
        }
    }

    /// Answers the programs whose far sides have said yes or no.
    fn answer(&mut self, cx: &mut Context<'_>) {
        while let Poll::Ready(Some((id, opened))) = self.opening.poll_next_unpin(cx) {
            let now = self.now();
            let is_waiting = self.asked.remove(&id);
            match opened {
                Ok(far) if is_waiting => {
                    let flow = Flow::new(id, far, &self.ready);
                    flow.wake();
                    self.flows.insert(id, flow);
                    self.tcp.accept(now, id);
                }
                Ok(far) => far.reset(),
                Err(refusal) => self.tcp.refuse(id, tcp_refusal(refusal)),
            }
        }
    }

    /// Sends all that is to be sent.
    fn transmit(&mut self) -> io::Result<()> {
        loop {
            let has_more = self.tcp.poll_transmit(self.now(), &mut self.out);
            self.flush()?;
            if !has_more {
                return Ok(());
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        for index in 0..self.out.len() {
            let Some(packet) = self.out.with_headers(index..index + 1, VirtioHeader::LEN) else { continue };
            match self.device.get_ref().write(packet) {
                // What the interface does not take is lost as in any network: TCP sends it again.
                Ok(_) => {}
                Err(error) if is_gone(&error) => return Err(error),
                Err(error) => tracing::trace!(%error, "the interface did not take a packet"),
            }
        }
        self.out.clear();
        Ok(())
    }

    /// Sleeps until a flow wants something.
    fn set_timer(&mut self, cx: &mut Context<'_>) {
        let farewell = self.farewells.front().map(|(until, _)| *until);
        let Some(at) = self.tcp.timeout().into_iter().chain(farewell).min() else { return };
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
        let round = |this: &mut Self, cx: &mut Context<'_>| -> io::Result<bool> {
            let has_more = this.read(cx)?;
            this.react();
            this.answer(cx);
            this.pump();
            this.transmit()?;
            this.react();
            Ok(has_more)
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

/// The destination of a TCP segment, if it is one without anything between the headers.
fn is_tcp(packet: &[u8]) -> Option<IpAddr> {
    use hypertap_wire::ip::{Ip, TCP};
    let ip = Ip::parse(packet).ok()?;
    (ip.protocol == TCP).then_some(ip.destination)
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

/// Whether the interface is gone, and not only down or short of memory.
fn is_gone(error: &io::Error) -> bool {
    /// `EBADFD`: the descriptor has no interface any more.
    const NO_INTERFACE: i32 = 77;
    error.raw_os_error() == Some(NO_INTERFACE)
}
