//! A guest, its modem, and a host on the LAN.

use hypertap_wire::arp::{Arp, Operation};
use hypertap_wire::checksum::Sum;
use hypertap_wire::ethernet::{self, EtherType};
use hypertap_wire::ppp::Protocol;
use hypertap_wire::ppp::control::Code;
use proptest::prelude::*;

use super::*;
use crate::ppp::caller::Caller;

const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
const GUEST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
const OTHER: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 9);
const FAR: Ipv4Addr = Ipv4Addr::new(9, 9, 9, 9);
const HOST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
const GUEST_MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

/// A whole IPv4 packet.
fn packet(source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Vec<u8> {
    let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
    let mut packet = [
        &[0x45, 0, len[0], len[1], 0, 1, 0, 0, 64, 17, 0, 0][..],
        &source.octets(),
        &destination.octets(),
        payload,
    ]
    .concat();
    let checksum = Sum::ZERO.add(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum);
    packet
}

fn frame(destination: MacAddress, source: MacAddress, ethertype: EtherType, payload: &[u8]) -> Vec<u8> {
    [&destination.0, &source.0, &ethertype.0.to_be_bytes()[..], payload].concat()
}

struct Lan {
    modem: Modem,
    caller: Caller,
    now: Duration,
}

impl Lan {
    fn new() -> Self {
        let modem = Modem::new(ModemSettings {
            mac: GUEST_MAC,
            address: Ipv4Net::new(GUEST, 24).unwrap(),
            host: HOST,
            dns: vec![HOST],
            credentials: None,
            magic: 42,
        });
        Self { modem, caller: Caller::new(), now: Duration::from_secs(5) }
    }

    /// With a guest that has its address, and its announcement read.
    fn called() -> Self {
        let mut lan = Self::new();
        lan.caller.tick();
        lan.exchange();
        assert!(lan.modem.is_open());
        lan.caller.accm = hypertap_wire::hdlc::Accm::NONE;
        assert_eq!(lan.frames(), [Arp::request(GUEST_MAC, GUEST, GUEST).frame(MacAddress::BROADCAST)]);
        lan
    }

    /// One that knows the host too.
    fn acquainted() -> Self {
        let mut lan = Self::called();
        lan.receive(&Arp::request(HOST_MAC, HOST, GUEST).frame(MacAddress::BROADCAST));
        lan.frames();
        lan
    }

    fn exchange(&mut self) {
        loop {
            let sent = self.caller.take_outgoing().concat();
            self.modem.handle_stream(self.now, &sent);
            let mut is_silent = sent.is_empty();
            while let Some(message) = self.modem.poll_stream() {
                assert!((1..=MAX_MESSAGE).contains(&message.len()));
                self.caller.handle_stream(&message);
                is_silent = false;
            }
            if is_silent {
                return;
            }
        }
    }

    fn send(&mut self, packet: &[u8]) {
        self.caller.send(Protocol::IPV4, packet);
        self.exchange();
    }

    fn receive(&mut self, frame: &[u8]) {
        self.modem.handle_frame(self.now, frame);
        self.exchange();
    }

    fn frames(&mut self) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.modem.poll_frame()).collect()
    }

    fn arps(&mut self) -> Vec<Arp> {
        self.frames().iter().map(|frame| Arp::parse(frame).expect("an ARP frame")).collect()
    }

    fn dropped(&self) -> Vec<(ModemDrop, u64)> {
        let drops = self.modem.drops();
        ModemDrop::ALL
            .into_iter()
            .map(|cause| (cause, drops.of(cause)))
            .filter(|(_, many)| *many > 0)
            .collect()
    }
}

#[test]
fn a_guest_that_got_its_address_is_announced_and_answered_for() {
    let mut lan = Lan::called();
    lan.receive(&Arp::request(HOST_MAC, HOST, GUEST).frame(MacAddress::BROADCAST));
    let reply = lan.arps().pop().expect("a reply");
    assert_eq!((reply.operation, reply.sender_mac, reply.sender_ip), (Operation::Reply, GUEST_MAC, GUEST));
    assert_eq!((reply.target_mac, reply.target_ip), (HOST_MAC, HOST));
}

