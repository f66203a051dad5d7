//! What a stream has received and its reader has not yet taken.
//!
//! Bytes are in chunks. Those of 16 KiB, as much as a record of TLS holds, come from a pool of the
//! connection and go back to it; a stream that holds little has a chunk of its own of about that size.
//! A stream that holds nothing has none.

use std::collections::VecDeque;

/// The size of the chunks of the pool.
pub(super) const CHUNK: usize = 16 << 10;
/// What a stream with little to hold begins with.
const SMALLEST: usize = 256;
/// How many chunks are kept for the next stream that needs one.
const POOLED: usize = 32;

/// A piece of memory, of which a part is filled and a part of that read.
#[derive(Debug)]
pub struct Chunk {
    bytes: Box<[u8]>,
    read: usize,
    filled: usize,
    /// How far it may be filled.
    end: usize,
}

impl Chunk {
    fn new(size: usize) -> Self {
        Self { bytes: vec![0; size].into_boxed_slice(), read: 0, filled: 0, end: size }
    }

    /// Where the next bytes go. Empty when there is no place for more.
    pub fn vacant(&mut self) -> &mut [u8] {
        self.bytes.get_mut(self.filled..self.end).unwrap_or_default()
    }

    /// The first `length` bytes of [`Chunk::vacant`] are filled.
    pub fn advance(&mut self, length: usize) {
        self.filled = self.filled.saturating_add(length).min(self.end);
    }

    /// How many bytes it holds.
    pub fn len(&self) -> usize {
        self.filled - self.read
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn unread(&self) -> &[u8] {
        self.bytes.get(self.read..self.filled).unwrap_or_default()
    }

    /// Fills in as much as fits of `bytes`, and returns the rest.
    fn push<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let vacant = self.vacant();
        let (fits, rest) = bytes.split_at(bytes.len().min(vacant.len()));
        vacant[..fits.len()].copy_from_slice(fits);
        self.filled += fits.len();
        rest
    }
}

/// Chunks that nobody uses.
#[derive(Debug, Default)]
pub(super) struct Pool(Vec<Chunk>);

impl Pool {
    /// An empty chunk to fill with `length` bytes at most.
    pub(super) fn take(&mut self, length: usize) -> Chunk {
        let mut chunk = self.0.pop().unwrap_or_else(|| Chunk::new(CHUNK));
        (chunk.read, chunk.filled, chunk.end) = (0, 0, length.min(CHUNK));
        chunk
    }

    pub(super) fn give_back(&mut self, chunk: Chunk) {
        if chunk.bytes.len() == CHUNK && self.0.len() < POOLED {
            self.0.push(chunk);
        }
    }
}

/// The bytes that wait for a reader.
#[derive(Debug, Default)]
pub(super) struct Received {
    chunks: VecDeque<Chunk>,
    length: usize,
}

impl Received {
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Adds a copy of `bytes`.
    pub(super) fn push(&mut self, mut bytes: &[u8], pool: &mut Pool) {
        self.length += bytes.len();
        if let Some(last) = self.chunks.back_mut() {
            last.end = last.bytes.len();
            bytes = last.push(bytes);
        }
        while !bytes.is_empty() {
            // No more than twice what the stream holds, so that many that hold little are little.
            let size = self.length.next_power_of_two().max(SMALLEST);
            let mut chunk = if size >= CHUNK { pool.take(CHUNK) } else { Chunk::new(size) };
            bytes = chunk.push(bytes);
            self.chunks.push_back(chunk);
        }
    }

    /// Adds what a chunk of the pool was filled with.
    pub(super) fn push_chunk(&mut self, chunk: Chunk, pool: &mut Pool) {
        if chunk.len() < CHUNK / 2 {
            self.push(chunk.unread(), pool);
            pool.give_back(chunk);
        } else {
            self.length += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// Moves as much as there is, and fits, into `buffer`; returns how much that was.
    pub(super) fn read(&mut self, buffer: &mut [u8], pool: &mut Pool) -> usize {
        let mut done = 0;
        while let Some(first) = self.chunks.front_mut() {
            let (unread, vacant) = (first.unread(), &mut buffer[done..]);
            let length = unread.len().min(vacant.len());
            vacant[..length].copy_from_slice(&unread[..length]);
            first.read += length;
            done += length;
            if !first.is_empty() {
                break;
            }
            if let Some(chunk) = self.chunks.pop_front() {
                pool.give_back(chunk);
            }
        }
        self.length -= done;
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
        }
        done
    }

    /// Forgets all of it.
    pub(super) fn clear(&mut self, pool: &mut Pool) {
        self.length = 0;
        for chunk in std::mem::take(&mut self.chunks) {
            pool.give_back(chunk);
        }
    }

    /// How many bytes of memory it holds.
    #[cfg(test)]
    pub(super) fn memory(&self) -> usize {
        self.chunks.iter().map(|chunk| chunk.bytes.len()).sum::<usize>()
            + self.chunks.capacity() * size_of::<Chunk>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_read_whole_leaves_no_memory() {
        let (mut received, mut pool) = (Received::default(), Pool::default());
        for _ in 0..1000 {
            received.push(&[1; 5000], &mut pool);
        }
        assert!(received.memory() < 6_000_000);
        let mut buffer = vec![0; 6_000_000];
        assert_eq!(received.read(&mut buffer, &mut pool), 5_000_000);
        assert_eq!((received.len(), received.memory()), (0, 0));
        assert!(pool.0.len() <= POOLED);
    }

    #[test]
    fn little_takes_little() {
        let (mut received, mut pool) = (Received::default(), Pool::default());
        received.push(b"x", &mut pool);
        assert!(received.memory() < 1024, "{}", received.memory());
        for _ in 0..100_000 {
            received.push(b"x", &mut pool);
        }
        assert!(received.memory() < 250_000, "{}", received.memory());
    }

    #[test]
    fn chunks_that_are_hardly_filled_are_not_kept() {
        let (mut received, mut pool) = (Received::default(), Pool::default());
        for _ in 0..1000 {
            let mut chunk = pool.take(CHUNK);
            chunk.advance(100);
            received.push_chunk(chunk, &mut pool);
        }
        assert_eq!(received.len(), 100_000);
        assert!(received.memory() < 250_000, "{}", received.memory());
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(
            steps in prop::collection::vec((any::<bool>(), any::<bool>(), 0..40_000_usize), 1..50),
        ) {
            let (mut received, mut pool) = (Received::default(), Pool::default());
            let (mut written, mut read) = (0_u32, 0_u32);
            let next = |count: &mut u32| { *count += 1; (*count % 251) as u8 };
            for (is_read, is_chunk, length) in steps {
                if is_read {
                    let mut buffer = vec![0; length];
                    let done = received.read(&mut buffer, &mut pool);
                    for byte in &buffer[..done] {
                        prop_assert_eq!(*byte, next(&mut read));
                    }
                } else if is_chunk {
                    let mut chunk = pool.take(length);
                    let vacant = chunk.vacant();
                    vacant.fill_with(|| next(&mut written));
                    let length = vacant.len();
                    chunk.advance(length);
                    received.push_chunk(chunk, &mut pool);
                } else {
                    let bytes: Vec<_> = (0..length).map(|_| next(&mut written)).collect();
                    received.push(&bytes, &mut pool);
                }
                prop_assert_eq!(received.len(), (written - read) as usize);
            }
        }
    }
}
