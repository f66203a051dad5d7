//! Frames on their way out: the buffer that fills while another is written to the connection.

use hypertap_wire::yamux::{Flags, FrameHeader, FrameType, HEADER};

/// The least that a buffer keeps of its memory.
const SMALLEST: usize = 4 << 10;
/// After so many turns in which it was hardly used, a buffer gives memory back.
const QUIET_TURNS: u32 = 64;

#[derive(Debug)]
pub(super) struct Outgoing {
    buffer: Vec<u8>,
    /// The stream whose data is last in it, and where the header of that is.
    last: Option<(u32, usize)>,
    max_frame: usize,
    quiet: u32,
}

impl Outgoing {
    pub(super) fn new(max_frame: u32) -> Self {
        Self { buffer: Vec::new(), last: None, max_frame: max_frame.max(1) as usize, quiet: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.buffer.len()
    }

    /// Adds a frame without data.
    pub(super) fn control(&mut self, kind: FrameType, flags: Flags, stream: u32, length: u32) {
        self.last = None;
        self.buffer.extend_from_slice(&FrameHeader { kind, flags, stream, length }.emit());
    }

    /// Adds as much of `data` as one frame takes, to the last frame when it is of the same stream.
    /// Returns how much that was.
    pub(super) fn data(&mut self, stream: u32, flags: Flags, data: &[u8]) -> usize {
        if let Some(done) = self.extend(stream, flags, data) {
            return done;
        }
        let data = &data[..data.len().min(self.max_frame)];
        let length = u32::try_from(data.len()).expect("a frame's length has 32 bits");
        let at = self.buffer.len();
        self.buffer.reserve(HEADER + data.len());
        self.control(FrameType::Data, flags, stream, length);
        self.buffer.extend_from_slice(data);
        self.last = Some((stream, at));
        data.len()
    }

    /// Enlarges the last frame, unless it is another's or full.
    fn extend(&mut self, stream: u32, flags: Flags, data: &[u8]) -> Option<usize> {
        let (_, at) = self.last.filter(|(last, _)| *last == stream)?;
        let header: &mut [u8; HEADER] = self.buffer.get_mut(at..at + HEADER)?.try_into().ok()?;
        let mut parsed = FrameHeader::parse(header).ok()?;
        let room = self.max_frame.saturating_sub(parsed.length as usize);
        if room == 0 && !data.is_empty() {
            return None;
        }
        let data = &data[..data.len().min(room)];
        parsed.length += u32::try_from(data.len()).ok()?;
        parsed.flags = parsed.flags | flags;
        *header = parsed.emit();
        self.buffer.extend_from_slice(data);
        Some(data.len())
    }

    /// Exchanges it for `empty`.
    pub(super) fn take(&mut self, empty: &mut Vec<u8>) {
        let is_quiet = self.buffer.len() < empty.capacity().max(self.buffer.capacity()) / 8;
        self.quiet = if is_quiet { self.quiet + 1 } else { 0 };
        self.last = None;
        std::mem::swap(&mut self.buffer, empty);
        if self.quiet > QUIET_TURNS {
            self.quiet = 0;
            self.buffer.shrink_to(SMALLEST);
            empty.shrink_to(SMALLEST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(outgoing: &mut Outgoing) -> Vec<(FrameHeader, Vec<u8>)> {
        let (mut bytes, mut frames) = (Vec::new(), Vec::new());
        outgoing.take(&mut bytes);
        let mut rest = &bytes[..];
        while let Some((header, after)) = rest.split_first_chunk() {
            let header = FrameHeader::parse(header).expect("a header");
            let (body, after) = after.split_at(header.body_length() as usize);
            frames.push((header, body.to_vec()));
            rest = after;
        }
        assert!(rest.is_empty());
        frames
    }

    fn data(stream: u32, flags: Flags, body: &[u8]) -> (FrameHeader, Vec<u8>) {
        let length = u32::try_from(body.len()).expect("short");
        (FrameHeader { kind: FrameType::Data, flags, stream, length }, body.to_vec())
    }

    #[test]
    fn data_of_one_stream_in_a_row_is_one_frame_up_to_its_bound() {
        let mut outgoing = Outgoing::new(4);
        assert_eq!(outgoing.data(1, Flags::SYN, b"ab"), 2);
        assert_eq!(outgoing.data(1, Flags::NONE, b"cde"), 2);
        assert_eq!(outgoing.data(1, Flags::ACK, b"e"), 1);
        assert_eq!(outgoing.data(3, Flags::NONE, b"f"), 1);
        assert_eq!(outgoing.data(1, Flags::NONE, b"g"), 1);
        assert_eq!(
            frames(&mut outgoing),
            [
                data(1, Flags::SYN, b"abcd"),
                data(1, Flags::ACK, b"e"),
                data(3, Flags::NONE, b"f"),
                data(1, Flags::NONE, b"g"),
            ]
        );
    }

    #[test]
    fn a_frame_on_its_way_or_before_another_is_not_touched() {
        let mut outgoing = Outgoing::new(100);
        outgoing.data(1, Flags::NONE, b"a");
        assert_eq!(frames(&mut outgoing).len(), 1);
        outgoing.data(1, Flags::NONE, b"b");
        outgoing.control(FrameType::Ping, Flags::ACK, 0, 7);
        outgoing.data(1, Flags::NONE, b"c");
        let kinds: Vec<_> = frames(&mut outgoing).iter().map(|(header, _)| header.kind).collect();
        assert_eq!(kinds, [FrameType::Data, FrameType::Ping, FrameType::Data]);
    }

    #[test]
    fn buffers_that_are_hardly_used_give_memory_back() {
        let mut outgoing = Outgoing::new(1 << 20);
        let mut other = Vec::with_capacity(1 << 20);
        outgoing.data(1, Flags::NONE, &vec![0; 1 << 20]);
        for _ in 0..=QUIET_TURNS {
            outgoing.take(&mut other);
            other.clear();
            outgoing.data(1, Flags::NONE, b"little");
        }
        outgoing.take(&mut other);
        assert!(outgoing.buffer.capacity() <= SMALLEST && other.capacity() <= SMALLEST);
    }
}