#[test]
fn nobody_answers_for_a_guest_that_has_no_address() {
    let mut lan = Lan::new();
    lan.receive(&Arp::request(HOST_MAC, HOST, GUEST).frame(MacAddress::BROADCAST));
    assert!(lan.frames().is_empty());
    lan.receive(&frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet(HOST, GUEST, b"x")));
    assert_eq!(lan.dropped(), [(ModemDrop::NoLink, 1)]);
}

#[test]
fn another_stations_address_is_not_answered_for() {
    let mut lan = Lan::called();
    lan.receive(&Arp::request(HOST_MAC, HOST, OTHER).frame(MacAddress::BROADCAST));
    assert!(lan.frames().is_empty());
}

#[test]
fn packets_wait_until_the_gateway_answers() {
    let mut lan = Lan::called();
    let packets = [packet(GUEST, FAR, b"1"), packet(GUEST, HOST, b"2")];
    for packet in &packets {
        lan.send(packet);
    }
    let asked = lan.arps();
    assert_eq!(asked, [Arp::request(GUEST_MAC, GUEST, HOST)]);
    lan.receive(&asked[0].reply(HOST_MAC).frame(GUEST_MAC));
    let wanted = packets.map(|packet| frame(HOST_MAC, GUEST_MAC, EtherType::IPV4, &packet));
    assert_eq!(lan.frames(), wanted);
    assert!(lan.dropped().is_empty());
}

#[test]
fn a_station_on_the_link_is_asked_for_itself() {
    let mut lan = Lan::called();
    lan.send(&packet(GUEST, OTHER, b"x"));
    assert_eq!(lan.arps(), [Arp::request(GUEST_MAC, GUEST, OTHER)]);
}

#[test]
fn a_station_that_nobody_is_is_given_up_and_the_packet_counted() {
    let mut lan = Lan::called();
    lan.send(&packet(GUEST, OTHER, b"x"));
    while let Some(due) = lan.modem.timeout() {
        lan.now = due;
        lan.modem.handle_timeout(due);
    }
    assert_eq!(lan.arps().len(), 3);
    assert_eq!(lan.dropped(), [(ModemDrop::Unresolved, 1)]);
}

#[test]
fn broadcasts_and_groups_have_addresses_that_nobody_is_asked_for() {
    let mut lan = Lan::called();
    let cases = [
        (Ipv4Addr::BROADCAST, MacAddress::BROADCAST),
        (Ipv4Addr::new(172, 30, 0, 255), MacAddress::BROADCAST),
        (Ipv4Addr::new(239, 255, 255, 250), MacAddress([1, 0, 0x5e, 0x7f, 0xff, 0xfa])),
    ];
    for (destination, mac) in cases {
        let packet = packet(GUEST, destination, b"x");
        lan.send(&packet);
        assert_eq!(lan.frames(), [frame(mac, GUEST_MAC, EtherType::IPV4, &packet)]);
        lan.caller.packets.clear();
        let answer = self::packet(HOST, destination, b"x");
        lan.receive(&frame(mac, HOST_MAC, EtherType::IPV4, &answer));
        assert_eq!(lan.caller.packets, [answer]);
    }
}

#[test]
fn frames_for_the_guest_reach_it_without_their_padding() {
    let mut lan = Lan::acquainted();
    let packet = packet(HOST, GUEST, b"hello");
    let mut frame = frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet);
    frame.resize(60, 0);
    lan.receive(&frame);
    assert_eq!(lan.caller.packets, [packet]);
}

