//! A [`Tcp`], some programs, and a link between them with faults, all on a virtual clock.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use hypertap_wire::batch::Batch;
use hypertap_wire::offload::{Layer, VirtioHeader, split};

use super::super::segment::Segment;
use super::super::{Event, FlowId, Tcp, TcpSettings};
use super::peer::Peer;

/// How the link treats packets, in parts of a thousand and microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    pub loss: u32,
    pub duplicates: u32,
    pub jitter: u64,
}

/// Xorshift: the same numbers for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end.max(1)
    }
}

enum Towards {
    Stack,
    Program(usize),
}

pub struct World {
    pub tcp: Tcp,
    pub now: Duration,
    pub peers: Vec<Peer>,
    pub random: Random,
    pub faults: Faults,
    by_address: HashMap<SocketAddr, usize>,
    offload: bool,
    batch: Batch,
    link: BTreeMap<(Duration, u64), (Towards, Vec<u8>)>,
    count: u64,
    /// Packets to nobody.
    pub lost: Vec<Vec<u8>>,
}

impl World {
    pub fn new(settings: TcpSettings, faults: Faults, seed: u64) -> Self {
        Self {
            offload: settings.offload,
            tcp: Tcp::new(settings),
            now: Duration::from_secs(1),
            peers: Vec::new(),
            random: Random(seed | 1),
            faults,
            by_address: HashMap::new(),
            batch: Batch::with_prefix(1 << 20, 256, VirtioHeader::LEN),
            link: BTreeMap::new(),
            count: 0,
            lost: Vec::new(),
        }
    }

    /// Adds a program.
    pub fn connect(&mut self, from: SocketAddr, to: SocketAddr, mtu: usize, buffer: usize) -> usize {
        let seed = self.random.next();
        self.peers.push(Peer::connect(from, to, mtu, buffer, seed));
        self.by_address.insert(from, self.peers.len() - 1);
        self.peers.len() - 1
    }

    fn send(&mut self, towards: impl Fn() -> Towards, packet: &[u8]) {
        if self.random.below(1000) < u64::from(self.faults.loss) {
            return;
        }
        let copies = 1 + usize::from(self.random.below(1000) < u64::from(self.faults.duplicates));
        for _ in 0..copies {
            let delay = 20 + self.random.below(self.faults.jitter);
            self.count += 1;
            let at = self.now + Duration::from_micros(delay);
            self.link.insert((at, self.count), (towards(), packet.to_vec()));
        }
    }

    /// Lets the stack send what it has to.
    fn drain(&mut self) {
        loop {
            self.batch.clear();
            let more = self.tcp.poll_transmit(self.now, &mut self.batch);
            let mut packets = Batch::new(4 << 20, 70_000);
            for index in 0..self.batch.len() {
                let prefix =
                    *self.batch.prefix_mut(index).expect("a prefix").first_chunk().expect("a header");
                let header =
                    if self.offload { VirtioHeader::parse(&prefix) } else { VirtioHeader::default() };
                let packet = self.batch.get(index).expect("a packet");
                split(Layer::Network, &header, packet, &mut packets)
                    .expect("a header that describes its packet");
            }
            for packet in packets.iter() {
                let segment = Segment::parse(packet, false);
                assert_eq!(segment.is_some(), Segment::parse(packet, true).is_some(), "a right checksum");
                let to = segment.map(|segment| segment.key.local());
                match to.and_then(|to| self.by_address.get(&to).copied()) {
                    Some(index) => self.send(|| Towards::Program(index), packet),
                    None => self.lost.push(packet.to_vec()),
                }
            }
            if !more {
                return;
            }
        }
    }

    /// Does what is due now, and then lets time pass until something is. Returns whether anything is.
    pub fn step(&mut self, mut app: impl FnMut(&mut Tcp, Duration, Event)) -> bool {
        while let Some(event) = self.tcp.poll_event() {
            app(&mut self.tcp, self.now, event);
        }
        self.drain();
        let next = self.link.first_key_value().map(|((at, _), _)| *at);
        let mut wake = [next, self.tcp.timeout()].into_iter().flatten().min();
        for index in 0..self.peers.len() {
            for packet in self.peers[index].poll(self.now) {
                self.send(|| Towards::Stack, &packet);
            }
            let at = self.peers[index].poll_at(self.now).map(|at| at.max(self.now));
            wake =
                [wake, at, self.link.first_key_value().map(|((at, _), _)| *at)].into_iter().flatten().min();
        }
        let Some(wake) = wake else { return false };
        self.now = self.now.max(wake);
        while let Some(entry) = self.link.first_entry().filter(|entry| entry.key().0 <= self.now) {
            match entry.remove() {
                (Towards::Program(index), packet) => self.peers[index].deliver(packet),
                (Towards::Stack, mut packet) => {
                    self.tcp.handle_packet(self.now, &VirtioHeader::default(), &mut packet);
                }
            }
        }
        self.tcp.handle_timeout(self.now);
        true
    }
}

