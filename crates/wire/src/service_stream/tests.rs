use super::*;
use crate::icmp::Unreachable;
use crate::label::{Label, LabelError};
use crate::message::{Message, Reader};
use crate::service_address::ServiceId;
use proptest::prelude::*;
use std::fmt::Debug;

fn read<M: Message>(mut bytes: &[u8]) -> Result<Option<M>, M::Error> {
    Reader::new().push(&mut bytes)
}

/// Reads a message with something else behind it, in pieces, and yields the something else too.
fn read_in_pieces<M: Message<Error: Debug>>(bytes: &[u8], size: usize) -> (M, Vec<u8>) {
    let mut reader = Reader::<M>::new();
    let mut pieces = bytes.chunks(size);
    loop {
        let mut piece = pieces.next().expect("the message is whole in the end");
        assert!((1..=bytes.len()).contains(&reader.missing().unwrap()));
        if let Some(message) = reader.push(&mut piece).unwrap() {
            assert!(!reader.has_begun());
            return (message, [piece.to_vec(), pieces.flatten().copied().collect()].concat());
        }
        assert!(piece.is_empty() && reader.has_begun());
    }
}

fn web() -> Opening {
    let name: Label = "web".parse().unwrap();
    Opening {
        service: ServiceId::of(&name),
        name: Some(name),
        client_port: 0x8001,
        port: 80.try_into().unwrap(),
        protocol: Protocol::Tcp,
    }
}

#[test]
fn plain_messages_are_the_bytes_that_the_network_speaks() {
    assert_eq!(PlainOpening(ServiceId([0x3b, 0x9b])).emit(), [0x3b, 0x9b]);
    for (reply, byte) in
        [(Ok(()), 0xf1), (Err(Refusal::NoSuchService), 0xf2), (Err(Refusal::NotAuthorised), 0xf3)]
    {
        assert_eq!(PlainReply(reply).emit(), [byte]);
        assert_eq!(read(&[byte, 9]), Ok(Some(PlainReply(reply))));
    }
    assert_eq!(PlainReply(Err(Refusal::TargetRefused)).emit(), [0xf2]);
    assert_eq!(read::<PlainReply>(&[0]), Err(UnknownStatus(0)));
}

#[test]
fn an_id_that_comes_byte_by_byte_is_whole_with_its_second() {
    let mut reader = Reader::<PlainOpening>::new();
    assert_eq!(reader.push(&mut [0x3b].as_slice()), Ok(None));
    assert_eq!(reader.missing(), Ok(1));
    let mut rest = [0x9b, 7].as_slice();
    assert_eq!(reader.push(&mut rest), Ok(Some(PlainOpening(ServiceId([0x3b, 0x9b])))));
    assert_eq!(rest, [7]);
}

#[test]
fn messages_are_the_bytes_that_their_page_says() {
    assert_eq!(web().emit(), b"\0\x0b\x3b\x9b\x80\x01\0\x50\x06\x03web");
    assert_eq!(Reply(Ok(())).emit(), [0, 1, 0]);
    assert_eq!(Reply(Err(Refusal::NotAuthorised)).emit(), [0, 1, 2]);
    let names = ["web", "ssh"].map(|name| name.parse().unwrap()).to_vec();
    assert_eq!(ServiceNames::new(names).unwrap().emit(), b"\0\x0a\0\x02\x03web\x03ssh");
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let opening = b"\0\x0e\x3b\x9b\x80\x01\0\x50\x06\x03webnew";
    assert_eq!(read_in_pieces(&[opening.as_slice(), b"data"].concat(), 3), (web(), b"data".to_vec()));
    assert_eq!(read(&[0, 3, 0, 7, 7]), Ok(Some(Reply(Ok(())))));
    assert_eq!(read(&[0, 2, 200, 7]), Ok(Some(Reply(Err(Refusal::Other(200))))));
    let names = read::<ServiceNames>(b"\0\x07\0\x01\x02ab\xff\xff").unwrap().unwrap();
    assert_eq!(names.into_names(), [Label::new("ab").unwrap()]);
}

