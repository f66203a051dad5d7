//! TCP segments taken apart, and the one that refuses a connection (RFC 9293).

use std::fmt;
use std::ops::BitOr;

use crate::ip::{Fragment, Ip, TCP, answer};

/// The length in bytes of a header without options.
const HEADER: usize = 20;
/// Where a header has its checksum.
const CHECKSUM: usize = 16;

/// The control bits of a segment, as far as they open, close and reset.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// The sender sends no more.
    pub const FIN: Self = Self(0x01);
    /// Opens a connection.
    pub const SYN: Self = Self(0x02);
    /// Ends the connection at once, or refuses it.
    pub const RST: Self = Self(0x04);
    /// The receiver need not wait for more.
    pub const PSH: Self = Self(0x08);
    /// The acknowledgement number is one.
    pub const ACK: Self = Self(0x10);

    /// Whether all bits of `other` are set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl BitOr for Flags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let set = names.iter().enumerate().filter(|(bit, _)| self.0 >> bit & 1 != 0).map(|(_, name)| *name);
        write!(f, "Flags({})", set.collect::<Vec<_>>().join("|"))
    }
}

/// A TCP segment taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment<'a> {
    /// The sender's port.
    pub source_port: u16,
    /// The receiver's port.
    pub destination_port: u16,
    /// The sequence number of the first byte, or of SYN.
    pub sequence: u32,
    /// The next sequence number that the sender expects, with ACK.
    pub acknowledgement: u32,
    /// The control bits.
    pub flags: Flags,
    /// The window as it stands in the header, in the units of the connection.
    pub window: u16,
    /// The options, not looked at.
    pub options: &'a [u8],
    /// The data.
    pub payload: &'a [u8],
}

/// Why a packet holds no segment that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TcpError {
    /// It is of another protocol.
    #[error("the packet is no tcp")]
    OtherProtocol,
    /// It is a piece of a packet.
    #[error("the packet is a fragment")]
    Fragment,
    /// It ends within the header.
    #[error("the packet ends within its tcp header")]
    Cut,
    /// The header says that it is shorter than it is.
    #[error("the tcp header says that it is shorter than 20 bytes")]
    BadHeaderLength,
}

impl<'a> Segment<'a> {
    /// Takes a packet's segment apart. The checksum is not looked at: [`Ip::is_checksum_right`].
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn parse(ip: &Ip<'a>) -> Result<Self, TcpError> {
        if ip.protocol != TCP {
            return Err(TcpError::OtherProtocol);
        } else if ip.fragment != Fragment::Whole {
            return Err(TcpError::Fragment);
        }
        let header = ip.payload.first_chunk::<HEADER>().ok_or(TcpError::Cut)?;
        let [s0, s1, d0, d1, q0, q1, q2, q3, a0, a1, a2, a3, offset, flags, w0, w1, ..] = *header;
        let header_len = usize::from(offset >> 4) * 4;
        if header_len < HEADER {
            return Err(TcpError::BadHeaderLength);
        }
        let (header, payload) = ip.payload.split_at_checked(header_len).ok_or(TcpError::Cut)?;
        Ok(Self {
            source_port: u16::from_be_bytes([s0, s1]),
            destination_port: u16::from_be_bytes([d0, d1]),
            sequence: u32::from_be_bytes([q0, q1, q2, q3]),
            acknowledgement: u32::from_be_bytes([a0, a1, a2, a3]),
            flags: Flags(flags),
            window: u16::from_be_bytes([w0, w1]),
            options: header.get(HEADER..).unwrap_or_default(),
            payload,
        })
    }

    /// Whether it asks for a connection: SYN without ACK, RST or FIN.
    pub fn is_opening(&self) -> bool {
        self.flags.0 & (Flags::SYN | Flags::ACK | Flags::RST | Flags::FIN).0 == Flags::SYN.0
    }

    /// How many sequence numbers it takes: its data, SYN and FIN (`SEG.LEN`).
    pub fn sequence_len(&self) -> u32 {
        let bits = [Flags::SYN, Flags::FIN].into_iter().filter(|bit| self.flags.contains(*bit)).count();
        // An IP packet is shorter than 64 KiB.
        u32::try_from(self.payload.len() + bits).unwrap_or(u32::MAX)
    }
}

