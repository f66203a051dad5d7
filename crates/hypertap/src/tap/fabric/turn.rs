//! The thread: one turn after the other, each of which reads once from every port that has something.

mod ports;

use std::array;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypertap_engine::switch::PortId;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::poller::{Poller, Ready, Waker, Watch};
use hypertap_platform::queue::{PacketQueue, receive_batch};
use hypertap_wire::batch::Batch;
use hypertap_wire::frames::{FrameReader, MAX_HEADER};
use hypertap_wire::packet::Tally;
use tokio::sync::mpsc;

use super::command::Command;
use super::door::{Door, Register};
use super::incoming::{read_messages, read_modem, read_stream};
use super::lan::{Lan, PORTS};
use super::modem::ModemLine;
use super::outbox::Outbox;
use super::waiting::Waiting;
use super::{ClientEnd, ClientId, DropReason, FabricEvent, FabricSettings, Place};

/// The poller's number of the waker.
const WAKER: u64 = 0;
/// The first of the poller's numbers that are doors': the door's number is added. Ports are fewer.
const DOORS: u64 = 1 << 32;
/// How often the host is looked at while it is not read from: its loss wakes only who reads.
const PAUSE: Duration = Duration::from_millis(100);
/// Stations' frames that one turn deals with at most, in batches.
const STATIONS: usize = 64;
/// How much is read from a stream at once, in bytes.
const READ: usize = 256 << 10;
/// Frames that are one batch.
const FRAMES: usize = 2048;

/// What the thread starts with.
pub(super) struct Start {
    pub(super) settings: FabricSettings,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) outbox: Outbox,
    pub(super) waker: Waker,
    pub(super) stop: Arc<AtomicBool>,
    pub(super) poller: Poller,
}

/// What comes in by a port.
enum Source {
    Host(Box<dyn PacketQueue>),
    Stream { client: ClientId, place: Place, file: Rc<File>, reader: FrameReader },
    Modem { client: ClientId, place: Place, file: Rc<File>, reader: FrameReader },
    Messages { client: ClientId, place: Place, socket: GuestSocket },
}

struct Thread {
    lan: Lan,
    /// By the ports' slots.
    sources: Vec<Option<Source>>,
    host: Option<PortId>,
    /// What the host's frames are read into, by the length of the headers that they get room for.
    batches: [Option<Batch>; MAX_HEADER + 1],
    doors: Vec<Door>,
    register: Register,
    /// What modem clients' stations send.
    stations: Batch,
    modems: usize,
    commands: mpsc::Receiver<Command>,
    outbox: Rc<Outbox>,
    waker: Waker,
    max_frame: usize,
    started: Instant,
    waiting: Waiting,
}

/// The thread's life: until it is stopped, or nobody can tell it anything any more.
pub(super) fn run(start: Start) {
    let Start { settings, commands, outbox, waker, stop, mut poller } = start;
    if let Err(error) = poller.add(waker.as_fd(), WAKER, Watch::Readable) {
        return tracing::error!(%error, "the fabric cannot be woken");
    }
    let seed = RandomState::new().build_hasher().finish();
    let outbox = Rc::new(outbox);
    let max_frame = settings.max_frame();
    let mut thread = Thread {
        lan: Lan::new(poller, seed, settings.observer),
        sources: Vec::new(),
        host: None,
        batches: array::from_fn(|_| None),
        doors: Vec::new(),
        register: Register::new(settings.places, Rc::clone(&outbox)),
        stations: Batch::new(max_frame * FRAMES / 8, FRAMES / 8),
        modems: 0,
        commands,
        outbox,
        waker,
        max_frame,
        started: Instant::now(),
        waiting: Waiting::new(Instant::now()),
    };
    let mut ready = Vec::new();
    while !stop.load(Ordering::Acquire) {
        if let Err(error) = thread.turn(&mut ready) {
            return tracing::error!(%error, "the fabric cannot wait for its ports");
        }
    }
}

