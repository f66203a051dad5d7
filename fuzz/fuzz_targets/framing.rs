//! The framed stream: whatever the cuts, the same packets come out, and framing them again gives
//! the stream that went in.
//!
//! Input: how many packets a batch holds (u8), the number of cuts (u8), that many cuts (u8 each,
//! taken in turn; zero stands for all there is room for), then the stream.
#![no_main]

use hypertap_fuzz::Input;
use hypertap_wire::batch::Batch;
use hypertap_wire::framing::{Deframer, FRAME_HEADER, FramingError, frame};
use libfuzzer_sys::fuzz_target;

/// The packets of a stream, read in the plainest way.
fn plainly(mut stream: &[u8]) -> Vec<&[u8]> {
    let mut packets = Vec::new();
    while let [high, low, rest @ ..] = stream {
        let len = usize::from(*high) << 8 | usize::from(*low);
        let Some((packet, rest)) = rest.split_at_checked(len) else { break };
        packets.push(packet);
        stream = rest;
    }
    packets
}

fn in_pieces(mut stream: &[u8], cuts: &[u8], batch_packets: usize) -> Vec<Vec<u8>> {
    let mut deframer = Deframer::new(0, batch_packets);
    let mut packets = Vec::new();
    let mut cuts = cuts.iter().cycle();
    while !stream.is_empty() {
        let room = deframer.room();
        assert!(!room.is_empty(), "a reader would see the end of the stream");
        let most = room.len().min(stream.len());
        let len = match cuts.next() {
            None | Some(0) => most,
            Some(cut) => usize::from(*cut).min(most),
        };
        let (piece, rest) = stream.split_at(len);
        room[..len].copy_from_slice(piece);
        stream = rest;
        deframer.advance(len).expect("it fitted the room");
        while let Some(batch) = deframer.next_batch() {
            assert!((1..=batch_packets).contains(&batch.len()), "{} packets", batch.len());
            packets.extend(batch.iter().map(<[u8]>::to_vec));
        }
    }
    let room = deframer.room().len();
    assert_eq!(deframer.advance(room + 1), Err(FramingError::Overrun));
    packets
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let batch_packets = usize::from(input.u8()).max(1);
    let cut_count = usize::from(input.u8() % 16);
    let cuts = input.take(cut_count);
    let stream = input.0;

    let packets = plainly(stream);
    assert_eq!(in_pieces(stream, cuts, batch_packets), packets);

    let mut batch = Batch::with_prefix(stream.len(), packets.len(), FRAME_HEADER);
    for packet in &packets {
        assert!(batch.push(packet), "the batch is as large as the stream");
    }
    frame(&mut batch);
    assert!(stream.starts_with(batch.taken()));
});