/// The packet that refuses a segment for which there is no connection (RFC 9293, section 3.5.2): to a SYN it
/// says "connection refused". `None` when it must not be answered: it is a reset itself, or one of its
/// addresses is not a single machine's.
pub fn reset(ip: &Ip<'_>, segment: &Segment<'_>) -> Option<Vec<u8>> {
    if segment.flags.contains(Flags::RST) || !ip.is_answerable() {
        return None;
    }
    let (sequence, acknowledgement, flags) = if segment.flags.contains(Flags::ACK) {
        (segment.acknowledgement, 0, Flags::RST)
    } else {
        (0, segment.sequence.wrapping_add(segment.sequence_len()), Flags::RST | Flags::ACK)
    };
    let mut header = Vec::with_capacity(HEADER);
    header.extend(segment.destination_port.to_be_bytes());
    header.extend(segment.source_port.to_be_bytes());
    header.extend(sequence.to_be_bytes());
    header.extend(acknowledgement.to_be_bytes());
    // Five words of header; window, checksum and urgent pointer are zero.
    header.extend([5 << 4, flags.0, 0, 0, 0, 0, 0, 0]);
    answer(ip, TCP, &header, CHECKSUM)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::UDP;
    use crate::ip::tests::{packet, summed};
    use crate::packet::validate;
    use proptest::prelude::*;

    const SYN: [u8; 24] = *b"\x9c\x40\0\x50\xff\xff\xff\xff\0\0\0\0\x60\x02\xfa\xf0\0\0\0\0\x02\x04\x05\xb4";

    fn with_flags(flags: u8) -> [u8; 24] {
        let mut segment = SYN;
        segment[13] = flags;
        segment
    }

    #[test]
    fn a_segment_is_taken_apart() {
        for v6 in [false, true] {
            let packet = summed(v6, TCP, &[SYN.as_slice(), b"data"].concat(), CHECKSUM);
            let ip = Ip::parse(&packet).unwrap();
            let wanted = Segment {
                source_port: 40_000,
                destination_port: 80,
                sequence: u32::MAX,
                acknowledgement: 0,
                flags: Flags::SYN,
                window: 64_240,
                options: &[2, 4, 5, 0xb4],
                payload: b"data",
            };
            assert_eq!(Segment::parse(&ip), Ok(wanted));
            assert!(wanted.is_opening());
            assert_eq!(wanted.sequence_len(), 5);
        }
    }

    #[test]
    fn only_syn_alone_opens() {
        for (flags, opens) in
            [(0x02, true), (0xc2, true), (0x12, false), (0x06, false), (0x03, false), (0x10, false)]
        {
            let packet = packet(true, TCP, &with_flags(flags));
            assert_eq!(
                Segment::parse(&Ip::parse(&packet).unwrap()).unwrap().is_opening(),
                opens,
                "{flags:x}"
            );
        }
    }

    #[test]
    fn what_is_no_segment_is_named() {
        for (protocol, payload, error) in [
            (UDP, &SYN[..], TcpError::OtherProtocol),
            (TCP, &SYN[..19], TcpError::Cut),
            (TCP, &SYN[..23], TcpError::Cut),
            (TCP, &[0x40; 40], TcpError::BadHeaderLength),
        ] {
            assert_eq!(Segment::parse(&Ip::parse(&packet(true, protocol, payload)).unwrap()), Err(error));
        }
        let pieces = packet(true, 44, &[[TCP, 0, 0, 1, 0, 0, 0, 1].as_slice(), &SYN].concat());
        assert_eq!(Segment::parse(&Ip::parse(&pieces).unwrap()), Err(TcpError::Fragment));
    }

    #[test]
    fn a_refused_syn_gets_the_reset_that_acknowledges_it() {
        for v6 in [false, true] {
            let syn = summed(v6, TCP, &SYN, CHECKSUM);
            let ip = Ip::parse(&syn).unwrap();
            let reset = reset(&ip, &Segment::parse(&ip).unwrap()).unwrap();
            assert_eq!(validate(&reset, 1280), Ok(()));
            let back = Ip::parse(&reset).unwrap();
            assert_eq!((back.source, back.destination), (ip.destination, ip.source));
            assert!(back.is_checksum_right());
            let segment = Segment::parse(&back).unwrap();
            assert_eq!((segment.source_port, segment.destination_port), (80, 40_000));
            assert_eq!((segment.sequence, segment.acknowledgement), (0, 0), "it wraps");
            assert_eq!(segment.flags, Flags::RST | Flags::ACK);
            assert_eq!((segment.options, segment.payload, segment.window), ([].as_slice(), [].as_slice(), 0));
        }
    }

    #[test]
    fn a_segment_with_ack_gets_a_reset_where_it_expects_one() {
        let mut segment = with_flags(0x10);
        segment[8..12].copy_from_slice(&7_u32.to_be_bytes());
        let packet = packet(true, TCP, &segment);
        let ip = Ip::parse(&packet).unwrap();
        let reset = reset(&ip, &Segment::parse(&ip).unwrap()).unwrap();
        let back = Segment::parse(&Ip::parse(&reset).unwrap()).map(|back| (back.sequence, back.flags));
        assert_eq!(back, Ok((7, Flags::RST)));
    }

    #[test]
    fn what_must_not_be_answered_is_not() {
        let answered = |packet: &[u8]| {
            let ip = Ip::parse(packet).unwrap();
            reset(&ip, &Segment::parse(&ip).unwrap()).is_some()
        };
        assert!(answered(&packet(true, TCP, &SYN)));
        assert!(!answered(&packet(true, TCP, &with_flags(0x04))), "a reset");
        let mut to_many = packet(true, TCP, &SYN);
        to_many[24] = 0xff;
        assert!(!answered(&to_many), "multicast");
        let mut from_nobody = packet(true, TCP, &SYN);
        from_nobody[8..24].fill(0);
        assert!(!answered(&from_nobody), "unspecified");
    }

    proptest! {
        #[test]
        fn every_answer_is_a_reset_that_is_not_answered(
            segment in prop::collection::vec(any::<u8>(), 20..60), v6: bool,
        ) {
            let packet = packet(v6, TCP, &segment);
            let ip = Ip::parse(&packet).unwrap();
            let Ok(segment) = Segment::parse(&ip) else { return Ok(()) };
            prop_assert_eq!(segment.options.len() + segment.payload.len() + HEADER, ip.payload.len());
            if let Some(answer) = reset(&ip, &segment) {
                let back = Ip::parse(&answer).unwrap();
                let again = Segment::parse(&back).unwrap();
                prop_assert!(back.is_checksum_right() && again.flags.contains(Flags::RST));
                prop_assert_eq!(reset(&back, &again), None);
            }
        }
    }
}
