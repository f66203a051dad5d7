use super::*;
use crate::ethernet::sizing::tests::{arp, frame, frames, ipv4};
use crate::frames::MAX_HEADER;

const MAX: usize = 1522;

/// Addresses that read as lengths or types, and some that do not.
const ADDRESSES: [[u8; 6]; 18] = [
    [0xff; 6],
    [0; 6],
    [0, 0, 0, 0, 0, 1],
    [0, 0, 0x5e, 0, 1, 7],
    [0, 0, 1, 0, 0x08, 0x00],
    [0, 0, 0, 0x63, 0x86, 0xdd],
    [0, 3, 0xff, 1, 2, 3],
    [0x0e, 0, 0, 0, 0, 1],
    [0x12, 0, 0, 0, 0, 0x2a],
    [0x2a, 0, 0x08, 0x06, 0x08, 0x00],
    [0x3c, 0, 0, 0x2e, 0x81, 0],
    [0x40, 5, 0, 0x2a, 0x88, 0xcc],
    [0x02, 0, 0, 0, 0, 0x05],
    [0x02, 0, 0, 0, 5, 0xdc],
    [0x52, 0x54, 0, 0x12, 0x34, 0x56],
    [0x90; 6],
    [0x02, 0, 0x90, 0, 0x90, 0],
    [0x33, 0x33, 0, 0, 0, 1],
];

fn framed(framing: Framing, frame: &[u8]) -> Vec<u8> {
    let mut header = [0; MAX_HEADER];
    assert!(framing.write_header(&mut header, frame.len()));
    [&header[..framing.header_len()], frame].concat()
}

/// What a stream is taken for, and after how many bytes, read one byte at a time.
fn recognised(stream: &[u8]) -> Option<(Recognition, usize)> {
    let mut decided = None;
    let mut recogniser = Recogniser::new(MAX);
    for len in 0..=stream.len() {
        let recognition = Recogniser::new(MAX).handle(&stream[..len]);
        assert_eq!(recogniser.handle(&stream[..len]), recognition, "of {len} bytes, one after the other");
        match (recognition, decided) {
            (Recognition::NeedMore(more), None) => assert!(more > len, "{more} of {len}"),
            (recognition, None) => decided = Some((recognition, len)),
            (recognition, Some((first, _))) => assert_eq!(recognition, first, "of {len} bytes"),
        }
    }
    decided
}

/// Whether the unframed reading of a frame is only ever possible.
fn is_plain(frame: &[u8]) -> bool {
    matches!(content(frame), Content::Any)
}

#[test]
fn a_stream_is_recognised_by_the_end_of_its_first_frame_whatever_its_addresses() {
    for (to, from) in ADDRESSES.iter().flat_map(|to| ADDRESSES.map(|from| (to, from))) {
        for mut frame in frames() {
            frame[..6].copy_from_slice(to);
            frame[6..12].copy_from_slice(&from);
            for framing in [Framing::Le16, Framing::Be32, Framing::Unframed] {
                if framing == Framing::Unframed && is_plain(&frame) {
                    continue;
                }
                let stream = framed(framing, &frame);
                let decided = recognised(&stream).map(|(recognition, _)| recognition);
                assert_eq!(decided, Some(Recognition::Framing(framing)), "{framing} {stream:02x?}");
            }
        }
    }
}

#[test]
fn an_unframed_frame_of_a_vague_type_is_recognised_unless_its_destination_reads_as_a_length() {
    for mut frame in frames().into_iter().filter(|frame| is_plain(frame)) {
        for to in [[0xff; 6], [0; 6], [0, 0, 0, 0, 0, 1], [0x52, 0x54, 0, 0x12, 0x34, 0x56]] {
            frame[..6].copy_from_slice(&to);
            let decided = recognised(&frame).map(|(recognition, _)| recognition);
            assert_eq!(decided, Some(Recognition::Framing(Framing::Unframed)), "{frame:02x?}");
        }
    }
}

