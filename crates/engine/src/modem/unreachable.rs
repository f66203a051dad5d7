//! The word to a sender that its packet is too long for the guest: ICMP's "fragmentation needed" (RFC 792,
//! RFC 1191 4).

use std::net::Ipv4Addr;

use hypertap_wire::checksum::Sum;

/// The longest such message in bytes (RFC 1812, 4.3.2.3).
const LONGEST: usize = 576;
const IP_HEADER: usize = 20;
const ICMP_HEADER: usize = 8;
const ICMP: u8 = 1;
const OFFSET: u16 = 0x1fff;
const DONT_FRAGMENT: u16 = 0x4000;

/// The message of `from` that `packet`, a whole IPv4 packet to a single host, may not be fragmented and is longer than
/// `mtu` bytes; nothing where that is not why, and about what no error is told (RFC 1122, 3.2.2).
pub(super) fn fragmentation_needed(packet: &[u8], from: Ipv4Addr, mtu: u16) -> Option<Vec<u8>> {
    let header = packet.first_chunk::<IP_HEADER>()?;
    let field = u16::from_be_bytes([header[6], header[7]]);
    let source = Ipv4Addr::new(header[12], header[13], header[14], header[15]);
    if field & DONT_FRAGMENT == 0 || field & OFFSET != 0 || !is_host(source) || is_icmp_error(packet) {
        return None;
    }
    let about = packet.get(..LONGEST - IP_HEADER - ICMP_HEADER).unwrap_or(packet);
    let mtu = mtu.to_be_bytes();
    let mut icmp = [&[3, 4, 0, 0, 0, 0, mtu[0], mtu[1]], about].concat();
    let checksum = Sum::ZERO.add(&icmp).checksum();
    icmp.get_mut(2..4)?.copy_from_slice(&checksum);
    let len = u16::try_from(IP_HEADER + icmp.len()).ok()?.to_be_bytes();
    let mut message =
        [&[0x45, 0, len[0], len[1], 0, 0, 0x40, 0, 64, ICMP, 0, 0][..], &from.octets(), &source.octets()]
            .concat();
    let checksum = Sum::ZERO.add(&message).checksum();
    message.get_mut(10..12)?.copy_from_slice(&checksum);
    message.extend_from_slice(&icmp);
    Some(message)
}

/// Whether an address is a single host's.
fn is_host(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback()
}

fn is_icmp_error(packet: &[u8]) -> bool {
    let header_len = packet.first().map_or(0, |first| usize::from(first & 0x0f) * 4);
    packet.get(9) == Some(&ICMP) && matches!(packet.get(header_len), Some(3 | 4 | 5 | 11 | 12) | None)
}

#[cfg(test)]
mod tests {
    use hypertap_wire::packet::validate;

    use super::*;

    const GUEST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    fn packet(field: u16, protocol: u8, source: [u8; 4], payload: &[u8]) -> Vec<u8> {
        let len = u16::try_from(20 + payload.len()).unwrap().to_be_bytes();
        let field = field.to_be_bytes();
        let header = [0x45, 0, len[0], len[1], 0, 1, field[0], field[1], 64, protocol, 0, 0];
        [&header[..], &source, &GUEST.octets(), payload].concat()
    }

    #[test]
    fn the_sender_is_told_what_goes_and_shown_what_did_not() {
        let sent = packet(DONT_FRAGMENT, 17, [10, 0, 0, 1], &[7; 1000]);
        let message = fragmentation_needed(&sent, GUEST, 560).unwrap();
        assert_eq!(validate(&message, LONGEST), Ok(()));
        assert_eq!((&message[12..16], &message[16..20]), (&[10, 0, 0, 2][..], &[10, 0, 0, 1][..]));
        assert_eq!((&message[20..22], &message[26..28]), (&[3, 4][..], &560_u16.to_be_bytes()[..]));
        assert!(Sum::ZERO.add(&message[20..]).is_whole());
        assert_eq!(message[28..], sent[..548]);
        let short = packet(DONT_FRAGMENT, 17, [10, 0, 0, 1], &[7; 60]);
        assert_eq!(fragmentation_needed(&short, GUEST, 68).unwrap()[28..], short);
    }

    #[test]
    fn nothing_is_told_of_what_no_error_is_told_of() {
        let us = [10, 0, 0, 1];
        let mut cases = vec![
            packet(0, 17, us, &[7; 1000]),
            packet(DONT_FRAGMENT | 1, 17, us, &[7; 1000]),
            packet(DONT_FRAGMENT, ICMP, us, &[3; 1000]),
            packet(DONT_FRAGMENT, ICMP, us, &[]),
        ];
        for source in [[0; 4], [127, 0, 0, 1], [224, 0, 0, 1], [255; 4]] {
            cases.push(packet(DONT_FRAGMENT, 17, source, &[7; 1000]));
        }
        for case in cases {
            assert_eq!(fragmentation_needed(&case, GUEST, 576), None, "{:02x?}", &case[..21]);
        }
        assert!(fragmentation_needed(&packet(DONT_FRAGMENT, ICMP, us, &[8; 1000]), GUEST, 576).is_some());
    }
}
