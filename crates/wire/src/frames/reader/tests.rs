use super::*;
use crate::ethernet::EtherType;
use crate::ethernet::sizing::SizeError;
use crate::ethernet::sizing::tests::{frame, frames, ipv4};
use proptest::prelude::*;

const MAX: usize = 1522;
const FRAMINGS: [Framing; 3] = [Framing::Le16, Framing::Be32, Framing::Unframed];

/// The frames of a stream that comes in these pieces, and what ended it.
fn read_all(
    mut reader: FrameReader,
    mut stream: &[u8],
    cuts: &[usize],
) -> (Vec<Vec<u8>>, Option<FrameError>, FrameReader) {
    let (mut frames, mut cuts) = (Vec::new(), cuts.iter().cycle());
    while !stream.is_empty() {
        let room = reader.room();
        assert!(!room.is_empty());
        let len = (*cuts.next().unwrap()).clamp(1, stream.len()).min(room.len());
        room[..len].copy_from_slice(&stream[..len]);
        stream = &stream[len..];
        reader.advance(len).unwrap();
        loop {
            match reader.next_batch() {
                Ok(Some(batch)) => frames.extend(batch.iter().map(<[u8]>::to_vec)),
                Ok(None) => break,
                Err(error) => return (frames, Some(error), reader),
            }
        }
    }
    (frames, None, reader)
}

fn framed(framing: Framing, frames: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for frame in frames {
        let mut header = [0; MAX_HEADER];
        assert!(framing.write_header(&mut header, frame.len()));
        stream.extend_from_slice(&header[..framing.header_len()]);
        stream.extend_from_slice(frame);
    }
    stream
}

/// The error that a stream ends with after `good`, the same for any cut.
fn fault(framing: Framing, good: &[Vec<u8>], bad: &[u8]) -> FrameError {
    let stream = [framed(framing, good).as_slice(), bad].concat();
    let mut whole = None;
    for cut in [usize::MAX, 1, 3, 64] {
        let reader = FrameReader::new(Some(framing), MAX, 0, 2);
        let (frames, error, mut reader) = read_all(reader, &stream, &[cut]);
        let error = error.expect("an error");
        assert_eq!(frames, good, "{framing}, cut {cut}");
        assert_eq!(error.offset, (stream.len() - bad.len()) as u64, "{framing}, cut {cut}");
        assert!(bad.starts_with(&error.bytes) && !error.bytes.is_empty());
        assert_eq!(reader.next_batch().map(|_| ()), Err(error.clone()), "it is the end");
        assert!(!reader.room().is_empty());
        let first = whole.get_or_insert(error.clone());
        assert_eq!(first.kind, error.kind, "{framing}, cut {cut}");
    }
    whole.expect("cuts")
}

fn nasty_address() -> impl Strategy<Value = [u8; 6]> {
    prop_oneof![
        any::<[u8; 6]>(),
        (0..0x60_u8, 0..6_u8, any::<[u8; 4]>()).prop_map(|(a, b, [c, d, e, f])| [a, b, c, d, e, f]),
        any::<[u8; 3]>().prop_map(|[a, b, c]| [0, 0, 0, a, b, c]),
        prop::sample::select(vec![0x0800_u16, 0x0806, 0x86dd, 0x8100, 0x88cc, 60, 17])
            .prop_map(|ethertype| { [2, 0, 0, 0, ethertype.to_be_bytes()[0], ethertype.to_be_bytes()[1]] }),
    ]
}

