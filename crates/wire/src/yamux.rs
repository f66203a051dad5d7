//! Yamux: many streams in one connection, each frame of which begins with these 12 bytes
//! (hashicorp/yamux, `spec.md`).
//!
//! | at | bytes | |
//! |---|---|---|
//! | 0 | 1 | version: 0 |
//! | 1 | 1 | type |
//! | 2 | 2 | flags |
//! | 4 | 4 | stream, 0 for the connection |
//! | 8 | 4 | length: of the data that follows, or what the type makes of it |
//!
//! All numbers are big-endian. The side that opened the connection opens streams with odd ids, the other
//! with even ones.

use std::fmt;
use std::ops::BitOr;

/// The length of a header in bytes.
pub const HEADER: usize = 12;
/// How many bytes each side may send on a new stream before the other enlarges the window.
pub const INITIAL_WINDOW: u32 = 256 * 1024;

/// What a frame is for, and so what its length means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameType {
    /// Data of a stream; the length is theirs, in bytes, and they follow.
    Data = 0,
    /// The receiver of data takes more; the length is how many bytes more.
    WindowUpdate = 1,
    /// Asks, with SYN, or answers, with ACK; the length is a number that comes back.
    Ping = 2,
    /// The sender opens and takes no more streams; the length is the reason ([`GoAway`]).
    GoAway = 3,
}

impl FrameType {
    const ALL: [Self; 4] = [Self::Data, Self::WindowUpdate, Self::Ping, Self::GoAway];
}

/// What a frame does to its stream besides. Bits that are not known are kept.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u16);

impl Flags {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Opens the stream.
    pub const SYN: Self = Self(1);
    /// Accepts the stream.
    pub const ACK: Self = Self(2);
    /// The sender sends no more data.
    pub const FIN: Self = Self(4);
    /// Ends the stream at once, both ways.
    pub const RST: Self = Self(8);

    /// Whether all flags of `other` are set.
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
        let names = [(Self::SYN, "SYN"), (Self::ACK, "ACK"), (Self::FIN, "FIN"), (Self::RST, "RST")];
        let set: Vec<_> =
            names.iter().filter(|(flag, _)| self.contains(*flag)).map(|(_, name)| *name).collect();
        write!(f, "Flags({:#x} {})", self.0, set.join("|"))
    }
}

/// Why a side goes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum GoAway {
    /// It has no more to do.
    Normal = 0,
    /// The other broke the rules.
    ProtocolError = 1,
    /// It failed itself.
    InternalError = 2,
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What it is for.
    pub kind: FrameType,
    /// What it does besides.
    pub flags: Flags,
    /// The stream's id, 0 for the connection.
    pub stream: u32,
    /// See [`FrameType`].
    pub length: u32,
}

/// Why the connection cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum YamuxError {
    /// Another version.
    #[error("the peer speaks version {0} of yamux: expected 0")]
    BadVersion(u8),
    /// A frame of no known type.
    #[error("the peer sent a yamux frame of type {0}, which is none")]
    UnknownType(u8),
}

impl FrameHeader {
    /// Reads a header.
    ///
    /// # Errors
    /// The version or the type is not known.
    pub fn parse(bytes: &[u8; HEADER]) -> Result<Self, YamuxError> {
        let [version, kind, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3] = *bytes;
        if version != 0 {
            return Err(YamuxError::BadVersion(version));
        }
        let known = FrameType::ALL.into_iter().find(|known| *known as u8 == kind);
        Ok(Self {
            kind: known.ok_or(YamuxError::UnknownType(kind))?,
            flags: Flags(u16::from_be_bytes([f0, f1])),
            stream: u32::from_be_bytes([s0, s1, s2, s3]),
            length: u32::from_be_bytes([l0, l1, l2, l3]),
        })
    }

    /// Writes the header.
    pub fn emit(&self) -> [u8; HEADER] {
        let ([f0, f1], [s0, s1, s2, s3]) = (self.flags.0.to_be_bytes(), self.stream.to_be_bytes());
        let [l0, l1, l2, l3] = self.length.to_be_bytes();
        [0, self.kind as u8, f0, f1, s0, s1, s2, s3, l0, l1, l2, l3]
    }

    /// How many bytes follow the header before the next one. The peer chose the number: hold it against
    /// the stream's window before making room.
    pub fn body_length(&self) -> u32 {
        if self.kind == FrameType::Data { self.length } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_are_the_bytes_of_their_page() {
        let open = FrameHeader {
            kind: FrameType::WindowUpdate,
            flags: Flags::SYN | Flags::ACK,
            stream: 1,
            length: INITIAL_WINDOW,
        };
        assert_eq!(open.emit(), [0, 1, 0, 3, 0, 0, 0, 1, 0, 4, 0, 0]);
        let reset = FrameHeader { kind: FrameType::Data, flags: Flags::RST, stream: 0x0102_0304, length: 5 };
        assert_eq!(reset.emit(), [0, 0, 0, 8, 1, 2, 3, 4, 0, 0, 0, 5]);
        assert_eq!(
            FrameHeader {
                kind: FrameType::GoAway,
                flags: Flags::FIN,
                stream: 0,
                length: GoAway::InternalError as u32
            }
            .emit(),
            [0, 3, 0, 4, 0, 0, 0, 0, 0, 0, 0, 2]
        );
    }

    #[test]
    fn only_data_has_a_body() {
        for kind in FrameType::ALL {
            let header = FrameHeader { kind, flags: Flags::NONE, stream: 1, length: 7 };
            assert_eq!(header.body_length(), if kind == FrameType::Data { 7 } else { 0 });
        }
    }

    #[test]
    fn another_version_or_type_is_refused() {
        assert_eq!(FrameHeader::parse(&[1; HEADER]), Err(YamuxError::BadVersion(1)));
        assert_eq!(
            FrameHeader::parse(&[0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            Err(YamuxError::UnknownType(4))
        );
    }

    proptest! {
        #[test]
        fn what_is_read_is_written_back(mut bytes: [u8; HEADER], kind in 0..6_u8) {
            bytes[1] = kind;
            bytes[0] &= 1;
            match FrameHeader::parse(&bytes) {
                Ok(header) => prop_assert_eq!(header.emit(), bytes),
                Err(_) => prop_assert!(bytes[0] != 0 || kind > 3),
            }
        }
    }
}