/// The byte that stands at a place of a stream.
pub fn pattern(at: usize, salt: u8) -> u8 {
    u32::try_from(at).expect("a short stream").wrapping_mul(2_654_435_761).to_be_bytes()[1] ^ salt
}

/// An application that reads all, checks it, and writes so many bytes.
#[allow(clippy::struct_excessive_bools, reason = "they are independent of one another")]
pub struct App {
    pub read: usize,
    pub written: usize,
    pub to_write: usize,
    /// Whether it writes only after the program's end of stream.
    pub after_end: bool,
    pub ended: bool,
    pub closed: bool,
    pub reset: bool,
    pub chunk: usize,
}

impl App {
    pub fn new(to_write: usize, after_end: bool, chunk: usize) -> Self {
        Self { read: 0, written: 0, to_write, after_end, ended: false, closed: false, reset: false, chunk }
    }

    pub fn on(&mut self, tcp: &mut Tcp, now: Duration, event: Event) {
        match event {
            Event::Syn { flow, .. } => {
                tcp.accept(now, flow);
            }
            Event::Readable { flow } => self.read_all(tcp, now, flow),
            Event::Writable { flow } => self.write_all(tcp, now, flow),
            Event::Delivered { .. } => unreachable!("nobody asked"),
            Event::Ended { flow } => {
                assert!(!self.ended, "told once");
                assert_eq!(tcp.peek(flow), b"", "all was consumed");
                self.ended = true;
                self.write_all(tcp, now, flow);
            }
            Event::Closed { .. } => self.closed = true,
            Event::Reset { .. } => self.reset = true,
        }
    }

    fn read_all(&mut self, tcp: &mut Tcp, now: Duration, flow: FlowId) {
        loop {
            let bytes = tcp.peek(flow);
            let count = bytes.len().min(self.chunk);
            if count == 0 {
                return;
            }
            for (index, byte) in bytes[..count].iter().enumerate() {
                assert_eq!(*byte, pattern(self.read + index, 1), "at {}", self.read + index);
            }
            self.read += count;
            tcp.consume(now, flow, count);
        }
    }

    pub fn write_all(&mut self, tcp: &mut Tcp, now: Duration, flow: FlowId) {
        if self.after_end && !self.ended {
            return;
        }
        while self.written < self.to_write {
            let end = self.to_write.min(self.written + self.chunk);
            let bytes: Vec<u8> = (self.written..end).map(|at| pattern(at, 2)).collect();
            let count = tcp.write(now, flow, &bytes);
            self.written += count;
            if count < bytes.len() {
                return;
            }
        }
        tcp.shutdown_write(now, flow);
    }
}

/// A program that writes so many bytes, closes, and reads to the end.
#[derive(Default)]
pub struct Program {
    pub to_write: usize,
    pub written: usize,
    pub read: usize,
    pub ended: bool,
    pub closed: bool,
}

impl Program {
    pub fn work(&mut self, peer: &mut Peer) {
        let socket = peer.socket();
        while self.written < self.to_write && socket.can_send() {
            let end = self.to_write.min(self.written + 4096);
            let bytes: Vec<u8> = (self.written..end).map(|at| pattern(at, 1)).collect();
            self.written += socket.send_slice(&bytes).expect("an open socket");
        }
        if self.written == self.to_write && !self.closed && socket.may_send() {
            socket.close();
            self.closed = true;
        }
        while socket.can_recv() {
            let read = &mut self.read;
            socket
                .recv(|bytes| {
                    for (index, byte) in bytes.iter().enumerate() {
                        assert_eq!(*byte, pattern(*read + index, 2), "at {}", *read + index);
                    }
                    *read += bytes.len();
                    (bytes.len(), ())
                })
                .expect("an open socket");
        }
        if let Err(smoltcp::socket::tcp::RecvError::Finished) = socket.recv(|_| (0, ())) {
            self.ended = true;
        }
    }
}