#[test]
fn a_header_that_comes_alone_decides_nothing() {
    let frame = frame(&[], 0x0800, &ipv4(60));
    for (framing, headers) in [(Framing::Le16, 2), (Framing::Be32, 4), (Framing::Unframed, 14)] {
        let (recognition, len) = recognised(&framed(framing, &frame)).expect("recognised");
        assert_eq!(recognition, Recognition::Framing(framing));
        assert!((headers + 1..=headers + 18).contains(&len), "{framing} after {len} bytes");
    }
}

#[test]
fn frames_of_unknown_types_and_padded_ones_have_a_length_before_them() {
    let unknown = frame(&[], 0x88b5, &[7; 46]);
    let padded = [frame(&[], 0x0806, &arp(6, 4)), vec![0; 18]].concat();
    let garbage_after = [frame(&[], 0x0806, &arp(6, 4)), vec![0xa5; 29]].concat();
    let loopback = frame(&[], 0x9000, &[0; 8]);
    for frame in [unknown, padded, garbage_after, loopback] {
        for framing in [Framing::Le16, Framing::Be32] {
            let decided = recognised(&framed(framing, &frame)).map(|(recognition, _)| recognition);
            assert_eq!(decided, Some(Recognition::Framing(framing)), "{frame:02x?}");
        }
    }
}

#[test]
fn a_padded_frame_bears_its_length_out_whatever_its_addresses() {
    let mut padded = [frame(&[], 0x0806, &arp(6, 4)), vec![0; 18]].concat();
    padded[6..12].copy_from_slice(&[2, 0, 0, 0x26, 0x42, 0x42]);
    let decided = recognised(&framed(Framing::Be32, &padded)).map(|(recognition, _)| recognition);
    assert_eq!(decided, Some(Recognition::Framing(Framing::Be32)), "and not spanning tree's of 38 bytes");
}

#[test]
fn a_whole_unframed_frame_is_not_kept_waiting_for_what_a_length_would_announce() {
    // Read as one of 0x0540 bytes, it is LLDP whose second TLV ends far behind.
    let mut tagged = frame(&[[0x81, 0, 0x88, 0xcc]], 0x0800, &ipv4(60));
    tagged[..6].copy_from_slice(&[0x40, 5, 0, 0, 0, 1]);
    assert_eq!(recognised(&tagged), Some((Recognition::Framing(Framing::Unframed), tagged.len())));
}

#[test]
fn a_length_that_cuts_its_frame_is_none() {
    let stream = [[40, 0].as_slice(), &frame(&[], 0x0800, &ipv4(100))].concat();
    let decided = recognised(&stream).map(|(recognition, _)| recognition);
    assert_eq!(decided, Some(Recognition::None { unframed_type: EtherType(2) }));
}

#[test]
fn what_begins_as_no_framing_is_none_of_them() {
    let none = |unframed_type| Some(Recognition::None { unframed_type: EtherType(unframed_type) });
    let decided = |stream: &[u8]| recognised(stream).map(|(recognition, _)| recognition);
    assert_eq!(decided(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"), none(0x2e31));
    assert_eq!(decided(&frame(&[], 0xabcd, &[0; 46])), none(0xabcd));
    assert_eq!(decided(&[0; 64]), none(0));
    assert_eq!(decided(&[0xff; 64]), none(0xffff));
}

#[test]
fn what_a_reading_has_passed_is_not_looked_at_again() {
    let tags = [[0x81, 0, 0, 1]; 20];
    let chain = [[0x02, 0].repeat(20_000).as_slice(), &[0, 0]].concat();
    let frame = frame(&tags, 0x88cc, &chain);
    for framing in [Framing::Le16, Framing::Be32, Framing::Unframed] {
        let mut stream = framed(framing, &frame);
        let chain_begins = stream.len() - chain.len();
        let mut recogniser = Recogniser::new(frame.len());
        for len in 0..stream.len() {
            let recognition = recogniser.handle(&stream[..len]);
            assert!(matches!(recognition, Recognition::NeedMore(more) if more > len), "{recognition:?}");
            // Here it would end the chain.
            if let Some(passed) = stream.get_mut(chain_begins..len.saturating_sub(8)) {
                passed.fill(0);
            }
        }
        assert_eq!(recogniser.handle(&stream), Recognition::Framing(framing));
    }
}
