//! The modem between any guest and any LAN: whatever they send and whenever, what comes out is whole
//! frames of the station's and messages of HDLC frames, packets pass only while the link is up and only
//! from the guest's address, nothing grows without bound, and no timer is forgotten in the past.
//!
//! Input: a byte of which bit 0 has the guest prove who it is; then any number of happenings, each a byte
//! of which the lowest three bits say which one:
//! 0: bytes from the guest: a length (u8), that many;
//! 1: a frame from the guest, its check sequence made right: a length (u8), the content;
//! 2: a control packet from the guest, all lengths made right: the protocol (u8: LCP, IPCP, PAP in turn),
//!    code, identifier (u8 each), a length (u8), the data;
//! 3: the guest grants what the modem asked for last;
//! 4: a frame from the LAN: a length (u8), the bytes;
//! 5: a packet (with lengths and checksums made right) from the guest to the address's last byte (u8), or,
//!    when bit 3 is set, from that address to the guest: a length (u8), the payload;
//! 6: the host tells its address, or, when bit 3 is set, asks for the guest's;
//! 7: time passes: tenths of a second (u8).
#![no_main]

use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_engine::modem::{Credentials, MAX_MESSAGE, Modem, ModemDrop, ModemSettings};
use hypertap_fuzz::{Input, seal};
use hypertap_wire::arp::Arp;
use hypertap_wire::ethernet::{self, EtherType, MacAddress};
use hypertap_wire::hdlc::{self, Accm, Decoder};
use hypertap_wire::ppp::control::{Code, ControlPacket};
use hypertap_wire::ppp::{self, Protocol};
use ipnet::Ipv4Net;
use libfuzzer_sys::fuzz_target;

const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const GUEST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);
const CONTROL: [Protocol; 3] = [Protocol::LCP, Protocol::IPCP, Protocol::PAP];

/// More than one happening of at most 255 bytes can cause.
const MANY: usize = 200;

struct World {
    modem: Modem,
    now: Duration,
    decoder: Decoder,
    /// The modem's last Configure-Request.
    asked: Option<(Protocol, u8, Vec<u8>)>,
}

impl World {
    fn from_guest(&mut self, protocol: Protocol, packet: &[u8]) {
        self.frame_from_guest(&ppp::frame(protocol, packet));
    }

    fn frame_from_guest(&mut self, content: &[u8]) {
        let mut stream = Vec::new();
        hdlc::encode(content, Accm::NONE, &mut stream);
        self.modem.handle_stream(self.now, &stream);
    }

    fn from_lan(&mut self, payload: &[u8]) {
        let header = [&GUEST_MAC.0, &HOST_MAC.0, &EtherType::IPV4.0.to_be_bytes()[..]].concat();
        self.modem.handle_frame(self.now, &[&header, payload].concat());
    }

    fn step(&mut self, input: &mut Input<'_>) {
        let kind = input.u8();
        match kind & 7 {
            0 => {
                let len = input.u8();
                self.modem.handle_stream(self.now, input.take(len.into()));
            }
            1 => {
                let len = input.u8();
                self.frame_from_guest(input.take(len.into()));
            }
            2 => {
                let protocol = CONTROL[usize::from(input.u8()) % CONTROL.len()];
                let (code, identifier, len) = (Code(input.u8()), input.u8(), input.u8());
                let data = input.take(len.into());
                self.from_guest(protocol, &ControlPacket { code, identifier, data }.to_bytes());
            }
            3 => {
                if let Some((protocol, identifier, data)) = self.asked.take() {
                    let grant = ControlPacket { code: Code::CONFIGURE_ACK, identifier, data: &data };
                    self.from_guest(protocol, &grant.to_bytes());
                }
            }
            4 => {
                let len = input.u8();
                self.modem.handle_frame(self.now, input.take(len.into()));
            }
            5 => {
                let other = Ipv4Addr::new(172, 30, 0, input.u8());
                let len = input.u8();
                let payload = input.take(len.into());
                if kind & 8 == 0 {
                    self.from_guest(Protocol::IPV4, &packet(GUEST, other, payload));
                } else {
                    self.from_lan(&packet(other, GUEST, payload));
                }
            }
            6 => {
                let target = if kind & 8 == 0 { HOST } else { GUEST };
                let arp = Arp::request(HOST_MAC, HOST, target).frame(MacAddress::BROADCAST);
                self.modem.handle_frame(self.now, &arp);
            }
            _ => {
                self.now += Duration::from_millis(100) * u32::from(input.u8());
                self.modem.handle_timeout(self.now);
                let due = self.modem.timeout();
                assert!(due.is_none_or(|due| due > self.now), "what was due was not done");
            }
        }
    }

    fn check(&mut self, was_open: bool) {
        let is_open = self.modem.is_open() || was_open;
        assert!(!(self.modem.is_open() && self.modem.is_over()));
        for _ in 0..MANY {
            let Some(frame) = self.modem.poll_frame() else { break };
            assert_eq!(ethernet::source(&frame), Some(GUEST_MAC));
            match ethernet::payload(&frame) {
                Some((EtherType::IPV4, packet)) => assert_eq!(packet[12..16], GUEST.octets()),
                Some((EtherType::ARP, _)) => {
                    assert_eq!(Arp::parse(&frame).map(|arp| arp.sender_ip), Some(GUEST));
                }
                other => panic!("{other:02x?}"),
            }
        }
        assert_eq!(self.modem.poll_frame(), None, "frames without end");
        for _ in 0..MANY {
            let Some(message) = self.modem.poll_stream() else { break };
            assert!((1..=MAX_MESSAGE).contains(&message.len()));
            let mut rest = &message[..];
            while let Some(frame) = self.decoder.next(&mut rest) {
                let (protocol, packet) = ppp::parse(frame.expect("a whole frame")).expect("a packet");
                if protocol == Protocol::IPV4 {
                    assert!(is_open, "a packet without a link");
                    continue;
                }
                let packet = ControlPacket::parse(packet).expect("a control packet");
                if packet.code == Code::CONFIGURE_REQUEST {
                    self.asked = Some((protocol, packet.identifier, packet.data.to_vec()));
                }
            }
        }
        assert_eq!(self.modem.poll_stream(), None, "messages without end");
    }
}

/// A whole UDP packet, as far as its payload makes one.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let fixed = [0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0];
    let mut packet = [&fixed[..], &source.octets(), &destination.octets(), payload].concat();
    seal(&mut packet);
    packet
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let proves = input.u8() & 1 == 1;
    let credentials = proves.then(|| Credentials { name: b"me".to_vec(), password: b"pw".to_vec() });
    let modem = Modem::new(ModemSettings {
        mac: GUEST_MAC,
        address: Ipv4Net::new(GUEST, 24).expect("a prefix length"),
        host: HOST,
        dns: vec![HOST],
        credentials,
        magic: 7,
    });
    let mut world = World { modem, now: Duration::ZERO, decoder: Decoder::new(4096), asked: None };
    while !input.is_empty() {
        let was_open = world.modem.is_open();
        world.step(&mut input);
        world.check(was_open);
    }
    let drops = world.modem.drops();
    let total: u64 = ModemDrop::ALL.into_iter().map(|cause| drops.of(cause)).sum();
    assert!(total <= 4 * data.len() as u64, "{total} drops of {} bytes", data.len());
});
