//! Ethernet frames: addresses, the header with its VLAN tags, and a frame's size.
//!
//! A frame is destination, source and `EtherType` (IEEE 802.3, 14 bytes), without preamble and
//! check sequence. Any number of 802.1Q and 802.1ad tags of four bytes may stand before the type.

mod address;
mod ethertype;
pub mod sizing;

pub use address::{InvalidMacAddress, MacAddress};
pub use ethertype::EtherType;

/// The length in bytes of a header without tags.
pub const HEADER: usize = 14;

/// The length in bytes of an 802.1Q or 802.1ad tag.
pub const TAG: usize = 4;

/// The least length in bytes of a frame on a wire, without its check sequence. Stations pad to it;
/// virtual ones need not.
pub const MIN_FRAME: usize = 60;

/// Whom a frame is for, when it is whole that far.
pub fn destination(frame: &[u8]) -> Option<MacAddress> {
    Some(MacAddress(*frame.first_chunk()?))
}

/// Who sent a frame, when it is whole that far.
pub fn source(frame: &[u8]) -> Option<MacAddress> {
    Some(MacAddress(*frame.get(6..)?.first_chunk()?))
}

/// The length in bytes of the header with all its tags, when it is whole.
pub fn header_len(frame: &[u8]) -> Option<usize> {
    let mut end = HEADER;
    while ethertype_before(frame, end)?.is_tag() {
        end += TAG;
    }
    Some(end)
}

/// What a frame carries: the type after all tags, when the header is whole. Up to
/// [`EtherType::MAX_LENGTH`] it is a length, of an 802.3 frame.
pub fn ethertype(frame: &[u8]) -> Option<EtherType> {
    ethertype_before(frame, header_len(frame)?)
}

/// What comes after the header and its tags, with its type.
pub fn payload(frame: &[u8]) -> Option<(EtherType, &[u8])> {
    let header_len = header_len(frame)?;
    Some((ethertype_before(frame, header_len)?, frame.get(header_len..)?))
}

/// The type in the two bytes before `end`.
fn ethertype_before(frame: &[u8], end: usize) -> Option<EtherType> {
    let field = frame.get(end.checked_sub(2)?..end)?;
    Some(EtherType(u16::from_be_bytes(*field.first_chunk()?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: [u8; 24] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xa8, 0, 1, 0x81, 0, 0, 2, 0x08, 0x06, 7,
        8,
    ];

    #[test]
    fn the_header_ends_after_all_tags() {
        assert_eq!(destination(&FRAME), Some(MacAddress::BROADCAST));
        assert_eq!(source(&FRAME), Some(MacAddress([2, 0, 0, 0, 0, 1])));
        assert_eq!(header_len(&FRAME), Some(HEADER + 2 * TAG));
        assert_eq!(ethertype(&FRAME), Some(EtherType::ARP));
        assert_eq!(payload(&FRAME), Some((EtherType::ARP, [7, 8].as_slice())));
    }

    #[test]
    fn what_is_not_whole_is_none() {
        for len in 0..FRAME.len() {
            let frame = &FRAME[..len];
            assert_eq!(destination(frame).is_some(), len >= 6, "{len} bytes");
            assert_eq!(source(frame).is_some(), len >= 12, "{len} bytes");
            assert_eq!(header_len(frame).is_some(), len >= 22, "{len} bytes");
            assert_eq!(ethertype(frame).is_some(), len >= 22, "{len} bytes");
            assert_eq!(payload(frame).is_some(), len >= 22, "{len} bytes");
        }
    }
}
