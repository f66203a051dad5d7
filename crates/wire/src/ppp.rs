//! The packets of the point-to-point protocol (RFC 1661), as they stand inside a frame of [`crate::hdlc`].
//!
//! A frame's content is an address and a control byte, which a sender may leave out when that was
//! agreed on, the protocol's number, of which it may leave out the first byte, and the packet.
//! [`control`] has the shape that all control protocols share, [`lcp`], [`ipcp`] and [`pap`] what each has
//! of its own.

pub mod control;
pub mod ipcp;
pub mod lcp;
pub mod pap;

/// The longest packet in bytes that every end must be able to take (RFC 1661 6.1).
pub const DEFAULT_MRU: u16 = 1500;

/// The longest header of a packet in a frame, in bytes: address, control, protocol.
pub const HEADER: usize = 4;

/// The address "all stations" and the control "unnumbered information" (RFC 1662 3.1).
const ADDRESS_AND_CONTROL: [u8; 2] = [0xff, 0x03];

/// The number of a protocol (RFC 1661 2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u16);

impl Protocol {
    /// Internet protocol, version 4.
    pub const IPV4: Self = Self(0x0021);
    /// The control protocol of IPv4 (RFC 1332).
    pub const IPCP: Self = Self(0x8021);
    /// The control protocol of the link.
    pub const LCP: Self = Self(0xc021);
    /// The password authentication protocol (RFC 1334).
    pub const PAP: Self = Self(0xc023);
}

/// The protocol and the packet in a frame's content, compressed header fields or not; none when it
/// is too short or the number is not one (RFC 1661 2: the first byte even, the second odd).
pub fn parse(frame: &[u8]) -> Option<(Protocol, &[u8])> {
    let content = frame.strip_prefix(&ADDRESS_AND_CONTROL).unwrap_or(frame);
    match content {
        [low, packet @ ..] if low & 1 == 1 => Some((Protocol(u16::from(*low)), packet)),
        [high, low, packet @ ..] if low & 1 == 1 => {
            Some((Protocol(u16::from_be_bytes([*high, *low])), packet))
        }
        _ => None,
    }
}

/// A frame's content: the packet with its whole header.
pub fn frame(protocol: Protocol, packet: &[u8]) -> Vec<u8> {
    [&ADDRESS_AND_CONTROL[..], &protocol.0.to_be_bytes(), packet].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packet_comes_out_as_it_went_in(number in 0..0x80_u16, low in 0..0x80_u8, packet: Vec<u8>) {
            let protocol = Protocol(number << 9 | u16::from(low) << 1 | 1);
            let frame = frame(protocol, &packet);
            prop_assert_eq!(parse(&frame), Some((protocol, &packet[..])));
        }
    }

    #[test]
    fn the_header_may_be_compressed() {
        for header in [&[0xff, 0x03, 0x00, 0x21][..], &[0xff, 0x03, 0x21], &[0x00, 0x21], &[0x21]] {
            assert_eq!(parse(&[header, b"ip"].concat()), Some((Protocol::IPV4, &b"ip"[..])), "{header:02x?}");
        }
    }

    #[test]
    fn what_has_no_protocol_is_no_packet() {
        for frame in [&[][..], &[0xff, 0x03], &[0xff, 0x03, 0xc0], &[0xc0], &[0xc0, 0x20, 1, 2]] {
            assert_eq!(parse(frame), None, "{frame:02x?}");
        }
    }
}
