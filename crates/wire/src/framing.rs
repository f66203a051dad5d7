//! The framed stream: a 16-bit big-endian length, then the packet, many of them a write. The stream
//! between peers, whose lengths are little-endian and bounded, is in [`crate::packet_stream`].
//!
//! A [`Deframer`] takes the stream in whatever pieces it comes and yields batches of the packets
//! that are whole, in place: a packet is never copied, only the piece of one that a read cut off
//! moves to the front of the buffer.

use std::ops::RangeInclusive;

use crate::batch::Batch;

/// The length in bytes of a frame's header.
pub const FRAME_HEADER: usize = 2;

/// The longest frame in bytes, header included.
pub const MAX_FRAME: usize = FRAME_HEADER + u16::MAX as usize;

/// A reader's mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FramingError {
    /// More bytes were announced as read than there was room.
    #[error("more bytes were read than there was room for")]
    Overrun,
}

/// How a kind of stream writes a packet's length, and which lengths it has.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    /// The header of a length.
    pub(crate) write: fn(u16) -> [u8; FRAME_HEADER],
    /// The length in a header.
    pub(crate) read: fn([u8; FRAME_HEADER]) -> u16,
    /// The lengths of packets, in bytes.
    pub(crate) lengths: RangeInclusive<u16>,
}

/// A program's stream: big-endian, and whatever fits.
const PROGRAMS: Format = Format { write: u16::to_be_bytes, read: u16::from_be_bytes, lengths: 0..=u16::MAX };

/// Writes the frame header of each packet into the batch's prefix of [`FRAME_HEADER`] bytes, so
/// that [`Batch::taken`] is the framed stream.
///
/// # Panics
/// When the batch was made without that prefix.
pub fn frame(batch: &mut Batch) {
    write_headers(batch, &PROGRAMS);
}

pub(crate) fn write_headers(batch: &mut Batch, format: &Format) {
    for index in 0..batch.len() {
        let len = batch.get(index).map_or(0, <[u8]>::len);
        let len = u16::try_from(len).expect("packets are shorter than 64 KiB");
        let prefix = batch.prefix_mut(index).expect("the batch was made with a prefix");
        prefix.copy_from_slice(&(format.write)(len));
    }
}

/// Finds the packets in a framed stream.
#[derive(Debug)]
pub struct Deframer {
    format: Format,
    batch: Batch,
    parsed: usize,
    filled: usize,
}

impl Deframer {
    /// A deframer with a buffer of at least `bytes` that yields at most `packets` at once. It
    /// always has room for one whole frame.
    pub fn new(bytes: usize, packets: usize) -> Self {
        Self::with_format(PROGRAMS, bytes, packets)
    }

    pub(crate) fn with_format(format: Format, bytes: usize, packets: usize) -> Self {
        let longest = FRAME_HEADER + usize::from(*format.lengths.end());
        Self { format, batch: Batch::new(bytes.max(2 * longest), packets.max(1)), parsed: 0, filled: 0 }
    }

    /// Room for the next bytes of the stream; never empty once [`Self::next_batch`] yielded nothing.
    pub fn room(&mut self) -> &mut [u8] {
        self.batch.clear();
        let rest = self.parsed..self.filled;
        self.filled = rest.len();
        self.parsed = 0;
        let buffer = self.batch.buffer();
        buffer.copy_within(rest, 0);
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

    /// The next packets that are whole, or none until more bytes came. A frame that holds nothing is
    /// an empty packet, which no check of packets lets pass.
    pub fn next_batch(&mut self) -> Option<&mut Batch> {
        self.batch.clear();
        while self.batch.packets_left() > 0 {
            let Some(Ok(len)) = self.announced() else { break };
            let (start, len) = (self.parsed + FRAME_HEADER, usize::from(len));
            if self.filled - start < len {
                break;
            }
            self.batch.mark(start, len);
            self.parsed = start + len;
        }
        (!self.batch.is_empty()).then_some(&mut self.batch)
    }

    /// The length that comes next, when it is one that the format has not: nothing is read any more.
    pub(crate) fn bad_length(&mut self) -> Option<u16> {
        self.announced()?.err()
    }

    /// The length of the packet that comes next, as an error when it is one that the format has not.
    fn announced(&mut self) -> Option<Result<u16, u16>> {
        let header = self.batch.buffer()[self.parsed..self.filled].first_chunk()?;
        let len = (self.format.read)(*header);
        Some(if self.format.lengths.contains(&len) { Ok(len) } else { Err(len) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read_all(
        deframer: &mut Deframer,
        mut stream: &[u8],
        cuts: &[usize],
    ) -> Result<Vec<Vec<u8>>, FramingError> {
        let (mut packets, mut cuts) = (Vec::new(), cuts.iter().cycle());
        while !stream.is_empty() {
            let room = deframer.room();
            let len = (*cuts.next().unwrap()).clamp(1, stream.len()).min(room.len());
            room[..len].copy_from_slice(&stream[..len]);
            stream = &stream[len..];
            deframer.advance(len)?;
            while let Some(batch) = deframer.next_batch() {
                packets.extend(batch.iter().map(<[u8]>::to_vec));
            }
        }
        Ok(packets)
    }

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut batch = Batch::with_prefix(1 << 20, packets.len(), FRAME_HEADER);
        assert!(packets.iter().all(|packet| batch.push(packet)));
        frame(&mut batch);
        batch.taken().to_vec()
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_the_stream_is_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..40),
            cuts in prop::collection::vec(1..5000_usize, 1..8),
            at_once in 1..50_usize,
        ) {
            let mut deframer = Deframer::new(0, at_once);
            prop_assert_eq!(read_all(&mut deframer, &framed(&packets), &cuts), Ok(packets));
        }

        #[test]
        fn any_stream_is_read(stream in prop::collection::vec(0..3_u8, 0..5000), cuts in prop::collection::vec(1..900_usize, 1..4)) {
            prop_assert!(read_all(&mut Deframer::new(0, 7), &stream, &cuts).is_ok());
        }
    }

    #[test]
    fn the_longest_frames_fit_the_smallest_buffer() {
        let packets = vec![vec![7; usize::from(u16::MAX)]; 5];
        assert_eq!(read_all(&mut Deframer::new(0, 64), &framed(&packets), &[usize::MAX]), Ok(packets));
    }

    #[test]
    fn an_empty_frame_is_an_empty_packet_between_the_others() {
        let read = read_all(&mut Deframer::new(0, 64), &[0, 1, b'a', 0, 0, 0, 1, b'b'], &[usize::MAX]);
        assert_eq!(read, Ok(vec![b"a".to_vec(), vec![], b"b".to_vec()]));
    }

    #[test]
    fn reading_past_the_room_is_refused() {
        let mut deframer = Deframer::new(0, 1);
        let room = deframer.room().len();
        assert_eq!(deframer.advance(room + 1), Err(FramingError::Overrun));
    }
}
