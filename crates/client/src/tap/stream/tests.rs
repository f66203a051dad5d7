use super::*;
use crate::tap::DEFAULT_MTU;
use proptest::prelude::*;
use rustix::net::sockopt::set_socket_send_buffer_size;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

const FRAMINGS: [Framing; 3] = [Framing::Le16, Framing::Be32, Framing::Unframed];

fn stream(framing: Framing) -> (Stream, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("it is ours");
    (Stream::new(ours.into(), framing, DEFAULT_MTU), theirs)
}

fn pair(framing: Framing) -> (Stream, Stream) {
    let (left, right) = stream(framing);
    right.set_nonblocking(true).expect("it is ours");
    (left, Stream::new(right.into(), framing, DEFAULT_MTU))
}

/// A frame with an IPv4 packet of so many bytes.
fn frame(packet: u16) -> Vec<u8> {
    let mut frame = [&[2; 12][..], &[8, 0, 0x45, 0]].concat();
    frame.extend(packet.to_be_bytes());
    frame.resize(HEADER + usize::from(packet), 7);
    frame
}

fn all(stream: &Stream) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; MAX_FRAME];
    std::iter::from_fn(|| {
        let length = stream.receive(&mut buffer).expect("it is open")?;
        Some(buffer[..length].to_vec())
    })
    .collect()
}

#[test]
fn frames_arrive_one_by_one_in_every_framing() {
    for framing in FRAMINGS {
        let (left, right) = pair(framing);
        let frames = [frame(20), frame(1500), frame(46)];
        assert!(frames.iter().all(|frame| left.send(frame).expect("room")));
        assert_eq!(all(&right), frames, "{framing}");
        drop(left);
        assert!(matches!(right.receive(&mut [0; 4]), Err(TapError::Closed)), "{framing}");
        assert!(matches!(right.send(&frame(20)), Err(TapError::Closed)), "{framing}");
    }
}

#[test]
fn a_length_is_sixteen_bits_with_the_least_first() {
    let (left, mut right) = stream(Framing::Le16);
    assert!(left.send(&frame(0x100)).expect("room"));
    let mut begin = [0; 3];
    right.read_exact(&mut begin).expect("it came");
    assert_eq!(begin, [0x0e, 0x01, 2]);
}

#[test]
fn a_frame_that_is_begun_goes_whole_before_all_others() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    ours.set_nonblocking(true).expect("it is ours");
    // A frame then goes in parts.
    set_socket_send_buffer_size(&ours, 4096).expect("it is ours");
    let left = Stream::new(ours.into(), Framing::Le16, 9000);
    let (mut sent, mut parts, mut came) = (0, 0, 0);
    let mut reader = FrameReader::new(Some(Framing::Le16), MAX_FRAME, BUFFER, 1);
    let mut bytes = vec![0; 777];
    while came < 200 {
        while sent < 200 && left.send(&frame(8900 + sent % 90)).expect("it is open") {
            sent += 1;
            parts += u32::from(!left.flush().expect("it is open"));
        }
        left.flush().expect("it is open");
        let count = theirs.read(&mut bytes).expect("something was sent");
        reader.room()[..count].copy_from_slice(&bytes[..count]);
        reader.advance(count).expect("there was room");
        while let Some(batch) = reader.next_batch().expect("whole frames") {
            assert_eq!(batch.get(0), Some(&frame(8900 + came % 90)[..]), "frame {came}");
            came += 1;
        }
    }
    assert!(parts > 0, "no frame went in parts");
}

#[test]
fn a_frame_that_cannot_go_is_refused_and_ends_nothing() {
    let (left, right) = pair(Framing::Le16);
    let refused = |length: usize| match left.send(&vec![0; length]) {
        Err(TapError::Length { length: said, limit: 1522 }) => assert_eq!(said, length),
        other => panic!("{length}: {other:?}"),
    };
    [0, 13, 1523, 70_000].into_iter().for_each(refused);
    let text = left.send(&[0; 1523]).expect_err("too long").to_string();
    assert!(text.contains("1523 bytes") && text.contains("14 to 1522 bytes"), "{text}");
    for length in [14, 1522] {
        assert!(left.send(&vec![0; length]).expect("room"));
        assert_eq!(all(&right), [vec![0; length]]);
    }
}

