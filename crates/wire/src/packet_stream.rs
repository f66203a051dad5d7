//! IP packets between peers: `/hyprspace/1`, and `/hyprspace/0.0.1` one way.
//!
//! A 16-bit little-endian length, then the packet of 1 to [`MAX_LENGTH`] bytes, many of them a write.
//! Another length ends the stream: it cannot be known where the next packet would begin.

use crate::batch::Batch;
use crate::framing::{Deframer, FRAME_HEADER, Format, FramingError, write_headers};

/// The name of the protocol, both ways in one stream.
pub const PACKETS: &str = "/hyprspace/1";
/// The name of the protocol that is one way only: the opener's packets.
pub const PACKETS_ONE_WAY: &str = "/hyprspace/0.0.1";
/// The longest packet in bytes.
pub const MAX_LENGTH: u16 = 1420;

const FORMAT: Format = Format { write: u16::to_le_bytes, read: u16::from_le_bytes, lengths: 1..=MAX_LENGTH };

/// Why a stream of packets cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketStreamError {
    /// A length of 0, or more than [`MAX_LENGTH`].
    #[error("a packet of {0} bytes is announced: expected 1 to {MAX_LENGTH}")]
    BadLength(u16),
    /// The reader's own mistake.
    #[error(transparent)]
    Framing(#[from] FramingError),
}

/// Writes the header of each packet into the batch's prefix of [`FRAME_HEADER`] bytes, so that
/// [`Batch::taken`] is the stream, as long as no packet was taken out. Returns whether all packets are
/// of 1 to [`MAX_LENGTH`] bytes; if not, nothing is written.
///
/// # Panics
/// When the batch was made without that prefix.
#[must_use]
pub fn frame(batch: &mut Batch) -> bool {
    let fit = batch.lengths().all(|len| (1..=usize::from(MAX_LENGTH)).contains(&len));
    if fit {
        write_headers(batch, &FORMAT);
    }
    fit
}

/// A batch for [`frame`], with room for as many packets of any length.
pub fn batch(packets: usize) -> Batch {
    Batch::with_prefix(packets * (FRAME_HEADER + usize::from(MAX_LENGTH)), packets, FRAME_HEADER)
}

/// Finds the packets in a stream from a peer.
#[derive(Debug)]
pub struct PacketDeframer(Deframer);

impl PacketDeframer {
    /// A deframer with a buffer of at least `bytes` that yields at most `packets` at once. It
    /// always has room for one whole packet.
    pub fn new(bytes: usize, packets: usize) -> Self {
        Self(Deframer::with_format(FORMAT, bytes, packets))
    }

    /// Room for the next bytes of the stream; never empty once [`Self::next_batch`] yielded nothing.
    pub fn room(&mut self) -> &mut [u8] {
        self.0.room()
    }

    /// Takes the first `len` bytes of [`Self::room`] as the next of the stream.
    ///
    /// # Errors
    /// [`FramingError::Overrun`] when there were not as many.
    pub fn advance(&mut self, len: usize) -> Result<(), PacketStreamError> {
        Ok(self.0.advance(len)?)
    }

    /// The next packets that are whole, or none until more bytes came.
    ///
    /// # Errors
    /// [`PacketStreamError::BadLength`], after all packets before it and for ever after.
    pub fn next_batch(&mut self) -> Result<Option<&mut Batch>, PacketStreamError> {
        // Asked first: what is borrowed from the deframer cannot be given up again.
        match self.0.bad_length() {
            Some(len) => Err(PacketStreamError::BadLength(len)),
            None => Ok(self.0.next_batch()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Read = (Vec<Vec<u8>>, Result<(), PacketStreamError>);

    fn read_all(stream: &[u8], size: usize, at_once: usize) -> Read {
        let (mut deframer, mut packets) = (PacketDeframer::new(0, at_once), Vec::new());
        for mut piece in stream.chunks(size) {
            while !piece.is_empty() {
                let room = deframer.room();
                let (taken, rest) = piece.split_at(piece.len().min(room.len()));
                room[..taken.len()].copy_from_slice(taken);
                piece = rest;
                deframer.advance(taken.len()).unwrap();
                loop {
                    match deframer.next_batch() {
                        Ok(Some(batch)) => packets.extend(batch.iter().map(<[u8]>::to_vec)),
                        Ok(None) => break,
                        Err(error) => return (packets, Err(error)),
                    }
                }
            }
        }
        (packets, Ok(()))
    }

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let mut batch = batch(packets.len());
        assert!(packets.iter().all(|packet| batch.push(packet)));
        assert!(frame(&mut batch));
        batch.taken().to_vec()
    }

    #[test]
    fn lengths_are_little_endian() {
        assert_eq!(framed(&[vec![7; 0x123]])[..3], [0x23, 0x01, 7]);
    }

    #[test]
    fn a_packet_of_no_bytes_or_too_many_is_not_framed() {
        for len in [0, 1421] {
            let mut batch = Batch::with_prefix(4096, 2, FRAME_HEADER);
            assert!(batch.push(b"before") && batch.push(&vec![1; len]));
            assert!(!frame(&mut batch), "{len}");
            assert_eq!(batch.taken()[..2], [0, 0], "nothing is written");
        }
    }

    #[test]
    fn a_bad_length_ends_the_stream_after_what_came_before() {
        for (bad, len) in [([0, 0], 0), ([0x8d, 0x05], 1421), ([0xff, 0xff], u16::MAX)] {
            let stream = [framed(&[b"one".to_vec(), b"two".to_vec()]), bad.to_vec(), vec![1; 3000]].concat();
            for (size, at_once) in [(1, 1), (3, 64), (9999, 64), (9999, 1)] {
                let (packets, end) = read_all(&stream, size, at_once);
                assert_eq!(packets, [b"one", b"two"]);
                assert_eq!(end, Err(PacketStreamError::BadLength(len)));
            }
        }
    }

    #[test]
    fn the_longest_packets_fit_the_smallest_buffer() {
        let packets = vec![vec![7; usize::from(MAX_LENGTH)]; 9];
        assert_eq!(read_all(&framed(&packets), 100_000, 64), (packets, Ok(())));
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_the_stream_is_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..=1420), 1..20),
            size in 1..5000_usize, at_once in 1..30_usize,
        ) {
            prop_assert_eq!(read_all(&framed(&packets), size, at_once), (packets, Ok(())));
        }
    }
}
