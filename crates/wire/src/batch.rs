//! Many packets in one buffer: the unit in which the data path moves.
//!
//! A batch is made once and used again for as long as its thread lives; no packet allocates.
//! Packets that are appended lie back to back, each after `prefix` bytes that belong to it (a
//! stream's frame length), so that a run of them is one piece of memory for a system call.

use std::ops::Range;

/// Where a packet lies in its batch's buffer.
#[derive(Clone, Copy, Debug)]
struct Slice {
    offset: u32,
    len: u32,
}

impl Slice {
    fn range(self) -> Range<usize> {
        self.offset as usize..self.offset as usize + self.len as usize
    }
}

/// Packets in one buffer.
#[derive(Debug)]
pub struct Batch {
    buffer: Box<[u8]>,
    packets: Vec<Slice>,
    max_packets: usize,
    prefix: usize,
    used: usize,
}

impl Batch {
    /// A batch of at most `bytes` and at most `packets`.
    ///
    /// # Panics
    /// When `bytes` is 4 GiB or more.
    pub fn new(bytes: usize, packets: usize) -> Self {
        Self::with_prefix(bytes, packets, 0)
    }

    /// The same, with `prefix` bytes before each appended packet.
    ///
    /// # Panics
    /// When `bytes` is 4 GiB or more.
    pub fn with_prefix(bytes: usize, packets: usize, prefix: usize) -> Self {
        assert!(u32::try_from(bytes).is_ok(), "a batch is smaller than 4 GiB");
        Self {
            buffer: vec![0; bytes].into_boxed_slice(),
            packets: Vec::with_capacity(packets),
            max_packets: packets,
            prefix,
            used: 0,
        }
    }

    /// Forgets all packets.
    pub fn clear(&mut self) {
        self.packets.clear();
        self.used = 0;
    }

    /// How many packets there are.
    pub fn len(&self) -> usize {
        self.packets.len()
    }

    /// Whether there is no packet.
    pub fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many bytes of the buffer are taken, prefixes included.
    pub fn used(&self) -> usize {
        self.used
    }

    /// How many bytes of the buffer are free, for packets with their prefixes.
    pub fn left(&self) -> usize {
        self.buffer.len() - self.used
    }

    /// How many bytes before each appended packet are kept for its frame header.
    pub fn prefix(&self) -> usize {
        self.prefix
    }

    /// How many more packets fit, by number.
    pub fn packets_left(&self) -> usize {
        self.max_packets - self.packets.len()
    }

    /// The packet at `index`.
    pub fn get(&self, index: usize) -> Option<&[u8]> {
        self.buffer.get(self.packets.get(index)?.range())
    }

