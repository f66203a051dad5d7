//! What begins the streams between nodes: whatever the cuts, the same messages come out, no more is
//! taken than theirs, and writing them again gives messages that read the same.
//!
//! Input: a byte that chooses the message (see the end), the size of the pieces in which the bytes
//! arrive (u8; zero is one), then the bytes.
#![no_main]

use std::fmt::Debug;

use hypertap_fuzz::Input;
use hypertap_wire::message::{Message, Reader};
use hypertap_wire::packet_stream::{self, MAX_LENGTH, PacketDeframer, PacketStreamError};
use hypertap_wire::proxy_protocol::{MAX_HEADER, ProxyHeader};
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::{
    Item, ItemReader, MAX_NAMES, Opening, PlainOpening, PlainReply, Refusal, Reply, ServiceNames,
};
use hypertap_wire::yamux::{FrameHeader, FrameType, HEADER};
use libfuzzer_sys::fuzz_target;

/// All messages of a stream, and the error that ended it.
type Read<M> = (Vec<M>, Option<<M as Message>::Error>);

fn read<'a, M>(pieces: impl Iterator<Item = &'a [u8]>) -> Read<M>
where
    M: Message<Error: Debug + PartialEq>,
{
    let (mut reader, mut messages) = (Reader::<M>::new(), Vec::new());
    for mut piece in pieces {
        loop {
            let before = piece.len();
            let missing = reader.missing();
            match reader.push(&mut piece) {
                Ok(Some(message)) => {
                    assert!(!reader.has_begun());
                    assert!(before - piece.len() >= missing.expect("it went on"), "not enough for a message");
                    messages.push(message);
                }
                Ok(None) => {
                    assert!(piece.is_empty(), "something was left");
                    assert!((1..=2 + usize::from(u16::MAX)).contains(&reader.missing().expect("it goes on")));
                    break;
                }
                Err(error) => {
                    let again = reader.push(&mut [0; 9].as_slice());
                    assert!(again.is_err_and(|again| again == error), "and so it stays");
                    return (messages, Some(error));
                }
            }
        }
    }
    (messages, None)
}

fn check<M>(bytes: &[u8], size: usize, check: impl Fn(&M))
where
    M: Message<Error: Debug + PartialEq> + Debug + PartialEq,
{
    let whole = read::<M>(std::iter::once(bytes));
    assert_eq!(read::<M>(bytes.chunks(size)), whole, "the cuts made a difference");
    let written: Vec<u8> = whole.0.iter().flat_map(Message::emit).collect();
    assert!(written.len() <= bytes.len(), "less than what was read says it");
    for message in &whole.0 {
        check(message);
    }
    assert_eq!(read::<M>(std::iter::once(written.as_slice())), (whole.0, None));
}

fn check_refusal(result: Result<(), Refusal>) {
    if let Err(refusal) = result {
        assert_ne!(refusal.code(), 0);
        assert_eq!(Refusal::from_code(refusal.code()), Some(refusal));
    }
}

fn check_opening(opening: &Opening) {
    if let Some(name) = &opening.name {
        assert_eq!(ServiceId::of(name), opening.service);
        assert_eq!(name.as_str(), name.as_str().to_lowercase());
    }
}

/// The packets of a peer's stream, read in the plainest way, and the length that ended it.
fn plainly(mut stream: &[u8]) -> (Vec<&[u8]>, Option<u16>) {
    let mut packets = Vec::new();
    while let [low, high, rest @ ..] = stream {
        let len = u16::from(*high) << 8 | u16::from(*low);
        if !(1..=1420).contains(&len) {
            return (packets, Some(len));
        }
        let Some((packet, rest)) = rest.split_at_checked(len.into()) else { break };
        packets.push(packet);
        stream = rest;
    }
    (packets, None)
}

fn check_packets(stream: &[u8], size: usize) {
    let (wanted, end) = plainly(stream);
    let (mut deframer, mut packets, mut error) = (PacketDeframer::new(0, 1 + size % 7), Vec::new(), None);
    'stream: for mut piece in stream.chunks(size) {
        while !piece.is_empty() {
            let room = deframer.room();
            assert!(!room.is_empty(), "a reader would see the end of the stream");
            let (taken, rest) = piece.split_at(piece.len().min(room.len()));
            room[..taken.len()].copy_from_slice(taken);
            piece = rest;
            deframer.advance(taken.len()).expect("it fitted the room");
            loop {
                match deframer.next_batch() {
                    Ok(Some(batch)) => packets.extend(batch.iter().map(<[u8]>::to_vec)),
                    Ok(None) => break,
                    Err(end) => {
                        error = Some(end);
                        break 'stream;
                    }
                }
            }
        }
    }
    assert_eq!(packets, wanted);
    assert_eq!(error, end.map(PacketStreamError::BadLength));

    let mut batch = packet_stream::batch(packets.len());
    assert!(packets.iter().all(|packet| batch.push(packet)), "the batch is large enough");
    assert!(packet_stream::frame(&mut batch));
    assert!(batch.lengths().all(|len| len <= usize::from(MAX_LENGTH)));
    assert!(stream.starts_with(batch.taken()));
}

fn check_headers(bytes: &[u8]) {
    if let Ok((header, rest)) = ProxyHeader::parse(bytes) {
        assert!(bytes.ends_with(rest));
        let written = header.emit();
        assert!(written.len() <= MAX_HEADER && written.len() <= bytes.len() - rest.len());
        assert_eq!(ProxyHeader::parse(&[&written, rest].concat()), Ok((header, rest)));
    }
    if let Some(bytes) = bytes.first_chunk::<HEADER>()
        && let Ok(header) = FrameHeader::parse(bytes)
    {
        assert_eq!(&header.emit(), bytes);
        assert_eq!(header.body_length() > 0, header.kind == FrameType::Data && header.length > 0);
    }
}

/// The items of a UDP service's stream, and whether something that is none ended it.
fn items<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Option<Vec<u8>>>, bool) {
    let (mut reader, mut items) = (ItemReader::new(), Vec::new());
    for piece in pieces {
        let each = |item: Item<'_>| {
            items.push(match item {
                Item::Datagram(data) => Some(data.to_vec()),
                Item::Refused => None,
            });
        };
        if reader.read(piece, each).is_err() {
            return (items, true);
        }
    }
    (items, false)
}

fn check_items(bytes: &[u8], size: usize) {
    let whole = items(std::iter::once(bytes));
    assert_eq!(items(bytes.chunks(size)), whole, "the cuts made a difference");
    let mut written = Vec::new();
    for item in &whole.0 {
        item.as_deref().map_or(Item::Refused, Item::Datagram).write(&mut written);
    }
    assert!(bytes.starts_with(&written), "each is written as it was read");
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (choice, size) = (input.u8(), usize::from(input.u8().max(1)));
    let bytes = input.0;
    match choice % 8 {
        0 => check::<PlainOpening>(bytes, size, |_| ()),
        1 => check::<PlainReply>(bytes, size, |reply| check_refusal(reply.0)),
        2 => check::<Opening>(bytes, size, check_opening),
        3 => check::<Reply>(bytes, size, |reply| check_refusal(reply.0)),
        4 => check::<ServiceNames>(bytes, size, |names| assert!(names.names().len() <= MAX_NAMES)),
        5 => check_packets(bytes, size),
        6 => check_items(bytes, size),
        _ => check_headers(bytes),
    }
});
