//! Streams of frames: whatever the cuts, the same frames and the same fault at the same place; what
//! is framed again is the stream that went in; and a framing that is found out reads like one that
//! was told.
//!
//! Input: the framing (u8, modulo 4: found out, 16 bits, 32 bits, none), the longest frame (u16,
//! big-endian, at least 14), how many frames a batch holds (u8), the number of cuts (u8, modulo 16), that many cuts
//! (u8 each, taken in turn; zero stands for all there is room for), then the stream.
#![no_main]

use hypertap_fuzz::Input;
use hypertap_wire::ethernet::HEADER;
use hypertap_wire::ethernet::sizing::{Sizing, frame_len};
use hypertap_wire::frames::{FrameError, FrameErrorKind, FrameReader, Framing};
use hypertap_wire::framing::FramingError;
use libfuzzer_sys::fuzz_target;

/// Frames, and what ended them.
type Outcome = (Vec<Vec<u8>>, Option<(u64, FrameErrorKind)>);

/// The frames of a stream, read in the plainest way, and whether it ends with a fault.
fn plainly(mut stream: &[u8], framing: Framing, max: usize) -> (Vec<Vec<u8>>, bool) {
    let mut frames = Vec::new();
    loop {
        let (header, len) = match (framing, stream) {
            (Framing::Le16, [low, high, ..]) => (2, usize::from(*high) << 8 | usize::from(*low)),
            (Framing::Be32, [a, b, c, d, ..]) => {
                (4, [a, b, c, d].iter().fold(0, |len, byte| len << 8 | usize::from(**byte)))
            }
            (Framing::Unframed, _) => match frame_len(&stream[..stream.len().min(max)]) {
                Sizing::Len(len) => (0, len),
                Sizing::NeedMore(len) => return (frames, len > max),
                Sizing::Unknown(_) => return (frames, true),
            },
            _ => return (frames, false),
        };
        if len == 0 || len > max {
            return (frames, true);
        }
        let Some(frame) = stream.get(header..header + len) else { return (frames, false) };
        frames.push(frame.to_vec());
        stream = &stream[header + len..];
    }
}

fn framed(frames: &[Vec<u8>], framing: Framing) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        let mut header = [0; 4];
        assert!(framing.write_header(&mut header, frame.len()), "it was read with the same framing");
        stream.extend_from_slice(&header[..framing.header_len()]);
        stream.extend_from_slice(frame);
    }
    stream
}

fn in_pieces(
    mut stream: &[u8],
    framing: Option<Framing>,
    max: usize,
    cuts: &[u8],
    at_once: usize,
) -> (Outcome, Option<Framing>) {
    let mut reader = FrameReader::new(framing, max, 0, at_once);
    let mut frames = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !stream.is_empty() {
        let room = reader.room();
        assert!(!room.is_empty(), "a reader would see the end of the stream");
        let most = room.len().min(stream.len());
        let len = match cuts.next() {
            None | Some(0) => most,
            Some(cut) => usize::from(*cut).min(most),
        };
        let (piece, rest) = stream.split_at(len);
        room[..len].copy_from_slice(piece);
        stream = rest;
        reader.advance(len).expect("it fitted the room");
        loop {
            match reader.next_batch() {
                Ok(None) => break,
                Ok(Some(batch)) => {
                    assert!((1..=at_once).contains(&batch.len()), "{} frames", batch.len());
                    frames.extend(batch.iter().map(<[u8]>::to_vec));
                }
                Err(error) => {
                    assert!((1..=FrameError::SHOWN).contains(&error.bytes.len()));
                    assert!(!error.to_string().is_empty());
                    assert_eq!(reader.next_batch().map(|_| ()), Err(error.clone()), "it is the end");
                    assert!(!reader.room().is_empty());
                    return ((frames, Some((error.offset, error.kind))), reader.framing());
                }
            }
        }
    }
    let room = reader.room().len();
    assert_eq!(reader.advance(room + 1), Err(FramingError::Overrun));
    ((frames, None), reader.framing())
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let told = match input.u8() % 4 {
        0 => None,
        1 => Some(Framing::Le16),
        2 => Some(Framing::Be32),
        _ => Some(Framing::Unframed),
    };
    let max = usize::from(input.u16()).max(HEADER);
    let at_once = usize::from(input.u8()).max(1);
    let cut_count = usize::from(input.u8() % 16);
    let cuts = input.take(cut_count);
    let stream = input.0;

    let (outcome, found) = in_pieces(stream, told, max, cuts, at_once);
    assert_eq!(in_pieces(stream, told, max, &[0], 64), (outcome.clone(), found), "in whole");
    let (frames, fault) = outcome;

    let Some(framing) = found else {
        assert!(frames.is_empty());
        assert!(fault.is_none_or(|(offset, _)| offset == 0));
        return;
    };
    let (plain, is_fault) = plainly(stream, framing, max);
    assert_eq!((&frames, fault.is_some()), (&plain, is_fault));
    let again = framed(&frames, framing);
    assert!(stream.starts_with(&again));
    assert!(fault.is_none_or(|(offset, _)| offset == again.len() as u64));

    for other in [Framing::Le16, Framing::Be32] {
        let ((back, fault), _) = in_pieces(&framed(&frames, other), Some(other), max, cuts, at_once);
        assert_eq!((back, fault), (frames.clone(), None), "{other}");
    }
});
