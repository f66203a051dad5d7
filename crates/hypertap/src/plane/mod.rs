//! The data plane: packets between the interface and the program.
//!
//! A thread for each queue of the interface takes what the machine sends and passes it to the
//! program; one more takes what the program sends, checks it and injects it. The threads share
//! counters and a stop, nothing else, and sleep in poll(2) without timers while nothing comes. What
//! cannot be passed on is dropped and counted by cause; the newest goes first.
//!
//! A plane that cannot go on says why, once, and then waits to be stopped.

mod connection;
mod door;
mod guard;
mod incoming;
mod inject;
mod meeting;
pub(crate) mod stats;
mod udp;

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use hypertap_platform::datagram::prepare_udp;
use hypertap_platform::queue::{PacketQueue, receive_batch};
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_wire::batch::Batch;
use hypertap_wire::framing::FRAME_HEADER;
use hypertap_wire::packet::Tally;
use tokio::sync::mpsc;

use self::connection::Framing;
use self::door::Door;
use self::guard::Answers;
pub(crate) use self::guard::{PeerGuard, Verdict};
use self::inject::Injector;
use self::meeting::ConnectedSink;
use self::stats::Stats;
use self::udp::UdpSink;

/// How the program's end is reached.
#[derive(Debug)]
pub(crate) enum Program {
    /// A datagram a packet, over loopback.
    Udp {
        /// Bound to the port that the program sends to.
        socket: UdpSocket,
        /// Where the program receives.
        receive: SocketAddr,
    },
    /// A message a packet, over a Unix socket of type `SOCK_SEQPACKET` that is listened on.
    Unix {
        /// It does not block.
        listener: UnixListener,
    },
    /// Frames in a stream, over a Unix stream socket that is listened on.
    Stream {
        /// It does not block.
        listener: UnixListener,
    },
}

/// What a plane is made of.
pub(crate) struct PlaneSpec {
    /// The program's end.
    pub(crate) program: Program,
    /// The interface's MTU in bytes.
    pub(crate) mtu: u32,
    /// The interface's queues, at least one.
    pub(crate) queues: Vec<Box<dyn PacketQueue>>,
    /// Who may use it.
    pub(crate) guard: Arc<dyn PeerGuard>,
    /// Where everything is counted.
    pub(crate) stats: Arc<Stats>,
    /// Told once, when the plane cannot go on. One place of room is enough.
    pub(crate) ended: mpsc::Sender<PlaneEnd>,
}

