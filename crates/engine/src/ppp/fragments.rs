//! A packet that is longer than the guest takes, in pieces (RFC 791, 2.3 and 3.2).

use hypertap_wire::checksum::Sum;

/// The length in bytes of a header without options.
const HEADER: usize = 20;
/// Fields of the header's bytes 6 and 7.
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;
/// An option of this bit goes with every fragment, others with the first alone.
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// The fragments of at most `mtu` bytes of a whole IPv4 packet that may be a fragment itself; nothing where it may
/// not be fragmented, or cannot be.
pub(super) fn fragments(packet: &[u8], mtu: usize) -> Option<Vec<Vec<u8>>> {
    let header_len = usize::from(packet.first()? & 0x0f) * 4;
    let (header, mut rest) = packet.split_at_checked(header_len.max(HEADER))?;
    let field = u16::from_be_bytes([*header.get(6)?, *header.get(7)?]);
    if field & DONT_FRAGMENT != 0 {
        return None;
    }
    let mut header = header.to_vec();
    let mut offset = field & OFFSET;
    let mut fragments = Vec::new();
    loop {
        let room = mtu.checked_sub(header.len())?;
        if rest.len() <= room {
            fragments.push(fragment(&header, field & MORE_FRAGMENTS | offset, rest)?);
            return Some(fragments);
        }
        let eighths = u16::try_from(room / 8).ok().filter(|eighths| *eighths > 0)?;
        let (piece, after) = rest.split_at(8 * usize::from(eighths));
        fragments.push(fragment(&header, MORE_FRAGMENTS | offset, piece)?);
        // No packet is so long that its end has no offset.
        offset = offset.checked_add(eighths).filter(|offset| *offset <= OFFSET)?;
        rest = after;
        if fragments.len() == 1 {
            header = later_header(&header)?;
        }
    }
}

/// A packet of a header, whose lengths and checksum are made right, and a payload.
fn fragment(header: &[u8], field: u16, payload: &[u8]) -> Option<Vec<u8>> {
    let mut packet = [header, payload].concat();
    let len = u16::try_from(packet.len()).ok()?.to_be_bytes();
    packet.get_mut(2..4)?.copy_from_slice(&len);
    packet.get_mut(6..8)?.copy_from_slice(&field.to_be_bytes());
    packet.get_mut(10..12)?.copy_from_slice(&[0, 0]);
    let checksum = Sum::ZERO.add(packet.get(..header.len())?).checksum();
    packet.get_mut(10..12)?.copy_from_slice(&checksum);
    Some(packet)
}

/// The header of all fragments but the first.
fn later_header(first: &[u8]) -> Option<Vec<u8>> {
    let (fixed, mut options) = first.split_at_checked(HEADER)?;
    let mut header = fixed.to_vec();
    while let [kind, rest @ ..] = options {
        let len = match (*kind, rest) {
            (END_OF_OPTIONS, _) => break,
            (NO_OPERATION, _) => 1,
            (_, [len, ..]) if *len >= 2 => usize::from(*len),
            _ => break,
        };
        let Some((option, after)) = options.split_at_checked(len) else { break };
        if kind & COPIED != 0 {
            header.extend_from_slice(option);
        }
        options = after;
    }
    header.resize(header.len().next_multiple_of(4), END_OF_OPTIONS);
    *header.first_mut()? = 0x40 | u8::try_from(header.len() / 4).ok()?;
    Some(header)
}

#[cfg(test)]
mod tests {
    use hypertap_wire::packet::validate;
    use proptest::prelude::*;

    use super::*;

    /// A packet of these options, flags with offset, and payload.
    fn packet(options: &[u8], field: u16, payload: &[u8]) -> Vec<u8> {
        let words = u8::try_from(5 + options.len() / 4).unwrap();
        let mut header =
            vec![0x40 | words, 0, 0, 0, 0x12, 0x34, 0, 0, 64, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        header.extend_from_slice(options);
        fragment(&header, field, payload).unwrap()
    }

    fn header_len(packet: &[u8]) -> usize {
        usize::from(packet[0] & 0x0f) * 4
    }

    fn field(packet: &[u8]) -> u16 {
        u16::from_be_bytes([packet[6], packet[7]])
    }

    #[test]
    fn a_packet_that_must_stay_whole_has_no_fragments() {
        assert_eq!(fragments(&packet(&[], DONT_FRAGMENT, &[1; 1000]), 576), None);
    }

    #[test]
    fn a_fragment_is_fragmented_at_its_place() {
        let pieces = fragments(&packet(&[], MORE_FRAGMENTS + 100, &[1; 1000]), 576).unwrap();
        let fields: Vec<_> = pieces.iter().map(|piece| (field(piece), piece.len())).collect();
        assert_eq!(fields, [(MORE_FRAGMENTS + 100, 572), (MORE_FRAGMENTS + 169, 468)]);
        let last = fragments(&packet(&[], 100, &[1; 1000]), 576).unwrap().pop().unwrap();
        assert_eq!(field(&last), 169);
        assert_eq!(fragments(&packet(&[], OFFSET, &[1; 1000]), 576), None, "it ends beyond all packets");
    }

    #[test]
    fn options_of_the_first_alone_are_in_no_other() {
        // Record route, no operation, a router alert, the end.
        let options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0];
        let pieces = fragments(&packet(&options, 0, &[1; 1000]), 576).unwrap();
        assert_eq!(pieces[0][20..32], options);
        assert_eq!((header_len(&pieces[1]), &pieces[1][20..24]), (24, [148, 4, 0, 0].as_slice()));
    }

    proptest! {
        #[test]
        fn fragments_are_whole_packets_that_make_the_payload(
            options in prop::collection::vec(any::<[u8; 4]>(), 0..=10),
            payload in prop::collection::vec(any::<u8>(), 0..4000),
            mtu in 68..1500_usize,
        ) {
            let pieces = fragments(&packet(&options.concat(), 0, &payload), mtu).unwrap();
            let mut joined = Vec::new();
            for (number, piece) in pieces.iter().enumerate() {
                prop_assert_eq!(validate(piece, mtu), Ok(()));
                prop_assert_eq!(usize::from(field(piece) & OFFSET) * 8, joined.len());
                prop_assert_eq!(field(piece) & MORE_FRAGMENTS == 0, number + 1 == pieces.len());
                prop_assert_eq!(&piece[4..6], [0x12, 0x34].as_slice());
                joined.extend_from_slice(&piece[header_len(piece)..]);
            }
            prop_assert_eq!(joined, payload);
        }

        #[test]
        fn any_bytes_are_taken(packet in prop::collection::vec(any::<u8>(), 0..200), mtu in 0..200_usize) {
            for piece in fragments(&packet, mtu).into_iter().flatten() {
                prop_assert!(piece.len() <= mtu);
            }
        }
    }
}
