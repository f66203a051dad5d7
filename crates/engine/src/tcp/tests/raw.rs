//! A program made by hand: single segments, and what comes back.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hypertap_wire::batch::Batch;
use hypertap_wire::offload::VirtioHeader;

use super::super::segment::{ACK, Fields, Key, SYN, Segment, Way, build, checksum};
use super::super::syn::SynOptions;
use super::super::{Event, FlowId, Tcp, TcpSettings};

pub struct Raw {
    pub tcp: Tcp,
    pub now: Duration,
    batch: Batch,
}

/// One side of a connection made by hand.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    pub key: Key,
    pub flow: FlowId,
    /// The next number to send, and to receive.
    pub seq: u32,
    pub ack: u32,
}

/// Connection number `number`, over IPv6 or IPv4.
pub fn key(v4: bool, number: u32) -> Key {
    let port = u16::try_from(number % 60_000).expect("a port") + 1024;
    let host = u16::try_from(number / 60_000).expect("a host") + 2;
    let (local, remote) = if v4 {
        let [high, low] = host.to_be_bytes();
        (Ipv4Addr::new(198, 18, 0, 1).to_ipv6_mapped(), Ipv4Addr::new(100, 64, high, low).to_ipv6_mapped())
    } else {
        (Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 1, 0, host))
    };
    Key { local: local.octets(), remote: remote.octets(), local_port: 80, remote_port: port }
}

impl Raw {
    pub fn new(settings: TcpSettings) -> Self {
        let settings = TcpSettings { offload: false, mtu: 1500, ..settings };
        Self { tcp: Tcp::new(settings), now: Duration::from_secs(1), batch: Batch::new(1 << 20, 512) }
    }

    /// Sends a segment, with its checksum.
    pub fn send(&mut self, key: &Key, fields: &Fields<'_>) {
        let there = Key {
            local: key.remote,
            remote: key.local,
            local_port: key.remote_port,
            remote_port: key.local_port,
        };
        let mut packet = Vec::new();
        build(&mut packet, key, Way::In, fields);
        checksum(&mut packet, &there, false);
        self.tcp.handle_packet(self.now, &VirtioHeader::default(), &mut packet);
    }

    /// What comes back.
    pub fn packets(&mut self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        loop {
            self.batch.clear();
            let more = self.tcp.poll_transmit(self.now, &mut self.batch);
            packets.extend(self.batch.iter().map(<[u8]>::to_vec));
            if !more {
                return packets;
            }
        }
    }

    /// The segments that come back, each with its payload.
    pub fn segments(&mut self) -> Vec<(Segment, Vec<u8>)> {
        let packets = self.packets();
        let read = |packet: &Vec<u8>| {
            let segment = Segment::parse(packet, true).expect("a right segment");
            (segment, packet[segment.payload..segment.end].to_vec())
        };
        packets.iter().map(read).collect()
    }

    /// The only segment that comes back.
    pub fn one(&mut self) -> (Segment, Vec<u8>) {
        let mut segments = self.segments();
        assert_eq!(segments.len(), 1, "{segments:?}");
        segments.remove(0)
    }

    pub fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.tcp.poll_event()).collect()
    }

    /// Lets time pass, waking the stack whenever it wants it.
    pub fn pass(&mut self, time: Duration) -> Vec<(Duration, Segment)> {
        let end = self.now + time;
        let mut seen = Vec::new();
        while let Some(at) = self.tcp.timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.tcp.handle_timeout(self.now);
            let now = self.now;
            for packet in self.packets() {
                if let Some(segment) = Segment::parse(&packet, true) {
                    seen.push((now, segment));
                }
            }
        }
        self.now = end;
        seen
    }

    /// Sends a SYN, and expects to be asked.
    pub fn ask(&mut self, key: &Key, seq: u32) -> FlowId {
        let options = SynOptions { mss: 1460, scale: Some(7), sack: true }.emit();
        self.send(key, &Fields { seq, flags: SYN, window: 60_000, options: &options, ..Fields::default() });
        let events = self.events();
        let [Event::Syn { flow, local, remote }] = events[..] else { panic!("{events:?}") };
        assert_eq!((local, remote), (key.local(), key.remote()));
        flow
    }

    /// A whole handshake.
    pub fn open(&mut self, key: &Key, seq: u32) -> Hand {
        let flow = self.ask(key, seq);
        self.tcp.accept(self.now, flow);
        let (answer, _) = self.one();
        assert_eq!((answer.flags, answer.ack), (SYN | ACK, seq.wrapping_add(1)));
        let hand = Hand { key: *key, flow, seq: answer.ack, ack: answer.seq.wrapping_add(1) };
        self.send(key, &hand.fields(ACK, b""));
        assert_eq!(self.events(), [Event::Writable { flow }]);
        assert!(self.segments().is_empty());
        hand
    }
}

impl Hand {
    pub fn fields<'a>(&self, flags: u8, payload: &'a [u8]) -> Fields<'a> {
        Fields { seq: self.seq, ack: self.ack, flags, window: 500, options: &[], payload }
    }
}