#[test]
fn a_packet_of_nothing_but_escapes_goes_in_two_messages() {
    let mut lan = Lan::acquainted();
    let packet = packet(HOST, GUEST, &[0x7e; 1480]);
    lan.modem.handle_frame(lan.now, &frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet));
    let messages: Vec<_> = std::iter::from_fn(|| lan.modem.poll_stream()).collect();
    assert_eq!(messages.iter().map(Vec::len).collect::<Vec<_>>()[..1], [MAX_MESSAGE]);
    assert_eq!(messages.len(), 2);
    lan.caller.handle_stream(&messages.concat());
    assert_eq!(lan.caller.packets, [packet]);
}

#[test]
fn what_the_guest_may_not_send_is_dropped_and_counted() {
    let mut lan = Lan::acquainted();
    let mut wrong_checksum = packet(GUEST, HOST, b"x");
    wrong_checksum[8] ^= 1;
    let mut version_six = packet(GUEST, HOST, &[0; 40]);
    version_six[0] = 0x65;
    let cases = [
        (packet(HOST, OTHER, b"x"), ModemDrop::ForeignSource),
        (packet(Ipv4Addr::UNSPECIFIED, Ipv4Addr::BROADCAST, b"x"), ModemDrop::ForeignSource),
        (packet(GUEST, GUEST, b"x"), ModemDrop::NoDestination),
        (packet(GUEST, Ipv4Addr::LOCALHOST, b"x"), ModemDrop::NoDestination),
        (wrong_checksum, ModemDrop::BadPacket),
        (version_six, ModemDrop::BadPacket),
        (packet(GUEST, HOST, b"x")[..20].to_vec(), ModemDrop::BadPacket),
        (packet(GUEST, HOST, &[0; 1481]), ModemDrop::OverlongFrame),
    ];
    for (packet, cause) in cases {
        let before = lan.modem.drops().of(cause);
        lan.send(&packet);
        assert_eq!(lan.modem.drops().of(cause), before + 1, "{cause:?}");
        assert!(lan.frames().is_empty(), "{cause:?}");
    }
    lan.send(&packet(GUEST, HOST, &[0; 1480]));
    assert_eq!(lan.frames().len(), 1);
}

#[test]
fn what_is_not_the_guests_is_dropped_and_counted() {
    let mut lan = Lan::acquainted();
    let whole = packet(HOST, GUEST, b"x");
    let tag = [&[0, 7, 8, 0][..], &whole].concat();
    let cases = [
        (frame(MacAddress([2; 6]), HOST_MAC, EtherType::IPV4, &whole), ModemDrop::NotForGuest),
        (frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet(HOST, OTHER, b"x")), ModemDrop::NotForGuest),
        (frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &whole[..20]), ModemDrop::BadPacket),
        (frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &[]), ModemDrop::BadPacket),
        (frame(GUEST_MAC, HOST_MAC, EtherType::IPV6, &whole), ModemDrop::OtherProtocol),
        (frame(GUEST_MAC, HOST_MAC, EtherType::VLAN, &tag), ModemDrop::OtherProtocol),
        (GUEST_MAC.0.to_vec(), ModemDrop::OtherProtocol),
        (vec![], ModemDrop::NotForGuest),
        (frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet(HOST, GUEST, &[0; 1481])), ModemDrop::TooLong),
    ];
    for (frame, cause) in cases {
        let before = lan.modem.drops().of(cause);
        lan.receive(&frame);
        assert_eq!(lan.modem.drops().of(cause), before + 1, "{cause:?}");
        assert!(lan.caller.packets.is_empty(), "{cause:?}");
    }
}

#[test]
fn queues_have_a_bound_and_the_newest_is_dropped() {
    let mut lan = Lan::acquainted();
    (0..70).for_each(|_| lan.send(&packet(GUEST, HOST, b"x")));
    assert_eq!((lan.frames().len(), lan.modem.drops().of(ModemDrop::LanFull)), (64, 6));
    let frame = frame(GUEST_MAC, HOST_MAC, EtherType::IPV4, &packet(HOST, GUEST, b"x"));
    (0..70).for_each(|_| lan.modem.handle_frame(lan.now, &frame));
    assert_eq!(lan.modem.drops().of(ModemDrop::GuestFull), 6);
    (0..9).for_each(|_| lan.send(&packet(GUEST, OTHER, b"x")));
    assert_eq!(lan.modem.drops().of(ModemDrop::TooManyUnresolved), 5);
}