impl Thread {
    fn turn(&mut self, ready: &mut Vec<Ready>) -> io::Result<()> {
        let due = self.due();
        let timeout = due.map(|due| due.saturating_sub(self.started.elapsed()));
        let look = self.lan.is_host_paused().then_some(PAUSE);
        let timeout = [timeout, look].into_iter().flatten().min();
        let frames = std::mem::take(&mut self.lan.frames);
        self.waiting.wait(&mut self.lan.poller, ready, timeout, frames)?;
        self.lan.now = self.started.elapsed();
        let (mut host, mut has_sent) = (None, false);
        for one in &*ready {
            match one.token {
                WAKER => self.obey(),
                token @ DOORS.. => {
                    self.open_door(usize::try_from(token - DOORS).unwrap_or(usize::MAX));
                    has_sent = true;
                }
                token => {
                    let slot = usize::try_from(token - PORTS).unwrap_or(usize::MAX);
                    if self.host.is_some_and(|id| id.slot() == slot) {
                        host = Some(*one);
                        continue;
                    }
                    self.serve(slot, *one);
                    has_sent |= one.readable;
                }
            }
            self.settle();
        }
        self.serve_host(host, has_sent);
        if ready.is_empty() {
            self.lan.watch_paused_host();
        }
        if due.is_some_and(|due| due <= self.lan.now) {
            self.on_timeout();
            self.settle();
        }
        while let Some(looping) = self.lan.switch.take_looping() {
            let origin = |port: PortId| self.lan.port(port.slot()).map(|port| port.origin);
            if let (Some(first), Some(by)) = (origin(looping.port), origin(looping.by)) {
                self.outbox.tell_news(FabricEvent::Looping { first, by, dropped: looping.dropped });
            }
        }
        Ok(())
    }

    /// Serves the host, after all others: the answers to what they have just sent, on which they wait, are there.
    fn serve_host(&mut self, ready: Option<Ready>, has_sent: bool) {
        let Some(slot) = self.host.map(PortId::slot) else { return };
        if ready.is_some_and(|ready| ready.readable) || (has_sent && !self.lan.is_host_paused()) {
            self.read(slot);
            self.settle();
        }
    }

    /// When a modem client's line has something to do.
    fn due(&mut self) -> Option<Duration> {
        if self.modems == 0 {
            return None;
        }
        self.lan.lines().filter_map(ModemLine::timeout).min()
    }

    fn on_timeout(&mut self) {
        for slot in 0..self.sources.len() {
            if let Some((line, counters, now)) = self.lan.modem_mut(slot)
                && line.timeout().is_some_and(|due| due <= now)
            {
                line.on_timeout(now, counters);
                self.lan.list_modem(slot);
            }
        }
    }

    /// Does what follows from the frames that were dealt with.
    fn settle(&mut self) {
        self.lan.flush();
        for _ in 0..STATIONS {
            let Some(slot) = self.lan.take_modem() else { break };
            self.lan.flush_port(slot);
            self.stations.clear();
            let Some((line, ..)) = self.lan.modem_mut(slot) else { continue };
            if line.take_frames(&mut self.stations)
                && let Some(id) = self.lan.port(slot).map(|port| port.id)
            {
                self.lan.list_modem(slot);
                self.lan.forward(id, &mut self.stations, 0);
                self.lan.flush();
            }
        }
        while let Some(slot) = self.lan.gone.pop() {
            self.register.remove(slot, &mut self.lan);
            self.end(slot, ClientEnd::Closed);
        }
        if let Some(error) = self.lan.host_error.take() {
            self.lose_host(error);
        }
    }

    fn open_door(&mut self, number: usize) {
        let Some(door) = self.doors.get_mut(number) else { return };
        if let Err(error) = door.receive(number, &mut self.register, &mut self.lan) {
            tracing::error!(%error, "guests cannot come in any more by a datagram socket");
            self.lan.poller.remove(door.socket().as_fd());
        }
    }

    /// Serves a port on which something happened.
    fn serve(&mut self, slot: usize, ready: Ready) {
        if ready.writable {
            self.lan.flush_port(slot);
        }
        if ready.readable {
            self.read(slot);
        }
    }

    fn read(&mut self, slot: usize) {
        let Some(from) = self.lan.port(slot).map(|port| port.id) else { return };
        match self.sources.get_mut(slot).and_then(Option::as_mut) {
            Some(Source::Host(queue)) => {
                let header = self.lan.host_header;
                let batch = self.batches[header].get_or_insert_with(|| receive_batch(header));
                batch.clear();
                let mut tally = Tally::default();
                let result = queue.recv(batch, &mut tally);
                if let Some(port) = self.lan.port_mut(slot) {
                    port.counters.drop(DropReason::Interface, tally.dropped.iter().sum());
                }
                self.lan.forward(from, batch, header);
                self.lan.flush();
                self.lan.pause_host(from);
                if let Err(error) = result {
                    self.lan.host_error = Some(error);
                }
            }
            Some(Source::Stream { file, reader, .. }) => {
                if let Some(end) = read_stream(&mut self.lan, from, file, reader) {
                    self.end(slot, end);
                }
            }
            Some(Source::Modem { file, reader, .. }) => {
                if let Some(end) = read_modem(&mut self.lan, slot, file, reader) {
                    self.end(slot, end);
                }
            }
            Some(Source::Messages { socket, .. }) => {
                if let Some(end) = read_messages(&mut self.lan, from, socket) {
                    self.end(slot, end);
                }
            }
            // Nobody can send to a socket that only answers: something is wrong with it.
            None => self.lan.gone.push(slot),
        }
    }
}
