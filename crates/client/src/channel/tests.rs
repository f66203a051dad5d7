use super::*;
use proptest::prelude::*;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use std::os::unix::net::UnixStream;

fn pair(type_: SocketType, kind: impl Fn() -> Kind) -> (Channel, Channel) {
    let (left, right) = socketpair(AddressFamily::UNIX, type_, SocketFlags::CLOEXEC, None).expect("a pair");
    (Channel::new(left, kind()).expect("a channel"), Channel::new(right, kind()).expect("a channel"))
}

fn all(channel: &Channel) -> Vec<Vec<u8>> {
    let mut buffer = vec![0; MAX_LENGTH];
    std::iter::from_fn(|| match channel.receive(&mut buffer) {
        Ok(length) => Some(buffer[..length].to_vec()),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
            None
        }
    })
    .collect()
}

#[test]
fn packets_arrive_one_by_one_on_either_kind_of_socket() {
    for (left, right) in
        [pair(SocketType::SEQPACKET, || Kind::Messages), pair(SocketType::STREAM, Kind::frames)]
    {
        assert_eq!(left.send(&[b"a", b"bc", b"def"]).expect("room"), 3);
        assert_eq!(left.send(&[b"g"]).expect("room"), 1);
        assert_eq!(all(&right), [&b"a"[..], b"bc", b"def", b"g"]);
        assert_eq!(right.receive(&mut [0; 4]).expect_err("empty").kind(), ErrorKind::WouldBlock);
        drop(left);
        assert_eq!(right.receive(&mut [0; 4]).expect_err("ended").kind(), ErrorKind::UnexpectedEof);
        assert_eq!(right.send(&[b"x"]).expect_err("ended").kind(), ErrorKind::BrokenPipe);
    }
}

#[test]
fn a_packet_that_does_not_fit_is_lost_alone() {
    for (left, right) in
        [pair(SocketType::SEQPACKET, || Kind::Messages), pair(SocketType::STREAM, Kind::frames)]
    {
        assert_eq!(left.send(&[b"long", b"ok"]).expect("room"), 2);
        let mut buffer = [0; 2];
        assert_eq!(right.receive(&mut buffer).expect_err("too long").kind(), ErrorKind::InvalidInput);
        assert_eq!((right.receive(&mut buffer).expect("the next"), &buffer), (2, b"ok"));
    }
}

#[test]
fn what_would_end_the_stream_is_not_sent() {
    let (left, right) = pair(SocketType::STREAM, Kind::frames);
    let long = vec![0; MAX_LENGTH + 1];
    for bad in [&[][..], &long] {
        assert_eq!(left.send(&[bad]).expect_err("no packet").kind(), ErrorKind::InvalidInput);
        assert_eq!(left.send(&[b"ok", bad]).expect("the first is one"), 1);
    }
    assert_eq!(all(&right), [b"ok", b"ok"]);
}

#[test]
fn a_frame_that_was_cut_is_ended_before_the_next() {
    let (left, right) = pair(SocketType::STREAM, Kind::frames);
    let packets: Vec<Vec<u8>> = (0..200_u16).map(|number| number.to_be_bytes().repeat(20_000)).collect();
    let (mut sent, mut received) = (0, Vec::new());
    while sent < packets.len() {
        match left.send(&[&packets[sent]]) {
            Ok(taken) => sent += taken,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                received.extend(all(&right));
            }
        }
    }
    while received.len() < packets.len() {
        let flushed = left.flush();
        received.extend(all(&right));
        assert!(flushed.is_ok() || received.len() < packets.len());
    }
    assert!(received == packets, "200 packets of 40,000 bytes, each whole and in its place");
}

#[test]
fn an_empty_frame_is_passed_over() {
    let (left, right) = UnixStream::pair().expect("a pair");
    let right = Channel::new(right.into(), Kind::frames()).expect("a channel");
    assert_eq!(send(&left, b"\0\0\0\x01a\0\0\0\x01b", SEND).expect("room"), 10);
    let mut packet = [0; 4];
    for expected in [b'a', b'b'] {
        assert_eq!((right.receive(&mut packet).expect("whole"), packet[0]), (1, expected));
    }
}

proptest! {
    #[test]
    fn any_batch_comes_out_as_it_went_in(lengths in prop::collection::vec(1..3000_usize, 1..40)) {
        let packets: Vec<Vec<u8>> = lengths.iter().enumerate().map(|(at, len)| vec![u8::try_from(at).unwrap(); *len]).collect();
        let borrowed: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        for (left, right) in [pair(SocketType::SEQPACKET, || Kind::Messages), pair(SocketType::STREAM, Kind::frames)] {
            let mut sent = 0;
            let mut received = Vec::new();
            while sent < borrowed.len() {
                match left.send(&borrowed[sent..]) {
                    Ok(taken) => sent += taken,
                    Err(error) => prop_assert_eq!(error.kind(), ErrorKind::WouldBlock),
                }
                received.extend(all(&right));
            }
            while left.flush().is_err() || received.len() < packets.len() {
                received.extend(all(&right));
            }
            prop_assert_eq!(&received, &packets);
        }
    }
}