fn valid_frame() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(frames()), nasty_address(), nasty_address()).prop_map(|(mut frame, to, from)| {
        frame[..6].copy_from_slice(&to);
        frame[6..12].copy_from_slice(&from);
        frame
    })
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
        frames in prop::collection::vec(valid_frame(), 1..20),
        cuts in prop::collection::vec(1..3000_usize, 1..8),
        at_once in 1..30_usize,
    ) {
        for framing in FRAMINGS {
            let reader = FrameReader::new(Some(framing), MAX, 0, at_once);
            let (came, error, reader) = read_all(reader, &framed(framing, &frames), &cuts);
            prop_assert_eq!((&came, error, reader.held()), (&frames, None, 0), "{}", framing);
        }
    }

    #[test]
    fn the_same_comes_out_when_the_framing_has_to_be_found_out(
        rest in prop::collection::vec(valid_frame(), 0..10),
        to in nasty_address(), from in any::<[u8; 6]>(), ip_len in 20..1500_usize,
        cuts in prop::collection::vec(1..100_usize, 1..8),
    ) {
        let mut first = frame(&[], 0x0800, &ipv4(ip_len));
        first[..6].copy_from_slice(&to);
        first[6..12].copy_from_slice(&from);
        let frames = [vec![first], rest].concat();
        for framing in FRAMINGS {
            let reader = FrameReader::new(None, MAX, 0, 7);
            let (came, error, reader) = read_all(reader, &framed(framing, &frames), &cuts);
            prop_assert_eq!((&came, error, reader.framing()), (&frames, None, Some(framing)));
        }
    }

    #[test]
    fn a_frame_after_a_length_may_hold_anything(
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..20),
        cuts in prop::collection::vec(1..300_usize, 1..8),
    ) {
        for framing in [Framing::Le16, Framing::Be32] {
            let reader = FrameReader::new(Some(framing), MAX, 0, 7);
            prop_assert_eq!(read_all(reader, &framed(framing, &frames), &cuts).0, frames.clone());
        }
    }

    #[test]
    fn any_stream_comes_to_the_same_however_it_is_cut(
        mut stream in prop::collection::vec(prop_oneof![0..5_u8, any::<u8>()], 1..400),
        ethertype in prop::sample::select(vec![0x0800_u16, 0x0806, 0x8100, 0x86dd, 0x88cc, 0x8847, 40]),
        at in 12..19_usize,
        cuts in prop::collection::vec(1..50_usize, 1..8),
    ) {
        if let Some(field) = stream.get_mut(at..at + 2) {
            field.copy_from_slice(&ethertype.to_be_bytes());
        }
        for framing in [None, Some(Framing::Le16), Some(Framing::Be32), Some(Framing::Unframed)] {
            let outcome = |cuts: &[usize]| {
                let (frames, error, _) = read_all(FrameReader::new(framing, 300, 0, 3), &stream, cuts);
                (frames, error.map(|error| (error.offset, error.kind)))
            };
            let whole = outcome(&[usize::MAX]);
            prop_assert_eq!(&outcome(&[1]), &whole);
            prop_assert_eq!(&outcome(&cuts), &whole);
        }
    }
}

#[test]
fn a_length_of_zero_or_above_the_most_is_the_end() {
    let good = frames();
    assert_eq!(fault(Framing::Le16, &good, &[0, 0, 1, 2]).kind, FrameErrorKind::Empty);
    assert_eq!(fault(Framing::Be32, &good, &[0, 0, 0, 0]).kind, FrameErrorKind::Empty);
    let too_long = |len| FrameErrorKind::TooLong { len, max: MAX };
    assert_eq!(fault(Framing::Le16, &good, &[0xf3, 0x05]).kind, too_long(MAX + 1));
    assert_eq!(fault(Framing::Be32, &good, &[0, 0, 0x05, 0xf3]).kind, too_long(MAX + 1));
    assert_eq!(fault(Framing::Be32, &[], &[0xff; 4]).kind, too_long(u32::MAX as usize));
}

#[test]
fn an_unframed_frame_that_cannot_be_sized_is_the_end() {
    let good = frames();
    let unsized_by = |error: SizeError| FrameErrorKind::Unsized(error);
    let unknown = frame(&[], 0xabcd, &[1; 40]);
    assert_eq!(
        fault(Framing::Unframed, &good, &unknown).kind,
        unsized_by(SizeError::UnknownType(EtherType(0xabcd)))
    );
    let stalling = frame(&[], 0x0800, &[0x45, 0, 0, 0]);
    let short = SizeError::TooShort { ethertype: EtherType::IPV4, len: 0 };
    assert_eq!(fault(Framing::Unframed, &good, &stalling).kind, unsized_by(short));
    let long = frame(&[], 0x0800, &[0x45, 0, 0x40, 0]);
    let too_long = FrameErrorKind::TooLong { len: 0x4000 + 14, max: MAX };
    assert_eq!(fault(Framing::Unframed, &good, &long).kind, too_long);
}

