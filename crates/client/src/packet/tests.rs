use super::*;
use hypertap_wire::packet::validate;
use proptest::prelude::*;

const V4: [[u8; 4]; 2] = [[10, 0, 0, 1], [10, 0, 0, 2]];
const V6: [[u8; 16]; 2] = [[0xfd; 16], [0x20; 16]];

fn seal(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let checksum = Sum::ZERO.add(&packet[..20]).checksum();
    packet[10..12].copy_from_slice(&checksum);
}

fn v4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 20];
    packet[0] = 0x45;
    packet[2..4].copy_from_slice(&u16::try_from(20 + payload.len()).unwrap().to_be_bytes());
    packet[8] = 3;
    packet[9] = protocol;
    packet[12..20].copy_from_slice(V4.as_flattened());
    seal(&mut packet);
    packet.extend_from_slice(payload);
    packet
}

fn v6(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0; 8];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
    packet[6] = protocol;
    packet.extend_from_slice(V6.as_flattened());
    packet.extend_from_slice(payload);
    packet
}

/// The sum over an `ICMPv6` message as RFC 8200 writes its pseudo-header: addresses, u32 length, u32 protocol.
fn v6_sum(packet: &[u8]) -> Sum {
    let length = u32::try_from(packet.len() - 40).unwrap();
    Sum::ZERO.add(&packet[8..40]).add(&length.to_be_bytes()).add(&[0, 0, 0, 58]).add(&packet[40..])
}

fn echo4() -> Vec<u8> {
    let mut icmp = *b"\x08\x00\x00\x00\x12\x34\x00\x01payload";
    let checksum = Sum::ZERO.add(&icmp).checksum();
    icmp[2..4].copy_from_slice(&checksum);
    v4(ICMP, &icmp)
}

fn echo6() -> Vec<u8> {
    let mut packet = v6(ICMPV6, b"\x80\x00\x00\x00\x12\x34\x00\x01payload");
    let checksum = v6_sum(&packet).checksum();
    packet[42..44].copy_from_slice(&checksum);
    packet
}

#[test]
fn an_echo_request_becomes_its_reply() {
    let mut packet = echo4();
    assert!(answer_echo(&mut packet));
    assert_eq!(validate(&packet, 1500), Ok(()));
    assert_eq!((&packet[12..16], &packet[16..20], packet[8]), (&V4[1][..], &V4[0][..], HOPS));
    assert_eq!((&packet[20..22], &packet[24..]), (&[0, 0][..], &b"\x12\x34\x00\x01payload"[..]));
    assert!(Sum::ZERO.add(&packet[20..]).is_whole());

    let mut packet = echo6();
    assert!(v6_sum(&packet).is_whole());
    assert!(answer_echo(&mut packet));
    assert_eq!(validate(&packet, 1500), Ok(()));
    assert_eq!((&packet[8..24], &packet[24..40], packet[7]), (&V6[1][..], &V6[0][..], HOPS));
    assert_eq!(packet[40..42], [129, 0]);
    assert!(v6_sum(&packet).is_whole());
}

#[test]
fn what_is_no_whole_echo_request_is_left_alone() {
    let change = |mut packet: Vec<u8>, at: usize, to: u8| {
        packet[at] = to;
        packet
    };
    let cases = [
        change(echo4(), 20, 0),
        change(echo4(), 21, 1),
        change(echo4(), 30, b'!'),
        change(echo4(), 6, 0x20),
        change(echo4(), 7, 1),
        change(echo4(), 9, 58),
        change(echo4(), 3, 20),
        change(echo4(), 0, 0x44),
        change(echo4(), 0, 0x55),
        change(echo6(), 40, 129),
        change(echo6(), 45, 0),
        change(echo6(), 6, 1),
        v4(ICMP, &[8, 0, 0xf7, 0xff]),
    ];
    for (number, case) in cases.into_iter().enumerate() {
        let mut packet = case.clone();
        assert!(!answer_echo(&mut packet), "case {number}");
        assert_eq!(packet, case, "case {number}");
    }
}

fn query(name: &[u8]) -> Vec<u8> {
    let mut message = b"\x01\x02\x01\x00\x00\x01\0\0\0\0\0\0".to_vec();
    message.extend_from_slice(name);
    message.extend_from_slice(&[0, 28, 0, 1]);
    let mut udp = vec![0xc0, 0, 0, 53];
    udp.extend_from_slice(&u16::try_from(8 + message.len()).unwrap().to_be_bytes());
    udp.extend_from_slice(&[0, 0]);
    udp.extend(message);
    udp
}

#[test]
fn a_dns_query_says_what_it_asks_and_whom() {
    let udp = query(b"\x03www\x07example\x00");
    let got = dns_query(&v4(UDP, &udp)).expect("a query");
    assert_eq!(
        (got.source, got.resolver),
        ("10.0.0.1:49152".parse().unwrap(), "10.0.0.2:53".parse().unwrap())
    );
    assert_eq!((got.name.as_str(), got.kind), ("www.example", 28));
    assert_eq!(got.to_string(), "www.example AAAA of 10.0.0.2:53");
    assert_eq!(dns_query(&v6(UDP, &udp)).expect("a query").resolver.port(), 53);
}

#[test]
fn names_are_escaped_and_bounded() {
    let name = |name: &[u8]| dns_query(&v4(UDP, &query(name))).map(|query| query.name);
    assert_eq!(name(b"\x04a.\x1b\\\x00").as_deref(), Some("a\\046\\027\\092"));
    assert_eq!(name(b"\x00").as_deref(), Some(""));
    assert_eq!(name(b"\xc0\x0c"), None, "a pointer");
    let long = [[63; 64]; 4].concat();
    assert_eq!(name(&[&long[..], b"\0"].concat()), None, "longer than 255");
    assert_eq!(name(b"\x3fshort"), None, "cut off");
}

#[test]
fn other_packets_are_no_queries() {
    let mut response = query(b"\x01a\x00");
    response[10] |= 0x80;
    assert_eq!(dns_query(&v4(UDP, &response)), None);
    let mut other_port = query(b"\x01a\x00");
    other_port[3] = 54;
    assert_eq!(dns_query(&v4(UDP, &other_port)), None);
    assert_eq!(dns_query(&v4(6, &query(b"\x01a\x00"))), None);
    assert_eq!(dns_query(&echo6()), None);
}

proptest! {
    #[test]
    fn no_packet_panics(mut packet in prop::collection::vec(any::<u8>(), 0..120), version in prop_oneof![Just(0x45_u8), Just(0x4f), Just(0x60), any::<u8>()], whole: bool) {
        if whole && packet.len() >= 40 {
            packet[0] = version;
            let (at, length) = if version >> 4 == 4 { (2, packet.len()) } else { (4, packet.len() - 40) };
            packet[at..at + 2].copy_from_slice(&u16::try_from(length).unwrap().to_be_bytes());
            packet[6] = 58;
        }
        let _ = dns_query(&packet);
        let before = packet.clone();
        prop_assert!(answer_echo(&mut packet) || packet == before);
    }

    #[test]
    fn no_query_panics_wherever_it_is_cut_or_changed(at in 0..60_usize, to: u8, cut in 0..60_usize) {
        let mut udp = query(b"\x03www\x07example\x00");
        let at = at.min(udp.len() - 1);
        udp[at] = to;
        udp.truncate(udp.len() - cut.min(udp.len()));
        let _ = dns_query(&v4(UDP, &udp));
        let _ = dns_query(&v6(UDP, &udp));
    }
}
