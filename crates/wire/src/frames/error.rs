//! What ends a stream of frames.

use std::fmt;

use crate::ethernet::EtherType;
use crate::ethernet::sizing::SizeError;

/// A frame that cannot be read, after which nothing of the stream can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameError {
    /// Where in the stream its first byte is, counted from 0; its header's, when it has one.
    pub offset: u64,
    /// Its first bytes, at most [`Self::SHOWN`], as far as they had come.
    pub bytes: Vec<u8>,
    /// What is wrong.
    pub kind: FrameErrorKind,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameErrorKind {
    /// A length of zero.
    #[error("a frame of length 0")]
    Empty,
    /// A frame that is longer than the interface takes.
    #[error("a frame of {len} bytes, where {max} are the most")]
    TooLong {
        /// The length in bytes that the header or the frame tells, or that it has at least.
        len: usize,
        /// The longest that is taken, in bytes.
        max: usize,
    },
    /// A frame without framing, of which the length cannot be told.
    #[error("a frame of unknown length: {0}")]
    Unsized(#[from] SizeError),
    /// The stream's beginning is that of no framing.
    #[error(
        "neither a length of at most {max} before a frame, nor a frame of known length: \
         unframed it would be of EtherType {unframed_type}"
    )]
    Unrecognised {
        /// The longest frame that is taken, in bytes.
        max: usize,
        /// The type of the first frame, if the stream were unframed.
        unframed_type: EtherType,
    },
}

impl FrameError {
    /// How many bytes are shown at most.
    pub const SHOWN: usize = 32;
}

impl std::error::Error for FrameError {}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at byte {} of the stream: {}:", self.offset, self.kind)?;
        self.bytes.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}