#[test]
fn a_damaged_frame_is_counted_and_the_next_one_read() {
    let mut lan = Lan::acquainted();
    lan.caller.send(Protocol::IPV4, &packet(GUEST, HOST, b"x"));
    let mut stream = lan.caller.take_outgoing().concat();
    stream[5] ^= 1;
    lan.modem.handle_stream(lan.now, &stream);
    lan.send(&packet(GUEST, HOST, b"y"));
    assert_eq!(lan.frames().len(), 1);
    assert_eq!(lan.dropped(), [(ModemDrop::DamagedFrame, 1)]);
}

#[test]
fn no_station_takes_the_guests_own_address_or_a_groups() {
    let mut lan = Lan::called();
    for (mac, address) in [(HOST_MAC, GUEST), (MacAddress::BROADCAST, HOST), (MacAddress::ZERO, HOST)] {
        lan.receive(&Arp::request(mac, address, GUEST).frame(MacAddress::BROADCAST));
    }
    assert!(lan.frames().is_empty());
    lan.send(&packet(GUEST, HOST, b"x"));
    assert_eq!(lan.arps().len(), 1);
}

#[test]
fn a_probe_for_the_guests_address_is_answered() {
    let mut lan = Lan::called();
    lan.receive(&Arp::request(HOST_MAC, Ipv4Addr::UNSPECIFIED, GUEST).frame(MacAddress::BROADCAST));
    assert_eq!(lan.arps().len(), 1);
}

#[test]
fn a_guest_that_calls_again_is_announced_again() {
    let mut lan = Lan::called();
    lan.caller.hang_up();
    lan.exchange();
    lan.now += Duration::from_secs(3);
    lan.modem.handle_timeout(lan.now);
    assert!(lan.modem.is_over() && !lan.modem.is_open());
    lan.caller.tick();
    lan.exchange();
    assert!(lan.modem.is_open() && !lan.modem.is_over());
    assert_eq!(lan.arps(), [Arp::request(GUEST_MAC, GUEST, GUEST)]);
    assert!(lan.caller.codes(Protocol::LCP).contains(&Code::TERMINATE_ACK));
}

proptest! {
    #[test]
    fn the_line_may_be_cut_anywhere(cuts in prop::collection::vec(1..40_usize, 1..9)) {
        let mut lan = Lan::new();
        lan.caller.tick();
        let mut cuts = cuts.iter().cycle();
        for _ in 0..50 {
            let sent = lan.caller.take_outgoing().concat();
            let mut rest = &sent[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                lan.modem.handle_stream(lan.now, piece);
                rest = after;
            }
            while let Some(message) = lan.modem.poll_stream() {
                lan.caller.handle_stream(&message);
            }
        }
        prop_assert!(lan.modem.is_open());
        prop_assert!(lan.dropped().is_empty());
    }

    #[test]
    fn any_bytes_and_frames_are_taken(
        happenings in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..80)), 0..40),
    ) {
        let mut lan = Lan::acquainted();
        for (is_frame, mut bytes) in happenings {
            if is_frame {
                let start = GUEST_MAC.0.len().min(bytes.len());
                bytes[..start].copy_from_slice(&GUEST_MAC.0[..start]);
                lan.modem.handle_frame(lan.now, &bytes);
            } else {
                lan.modem.handle_stream(lan.now, &bytes);
            }
            lan.now += Duration::from_millis(700);
            lan.modem.handle_timeout(lan.now);
            prop_assert!(lan.modem.timeout().is_none_or(|due| due > lan.now));
            prop_assert!(lan.frames().iter().all(|frame| ethernet::source(frame) == Some(GUEST_MAC)));
        }
    }
}
