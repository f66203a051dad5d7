//! What waits for a port to take it: bytes, bounded, in and out in order.

use hypertap_wire::ethernet::sizing::{Sizing, frame_len};
use hypertap_wire::frames::{Framing, MAX_HEADER};

use super::DropReason;

/// How much may wait for one port, in bytes: about what TCP's windows to a program that reads in bursts need,
/// and at 1 Gbit/s sixteen milliseconds.
pub(super) const LIMIT: usize = 2 << 20;
/// Memory of this size is kept when nothing waits, in bytes.
const KEPT: usize = 512 << 10;

/// A queue of bytes.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    bytes: Vec<u8>,
    /// How many of them were taken.
    taken: usize,
    most: usize,
}

impl Outgoing {
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.taken
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The most that ever waited.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// What waits.
    pub(super) fn waiting(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    /// Appends a frame in a framing, whole or not at all. Returns its length as the reader will see it.
    ///
    /// # Errors
    /// Why it cannot be: the framing, or the limit.
    pub(super) fn push(&mut self, framing: Framing, frame: &[u8], limit: usize) -> Result<usize, DropReason> {
        let frame = fitting(framing, frame)?;
        let mut header = [0; MAX_HEADER];
        if self.len() + MAX_HEADER + frame.len() > limit {
            return Err(DropReason::Slow);
        }
        if !framing.write_header(&mut header, frame.len()) {
            return Err(DropReason::TooLong);
        }
        self.make_room();
        self.bytes.extend_from_slice(&header[..framing.header_len()]);
        self.bytes.extend_from_slice(frame);
        self.most = self.most.max(self.len());
        Ok(frame.len())
    }

    /// Appends the rest of something that was begun, whatever the limit.
    pub(super) fn push_rest(&mut self, rest: &[u8]) {
        self.make_room();
        self.bytes.extend_from_slice(rest);
        self.most = self.most.max(self.len());
    }

    /// Forgets the first `len` of the bytes that wait.
    pub(super) fn take(&mut self, len: usize) {
        self.taken += len.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.taken = 0;
        if self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        } else {
            self.bytes.clear();
        }
    }

    /// Moves what waits to the front once as much was taken, so that each byte is moved once at most.
    fn make_room(&mut self) {
        if self.taken > self.len() {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
    }

    /// The frames that wait, where all were pushed as [`Framing::Be32`].
    pub(super) fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.waiting();
        std::iter::from_fn(move || {
            let (header, after) = rest.split_first_chunk::<4>()?;
            let (frame, after) =
                after.split_at_checked(usize::try_from(u32::from_be_bytes(*header)).ok()?)?;
            rest = after;
            Some(frame)
        })
    }

    /// Forgets at most so many of the first of [`Self::frames`]. Returns how many, and their bytes together.
    pub(super) fn drop_frames(&mut self, most: usize) -> (u64, u64) {
        let count = self.frames().take(most).count();
        (count as u64, self.take_frames(count) as u64)
    }

    /// Forgets the first `count` of [`Self::frames`]. Returns their bytes together.
    pub(super) fn take_frames(&mut self, count: usize) -> usize {
        let len = self.frames().take(count).map(<[u8]>::len).sum();
        self.take(len + 4 * count);
        len
    }
}

/// A frame as a port with this framing gets it: an unframed one's padding is cut off, for its reader would take
/// it for the next frame.
pub(super) fn fitting(framing: Framing, frame: &[u8]) -> Result<&[u8], DropReason> {
    if framing != Framing::Unframed {
        return Ok(frame);
    }
    match frame_len(frame) {
        Sizing::Len(len) => frame.get(..len).ok_or(DropReason::Unsizable),
        Sizing::NeedMore(_) | Sizing::Unknown(_) => Err(DropReason::Unsizable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_wait_in_order_and_are_moved_no_more_than_once() {
        let mut outgoing = Outgoing::default();
        let mut read = Vec::new();
        for number in 0..=255_u8 {
            assert_eq!(outgoing.push(Framing::Le16, &[number; 60], LIMIT), Ok(60));
            if number % 3 == 0 {
                read.extend_from_slice(&outgoing.waiting()[..31]);
                outgoing.take(31);
            }
        }
        read.extend_from_slice(outgoing.waiting());
        let expected: Vec<u8> =
            (0..=255_u8).flat_map(|number| [vec![60, 0], vec![number; 60]].concat()).collect();
        assert!(read == expected);
    }

    #[test]
    fn a_frame_that_does_not_fit_is_dropped_whole() {
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.push(Framing::Le16, &[1; 60], 100), Ok(60));
        assert_eq!(outgoing.push(Framing::Le16, &[2; 60], 100), Err(DropReason::Slow));
        assert_eq!(outgoing.push(Framing::Le16, &[3; 20], 100), Ok(20));
        assert_eq!(outgoing.len(), 62 + 22);
        assert_eq!(outgoing.push(Framing::Le16, &vec![0; 65_536], LIMIT), Err(DropReason::TooLong));
        assert_eq!(
            outgoing.push(Framing::Le16, &[], LIMIT),
            Err(DropReason::TooLong),
            "an empty frame stops its reader"
        );
    }

    #[test]
    fn memory_for_a_burst_is_given_back() {
        let mut outgoing = Outgoing::default();
        while outgoing.push(Framing::Be32, &[0; 1500], LIMIT).is_ok() {}
        assert!(outgoing.most() > LIMIT - 2000 && outgoing.most() <= LIMIT);
        outgoing.take(LIMIT);
        assert_eq!(outgoing.bytes.capacity(), 0);
    }

    #[test]
    fn an_unframed_frame_loses_its_padding_and_one_without_a_length_is_dropped() {
        let mut arp = vec![0xff; 12];
        arp.extend_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        arp.resize(60, 0);
        let mut outgoing = Outgoing::default();
        assert_eq!(outgoing.push(Framing::Unframed, &arp, LIMIT), Ok(42));
        assert_eq!(outgoing.waiting(), &arp[..42]);
        assert_eq!(outgoing.push(Framing::Unframed, &arp[..41], LIMIT), Err(DropReason::Unsizable));
        arp[12] = 0x77;
        assert_eq!(outgoing.push(Framing::Unframed, &arp, LIMIT), Err(DropReason::Unsizable));
        assert_eq!(outgoing.len(), 42);
    }

    #[test]
    fn frames_are_found_again() {
        let mut outgoing = Outgoing::default();
        for frame in [b"abc".as_slice(), b"de", b"f"] {
            outgoing.push(Framing::Be32, frame, LIMIT).unwrap();
        }
        assert_eq!(outgoing.frames().collect::<Vec<_>>(), [b"abc".as_slice(), b"de", b"f"]);
        assert_eq!(outgoing.take_frames(2), 5);
        assert_eq!(outgoing.frames().collect::<Vec<_>>(), [b"f"]);
        assert_eq!(outgoing.take_frames(1), 1);
        assert!(outgoing.is_empty());
    }
}