#[test]
fn of_a_frame_that_comes_in_pieces_no_piece_is_looked_at_twice() {
    let chains = [
        frame(&[[0x81, 0, 0, 1]; 300], 0x0800, &ipv4(20)),
        frame(&[], 0x88cc, &[[2, 0].repeat(600).as_slice(), &[0, 0]].concat()),
        frame(&[], 0x8847, &[[0, 0, 0, 1].repeat(300).as_slice(), &[0, 0, 1, 0], &ipv4(20)].concat()),
    ];
    for chain in chains {
        let mut reader = FrameReader::new(Some(Framing::Unframed), MAX, 0, 1);
        for (at, byte) in chain.iter().enumerate() {
            assert_eq!(reader.next_batch().map(|batch| batch.is_some()), Ok(false), "after {at} bytes");
            reader.room()[0] = *byte;
            reader.advance(1).unwrap();
            // Here it would end the chain.
            if let Some(passed) = reader.batch.buffer().get_mut(HEADER + 4..at.saturating_sub(40)) {
                passed.fill(0x01);
            }
        }
        let lengths = reader.next_batch().unwrap().map(|batch| batch.lengths().collect::<Vec<_>>());
        assert_eq!(lengths, Some(vec![chain.len()]));
    }
}

#[test]
fn tags_without_end_are_a_frame_that_is_too_long() {
    let tags = frame(&[[0x81, 0, 0, 1]; 1000], 0x0800, &[]);
    let error = fault(Framing::Unframed, &[], &tags);
    assert_eq!(error.kind, FrameErrorKind::TooLong { len: 1526, max: MAX });
}

#[test]
fn an_error_says_where_what_and_shows_the_bytes() {
    let unknown = frame(&[], 0xabcd, &[0xee; 40]);
    let text = fault(Framing::Unframed, &[frame(&[], 0x0800, &ipv4(46))], &unknown).to_string();
    let wanted = "at byte 60 of the stream: a frame of unknown length: EtherType 0xabcd is none whose \
        length is known: 02 00 00 00 00 01 02 00 00 00 00 02 ab cd ee";
    assert!(text.starts_with(wanted), "{text}");

    let error = fault(Framing::Le16, &[], &[0x00, 0x06, 9]);
    let text = FrameError { bytes: vec![0, 6], ..error }.to_string();
    assert_eq!(text, "at byte 0 of the stream: a frame of 1536 bytes, where 1522 are the most: 00 06");
}

#[test]
fn a_stream_of_no_framing_is_an_error_at_its_beginning() {
    let reader = FrameReader::new(None, MAX, 0, 8);
    let (frames, error, reader) = read_all(reader, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", &[5]);
    assert_eq!((frames.len(), reader.framing()), (0, None));
    let error = error.expect("an error");
    assert_eq!(error.offset, 0);
    assert!(error.to_string().contains("EtherType 0x2e31"), "{error}");
}

#[test]
fn the_longest_frames_fit_the_smallest_buffer() {
    let max = 65_543;
    let frames = vec![vec![7; max]; 5];
    let reader = FrameReader::new(Some(Framing::Be32), max, 0, 64);
    let (came, error, _) = read_all(reader, &framed(Framing::Be32, &frames), &[usize::MAX]);
    assert_eq!((came, error), (frames, None));
    let frames = vec![vec![7; 65_535]; 5];
    let reader = FrameReader::new(Some(Framing::Le16), max, 0, 64);
    let (came, error, _) = read_all(reader, &framed(Framing::Le16, &frames), &[usize::MAX]);
    assert_eq!((came, error), (frames, None));
}

#[test]
fn half_a_header_is_held_and_nothing_comes_of_it() {
    for framing in [None, Some(Framing::Le16), Some(Framing::Be32), Some(Framing::Unframed)] {
        let mut reader = FrameReader::new(framing, MAX, 0, 8);
        assert_eq!(reader.next_batch().map(|batch| batch.is_some()), Ok(false));
        reader.room()[0] = 60;
        reader.advance(1).unwrap();
        assert_eq!(reader.next_batch().map(|batch| batch.is_some()), Ok(false));
        assert_eq!(reader.held(), 1);
    }
}

#[test]
fn reading_past_the_room_is_refused() {
    let mut reader = FrameReader::new(None, MAX, 0, 1);
    let room = reader.room().len();
    assert_eq!(reader.advance(room + 1), Err(FramingError::Overrun));
}
