//! Time limits, windows and buffers.

use std::time::Duration;

use hypertap_wire::offload::VirtioHeader;
use proptest::prelude::*;

use super::super::segment::{ACK, FIN, Fields, RST, Way, build};
use super::super::{Event, KeepAlive, TcpSettings};
use super::raw::{Raw, key};
use super::settings;

#[test]
fn a_silent_program_is_asked_and_given_up() {
    let keep_alive = KeepAlive { after: Duration::from_secs(60), every: Duration::from_secs(10), probes: 3 };
    let mut raw = Raw::new(TcpSettings { keep_alive: Some(keep_alive), ..settings() });
    let hand = raw.open(&key(false, 0), 7);
    let start = raw.now;
    let seen = raw.pass(Duration::from_secs(65));
    let [(at, probe)] = seen[..] else { panic!("{seen:?}") };
    assert_eq!(
        (at.saturating_sub(start), probe.seq, probe.flags),
        (Duration::from_secs(60), hand.ack.wrapping_sub(1), ACK)
    );
    raw.send(&hand.key, &hand.fields(ACK, b""));
    let start = raw.now;
    let seen = raw.pass(Duration::from_secs(200));
    let times: Vec<u64> = seen.iter().map(|(at, _)| at.saturating_sub(start).as_secs()).collect();
    assert_eq!(times, [60, 70, 80, 90]);
    assert!(seen[3].1.has(RST));
    assert_eq!(raw.events(), [Event::Reset { flow: hand.flow }]);
}

#[test]
fn a_question_whether_we_are_there_is_answered_without_a_socket() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &Fields { seq: hand.seq.wrapping_sub(1), ..hand.fields(ACK, b"") });
    let (answer, _) = raw.one();
    assert_eq!((answer.seq, answer.ack), (hand.ack, hand.seq));
    assert!(answer.window > 0);
    assert_eq!(raw.tcp.counters().live, 0);
}

#[test]
fn an_idle_connection_ends_when_it_may_not_be() {
    let idle_timeout = Some(Duration::from_secs(30));
    let mut raw = Raw::new(TcpSettings { idle_timeout, ..settings() });
    let hand = raw.open(&key(false, 0), 7);
    raw.pass(Duration::from_secs(20));
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"x"), 1);
    raw.packets();
    raw.send(&hand.key, &Fields { ack: hand.ack.wrapping_add(1), ..hand.fields(ACK, b"") });
    raw.packets();
    raw.events();
    assert!(raw.pass(Duration::from_secs(29)).is_empty());
    assert!(raw.pass(Duration::from_secs(2)).iter().any(|(_, segment)| segment.has(RST)));
    assert_eq!(raw.events(), [Event::Reset { flow: hand.flow }]);
}

#[test]
fn a_program_that_acknowledges_nothing_is_given_up() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"hello"), 5);
    let sent = raw.pass(Duration::from_secs(119));
    assert!(sent.len() > 4 && sent.iter().all(|(_, segment)| segment.seq == hand.ack), "{sent:?}");
    raw.pass(Duration::from_secs(2));
    assert_eq!(raw.events(), [Event::Reset { flow: hand.flow }]);
}

#[test]
fn a_closed_window_is_probed_until_it_opens() {
    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK, b"") });
    raw.packets();
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"hello"), 5);
    let mut probes = 0;
    for _ in 0..20 {
        for (_, probe) in raw.pass(Duration::from_secs(20)) {
            assert!(probe.len() <= 1);
            probes += 1;
            raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK, b"") });
        }
    }
    assert!(probes > 5, "{probes}");
    assert!(raw.events().is_empty(), "a program that answers is not given up");
    raw.send(&hand.key, &hand.fields(ACK, b""));
    let (data, bytes) = raw.one();
    assert_eq!((data.seq, &bytes[..]), (hand.ack, &b"hello"[..]));
    hand.ack = hand.ack.wrapping_add(5);
    raw.send(&hand.key, &hand.fields(ACK, b""));
}

#[test]
fn a_window_that_closes_over_data_in_flight_is_probed_too() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"hello"), 5);
    raw.packets();
    raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK, b"") });
    let mut probes = 0;
    for _ in 0..10 {
        for _ in raw.pass(Duration::from_secs(20)) {
            probes += 1;
            raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK, b"") });
        }
    }
    assert!(probes > 3, "{probes}");
    raw.send(&hand.key, &hand.fields(ACK, b""));
    assert!(raw.segments().iter().any(|(_, bytes)| bytes == b"hello"));
}

