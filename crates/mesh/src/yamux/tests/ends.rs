//! How streams end.

use hypertap_wire::yamux::{Flags, FrameType};

use super::peer::*;
use crate::yamux::error::{SessionError, StreamError};
use std::task::{Context, Poll};

#[test]
fn the_end_comes_after_all_data_and_the_other_direction_goes_on() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    write(&mut client, id, b"question").expect("open");
    client.close(id).expect("open");
    settle(&mut client, &mut server);
    assert_eq!(read(&mut server, id).expect("open"), (b"question".to_vec(), true));
    assert!(matches!(write(&mut client, id, b"more"), Err(StreamError::Closed)));
    for _ in 0..100 {
        write(&mut server, id, &vec![7; 50_000]).expect("half open");
        settle(&mut client, &mut server);
        assert_eq!(read(&mut client, id).expect("half open"), (vec![7; 50_000], false));
    }
    server.close(id).expect("half open");
    settle(&mut client, &mut server);
    assert_eq!(read(&mut client, id).expect("closed"), (vec![], true));
}

#[test]
fn the_end_is_a_frame_of_its_own() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    write(&mut client, id, b"all").expect("open");
    client.close(id).expect("open");
    assert_eq!(flags(&transmit(&mut client)), [(id, Flags::NONE), (id, Flags::FIN)]);
}

#[test]
fn a_reset_is_seen_at_once_by_the_writer_and_by_the_reader_after_what_came_before() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    write(&mut client, id, b"last words").expect("open");
    client.forget(id);
    settle(&mut client, &mut server);
    assert!(matches!(write(&mut server, id, b"x"), Err(StreamError::Reset)));
    assert!(matches!(server.poll_read(id, &cx(), &mut []), Poll::Ready(Err(StreamError::Reset))));
    let mut room = [0; 100];
    assert!(matches!(server.poll_read(id, &cx(), &mut room), Poll::Ready(Ok(10))));
    assert_eq!(room[..10], *b"last words");
    assert!(matches!(read(&mut server, id), Err(StreamError::Reset)));
    assert!(matches!(server.close(id), Err(StreamError::Reset)));
    server.forget(id);
    assert!(transmit(&mut server).is_empty(), "a reset is not answered");
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[test]
fn a_stream_closed_both_ways_is_forgotten_without_a_reset() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    write(&mut client, id, b"unread").expect("open");
    client.close(id).expect("open");
    server.close(id).expect("open");
    settle(&mut client, &mut server);
    client.forget(id);
    server.forget(id);
    assert!(transmit(&mut client).is_empty() && transmit(&mut server).is_empty());
    assert_eq!((client.streams(), server.streams()), (0, 0));
}

#[test]
fn a_stream_dropped_before_the_peer_closed_its_direction_is_reset() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    client.close(id).expect("open");
    client.forget(id);
    assert_eq!(flags(&transmit(&mut client)), [(id, Flags::FIN), (id, Flags::RST)]);
    let id = stream(&mut client, &mut server);
    server.close(id).expect("open");
    settle(&mut client, &mut server);
    client.forget(id);
    assert_eq!(flags(&transmit(&mut client)), [(id, Flags::RST)]);
}

#[test]
fn a_stream_dropped_before_anything_was_sent_is_never_spoken_of() {
    let (mut client, _) = pair();
    let id = open(&mut client);
    client.forget(id);
    assert!(transmit(&mut client).is_empty());
    assert_eq!((client.streams(), client.unacknowledged), (0, 0));
}

#[test]
fn data_for_a_stream_that_was_dropped_is_passed_over() {
    let (mut client, mut server) = pair();
    let (gone, other) = (stream(&mut client, &mut server), stream(&mut client, &mut server));
    write(&mut client, gone, &vec![1; 100_000]).expect("open");
    write(&mut client, other, b"hello").expect("open");
    let bytes = transmit(&mut client);
    // In the middle of a frame, and of a chunk.
    receive(&mut server, &bytes[..50_000], 5000).expect("no violation");
    server.forget(gone);
    receive(&mut server, &bytes[50_000..], 5000).expect("no violation");
    assert_eq!(read(&mut server, other).expect("open").0, b"hello");
    assert!(server.counters().late_bytes > 40_000);
}

#[test]
fn readers_and_writers_are_woken_by_what_they_wait_for_and_once() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    let (count, waker) = Wakes::new();
    let mut buffer = [0; 10];
    assert!(server.poll_read(id, &Context::from_waker(&waker), &mut buffer).is_pending());
    write(&mut client, id, b"one").expect("open");
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut server), 1);
    write(&mut client, id, b"two").expect("open");
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut server), 0, "it has not asked again");
    read(&mut server, id).expect("open");
    assert!(server.poll_read(id, &Context::from_waker(&waker), &mut buffer).is_pending());
    client.close(id).expect("open");
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut server), 1);
}

#[test]
fn who_was_told_of_the_end_is_woken_by_a_reset_after_it() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    client.close(id).expect("open");
    settle(&mut client, &mut server);
    let (count, waker) = Wakes::new();
    let told = server.poll_read(id, &Context::from_waker(&waker), &mut [0; 10]);
    assert!(matches!(told, Poll::Ready(Ok(0))));
    assert_eq!(count.take(&mut server), 0);
    client.forget(id);
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut server), 1);
    assert!(matches!(read(&mut server, id), Err(StreamError::Reset)));
}

#[test]
fn when_the_connection_ends_what_it_brought_is_still_read() {
    let (mut client, mut server) = pair();
    let (cut, ended) = (stream(&mut client, &mut server), stream(&mut client, &mut server));
    write(&mut client, cut, b"half a").expect("open");
    write(&mut client, ended, b"whole").expect("open");
    client.close(ended).expect("open");
    settle(&mut client, &mut server);
    server.end(SessionError::ClosedByPeer);
    let mut buffer = [0; 10];
    assert!(matches!(server.poll_read(cut, &cx(), &mut buffer), Poll::Ready(Ok(6))));
    assert!(matches!(read(&mut server, cut), Err(StreamError::Session(SessionError::ClosedByPeer))));
    assert_eq!(read(&mut server, ended).expect("ended before"), (b"whole".to_vec(), true));
    assert!(matches!(write(&mut server, ended, b"x"), Err(StreamError::Session(_))));
}

#[test]
fn a_peer_that_goes_away_keeps_the_streams_that_are() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    receive(&mut server, &frame(FrameType::GoAway, Flags::NONE, 0, 0), 100).expect("normal");
    assert!(matches!(
        server.poll_open(&cx()),
        Poll::Ready(Err(crate::yamux::error::OpenError::PeerGoesAway))
    ));
    write(&mut server, id, b"still here").expect("open");
    settle(&mut client, &mut server);
    assert_eq!(read(&mut client, id).expect("open").0, b"still here");
    let given_up = receive(&mut server, &frame(FrameType::GoAway, Flags::NONE, 0, 2), 100);
    assert!(matches!(given_up, Err(SessionError::GivenUpByPeer(2))));
}