#[test]
fn what_is_no_opening_is_named() {
    for (bytes, error) in [
        (b"\0\x07".as_slice(), OpeningError::BadLength(7)),
        (b"\x02\x01", OpeningError::BadLength(513)),
        (b"\xff\xff", OpeningError::BadLength(65535)),
        (b"\0\x0a\x3b\x9b\x80\x01\0\x50\x06\x03we", OpeningError::NameCut),
        (b"\0\x0b\x3b\x9b\x80\x01\0\x50\x06\x03w.b", OpeningError::BadName(LabelError::BadCharacter('.'))),
        (b"\0\x0b\x3b\x9b\x80\x01\0\x50\x06\x03w\xff\xffb", OpeningError::NotText),
        (b"\0\x0b\x3b\x9c\x80\x01\0\x50\x06\x03web", OpeningError::OtherName),
        (b"\0\x0b\x3b\x9b\x80\x01\0\0\x06\x03web", OpeningError::NoPort),
        (b"\0\x0b\x3b\x9b\x80\x01\0\x50\x84\x03web", OpeningError::UnknownProtocol(132)),
    ] {
        let mut reader = Reader::<Opening>::new();
        assert_eq!(reader.push(&mut &bytes[..]), Err(error), "{bytes:?}");
        assert_eq!(reader.push(&mut [0; 9].as_slice()), Err(error), "and so it stays");
    }
    assert_eq!(read::<Reply>(&[0, 0]), Err(ReplyError(0)));
    assert_eq!(read::<Reply>(&[1, 0]), Err(ReplyError(256)));
}

#[test]
fn what_is_no_list_of_names_is_named() {
    for (bytes, error) in [
        (b"\0\x01".as_slice(), NamesError::TooShort(1)),
        (b"\0\x02\0\x01", NamesError::Cut),
        (b"\0\x04\0\x01\x02a", NamesError::Cut),
        (b"\0\x04\0\x01\x01\xff", NamesError::NotText),
        (b"\0\x03\0\x01\0", NamesError::BadName(LabelError::Empty)),
        (b"\0\x02\x03\xe9", NamesError::TooMany(1001)),
    ] {
        assert_eq!(read::<ServiceNames>(bytes), Err(error), "{bytes:?}");
    }
}

#[test]
fn the_longest_list_of_the_longest_names_can_be_told() {
    let names = vec![Label::new(&"x".repeat(63)).unwrap(); MAX_NAMES];
    let list = ServiceNames::new(names.clone()).unwrap();
    assert_eq!(read(&list.emit()), Ok(Some(list)));
    let more = [names, vec![Label::new("y").unwrap()]].concat();
    assert_eq!(ServiceNames::new(more), Err(TooManyNames(1001)));
}

#[test]
fn refusals_have_a_code_and_an_answer_each() {
    for code in 0..=u8::MAX {
        assert_eq!(Refusal::from_code(code).map_or(0, Refusal::code), code);
    }
    assert_eq!(Refusal::from_code(8), Some(Refusal::Busy));
    assert_eq!(Refusal::from_code(9), Some(Refusal::Other(9)));
    for (refusal, answer) in [
        (Refusal::NoSuchService, Answer::Reset),
        (Refusal::TargetRefused, Answer::Reset),
        (Refusal::CheckFailing, Answer::Reset),
        (Refusal::NotAuthorised, Answer::Unreachable(Unreachable::Prohibited)),
        (Refusal::TargetUnreachable, Answer::Unreachable(Unreachable::Host)),
        (Refusal::TimedOut, Answer::Unreachable(Unreachable::Host)),
    ] {
        assert_eq!(refusal.answer(), answer);
    }
}

proptest! {
    #[test]
    fn an_opening_is_read_back_whatever_the_cuts(
        id: [u8; 2], client_port: u16, port in 1..=u16::MAX, udp: bool,
        name in prop::option::of("[a-z0-9_]{1,63}"), after in prop::collection::vec(any::<u8>(), 0..20),
        size in 1..100_usize,
    ) {
        let name = name.map(|name| Label::new(&name).unwrap());
        let opening = Opening {
            service: name.as_ref().map_or(ServiceId(id), ServiceId::of),
            name,
            client_port,
            port: port.try_into().unwrap(),
            protocol: if udp { Protocol::Udp } else { Protocol::Tcp },
        };
        let stream = [opening.emit(), after.clone()].concat();
        prop_assert_eq!(read_in_pieces(&stream, size), (opening, after));
    }

    #[test]
    fn lists_of_names_follow_each_other(
        lists in prop::collection::vec(prop::collection::vec("[a-z]{1,9}", 0..9), 1..4), size in 1..50_usize,
    ) {
        let lists = lists.into_iter().map(|names| {
            ServiceNames::new(names.iter().map(|name| Label::new(name).unwrap()).collect()).unwrap()
        });
        let lists: Vec<_> = lists.collect();
        let stream: Vec<u8> = lists.iter().flat_map(Message::emit).collect();
        let (mut reader, mut read) = (Reader::<ServiceNames>::new(), Vec::new());
        for mut piece in stream.chunks(size) {
            while let Some(list) = reader.push(&mut piece).unwrap() {
                read.push(list);
            }
        }
        prop_assert_eq!(read, lists);
    }
}