    /// The packet at `index`, to change.
    pub fn get_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        self.buffer.get_mut(self.packets.get(index)?.range())
    }

    /// All packets in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.packets.iter().map(|slice| &self.buffer[slice.range()])
    }

    /// The packets' lengths in order.
    pub fn lengths(&self) -> impl ExactSizeIterator<Item = usize> + Clone {
        self.packets.iter().map(|slice| slice.len as usize)
    }

    /// The sum of the packets' lengths, in bytes.
    pub fn bytes(&self) -> u64 {
        self.packets.iter().map(|slice| u64::from(slice.len)).sum()
    }

    /// The taken part of the buffer: appended packets, each after its prefix.
    pub fn taken(&self) -> &[u8] {
        &self.buffer[..self.used]
    }

    /// The memory from the first to the last byte of `packets`, when they lie back to back.
    pub fn contiguous(&self, packets: Range<usize>) -> Option<&[u8]> {
        let slices = self.packets.get(packets)?;
        let (first, last) = (slices.first()?, slices.last()?);
        let joined = slices.windows(2).all(|pair| pair[0].range().end == pair[1].range().start);
        joined.then(|| &self.buffer[first.range().start..last.range().end])
    }

    /// The memory of `packets` with the `header` bytes before each of them, when nothing else lies between them.
    pub fn with_headers(&self, packets: Range<usize>, header: usize) -> Option<&[u8]> {
        let slices = self.packets.get(packets)?;
        let start = slices.first()?.range().start.checked_sub(header)?;
        let mut end = start;
        for slice in slices {
            if slice.offset as usize != end + header {
                return None;
            }
            end = slice.range().end;
        }
        self.buffer.get(start..end)
    }

    /// The `header` bytes before the packet at `index`, to write. Whether they are another packet's is the caller's
    /// business.
    pub fn header_mut(&mut self, index: usize, header: usize) -> Option<&mut [u8]> {
        let start = self.packets.get(index)?.offset as usize;
        self.buffer.get_mut(start.checked_sub(header)?..start)
    }

    /// The free room where the next packet may be written, after its prefix; then [`Self::commit`] it.
    pub fn room(&mut self) -> &mut [u8] {
        let start = (self.used + self.prefix).min(self.buffer.len());
        &mut self.buffer[start..]
    }

    /// Makes a packet of the first `len` bytes of [`Self::room`]. Returns whether it fitted.
    pub fn commit(&mut self, len: usize) -> bool {
        let offset = self.used + self.prefix;
        if self.packets_left() == 0 || self.buffer.len().saturating_sub(offset) < len {
            return false;
        }
        self.mark(offset, len);
        self.used = offset + len;
        true
    }

    /// Appends a packet of `len` bytes for the caller to write, or nothing when it does not fit.
    pub fn append(&mut self, len: usize) -> Option<&mut [u8]> {
        self.commit(len).then(|| &mut self.buffer[self.used - len..self.used])
    }

    /// Appends a copy of a packet. Returns whether it fitted.
    pub fn push(&mut self, packet: &[u8]) -> bool {
        self.append(packet.len()).map(|room| room.copy_from_slice(packet)).is_some()
    }

    /// The prefix of the packet at `index`, to write.
    pub fn prefix_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        self.header_mut(index, self.prefix)
    }

    /// The whole buffer, for whoever lays packets out himself; then [`Self::mark`] them.
    pub fn buffer(&mut self) -> &mut [u8] {
        &mut self.buffer
    }

    /// Makes a packet of `len` bytes that lie at `offset` of the whole buffer already.
    /// Returns whether there was room for one more, and the bytes exist.
    pub fn mark(&mut self, offset: usize, len: usize) -> bool {
        let fits =
            self.packets_left() > 0 && offset <= self.buffer.len() && self.buffer.len() - offset >= len;
        if let (true, Ok(offset), Ok(len)) = (fits, u32::try_from(offset), u32::try_from(len)) {
            self.packets.push(Slice { offset, len });
        }
        fits
    }

    /// Keeps the packets that `keep` wants, asked once each in order with the packet's index.
    pub fn retain(&mut self, mut keep: impl FnMut(usize, &[u8]) -> bool) {
        let (buffer, mut index) = (&self.buffer, 0);
        self.packets.retain(|slice| {
            index += 1;
            keep(index - 1, &buffer[slice.range()])
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appended_packets_lie_back_to_back() {
        let mut batch = Batch::new(10, 4);
        assert!(batch.push(b"abc") && batch.push(b"de"));
        assert_eq!(batch.iter().collect::<Vec<_>>(), [b"abc".as_slice(), b"de"]);
        assert_eq!(batch.contiguous(0..2), Some(b"abcde".as_slice()));
        assert_eq!((batch.bytes(), batch.used(), batch.len()), (5, 5, 2));
    }

    #[test]
    fn a_packet_that_does_not_fit_changes_nothing() {
        let mut batch = Batch::new(4, 2);
        assert!(!batch.push(b"abcde"));
        assert!(batch.is_empty());
        assert!(batch.push(b"a") && batch.push(b"b") && !batch.push(b"c"));
        assert_eq!((batch.len(), batch.packets_left()), (2, 0));
    }

    #[test]
    fn a_prefix_lies_before_each_packet() {
        let mut batch = Batch::with_prefix(16, 4, 2);
        batch.push(b"abc");
        batch.push(b"de");
        batch.prefix_mut(0).unwrap().copy_from_slice(b"03");
        batch.prefix_mut(1).unwrap().copy_from_slice(b"02");
        assert_eq!(batch.taken(), b"03abc02de");
        assert_eq!(batch.contiguous(0..2), None);
        assert_eq!(batch.prefix_mut(2), None);
    }

    #[test]
    fn memory_with_headers_is_that_of_packets_with_just_these_between_them() {
        let mut batch = Batch::with_prefix(16, 4, 2);
        batch.push(b"abc");
        batch.push(b"de");
        batch.header_mut(1, 2).unwrap().copy_from_slice(b"02");
        assert_eq!(batch.with_headers(0..2, 2), Some(b"\0\0abc02de".as_slice()));
        assert_eq!(batch.with_headers(1..2, 2), Some(b"02de".as_slice()));
        assert_eq!(batch.with_headers(0..2, 0), None);
        assert_eq!(batch.with_headers(0..1, 3), None);
        assert_eq!(batch.with_headers(0..3, 2), None);
        assert_eq!(batch.with_headers(1..1, 2), None);
    }

    #[test]
    fn retained_packets_are_contiguous_only_without_gaps() {
        let mut batch = Batch::new(10, 4);
        for packet in [b"a", b"b", b"c"] {
            batch.push(packet);
        }
        batch.retain(|index, _| index != 1);
        assert_eq!(batch.iter().collect::<Vec<_>>(), [b"a", b"c"]);
        assert_eq!(batch.contiguous(0..2), None);
        assert_eq!(batch.contiguous(1..2), Some(b"c".as_slice()));
    }

    #[test]
    fn a_mark_outside_the_buffer_is_refused() {
        let mut batch = Batch::new(4, 4);
        assert!(!batch.mark(3, 2) && !batch.mark(5, 0) && !batch.mark(usize::MAX, 1));
        assert!(batch.mark(4, 0) && batch.mark(1, 3));
    }
}