/// Why a plane cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PlaneEnd {
    /// The connected program went away.
    #[error("the program's end of the data plane went away")]
    ProgramGone,
    /// The interface broke.
    #[error("the interface's packet queue failed: {0}")]
    Device(#[source] io::Error),
    /// The program's end broke, or sent what is not in frames.
    #[error("the program's end of the data plane failed: {0}")]
    Program(#[source] io::Error),
}

/// Where a queue's packets go.
trait Sink: Send {
    /// Passes on or drops all packets of a batch, counting each.
    fn deliver(&mut self, batch: &mut Batch, tally: &mut Tally, stop: &Stop);

    /// The socket that must have room before what is still to be sent of a packet can be.
    fn unfinished(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Sends that.
    fn finish(&mut self, _: &Stop) {}
}

/// A running plane; dropping it stops it too.
#[derive(Debug)]
pub(crate) struct Plane {
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

impl Plane {
    /// Starts the threads.
    ///
    /// # Errors
    /// When a thread or a descriptor could not be made; nothing runs then.
    pub(crate) fn start(spec: PlaneSpec) -> io::Result<Self> {
        let PlaneSpec { program, mtu, queues, guard, stats, ended } = spec;
        let mut plane = Self { stop: Stop::new()?, threads: Vec::with_capacity(queues.len() + 1) };
        let mut injector = Injector::new(&queues, mtu as usize);
        match program {
            Program::Udp { socket, receive } => {
                prepare_udp(&socket)?;
                for (index, queue) in queues.into_iter().enumerate() {
                    let answers = Answers::new(Arc::clone(&guard));
                    let sink = UdpSink::new(socket.try_clone()?, receive, answers);
                    plane.drain(index, queue, 0, sink, &stats, &ended)?;
                }
                let mut answers = Answers::new(guard);
                plane.spawn("from-program".into(), ended, move |stop| {
                    udp::receive(&socket, &mut answers, &mut injector, &stats.from_program, stop)
                })?;
            }
            Program::Unix { listener } => {
                plane.start_connected(listener, Framing::Messages, queues, injector, (guard, stats, ended))?
            }
            Program::Stream { listener } => {
                plane.start_connected(listener, Framing::Frames, queues, injector, (guard, stats, ended))?
            }
        }
        Ok(plane)
    }

    fn start_connected(
        &mut self,
        listener: UnixListener,
        framing: Framing,
        queues: Vec<Box<dyn PacketQueue>>,
        mut injector: Injector,
        (guard, stats, ended): (Arc<dyn PeerGuard>, Arc<Stats>, mpsc::Sender<PlaneEnd>),
    ) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let door = Door::new(listener, framing, guard);
        let prefix = if framing == Framing::Frames { FRAME_HEADER } else { 0 };
        for (index, queue) in queues.into_iter().enumerate() {
            self.drain(index, queue, prefix, ConnectedSink::new(door.meeting()), &stats, &ended)?;
        }
        self.spawn("from-program".into(), ended, move |stop| {
            door.serve(&mut injector, &stats.from_program, stop)
        })
    }

    /// Starts the thread that takes a queue's packets to the program.
    fn drain(
        &mut self,
        index: usize,
        mut queue: Box<dyn PacketQueue>,
        prefix: usize,
        mut sink: impl Sink + 'static,
        stats: &Arc<Stats>,
        ended: &mpsc::Sender<PlaneEnd>,
    ) -> io::Result<()> {
        let stats = Arc::clone(stats);
        self.spawn(format!("to-program-{index}"), ended.clone(), move |stop| {
            let mut batch = receive_batch(prefix);
            while !stop.is_set() {
                let mut tally = Tally::default();
                batch.clear();
                let more = queue.recv(&mut batch, &mut tally).map_err(PlaneEnd::Device)?;
                if !batch.is_empty() {
                    sink.deliver(&mut batch, &mut tally, stop);
                }
                stats.to_program.add(&tally);
                // While packets come in rows, the next are there already more often than not.
                if !more && batch.len() < 2 {
                    let queue = (queue.descriptor(), Interest::Readable);
                    let wake = match sink.unfinished() {
                        Some(socket) => stop.wait(&[queue, (socket, Interest::Writable)], None),
                        None => stop.wait(&[queue], None),
                    };
                    match wake.map_err(PlaneEnd::Device)? {
                        Wake::Stopped => break,
                        wake if wake.is_ready(1) => sink.finish(stop),
                        _ => {}
                    }
                }
            }
            Ok(())
        })
    }

    fn spawn(
        &mut self,
        name: String,
        ended: mpsc::Sender<PlaneEnd>,
        body: impl FnOnce(&Stop) -> Result<(), PlaneEnd> + Send + 'static,
    ) -> io::Result<()> {
        let stop = self.stop.clone();
        let thread = thread::Builder::new().name(name).spawn(move || {
            if let Err(end) = body(&stop) {
                // With no room, another thread has said why the plane ends already.
                let _ = ended.try_send(end);
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }

    /// Ends all threads and waits for them, which is a matter of the batches they are at.
    pub(crate) fn stop(self) {
        drop(self);
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.stop.set();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a data thread panicked");
            }
        }
    }
}

/// The rounds of a thread that takes the program's packets. Once the stop is set it takes what waits,
/// for the program has sent it before it said goodbye, but no more than a few batches.
#[derive(Debug, Default)]
struct Rounds {
    /// How many have begun since the stop was set.
    last: usize,
}

impl Rounds {
    /// How many batches are taken after the stop.
    const LAST: usize = 16;

    /// Whether there is one more round.
    fn goes_on(&mut self, stop: &Stop) -> bool {
        self.last += usize::from(stop.is_set());
        self.last <= Self::LAST
    }

    /// Whether the stop is set, so that an empty socket ends it.
    fn are_last(&self) -> bool {
        self.last > 0
    }
}

#[cfg(test)]
mod tests;
