use super::*;
use crate::packet::validate;
use proptest::prelude::*;

/// A packet from 192.0.2.1 or `2001:db8::1` to the same with a 2.
pub(crate) fn packet(v6: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = addresses(v6);
    let mut packet = vec![0; header_len(source) + payload.len()];
    let room = write_header(&mut packet, source, destination, protocol, payload.len()).unwrap();
    room.copy_from_slice(payload);
    packet
}

pub(crate) fn addresses(v6: bool) -> (IpAddr, IpAddr) {
    let texts = if v6 { ["2001:db8::1", "2001:db8::2"] } else { ["192.0.2.1", "192.0.2.2"] };
    let [source, destination] = texts.map(|text| text.parse().unwrap());
    (source, destination)
}

/// A packet like [`packet`]'s whose payload gets its checksum at `at`.
pub(crate) fn summed(v6: bool, protocol: u8, payload: &[u8], at: usize) -> Vec<u8> {
    let (source, destination) = addresses(v6);
    let mut payload = payload.to_vec();
    payload[at..at + 2].fill(0);
    let sum = pseudo_sum(source, destination, protocol, payload.len()).unwrap().add(&payload);
    payload[at..at + 2].copy_from_slice(&sum.checksum());
    packet(v6, protocol, &payload)
}

#[test]
fn what_is_written_passes_and_is_read_back() {
    for v6 in [false, true] {
        let packet = packet(v6, UDP, b"payload");
        assert_eq!(validate(&packet, 1500), Ok(()));
        let ip = Ip::parse(&packet).unwrap();
        assert_eq!((ip.source, ip.destination), addresses(v6));
        assert_eq!((ip.protocol, ip.payload, ip.hop_limit), (UDP, b"payload".as_slice(), 64));
        assert_eq!((ip.fragment, ip.packet), (Fragment::Whole, packet.as_slice()));
    }
}

#[test]
fn a_packet_may_be_as_long_as_its_header_can_say() {
    for (v6, most) in [(false, 65_515), (true, 65_535)] {
        let (source, destination) = addresses(v6);
        let mut buffer = vec![0; 70_000];
        let write = |buffer: &mut [u8], len| {
            write_header(buffer, source, destination, TCP, len).map(|room| room.len())
        };
        assert_eq!(write(&mut buffer, most), Some(most));
        assert!(Ip::parse(&buffer[..header_len(source) + most]).is_ok());
        assert_eq!(write(&mut buffer, most + 1), None);
        assert_eq!(write(&mut buffer[..most], most), None, "no room");
        assert_eq!(write(&mut buffer[..10], 0), None, "no room");
        assert!(write_header(&mut buffer, source, addresses(!v6).1, TCP, 0).is_none(), "two families");
    }
}

#[test]
fn options_of_ipv4_are_skipped() {
    let mut bytes = packet(false, TCP, b"\x01\x01\x01\x01payload");
    bytes[0] = 0x46;
    bytes[10..12].fill(0);
    let checksum = Sum::ZERO.add(&bytes[..24]).checksum();
    bytes[10..12].copy_from_slice(&checksum);
    assert_eq!(Ip::parse(&bytes).unwrap().payload, b"payload");
}

