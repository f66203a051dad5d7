//! Windows, turns, and what is held.

use std::collections::HashMap;
use std::task::Context;

use hypertap_wire::yamux::{FrameType, INITIAL_WINDOW};

use super::peer::*;
use crate::yamux::session::{Session, Side};
use crate::yamux::settings::YamuxSettings;
use crate::yamux::stream::Stream;

fn held(session: &Session) -> usize {
    session.streams.values().map(|stream| stream.received.memory()).sum()
}

#[test]
fn a_stream_whose_reader_stops_holds_its_window_and_delays_no_other() {
    let (mut client, mut server) = pair();
    let stopped: Vec<_> = (0..16).map(|_| stream(&mut client, &mut server)).collect();
    let other = stream(&mut client, &mut server);
    for _ in 0..20 {
        for id in &stopped {
            write(&mut client, *id, &vec![1; 60_000]).expect("open");
            settle(&mut client, &mut server);
        }
        assert_eq!(write(&mut client, other, &vec![2; 100_000]).expect("open"), 100_000);
        settle(&mut client, &mut server);
        assert_eq!(read(&mut server, other).expect("open").0.len(), 100_000);
    }
    for id in &stopped {
        assert_eq!(server.streams[id].received.len(), INITIAL_WINDOW as usize);
    }
    assert!(held(&server) < 16 * 300_000, "{}", held(&server));
}

#[test]
fn a_writer_waits_for_the_window_and_is_woken_when_half_is_read() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    let window = INITIAL_WINDOW as usize;
    let mut written = 0;
    while written < window {
        written += write(&mut client, id, &vec![3; window]).expect("open");
        settle(&mut client, &mut server);
    }
    assert_eq!(written, window);
    let (count, waker) = Wakes::new();
    assert!(client.poll_write(id, &Context::from_waker(&waker), b"x").is_pending());
    let mut buffer = vec![0; window / 2 - 1];
    assert!(server.poll_read(id, &cx(), &mut buffer).is_ready());
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut client), 0);
    assert!(server.poll_read(id, &cx(), &mut buffer[..1]).is_ready());
    settle(&mut client, &mut server);
    assert_eq!(count.take(&mut client), 1);
    assert_eq!(write(&mut client, id, b"x").expect("open"), 1);
}

#[test]
fn a_window_is_not_enlarged_after_the_end() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    write(&mut client, id, &vec![1; 140_000]).expect("open");
    settle(&mut client, &mut server);
    client.close(id).expect("open");
    settle(&mut client, &mut server);
    read(&mut server, id).expect("open");
    assert!(transmit(&mut server).is_empty());
}

#[test]
fn streams_that_all_want_to_write_get_equal_turns() {
    let (mut client, mut server) = pair();
    let ids: Vec<_> = (0..20).map(|_| stream(&mut client, &mut server)).collect();
    let mut sent: HashMap<u32, usize> = HashMap::new();
    let mut buffer = Vec::new();
    for _ in 0..400 {
        // The first is the greediest: it comes ten times as often, before all others.
        for id in std::iter::repeat_n(&ids[0], 10).chain(&ids) {
            write(&mut client, *id, &vec![0; 30_000]).expect("open");
        }
        client.poll_transmit(&mut buffer);
        assert!(buffer.len() < 200_000, "{}", buffer.len());
        for header in headers(&buffer) {
            *sent.entry(header.stream).or_default() += header.length as usize;
        }
        receive(&mut server, &buffer, 16 << 10).expect("no violation");
        for id in &ids {
            read(&mut server, *id).expect("open");
        }
        let updates = transmit(&mut server);
        receive(&mut client, &updates, 16 << 10).expect("no violation");
    }
    let (least, most) = (sent.values().min().expect("some"), sent.values().max().expect("some"));
    assert!(sent.len() == 20 && *most < 2 * *least, "{least} to {most}");
}

