//! The reader of a stream of frames.
//!
//! Like [`Deframer`](crate::framing::Deframer) it yields batches of whole frames in place: no frame
//! is copied or allocates, only the piece of one that a read cut off moves to the front of the
//! buffer. What comes out depends on the stream alone and not on how it was cut. At a frame that
//! cannot be read the stream ends, since where the next one begins cannot be known.

use super::recognise::{Recogniser, Recognition};
use super::{FrameError, FrameErrorKind, Framing, MAX_HEADER, Next};
use crate::batch::Batch;
use crate::ethernet::sizing::FrameSizer;
use crate::ethernet::{HEADER, MIN_FRAME};
use crate::framing::FramingError;

/// Finds the frames in a stream.
#[derive(Debug)]
pub struct FrameReader {
    batch: Batch,
    framing: Option<Framing>,
    recogniser: Recogniser,
    /// Of the frame at `parsed`.
    sizer: FrameSizer,
    max_frame: usize,
    parsed: usize,
    filled: usize,
    /// Where `parsed` is in the stream.
    offset: u64,
    /// How many bytes there must be after `parsed` before it is worth to look again.
    needed: usize,
    fault: Option<FrameError>,
}

impl FrameReader {
    /// A reader with a buffer of at least `bytes` that yields at most `frames` at once, each of 1 to
    /// `max_frame` bytes, which is at least [`HEADER`]. Without a framing it finds out which it is.
    /// It always has room for one whole frame.
    ///
    /// # Panics
    /// When its buffer would have 4 GiB or more.
    pub fn new(framing: Option<Framing>, max_frame: usize, bytes: usize, frames: usize) -> Self {
        let max_frame = max_frame.max(HEADER);
        let longest = MAX_HEADER + max_frame.max(MIN_FRAME);
        Self {
            batch: Batch::new(bytes.max(2 * longest), frames.max(1)),
            framing,
            recogniser: Recogniser::new(max_frame),
            sizer: FrameSizer::default(),
            max_frame,
            parsed: 0,
            filled: 0,
            offset: 0,
            needed: 0,
            fault: None,
        }
    }

    /// The framing, once it is known.
    pub fn framing(&self) -> Option<Framing> {
        self.framing
    }

    /// How many bytes are held that no batch had yet: after [`Self::next_batch`] yielded nothing,
    /// those of a frame that is not whole.
    pub fn held(&self) -> usize {
        self.filled - self.parsed
    }

    /// Room for the next bytes of the stream; never empty once [`Self::next_batch`] yielded nothing,
    /// or an error.
    pub fn room(&mut self) -> &mut [u8] {
        self.batch.clear();
        let rest = self.parsed..self.filled;
        self.filled = rest.len();
        self.parsed = 0;
        let buffer = self.batch.buffer();
        if rest.start > 0 {
            buffer.copy_within(rest, 0);
        }
        &mut buffer[self.filled..]
    }

    /// Takes the first `len` bytes of [`Self::room`] as the next of the stream.
    ///
    /// # Errors
    /// [`FramingError::Overrun`] when there were not as many.
    pub fn advance(&mut self, len: usize) -> Result<(), FramingError> {
        let left = self.batch.buffer().len() - self.filled;
        if len > left {
            return Err(FramingError::Overrun);
        }
        self.filled += len;
        Ok(())
    }

    /// The next frames that are whole, or none until more bytes came.
    ///
    /// # Errors
    /// A frame that cannot be read, once all before it were yielded, and from then on.
    pub fn next_batch(&mut self) -> Result<Option<&mut Batch>, FrameError> {
        self.batch.clear();
        if self.fault.is_none() {
            if self.framing.is_none() {
                self.recognise();
            }
            if let Some(framing) = self.framing {
                self.find_frames(framing);
            }
        }
        match &self.fault {
            Some(fault) if self.batch.is_empty() => {
                self.parsed = self.filled;
                Err(fault.clone())
            }
            _ => Ok((!self.batch.is_empty()).then_some(&mut self.batch)),
        }
    }

    fn recognise(&mut self) {
        if self.held() < self.needed {
            return;
        }
        self.needed = 0;
        match self.recogniser.handle(&self.batch.buffer()[self.parsed..self.filled]) {
            Recognition::Framing(framing) => self.framing = Some(framing),
            Recognition::NeedMore(len) => self.needed = len,
            Recognition::None { unframed_type } => {
                self.fail(FrameErrorKind::Unrecognised { max: self.max_frame, unframed_type });
            }
        }
    }

    fn find_frames(&mut self, framing: Framing) {
        while self.batch.packets_left() > 0 && self.held() >= self.needed {
            let rest = &self.batch.buffer()[self.parsed..self.filled];
            match framing.next(rest, self.max_frame, &mut self.sizer) {
                Next::Frame(len) => {
                    self.batch.mark(self.parsed + framing.header_len(), len);
                    let whole = framing.header_len() + len;
                    self.parsed += whole;
                    self.offset += whole as u64;
                    self.needed = 0;
                    self.sizer = FrameSizer::default();
                }
                Next::NeedMore(len) => self.needed = len,
                Next::Fault(kind) => return self.fail(kind),
            }
        }
    }

    fn fail(&mut self, kind: FrameErrorKind) {
        let rest = &self.batch.buffer()[self.parsed..self.filled];
        let bytes = rest[..rest.len().min(FrameError::SHOWN)].to_vec();
        self.fault = Some(FrameError { offset: self.offset, bytes, kind });
    }
}

#[cfg(test)]
mod tests;