#[test]
fn who_waits_for_delivery_is_told_once_when_all_is_acknowledged() {
    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(false, 0), 7);
    let flow = hand.flow;
    assert!(raw.tcp.poll_delivered(flow), "there is nothing");
    assert_eq!(raw.tcp.write(raw.now, flow, b"four"), 4);
    raw.tcp.shutdown_write(raw.now, flow);
    assert!(!raw.tcp.poll_delivered(flow));
    assert_eq!(raw.one().1, b"four");
    hand.ack = hand.ack.wrapping_add(4);
    raw.send(&hand.key, &hand.fields(ACK, b""));
    assert_eq!(raw.events(), [], "the end is not acknowledged");
    hand.ack = hand.ack.wrapping_add(1);
    raw.send(&hand.key, &hand.fields(ACK, b""));
    assert_eq!(raw.events(), [Event::Delivered { flow }]);
    assert!(raw.tcp.poll_delivered(flow));
    raw.send(&hand.key, &hand.fields(ACK, b"more"));
    assert_eq!(raw.events(), [Event::Readable { flow }]);
}

#[test]
fn a_window_that_opens_after_both_ends_is_used() {
    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK | FIN, b"end") });
    hand.seq = hand.seq.wrapping_add(4);
    assert_eq!(raw.tcp.write(raw.now, hand.flow, &[7; 16_000]), 16_000);
    raw.tcp.shutdown_write(raw.now, hand.flow);
    raw.packets();
    let mut got = 0;
    while got < 16_000 {
        raw.send(&hand.key, &Fields { window: 0, ..hand.fields(ACK, b"") });
        raw.pass(Duration::from_millis(2500));
        // Eight times 128 bytes.
        raw.send(&hand.key, &Fields { window: 8, ..hand.fields(ACK, b"") });
        let taken: usize = raw.segments().iter().map(|(segment, _)| segment.len()).sum();
        assert!(taken > 0, "{got} so far");
        hand.ack = hand.ack.wrapping_add(u32::try_from(taken).expect("few"));
        got += taken;
    }
    raw.send(&hand.key, &hand.fields(ACK, b""));
    assert_eq!(raw.one().0.flags, ACK | FIN);
}

#[test]
fn a_fin_that_is_alone_in_flight_is_sent_again_whatever_is_lost() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    raw.tcp.shutdown_write(raw.now, hand.flow);
    assert_eq!(raw.one().0.flags, FIN | ACK);
    for _ in 0..6 {
        raw.send(&hand.key, &hand.fields(ACK, b""));
    }
    let sent = raw.pass(Duration::from_secs(30));
    assert!(
        sent.iter().filter(|(_, segment)| segment.has(FIN) && segment.seq == hand.ack).count() > 2,
        "{sent:?}"
    );
}

#[test]
fn an_unread_buffer_closes_the_window_and_reading_opens_it() {
    let mut raw = Raw::new(TcpSettings { max_buffered: 40_000, ..settings() });
    let mut hand = raw.open(&key(false, 0), 7);
    let mut window = 16 << 10;
    while window > 0 {
        raw.send(&hand.key, &hand.fields(ACK, &[7; 1024]));
        let (answer, _) = raw.one();
        hand.seq = answer.ack;
        window = usize::from(answer.window) << 5;
    }
    assert_eq!(raw.tcp.peek(hand.flow).len(), 16 << 10);
    raw.send(&hand.key, &hand.fields(ACK, b"more"));
    assert_eq!(raw.one().0.ack, hand.seq, "nothing more is taken");
    raw.tcp.consume(raw.now, hand.flow, 16 << 10);
    let (update, _) = raw.one();
    assert_eq!((update.ack, usize::from(update.window) << 5), (hand.seq, 16 << 10));
}

#[test]
fn a_fin_beyond_the_window_is_not_the_end() {
    let mut raw = Raw::new(TcpSettings { max_buffered: 40_000, ..settings() });
    let mut hand = raw.open(&key(false, 0), 7);
    for _ in 0..12 {
        raw.send(&hand.key, &hand.fields(ACK, &[7; 1300]));
        hand.seq = hand.seq.wrapping_add(1300);
    }
    raw.packets();
    // 784 bytes are left.
    raw.send(&hand.key, &hand.fields(ACK | FIN, &[7; 1300]));
    let acknowledged = raw.segments().last().expect("an answer").0.ack;
    assert_eq!(acknowledged, hand.seq.wrapping_add(784));
    let mut total = 0;
    while !raw.tcp.peek(hand.flow).is_empty() {
        let count = raw.tcp.peek(hand.flow).len();
        raw.tcp.consume(raw.now, hand.flow, count);
        total += count;
    }
    assert_eq!(total, 16 << 10);
    assert!(!raw.events().contains(&Event::Ended { flow: hand.flow }));
    raw.packets();
    raw.send(&hand.key, &Fields { seq: acknowledged, ..hand.fields(ACK | FIN, &[7; 516]) });
    raw.tcp.consume(raw.now, hand.flow, 516);
    assert!(raw.events().contains(&Event::Ended { flow: hand.flow }));
}

