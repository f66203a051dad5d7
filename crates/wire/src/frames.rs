//! Ethernet frames in a stream of bytes, which keeps no borders of its own.
//!
//! Three ways to tell them are in use ([`Framing`]), and a stream's first frame mostly shows which it
//! is ([`recognise`]). A [`FrameReader`] takes the stream in whatever pieces it comes.

mod error;
mod reader;
pub mod recognise;

use std::fmt;

use crate::ethernet::sizing::{FrameSizer, Sizing};

pub use error::{FrameError, FrameErrorKind};
pub use reader::FrameReader;

/// How a stream tells one frame from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// The length as 16 bits, little-endian, before each frame: tapserver's framed protocol.
    Le16,
    /// The length as 32 bits, big-endian, before each frame: QEMU's `stream` and `socket`.
    Be32,
    /// Nothing between the frames, whose lengths [`sizing`](crate::ethernet::sizing) tells.
    Unframed,
}

/// The length in bytes of the longest header.
pub const MAX_HEADER: usize = 4;

impl Framing {
    /// The length in bytes of what stands before each frame.
    pub const fn header_len(self) -> usize {
        match self {
            Self::Le16 => 2,
            Self::Be32 => 4,
            Self::Unframed => 0,
        }
    }

    /// The longest frame in bytes that this framing can carry.
    pub const fn max_len(self) -> usize {
        match self {
            Self::Le16 => u16::MAX as usize,
            Self::Be32 | Self::Unframed => u32::MAX as usize,
        }
    }

    /// Writes what stands before a frame of `len` bytes to the first [`Self::header_len`] bytes of
    /// `header`. Returns whether there was room, and the framing can carry such a frame: one of 1 to
    /// [`Self::max_len`] bytes. Otherwise nothing is written.
    pub fn write_header(self, header: &mut [u8], len: usize) -> bool {
        if len == 0 {
            return false;
        }
        let Some(header) = header.get_mut(..self.header_len()) else { return false };
        match self {
            Self::Le16 => u16::try_from(len).map(|len| header.copy_from_slice(&len.to_le_bytes())).is_ok(),
            Self::Be32 => u32::try_from(len).map(|len| header.copy_from_slice(&len.to_be_bytes())).is_ok(),
            Self::Unframed => true,
        }
    }
}

/// As on the command line.
impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Le16 => "le16",
            Self::Be32 => "qemu",
            Self::Unframed => "unframed",
        })
    }
}

/// What a stream's next bytes are, once its framing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// A frame of so many bytes, all there, after its header.
    Frame(usize),
    /// Nothing before there are so many bytes, which is more than were given.
    NeedMore(usize),
    /// The end.
    Fault(FrameErrorKind),
}

impl Framing {
    /// Looks for a frame of at most `max` bytes at the beginning of `bytes`, with the sizer that this frame had before.
    fn next(self, bytes: &[u8], max: usize, sizer: &mut FrameSizer) -> Next {
        let len = match self {
            // Not beyond the longest, so that it does not depend on how many bytes have come.
            Self::Unframed => match sizer.size(bytes.get(..max).unwrap_or(bytes)) {
                Sizing::Len(len) => len,
                Sizing::NeedMore(len) if len > max => {
                    return Next::Fault(FrameErrorKind::TooLong { len, max });
                }
                Sizing::NeedMore(len) => return Next::NeedMore(len),
                Sizing::Unknown(error) => return Next::Fault(error.into()),
            },
            Self::Le16 | Self::Be32 => match self.announced(bytes) {
                Some(0) => return Next::Fault(FrameErrorKind::Empty),
                Some(len) => len,
                None => return Next::NeedMore(self.header_len()),
            },
        };
        let whole = self.header_len() + len;
        if len > max {
            Next::Fault(FrameErrorKind::TooLong { len, max })
        } else if bytes.len() < whole {
            Next::NeedMore(whole)
        } else {
            Next::Frame(len)
        }
    }

    /// The length in bytes in the header that `bytes` begin with, when it is whole and there is one.
    fn announced(self, bytes: &[u8]) -> Option<usize> {
        match self {
            Self::Le16 => bytes.first_chunk().map(|len| usize::from(u16::from_le_bytes(*len))),
            Self::Be32 => {
                // What does not fit is too long on any machine.
                bytes.first_chunk().map(|len| usize::try_from(u32::from_be_bytes(*len)).unwrap_or(usize::MAX))
            }
            Self::Unframed => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_the_length_in_the_framings_order() {
        for (framing, wanted) in [
            (Framing::Le16, [0x34, 0x12, 9, 9].as_slice()),
            (Framing::Be32, &[0, 0, 0x12, 0x34]),
            (Framing::Unframed, &[9; 4]),
        ] {
            let mut header = [9; 4];
            assert!(framing.write_header(&mut header, 0x1234));
            assert_eq!(header, wanted, "{framing}");
            if framing != Framing::Unframed {
                assert_eq!(framing.announced(&header), Some(0x1234));
            }
        }
    }

    #[test]
    fn a_header_that_cannot_be_is_not_written() {
        for framing in [Framing::Le16, Framing::Be32, Framing::Unframed] {
            let mut header = [9; 4];
            assert!(!framing.write_header(&mut header, 0), "{framing}");
            assert_eq!(framing.write_header(&mut header[..1], 60), framing == Framing::Unframed);
            assert_eq!(header, [9; 4]);
            assert_eq!(framing.write_header(&mut header, 0x1_0000), framing != Framing::Le16);
            assert!(framing.write_header(&mut header, framing.max_len()));
        }
    }
}