#[test]
fn extension_headers_are_skipped() {
    let hop_by_hop = [60, 0, 1, 4, 0, 0, 0, 0];
    let destination = [51, 1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let authentication = [44, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let atomic = [TCP, 0, 0, 0, 0, 0, 0, 1];
    let chain = [hop_by_hop.as_slice(), &destination, &authentication, &atomic, b"payload"].concat();
    let bytes = packet(true, 0, &chain);
    let ip = Ip::parse(&bytes).unwrap();
    assert_eq!((ip.protocol, ip.payload, ip.fragment), (TCP, b"payload".as_slice(), Fragment::Whole));
    for len in 1..chain.len() - b"payload".len() {
        let result = Ip::parse(&packet(true, 0, &chain[..len])).map(|ip| ip.protocol);
        assert_eq!(result, Err(IpError::ExtensionCut), "{len}");
    }
}

#[test]
fn extension_headers_are_bounded() {
    let chain = |count: usize| {
        let mut chain = [60, 0, 1, 4, 0, 0, 0, 0].repeat(count);
        chain[8 * (count - 1)] = TCP;
        packet(true, 60, &chain)
    };
    assert_eq!(Ip::parse(&chain(8)).unwrap().protocol, TCP);
    assert_eq!(Ip::parse(&chain(9)).unwrap_err(), IpError::TooManyExtensions);
    assert_eq!(Ip::parse(&chain(8000)).unwrap_err(), IpError::TooManyExtensions);
}

#[test]
fn fragments_are_told() {
    for (field, fragment) in [
        (0x4000, Fragment::Whole),
        (0x2000, Fragment::First),
        (0x2001, Fragment::Later),
        (1, Fragment::Later),
    ] {
        let mut bytes = packet(false, UDP, &[0; 16]);
        bytes[6..8].copy_from_slice(&u16::to_be_bytes(field));
        bytes[10..12].fill(0);
        let checksum = Sum::ZERO.add(&bytes[..20]).checksum();
        bytes[10..12].copy_from_slice(&checksum);
        assert_eq!(Ip::parse(&bytes).unwrap().fragment, fragment);
    }
    for (low, protocol, fragment, rest) in
        [(1, TCP, Fragment::First, 9), (8, 60, Fragment::Later, 17), (9, 60, Fragment::Later, 17)]
    {
        let bytes =
            packet(true, FRAGMENT, &[&[60, 0, 0, low, 0, 0, 0, 1, TCP, 0], [0; 15].as_slice()].concat());
        let ip = Ip::parse(&bytes).unwrap();
        assert_eq!((ip.protocol, ip.fragment, ip.payload.len()), (protocol, fragment, rest), "{low}");
    }
}

#[test]
fn broken_packets_are_named() {
    let mut bad_sum = packet(false, TCP, b"");
    bad_sum[8] ^= 1;
    for (bytes, cause) in [
        (&[][..], DropCause::Empty),
        (&[0x50; 40], DropCause::BadVersion),
        (&[0x45; 19], DropCause::TruncatedHeader),
        (&[0x60; 39], DropCause::TruncatedHeader),
        (&[0x60; 40], DropCause::LengthMismatch),
        (&bad_sum, DropCause::BadHeaderChecksum),
    ] {
        assert_eq!(Ip::parse(bytes).unwrap_err(), IpError::Broken(cause));
    }
}

#[test]
fn a_wrong_checksum_is_seen_and_udps_missing_one_is_right_over_ipv4_only() {
    for v6 in [false, true] {
        for (protocol, at) in [(TCP, 16), (UDP, 6), (if v6 { ICMPV6 } else { ICMP }, 2)] {
            let mut bytes = summed(v6, protocol, &[7; 21], at);
            assert!(Ip::parse(&bytes).unwrap().is_checksum_right());
            *bytes.last_mut().unwrap() ^= 1;
            assert!(!Ip::parse(&bytes).unwrap().is_checksum_right());
        }
        let unsummed = packet(v6, UDP, &[0, 1, 0, 2, 0, 8, 0, 0]);
        assert_eq!(Ip::parse(&unsummed).unwrap().is_checksum_right(), !v6);
    }
}

proptest! {
    #[test]
    fn any_bytes_are_a_packet_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, chain: bool) {
        if let [first, ..] = bytes.as_mut_slice() {
            *first = if v6 { 0x60 } else { 0x45 };
        }
        if let (true, Some(len)) = (v6, bytes.len().checked_sub(40)) {
            bytes[4..6].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
            bytes[6] = if chain { 60 } else { bytes[6] };
        }
        if let Ok(ip) = Ip::parse(&bytes) {
            prop_assert!(ip.packet.ends_with(ip.payload));
            prop_assert!(ip.payload.len() + header_len(ip.source) <= bytes.len());
            let _ = ip.is_checksum_right();
        }
    }
}
