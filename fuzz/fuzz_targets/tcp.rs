//! Packets for a service's address, and what they are answered with: every answer is whole, goes back to
//! where the packet came from, has a right checksum, and is not answered again.
//!
//! Input: bits (u8: 1 makes lengths and checksums right), then the packet.
#![no_main]

use hypertap_fuzz::{Input, TCP, UDP, plain_sum, seal, transport_sum};
use hypertap_wire::icmp::{Unreachable, echo_reply, unreachable};
use hypertap_wire::ip::{Fragment, Ip};
use hypertap_wire::packet::{MAX_PACKET, validate};
use hypertap_wire::tcp::{Flags, Segment, reset};
use hypertap_wire::udp::{self, Datagram};
use libfuzzer_sys::fuzz_target;
use std::net::SocketAddr;

/// What all answers have in common; yields the answer taken apart.
fn check_answer<'a>(ip: &Ip, answer: &'a [u8]) -> Ip<'a> {
    let back = Ip::parse(answer).expect("an answer is a packet");
    if answer.len() <= MAX_PACKET {
        assert_eq!(validate(answer, MAX_PACKET), Ok(()));
    }
    assert_eq!((back.source, back.destination), (ip.destination, ip.source));
    assert_eq!(back.fragment, Fragment::Whole);
    assert!(!back.source.is_multicast() && !back.destination.is_multicast());
    assert!(!back.source.is_unspecified() && !back.destination.is_unspecified());
    assert!(back.is_checksum_right());
    let sum = if back.protocol == 1 {
        plain_sum(&[back.payload])
    } else {
        transport_sum(answer).expect("it is one")
    };
    assert_eq!(sum, 0xffff, "the checksum by the plain rule");
    back
}

fn check_tcp(ip: &Ip) {
    let Ok(segment) = Segment::parse(ip) else { return };
    assert_eq!((ip.protocol, ip.fragment), (TCP, Fragment::Whole));
    assert_eq!(20 + segment.options.len() + segment.payload.len(), ip.payload.len());
    let Some(answer) = reset(ip, &segment) else {
        return;
    };
    let back = check_answer(ip, &answer);
    let again = Segment::parse(&back).expect("a reset is a segment");
    assert_eq!((again.source_port, again.destination_port), (segment.destination_port, segment.source_port));
    assert_eq!(again.sequence_len(), 0);
    assert!(again.flags.contains(Flags::RST) && !again.is_opening());
    if segment.is_opening() {
        let expected =
            segment.sequence.wrapping_add(1 + u32::try_from(segment.payload.len()).expect("short"));
        assert_eq!((again.flags, again.acknowledgement), (Flags::RST | Flags::ACK, expected));
    }
    assert_eq!(reset(&back, &again), None, "resets for resets");
}

fn check_udp(ip: &Ip) {
    let Ok(datagram) = Datagram::parse(ip) else { return };
    assert_eq!(
        (ip.protocol, ip.fragment, datagram.payload.len() + 8),
        (UDP, Fragment::Whole, ip.payload.len())
    );
    let mut buffer = vec![0xff; ip.packet.len()];
    let source = SocketAddr::new(ip.destination, datagram.destination_port);
    let destination = SocketAddr::new(ip.source, datagram.source_port);
    let len = udp::emit(&mut buffer, source, destination, datagram.payload).expect("as long as what came");
    let back = Ip::parse(&buffer[..len]).expect("it is a packet");
    assert!(back.is_checksum_right() && back.payload[6..8] != [0, 0]);
    let again = Datagram::parse(&back).expect("it is a datagram");
    assert_eq!(again.payload, datagram.payload);
    assert_eq!(
        (again.source_port, again.destination_port),
        (datagram.destination_port, datagram.source_port)
    );
}

fn check_icmp(ip: &Ip) {
    for why in [Unreachable::Host, Unreachable::Prohibited, Unreachable::Port] {
        let Some(answer) = unreachable(ip, why) else { continue };
        assert!(answer.len() <= if ip.source.is_ipv4() { 576 } else { 1280 });
        let back = check_answer(ip, &answer);
        assert!(ip.packet.starts_with(&back.payload[8..]) && back.payload.len() > 8);
        assert_eq!(unreachable(&back, why), None, "errors for errors");
        assert_eq!(echo_reply(&back), None);
    }
    let Some(answer) = echo_reply(ip) else { return };
    assert!(ip.is_checksum_right());
    let back = check_answer(ip, &answer);
    assert_eq!(back.payload[4..], ip.payload[4..]);
    assert_eq!(echo_reply(&back), None, "replies for replies");
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let bits = input.u8();
    let mut packet = input.0.to_vec();
    if bits & 1 != 0 {
        seal(&mut packet);
    }
    let Ok(ip) = Ip::parse(&packet) else {
        return;
    };
    assert!(packet.ends_with(ip.payload));
    if packet.len() <= MAX_PACKET {
        assert_eq!(validate(&packet, MAX_PACKET), Ok(()));
    }
    check_tcp(&ip);
    check_udp(&ip);
    check_icmp(&ip);
});
