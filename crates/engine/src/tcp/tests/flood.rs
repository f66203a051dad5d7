//! Many: SYNs, ports, flows.

use std::time::Duration;

use super::super::flow::Flow;
use super::super::segment::{ACK, Fields, RST, SYN};
use super::super::{Event, Refusal, TcpSettings};
use super::raw::{Hand, Raw, key};
use super::settings;

/// That a connection still carries bytes both ways.
fn assert_alive(raw: &mut Raw, hand: &mut Hand) {
    raw.send(&hand.key, &hand.fields(ACK, b"ping"));
    hand.seq = hand.seq.wrapping_add(4);
    assert_eq!(raw.tcp.peek(hand.flow), b"ping");
    raw.tcp.consume(raw.now, hand.flow, 4);
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"pong"), 4);
    let (segment, bytes) = raw.segments().pop().expect("an answer");
    assert_eq!((segment.seq, segment.ack, &bytes[..]), (hand.ack, hand.seq, &b"pong"[..]));
    hand.ack = hand.ack.wrapping_add(4);
    raw.send(&hand.key, &hand.fields(ACK, b""));
    raw.packets();
    raw.events();
}

#[test]
fn a_syn_flood_is_bounded_and_harms_nobody() {
    let mut raw = Raw::new(settings());
    let mut live = raw.open(&key(false, 0), 7);
    for number in 1..=100_000 {
        raw.send(&key(false, number), &Fields { seq: number, flags: SYN, window: 100, ..Fields::default() });
    }
    let counters = raw.tcp.counters();
    assert_eq!((counters.half_open, counters.flows), (4096, 4097));
    assert_eq!(counters.refused_syns, 100_000 - 4096);
    let asked = raw.events();
    assert_eq!(asked.len(), 4096);
    assert_alive(&mut raw, &mut live);

    for event in asked {
        if let Event::Syn { flow, .. } = event {
            raw.tcp.accept(raw.now, flow);
        }
    }
    raw.pass(Duration::from_secs(70));
    assert_eq!((raw.tcp.counters().half_open, raw.tcp.counters().flows), (0, 1));
    assert_alive(&mut raw, &mut live);
    raw.open(&key(false, 70_000), 1);
}

#[test]
fn a_scan_of_all_ports_leaves_nothing() {
    let mut raw = Raw::new(settings());
    let mut live = raw.open(&key(true, 0), 7);
    let mut resets = 0;
    for port in 1..=u16::MAX {
        let scanned = super::super::segment::Key { local_port: port, ..key(true, 1) };
        raw.send(&scanned, &Fields { seq: 1, flags: SYN, window: 100, ..Fields::default() });
        for event in raw.events() {
            if let Event::Syn { flow, .. } = event {
                raw.tcp.refuse(flow, Refusal::Refused);
            }
        }
        resets += raw.segments().iter().filter(|(segment, _)| segment.has(RST)).count();
    }
    assert_eq!((resets, raw.tcp.counters().flows), (65_535, 1));
    assert!(raw.tcp.timers.len() < 10_000, "{} timers", raw.tcp.timers.len());
    assert_alive(&mut raw, &mut live);
    raw.pass(Duration::from_secs(20));
    assert!(raw.tcp.timers.len() < 10, "{} timers", raw.tcp.timers.len());
}

#[test]
fn ten_thousand_flows_have_a_socket_only_while_they_need_one() {
    let mut raw = Raw::new(TcpSettings { warm_flows: 100, ..settings() });
    let mut hands: Vec<Hand> =
        (0..10_000).map(|number| raw.open(&key(number % 2 == 0, number), number)).collect();
    for round in 0..3 {
        for hand in &mut hands {
            assert_alive(&mut raw, hand);
        }
        assert!(raw.tcp.counters().live <= 101, "{round}: {:?}", raw.tcp.counters());
    }
    raw.pass(Duration::from_secs(2));
    assert_eq!((raw.tcp.counters().live, raw.tcp.counters().flows), (0, 10_000));
    assert!(size_of::<Flow>() <= 400, "{} bytes", size_of::<Flow>());
}

#[test]
fn when_memory_is_short_flows_wait_and_go_on() {
    let mut raw = Raw::new(TcpSettings { max_buffered: 10 * (32 << 10), warm_flows: 4, ..settings() });
    let mut hands: Vec<Hand> = (0..20).map(|number| raw.open(&key(false, number), number)).collect();
    for hand in &mut hands {
        raw.send(&hand.key, &hand.fields(ACK, b"unread"));
    }
    assert_eq!((raw.tcp.counters().live, raw.tcp.counters().no_buffers), (10, 10));
    raw.packets();
    for hand in &hands {
        raw.tcp.consume(raw.now, hand.flow, 6);
    }
    raw.packets();
    let mut ended = 0;
    for hand in &mut hands {
        // Sent again, as a program does.
        raw.send(&hand.key, &hand.fields(ACK, b"unread"));
        raw.tcp.consume(raw.now, hand.flow, 6);
        hand.seq = hand.seq.wrapping_add(6);
        raw.packets();
        raw.events();
        assert_alive(&mut raw, hand);
        ended += 1;
    }
    assert_eq!(ended, 20);
}
