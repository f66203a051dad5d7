//! Frames in a stream of bytes, as PPP has them on a telephone line (RFC 1662).
//!
//! A frame is what stands between two flags `7e`. Inside it `7e`, `7d`, and the control characters
//! that the receiver named (its ACCM) are written as `7d` and the byte with bit 5 turned over. The
//! last two bytes are a check sequence (FCS-16). A [`Decoder`] takes the stream in whatever pieces it
//! comes. It keeps unescaped control characters although the RFC would have them removed: nothing on
//! a socket adds any, so those that come were sent.

/// The byte that begins and ends a frame.
pub const FLAG: u8 = 0x7e;

/// The byte after which the next one has bit 5 turned over.
pub const ESCAPE: u8 = 0x7d;

/// What an escape turns over.
const ESCAPED: u8 = 0x20;

/// The length in bytes of the check sequence.
const FCS: usize = 2;

/// What an intact frame's check sequence is, taken over the frame and the sequence itself.
const GOOD_FCS: u16 = 0xf0b8;

/// Which of the characters 0 to 31 a sender escapes: bit N stands for character N (RFC 1662 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accm(pub u32);

impl Accm {
    /// All of them, as holds until something else is agreed on.
    pub const ALL: Self = Self(u32::MAX);
    /// None of them.
    pub const NONE: Self = Self(0);

    /// Whether a sender escapes this byte.
    pub fn escapes(self, byte: u8) -> bool {
        matches!(byte, FLAG | ESCAPE) || (byte < 0x20 && self.0 & (1 << byte) != 0)
    }
}

/// Appends the frame with this content, flags, escapes and check sequence included.
pub fn encode(content: &[u8], accm: Accm, stream: &mut Vec<u8>) {
    let fcs = !fcs16(content);
    stream.push(FLAG);
    for byte in content.iter().copied().chain(fcs.to_le_bytes()) {
        if accm.escapes(byte) {
            stream.extend([ESCAPE, byte ^ ESCAPED]);
        } else {
            stream.push(byte);
        }
    }
    stream.push(FLAG);
}

/// Why there was no frame between two flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HdlcError {
    /// Less than a check sequence and one byte.
    #[error("the frame is shorter than its check sequence and a byte")]
    TooShort,
    /// More than the decoder was made for.
    #[error("the frame is longer than agreed")]
    TooLong,
    /// The check sequence is another one.
    #[error("the frame's check sequence is wrong")]
    BadFcs,
    /// The sender gave it up: an escape right before the flag.
    #[error("the sender gave the frame up")]
    Aborted,
}

/// Finds the frames in a stream.
#[derive(Debug)]
pub struct Decoder {
    /// The frame so far, unescaped; the last one that was yielded until more is read.
    frame: Vec<u8>,
    longest: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No flag came yet: what comes is the rest of something.
    Hunting,
    /// Between two flags.
    Inside,
    /// Inside, the last byte was an escape.
    Escaped,
    /// Inside a frame that is too long.
    Overlong,
    /// The frame was yielded; the flag at its end may be the next one's first.
    Yielded,
}

impl Decoder {
    /// A decoder of frames of up to `longest` bytes, check sequence not counted.
    pub fn new(longest: usize) -> Self {
        Self { frame: Vec::new(), longest, state: State::Hunting }
    }

    /// The content of the next frame in the stream, or what was wrong with it; none when the stream
    /// has no more whole ones. What it read is taken off the front of `stream`. Flags with nothing
    /// between them are no frame.
    pub fn next<'a>(&'a mut self, stream: &mut &[u8]) -> Option<Result<&'a [u8], HdlcError>> {
        if self.state == State::Yielded {
            self.restart(State::Inside);
        }
        while !stream.is_empty() {
            let plain = stream.iter().position(|byte| matches!(*byte, FLAG | ESCAPE)).unwrap_or(stream.len());
            let (bytes, rest) = stream.split_at(plain);
            self.take(bytes);
            let Some((special, rest)) = rest.split_first() else {
                *stream = rest;
                break;
            };
            *stream = rest;
            match (*special, self.state) {
                (FLAG, state) if state != State::Hunting => match self.end() {
                    None => self.restart(State::Inside),
                    Some(Ok(len)) => {
                        self.state = State::Yielded;
                        return self.frame.get(..len).map(Ok);
                    }
                    Some(Err(error)) => {
                        self.restart(State::Inside);
                        return Some(Err(error));
                    }
                },
                (FLAG, _) => self.restart(State::Inside),
                (_, State::Inside) => self.state = State::Escaped,
                // An escaped escape: the byte that it stands for is `5d`.
                (escape, State::Escaped) => self.take(&[escape]),
                (_, State::Hunting | State::Overlong | State::Yielded) => {}
            }
        }
        None
    }

    /// Adds bytes that are neither flag nor escape, but for the one after an escape.
    fn take(&mut self, mut bytes: &[u8]) {
        if self.state == State::Escaped
            && let Some((first, rest)) = bytes.split_first()
        {
            self.state = State::Inside;
            self.append(&[first ^ ESCAPED]);
            bytes = rest;
        }
        if self.state == State::Inside {
            self.append(bytes);
        }
    }

    fn append(&mut self, bytes: &[u8]) {
        if self.frame.len() + bytes.len() > self.longest.saturating_add(FCS) {
            self.state = State::Overlong;
        } else {
            self.frame.extend_from_slice(bytes);
        }
    }

    /// The length of the frame that a flag ended, check sequence taken off; none when there was nothing.
    fn end(&self) -> Option<Result<usize, HdlcError>> {
        match self.state {
            State::Overlong => return Some(Err(HdlcError::TooLong)),
            State::Escaped => return Some(Err(HdlcError::Aborted)),
            _ if self.frame.is_empty() => return None,
            _ => {}
        }
        Some(match self.frame.len().checked_sub(FCS) {
            None | Some(0) => Err(HdlcError::TooShort),
            Some(_) if fcs16(&self.frame) != GOOD_FCS => Err(HdlcError::BadFcs),
            Some(len) => Ok(len),
        })
    }

    fn restart(&mut self, state: State) {
        self.frame.clear();
        self.state = state;
    }
}

