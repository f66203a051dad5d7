//! How streams are opened, and how many.

use std::task::{Context, Poll};

use hypertap_wire::yamux::{Flags, FrameType};

use super::peer::*;
use crate::yamux::error::{OpenError, StreamError};
use crate::yamux::session::{ACK_BACKLOG, Session, Side};
use crate::yamux::settings::YamuxSettings;

#[test]
fn a_stream_is_opened_by_its_first_data_and_accepted_by_the_first_answer() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    assert!(transmit(&mut client).is_empty(), "nothing to say yet");
    write(&mut client, id, b"hello").expect("open");
    let bytes = transmit(&mut client);
    assert_eq!(flags(&bytes), [(id, Flags::SYN)]);
    receive(&mut server, &bytes, 7).expect("no violation");
    assert_eq!(accept(&mut server), Some(id));
    write(&mut server, id, b"hello").expect("open");
    let bytes = transmit(&mut server);
    assert_eq!(flags(&bytes), [(id, Flags::ACK)]);
    receive(&mut client, &bytes, 7).expect("no violation");
    assert_eq!(client.unacknowledged, 0);
}

#[test]
fn who_waits_for_the_peer_to_speak_first_lets_it_know() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    read(&mut client, id).expect("open");
    settle(&mut client, &mut server);
    assert_eq!(accept(&mut server), Some(id));
}

#[test]
fn an_accepted_stream_is_acknowledged_though_nobody_writes() {
    let (mut client, mut server) = pair();
    let id = open(&mut client);
    client.flush(id).expect("open");
    receive(&mut server, &transmit(&mut client), 100).expect("no violation");
    assert!(transmit(&mut server).is_empty(), "not accepted yet");
    let (count, waker) = Wakes::new();
    server.set_driver(&Context::from_waker(&waker));
    accept(&mut server).expect("a stream");
    assert_eq!(count.take(&mut server), 1);
    let mut buffer = Vec::new();
    assert!(server.poll_transmit(&mut buffer) && buffer.is_empty(), "an answer may still carry it");
    assert!(!server.poll_transmit(&mut buffer));
    assert_eq!(flags(&buffer), [(id, Flags::ACK)]);
}

#[test]
fn opening_waits_while_too_many_are_not_accepted() {
    let (mut client, mut server) = pair();
    for _ in 0..ACK_BACKLOG {
        let id = open(&mut client);
        client.flush(id).expect("open");
    }
    let (count, waker) = Wakes::new();
    assert!(client.poll_open(&Context::from_waker(&waker)).is_pending());
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut client), 0);
    let id = accept(&mut server).expect("a stream");
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut client), 1);
    open(&mut client);
    assert!(client.poll_open(&Context::from_waker(&waker)).is_pending());
    let refused = accept(&mut server).expect("a stream");
    server.forget(refused);
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut client), 1, "one that is reset is not waited for");
    client.forget(id);
    open(&mut client);
}

#[test]
fn a_stream_above_the_limit_is_reset_alone() {
    let mut client = session(Side::Client);
    let mut server = Session::new(Side::Server, YamuxSettings { max_streams: 3, ..Default::default() });
    let ids: Vec<_> = (0..4).map(|_| open(&mut client)).collect();
    for id in &ids {
        write(&mut client, *id, b"hello").expect("open");
    }
    settle(&mut client, &mut server);
    assert!(matches!(read(&mut client, ids[3]), Err(StreamError::Reset)));
    for id in &ids[..3] {
        assert_eq!(accept(&mut server), Some(*id));
        assert_eq!(read(&mut server, *id).expect("open").0, b"hello");
    }
    assert_eq!((accept(&mut server), server.counters().refused), (None, 1));
    assert!(matches!(server.poll_open(&cx()), Poll::Ready(Err(OpenError::TooMany(3)))));
    server.forget(ids[0]);
    open(&mut server);
}

#[test]
fn ids_are_used_once_and_their_end_ends_nothing() {
    let (mut client, mut server) = pair();
    let first = stream(&mut client, &mut server);
    client.forget(first);
    assert_ne!(open(&mut client), first);
    client.next_id = Some(u32::MAX);
    let last = open(&mut client);
    assert_eq!(last, u32::MAX);
    assert!(matches!(client.poll_open(&cx()), Poll::Ready(Err(OpenError::Exhausted))));
    write(&mut client, last, b"hello").expect("open");
    settle(&mut client, &mut server);
    assert_eq!(accept(&mut server), Some(last));
    assert_eq!(read(&mut server, last).expect("open").0, b"hello");
}

#[test]
fn both_sides_open_at_once() {
    let (mut client, mut server) = pair();
    let (odd, even) = (open(&mut client), open(&mut server));
    assert_eq!((odd, even), (1, 2));
    client.flush(odd).expect("open");
    server.flush(even).expect("open");
    settle(&mut client, &mut server);
    assert_eq!((accept(&mut client), accept(&mut server)), (Some(even), Some(odd)));
}

#[test]
fn streams_beyond_what_is_accepted_are_reset_and_their_number_stays_bounded() {
    let mut server = session(Side::Server);
    for id in 0..5000 {
        let syn = frame(FrameType::Data, Flags::SYN, 2 * id + 1, 1);
        receive(&mut server, &syn, 100).expect("no violation");
    }
    assert!(server.streams() < 2000, "{}", server.streams());
    assert_eq!(server.counters().refused + server.streams() as u64, 5000);
}

#[test]
fn a_stream_reset_before_it_is_accepted_is_never_seen() {
    let (mut client, mut server) = pair();
    let (gone, here) = (open(&mut client), open(&mut client));
    write(&mut client, gone, b"x").expect("open");
    write(&mut client, here, b"x").expect("open");
    client.forget(gone);
    settle(&mut client, &mut server);
    assert_eq!((accept(&mut server), accept(&mut server)), (Some(here), None));
    assert_eq!((server.streams(), server.counters().reset_early), (1, 1));
}