#[test]
fn those_that_want_little_are_let_in_together() {
    let (mut client, mut server) = pair();
    let ids: Vec<_> = (0..101).map(|_| stream(&mut client, &mut server)).collect();
    assert!(write(&mut client, ids[0], &vec![0; 200_000]).expect("open") < 200_000);
    for id in &ids[1..] {
        assert_eq!(write(&mut client, *id, b"little").expect("open"), 0);
    }
    let mut buffer = Vec::new();
    client.poll_transmit(&mut buffer);
    for id in &ids {
        write(&mut client, *id, b"little").expect("open");
    }
    client.poll_transmit(&mut buffer);
    assert!(headers(&buffer).len() > 90, "{}", headers(&buffer).len());
}

#[test]
fn a_turn_that_nobody_uses_stops_nobody() {
    let settings = YamuxSettings { outgoing: 1000, max_frame: 1000, ..Default::default() };
    let (mut client, mut server) = (Session::new(Side::Client, settings), session(Side::Server));
    let ids: Vec<_> = (0..10).map(|_| stream(&mut client, &mut server)).collect();
    let mut buffer = Vec::new();
    let (count, waker) = Wakes::new();
    for id in &ids {
        while client.poll_write(*id, &Context::from_waker(&waker), &[0; 1000]).is_ready() {}
    }
    // All are woken one after the other, and none comes.
    let mut woken = 0;
    while client.poll_transmit(&mut buffer) || !buffer.is_empty() {
        woken += count.take(&mut client);
    }
    woken += count.take(&mut client);
    assert_eq!(woken, 10);
    assert_eq!(write(&mut client, ids[9], &[0; 500]).expect("open"), 500);
    assert_eq!(headers(&transmit(&mut client)).len(), 1);
}

#[test]
fn who_is_late_for_its_turn_is_let_in_before_the_others() {
    let settings = YamuxSettings { outgoing: 1000, max_frame: 1000, ..Default::default() };
    let (mut client, mut server) = (Session::new(Side::Client, settings), session(Side::Server));
    let ids: Vec<_> = (0..3).map(|_| stream(&mut client, &mut server)).collect();
    let mut buffer = Vec::new();
    for id in &ids {
        assert_eq!(write(&mut client, *id, &[0; 2000]).expect("open"), if *id == ids[0] { 1000 } else { 0 });
    }
    client.poll_transmit(&mut buffer);
    client.poll_transmit(&mut buffer);
    assert_eq!(write(&mut client, ids[0], &[0; 500]).expect("open"), 500);
    assert_eq!(headers(&transmit(&mut client)).len(), 1);
}

#[test]
fn the_driver_is_woken_once_for_all_that_is_written_while_it_sleeps() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    let (count, waker) = Wakes::new();
    client.set_driver(&Context::from_waker(&waker));
    transmit(&mut client);
    for _ in 0..5 {
        write(&mut client, id, b"x").expect("open");
    }
    assert_eq!(count.take(&mut client), 1);
    let mut buffer = Vec::new();
    client.poll_transmit(&mut buffer);
    write(&mut client, id, b"x").expect("open");
    assert_eq!(count.take(&mut client), 0, "it is not done with the last");
    client.poll_transmit(&mut buffer);
    client.poll_transmit(&mut buffer);
    write(&mut client, id, b"x").expect("open");
    assert_eq!(count.take(&mut client), 1);
}

#[test]
fn streams_that_have_moved_much_and_are_idle_hold_nothing() {
    let (mut client, mut server) = pair();
    let data = vec![5; 100_000];
    for _ in 0..500 {
        let id = stream(&mut client, &mut server);
        let mut moved = 0;
        while moved < 1 << 20 {
            write(&mut client, id, &data).expect("open");
            settle(&mut client, &mut server);
            moved += read(&mut server, id).expect("open").0.len();
            settle(&mut client, &mut server);
        }
    }
    assert_eq!((held(&client), held(&server)), (0, 0));
    assert!(size_of::<Stream>() < 512, "{}", size_of::<Stream>());
}

#[test]
fn large_writes_are_large_frames_and_small_ones_are_joined() {
    let (mut client, mut server) = pair();
    let id = stream(&mut client, &mut server);
    for _ in 0..1000 {
        write(&mut client, id, &[0; 100]).expect("open");
    }
    let bytes = transmit(&mut client);
    assert_eq!(headers(&bytes).len(), 2, "100,000 bytes in frames of 64 KiB");
    assert!(headers(&bytes).iter().all(|header| header.kind == FrameType::Data));
}