/// The check sequence before its complement is taken (RFC 1662 appendix C).
fn fcs16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0xffff, |fcs, byte| (fcs >> 8) ^ FCS_TABLE[usize::from(fcs.to_le_bytes()[0] ^ byte)])
}

/// What each byte does to a check sequence: the polynomial x^16 + x^12 + x^5 + 1, bits mirrored.
static FCS_TABLE: [u16; 256] = {
    let mut table = [0; 256];
    let mut byte = 0_u16;
    while byte < 256 {
        let (mut value, mut bit) = (byte, 0);
        while bit < 8 {
            value = if value & 1 == 1 { (value >> 1) ^ 0x8408 } else { value >> 1 };
            bit += 1;
        }
        table[byte as usize] = value;
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decoded(decoder: &mut Decoder, mut stream: &[u8]) -> Vec<Result<Vec<u8>, HdlcError>> {
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next(&mut stream) {
            frames.push(frame.map(<[u8]>::to_vec));
        }
        assert!(stream.is_empty());
        frames
    }

    fn encoded(contents: &[&[u8]]) -> Vec<u8> {
        let mut stream = Vec::new();
        for content in contents {
            encode(content, Accm::ALL, &mut stream);
        }
        stream
    }

    proptest! {
        #[test]
        fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
            contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..10),
            accm: u32,
            cuts in prop::collection::vec(1..200_usize, 1..6),
        ) {
            let mut stream = Vec::new();
            for content in &contents {
                encode(content, Accm(accm), &mut stream);
            }
            let (mut decoder, mut frames, mut rest) = (Decoder::new(300), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                frames.extend(decoded(&mut decoder, piece));
                rest = after;
                if rest.is_empty() { break; }
            }
            prop_assert_eq!(frames, contents.into_iter().map(Ok).collect::<Vec<_>>());
        }

        #[test]
        fn a_frame_has_flags_at_its_ends_only_and_none_of_the_characters_to_escape(
            content in prop::collection::vec(any::<u8>(), 0..300), accm: u32,
        ) {
            let mut stream = Vec::new();
            encode(&content, Accm(accm), &mut stream);
            prop_assert_eq!((stream.remove(0), stream.pop()), (FLAG, Some(FLAG)));
            prop_assert!(stream.iter().all(|byte| *byte == ESCAPE || !Accm(accm).escapes(*byte)));
        }

        #[test]
        fn any_stream_is_read_to_its_end(
            stream in prop::collection::vec(prop_oneof![Just(FLAG), Just(ESCAPE), any::<u8>()], 0..600),
        ) {
            for frame in decoded(&mut Decoder::new(20), &stream).into_iter().flatten() {
                prop_assert!((1..=20).contains(&frame.len()));
            }
        }

        #[test]
        fn one_wrong_bit_is_seen(content in prop::collection::vec(any::<u8>(), 1..100), at: prop::sample::Index, bit in 0..8_u8) {
            let mut frame = content.clone();
            frame.extend((!fcs16(&content)).to_le_bytes());
            let at = at.index(frame.len());
            frame[at] ^= 1 << bit;
            prop_assert_ne!(fcs16(&frame), GOOD_FCS);
        }
    }

    #[test]
    fn the_check_sequence_is_that_of_the_standard() {
        assert_eq!(!fcs16(b"123456789"), 0x906e);
    }

    #[test]
    fn a_flag_may_end_one_frame_and_begin_the_next() {
        let mut stream = encoded(&[b"one", b"two"]);
        let first = encoded(&[b"one"]).len();
        stream.remove(first);
        assert_eq!(decoded(&mut Decoder::new(9), &stream), [Ok(b"one".to_vec()), Ok(b"two".to_vec())]);
    }

    #[test]
    fn what_comes_before_the_first_flag_is_no_frame() {
        let stream = [&b"noise"[..], &encoded(&[b"one"])].concat();
        assert_eq!(decoded(&mut Decoder::new(9), &stream), [Ok(b"one".to_vec())]);
    }

    #[test]
    fn a_broken_frame_is_told_and_the_next_one_read() {
        let mut wrong = encoded(&[b"one"]);
        wrong[1] ^= 1;
        let cases: [(&[u8], HdlcError); 6] = [
            (&wrong, HdlcError::BadFcs),
            (&encoded(&[b"0123456789"]), HdlcError::TooLong),
            (&encoded(&[b""]), HdlcError::TooShort),
            (&[FLAG, b'a', FLAG], HdlcError::TooShort),
            (&[FLAG, b'a', b'b', b'c', ESCAPE, FLAG], HdlcError::Aborted),
            (&[&[FLAG][..], &[ESCAPE; 60], &[FLAG]].concat(), HdlcError::TooLong),
        ];
        for (bytes, error) in cases {
            let stream = [bytes, &encoded(&[b"next"])].concat();
            assert_eq!(
                decoded(&mut Decoder::new(9), &stream),
                [Err(error), Ok(b"next".to_vec())],
                "{bytes:02x?}"
            );
        }
    }
}