#[test]
fn sixteen_bits_bound_a_frame_where_the_interface_takes_longer_ones() {
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let clone = ours.try_clone().expect("a descriptor");
    assert_eq!(Stream::new(ours.into(), Framing::Le16, 65_521).limit(), 65_535);
    assert_eq!(Stream::new(clone.into(), Framing::Be32, u32::MAX).limit(), MAX_FRAME);
}

#[test]
fn without_lengths_padding_is_cut_and_what_has_no_length_is_refused() {
    let (left, right) = pair(Framing::Unframed);
    let mut padded = frame(30);
    padded.resize(60, 0);
    assert!(left.send(&padded).expect("room"));
    assert!(left.send(&frame(20)).expect("room"));
    assert_eq!(all(&right), [frame(30), frame(20)]);
    let mut short = frame(30);
    short.pop();
    let mut unknown = frame(30);
    unknown[12..14].copy_from_slice(&[0xab, 0xcd]);
    for bad in [short, unknown] {
        assert!(matches!(left.send(&bad), Err(TapError::Unsizable { .. })));
    }
    assert_eq!(all(&right), [[0_u8; 0]; 0]);
}

#[test]
fn a_frame_that_does_not_fit_is_lost_alone() {
    let (left, right) = pair(Framing::Le16);
    assert!(left.send(&frame(100)).expect("room") && left.send(&frame(20)).expect("room"));
    let mut buffer = [0; 34];
    assert!(matches!(right.receive(&mut buffer), Err(TapError::Cut { length: 114, room: 34 })));
    assert_eq!(right.receive(&mut buffer).expect("the next"), Some(34));
    assert_eq!(buffer[..], frame(20));
}

#[test]
fn what_is_no_frame_is_told_after_the_frames_before_it() {
    let (ours, mut theirs) = stream(Framing::Le16);
    theirs.write_all(&[&[34, 0][..], &frame(20), &[0, 0]].concat()).expect("room");
    let mut buffer = [0; 1522];
    assert_eq!(ours.receive(&mut buffer).expect("a frame"), Some(34));
    for _ in 0..2 {
        assert!(matches!(ours.receive(&mut buffer), Err(TapError::Frame(_))));
    }
}

#[test]
fn dropping_a_stream_ends_it_though_its_socket_was_inherited() {
    let (ours, mut theirs) = stream(Framing::Le16);
    let inherited = ours.as_fd().try_clone_to_owned().expect("a descriptor");
    theirs.write_all(b"unread").expect("room");
    assert!(ours.send(&frame(20)).expect("room"));
    drop(ours);
    let mut bytes = Vec::new();
    assert_eq!(theirs.read_to_end(&mut bytes).expect("a tidy end"), 36);
    drop(inherited);
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut(
        lengths in prop::collection::vec(20..1500_u16, 1..30),
        cuts in prop::collection::vec(1..3000_usize, 1..6),
    ) {
        let bytes: Vec<u8> = lengths.iter().flat_map(|&length| {
            let frame = frame(length);
            let header = u16::try_from(frame.len()).expect("short").to_le_bytes();
            [&header[..], &frame].concat()
        }).collect();
        let (ours, mut theirs) = stream(Framing::Le16);
        let (mut rest, mut came, mut cuts) = (&bytes[..], Vec::new(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (piece, after) = rest.split_at((*cuts.next().expect("a cycle")).min(rest.len()));
            theirs.write_all(piece).expect("room");
            rest = after;
            came.extend(all(&ours));
        }
        prop_assert_eq!(came, lengths.iter().map(|&length| frame(length)).collect::<Vec<_>>());
    }
}
