//! The thread: one turn after the other, each of which reads once from every port that has something.

use std::array;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use hypertap_engine::modem::ModemSettings;
use hypertap_engine::switch::PortId;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::poller::{Poller, Ready, Waker, Watch};
use hypertap_platform::queue::{PacketQueue, receive_batch};
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::frames::{FrameReader, Framing, MAX_HEADER};
use hypertap_wire::packet::Tally;
use tokio::sync::mpsc;

use super::command::Command;
use super::door::{Door, Register};
use super::incoming::{read_messages, read_modem, read_stream, set_nonblocking};
use super::lan::{Lan, PORTS};
use super::messages::Messages;
use super::modem::{MAX_MESSAGE, ModemLine};
use super::outbox::Outbox;
use super::port::{Link, Stream};
use super::waiting::Waiting;
use super::{
    ClientEnd, ClientId, DropReason, FabricEvent, FabricSettings, ListenId, Origin, Place, PortReport, Report,
};

/// The poller's number of the waker.
const WAKER: u64 = 0;
/// The first of the poller's numbers that are doors': the door's number is added. Ports are fewer.
const DOORS: u64 = 1 << 32;
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
        waiting: Waiting::default(),
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
        self.waiting.wait(&mut self.lan.poller, ready, timeout)?;
        self.lan.now = self.started.elapsed();
        for one in &*ready {
            match one.token {
                WAKER => self.obey(),
                token @ DOORS.. => self.open_door(usize::try_from(token - DOORS).unwrap_or(usize::MAX)),
                token => self.serve(usize::try_from(token - PORTS).unwrap_or(usize::MAX), *one),
            }
            self.settle();
        }
        // Answers to what clients have sent, on which they wait, are there at once.
        if let Some(host) = self.host
            && !self.lan.is_host_paused()
            && ready
                .iter()
                .any(|one| (PORTS..DOORS).contains(&one.token) && one.token != PORTS + host.slot() as u64)
        {
            self.read(host.slot());
            self.settle();
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

    /// Does what was asked for.
    fn obey(&mut self) {
        self.waker.clear();
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::AttachHost(queue, mac) => self.attach_host(queue, mac),
                Command::AttachStream { client, place, stream, framing } => {
                    self.attach_stream(client, place, stream, framing);
                }
                Command::AttachMessages { client, place, socket } => {
                    self.attach_messages(client, place, socket);
                }
                Command::Detach(client, answer) => {
                    let origin = Origin::Client(client);
                    let port = self.lan.ports().find(|port| port.origin == origin);
                    if let Some(slot) = port.map(|port| port.id.slot()) {
                        let counters = self.lan.report(slot);
                        self.register.remove(slot, &mut self.lan);
                        self.remove(slot);
                        if let Some(counters) = counters {
                            let _ = answer.send(counters);
                        }
                    }
                }
                Command::FreeDead(answer) => {
                    let _ = answer.send(self.register.remove_dead(&mut self.lan));
                }
                Command::Report(answer) => {
                    let _ = answer.send(self.report());
                }
                Command::AttachModem { client, place, stream, settings } => {
                    self.attach_modem(client, place, stream, *settings);
                }
                Command::AttachGuests { listen, socket } => self.attach_guests(listen, socket),
            }
        }
    }

    fn attach_host(&mut self, queue: Box<dyn PacketQueue>, mac: MacAddress) {
        self.detach_host();
        match self.lan.add(Origin::Host, Link::Host(queue.another()), Some(mac)) {
            Ok(id) => {
                self.host = Some(id);
                self.put_source(id, Source::Host(queue));
            }
            Err(error) => self.outbox.tell(FabricEvent::HostGone(error)),
        }
    }

    fn detach_host(&mut self) {
        if let Some(id) = self.host.take() {
            self.remove(id.slot());
        }
    }

    fn lose_host(&mut self, error: io::Error) {
        if self.host.is_some() {
            self.detach_host();
            self.outbox.tell(FabricEvent::HostGone(error));
        }
    }

    fn attach_stream(&mut self, client: ClientId, place: Place, stream: OwnedFd, framing: Option<Framing>) {
        let file = Rc::new(File::from(stream));
        let link = Link::Stream(Stream::new(Rc::clone(&file), framing));
        match set_nonblocking(&file).and_then(|()| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => {
                let reader = FrameReader::new(framing, self.max_frame, READ, FRAMES);
                self.put_source(id, Source::Stream { client, place, file, reader });
            }
            Err(error) => self.refuse(client, place, error),
        }
    }

    fn attach_modem(&mut self, client: ClientId, place: Place, stream: OwnedFd, settings: ModemSettings) {
        let file = Rc::new(File::from(stream));
        let link = Link::Modem(Box::new(ModemLine::new(Rc::clone(&file), settings)));
        match set_nonblocking(&file).and_then(|()| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => {
                let reader = FrameReader::new(Some(Framing::Le16), MAX_MESSAGE, 0, FRAMES);
                self.put_source(id, Source::Modem { client, place, file, reader });
                self.modems += 1;
            }
            Err(error) => self.refuse(client, place, error),
        }
    }

    fn attach_messages(&mut self, client: ClientId, place: Place, socket: GuestSocket) {
        let link = Messages::new(&socket).map(Link::Messages);
        match link.and_then(|link| self.lan.add(Origin::Client(client), link, None)) {
            Ok(id) => self.put_source(id, Source::Messages { client, place, socket }),
            Err(error) => self.refuse(client, place, error),
        }
    }

    /// Tells that a client cannot be a port.
    fn refuse(&self, client: ClientId, place: Place, error: io::Error) {
        let counters = Box::new(PortReport::empty(Origin::Client(client)));
        self.outbox.tell(FabricEvent::ClientEnded { client, end: ClientEnd::Io(error), counters, place });
    }

    fn attach_guests(&mut self, listen: ListenId, socket: GuestSocket) {
        let token = DOORS + self.doors.len() as u64;
        let door = Door::new(listen, socket);
        let door = door.and_then(|door| {
            self.lan.poller.add(door.socket().as_fd(), token, Watch::Readable)?;
            Ok(door)
        });
        match door {
            Ok(door) => self.doors.push(door),
            Err(error) => tracing::error!(%error, "guests cannot come in by a datagram socket"),
        }
    }

    fn put_source(&mut self, id: PortId, source: Source) {
        if self.sources.len() <= id.slot() {
            self.sources.resize_with(id.slot() + 1, || None);
        }
        self.sources[id.slot()] = Some(source);
    }

    /// Removes a port and closes what it was on.
    fn remove(&mut self, slot: usize) -> Option<Source> {
        self.lan.remove(slot);
        let source = self.sources.get_mut(slot)?.take();
        self.modems -= usize::from(matches!(source, Some(Source::Modem { .. })));
        source
    }

    /// Removes a client's port and tells why.
    fn end(&mut self, slot: usize, end: ClientEnd) {
        let counters = self.lan.report(slot);
        if let Some(
            Source::Stream { client, place, .. }
            | Source::Modem { client, place, .. }
            | Source::Messages { client, place, .. },
        ) = self.remove(slot)
        {
            let counters = counters.unwrap_or_else(|| PortReport::empty(Origin::Client(client)));
            let counters = Box::new(counters);
            self.outbox.tell(FabricEvent::ClientEnded { client, end, counters, place });
        }
    }

    fn report(&self) -> Report {
        Report {
            ports: self.lan.ports().filter_map(|port| self.lan.report(port.id.slot())).collect(),
            addresses: self.lan.switch.stations(self.lan.now).count(),
            strangers: self.register.strangers,
            cut: self.doors.iter().map(|door| door.socket().cut()).sum(),
        }
    }
}