#[test]
fn buffers_grow_with_use_and_are_given_back() {
    let world = super::exchange(
        settings(),
        super::Faults::default(),
        5,
        false,
        65_535,
        (4 << 20, 4 << 20, true),
        64 << 10,
    );
    assert_eq!(world.tcp.counters().buffered, 0);

    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(false, 0), 7);
    let mut sizes = Vec::new();
    for _ in 0..2000 {
        raw.send(&hand.key, &hand.fields(ACK, &[7; 1400]));
        hand.seq = hand.seq.wrapping_add(1400);
        if raw.tcp.counters().buffered != *sizes.last().unwrap_or(&0) {
            sizes.push(raw.tcp.counters().buffered);
        }
        let (answer, _) = raw.segments().pop().expect("an acknowledgement");
        let count = raw.tcp.peek(hand.flow).len();
        if usize::from(answer.window) << 5 < 4096 {
            raw.tcp.consume(raw.now, hand.flow, count);
        }
    }
    assert_eq!(sizes, [32 << 10, 256 << 10, 2 << 20]);
    while !raw.tcp.peek(hand.flow).is_empty() {
        let rest = raw.tcp.peek(hand.flow).len();
        raw.tcp.consume(raw.now, hand.flow, rest);
    }
    raw.packets();
    raw.pass(Duration::from_secs(2));
    assert_eq!((raw.tcp.counters().buffered, raw.tcp.counters().live), (0, 0));
    raw.send(&hand.key, &hand.fields(ACK, b"back"));
    assert_eq!(raw.tcp.peek(hand.flow), b"back");
}

#[test]
fn a_wrong_checksum_is_not_believed_unless_the_kernel_vouches() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    let mut packet = Vec::new();
    build(&mut packet, &hand.key, Way::In, &hand.fields(ACK, b"hello"));
    raw.tcp.handle_packet(raw.now, &VirtioHeader::default(), &mut packet.clone());
    assert_eq!(raw.tcp.peek(hand.flow), b"");
    let header = VirtioHeader { flags: 1, csum_start: 40, csum_offset: 16, ..VirtioHeader::default() };
    raw.tcp.handle_packet(raw.now, &header, &mut packet);
    assert_eq!(raw.tcp.peek(hand.flow), b"hello");
    assert_eq!(raw.tcp.counters().bad_packets, 1);
}

proptest! {
    #[test]
    fn no_segment_of_an_open_connection_panics(
        v4: bool,
        steps in prop::collection::vec(
            (0..12_u8, -70_000..70_000_i32, -70_000..70_000_i32, any::<u8>(), any::<u16>(), 0..3000_usize), 1..120,
        ),
    ) {
        let settings = TcpSettings { buffers: [1024, 4096, 65_536], warm_flows: 1, ..settings() };
        let mut raw = Raw::new(settings);
        let hand = raw.open(&key(v4, 0), u32::MAX - 500);
        let (mut seq, mut ack) = (hand.seq, hand.ack);
        for (what, by, acked, flags, window, len) in steps {
            match what {
                0 => { raw.tcp.write(raw.now, hand.flow, &vec![1; len]); }
                1 => raw.tcp.consume(raw.now, hand.flow, len),
                2 => { raw.pass(Duration::from_millis(u64::from(window))); }
                3 if flags < 20 => raw.tcp.shutdown_write(raw.now, hand.flow),
                4..=7 => {
                    // In order.
                    let flags = if flags < 10 { ACK | FIN } else { ACK };
                    raw.send(&hand.key, &Fields { seq, ack, flags, window, payload: &vec![2; len], ..Fields::default() });
                }
                _ => {
                    let (seq, ack) = (seq.wrapping_add_signed(by), ack.wrapping_add_signed(acked));
                    // Resets would only end it.
                    let flags = if flags < 250 { flags & !RST } else { flags };
                    raw.send(&hand.key, &Fields { seq, ack, flags, window, payload: &vec![3; len], ..Fields::default() });
                }
            }
            raw.events();
            for (segment, _) in raw.segments() {
                if segment.has(ACK) { seq = segment.ack; }
                ack = segment.next_seq();
            }
        }
    }
}
