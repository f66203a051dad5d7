//! How connections begin and end.

use std::time::Duration;

use hypertap_wire::ip::Ip;

use super::super::segment::{ACK, FIN, Fields, RST, SYN};
use super::super::syn::SynOptions;
use super::super::{Event, Refusal, TcpSettings};
use super::raw::{Raw, key};
use super::settings;

#[test]
fn nothing_is_answered_before_the_far_side_has_said_yes() {
    for v4 in [false, true] {
        let mut raw = Raw::new(settings());
        let (key, flow) = (key(v4, 0), raw_flow(&mut Raw::new(settings()), v4));
        assert_eq!(raw.ask(&key, 100), flow);
        assert!(raw.packets().is_empty());
        raw.send(&key, &Fields { seq: 100, flags: SYN, window: 60_000, ..Fields::default() });
        assert!(raw.events().is_empty(), "the same half-open flow");
        assert!(raw.packets().is_empty());

        raw.tcp.accept(raw.now, flow);
        let (first, _) = raw.one();
        raw.send(&key, &Fields { seq: 100, flags: SYN, window: 60_000, ..Fields::default() });
        let (again, _) = raw.one();
        assert_eq!((first.seq, first.ack, first.flags), (again.seq, 101, SYN | ACK));
    }
}

fn raw_flow(raw: &mut Raw, v4: bool) -> super::super::FlowId {
    raw.ask(&key(v4, 0), 100)
}

#[test]
fn the_answer_offers_what_the_program_understands() {
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 100);
    raw.tcp.accept(raw.now, flow);
    let packet = raw.packets().remove(0);
    let segment = super::super::segment::Segment::parse(&packet, true).expect("a segment");
    assert_eq!(segment.syn_options(&packet), SynOptions { mss: 1440, scale: Some(5), sack: true });

    raw.send(&key(false, 1), &Fields { seq: 1, flags: SYN, window: 60_000, ..Fields::default() });
    let events = raw.events();
    let [Event::Syn { flow, .. }] = events[..] else { panic!("{events:?}") };
    raw.tcp.accept(raw.now, flow);
    let packet = raw.packets().remove(0);
    let segment = super::super::segment::Segment::parse(&packet, true).expect("a segment");
    assert_eq!(segment.syn_options(&packet), SynOptions { mss: 1440, scale: None, sack: false });
}

#[test]
fn a_refusal_is_what_the_table_says() {
    for (v4, refusal, answer) in [
        (false, Refusal::Prohibited, [1, 1]),
        (false, Refusal::Unreachable, [1, 3]),
        (true, Refusal::Prohibited, [3, 13]),
        (true, Refusal::Unreachable, [3, 1]),
    ] {
        let mut raw = Raw::new(settings());
        let flow = raw.ask(&key(v4, 0), 0x0102_0304);
        raw.tcp.refuse(flow, refusal);
        let packet = raw.packets().remove(0);
        let ip = Ip::parse(&packet).expect("a packet");
        assert!(ip.is_checksum_right());
        assert_eq!(ip.payload[..2], answer);
        let quoted = Ip::parse(&ip.payload[8..]).expect("the SYN");
        assert_eq!(quoted.payload[..8], [4, 0, 0, 80, 1, 2, 3, 4]);
        assert_eq!(raw.tcp.counters().flows, 0);
    }
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 7);
    raw.tcp.refuse(flow, Refusal::Refused);
    let (reset, _) = raw.one();
    assert_eq!((reset.flags, reset.ack), (RST | ACK, 8));
}

#[test]
fn a_syn_that_nobody_answers_is_unreachable() {
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 7);
    raw.now += Duration::from_secs(10);
    raw.tcp.handle_timeout(raw.now);
    assert_eq!(raw.events(), [Event::Reset { flow }]);
    let packet = raw.packets().remove(0);
    assert_eq!(Ip::parse(&packet).expect("a packet").payload[..2], [1, 3]);
    assert_eq!((raw.tcp.counters().flows, raw.tcp.counters().expired_syns), (0, 1));
}

#[test]
fn a_syn_ack_is_sent_again_and_given_up() {
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 7);
    raw.tcp.accept(raw.now, flow);
    assert_eq!(raw.packets().len(), 1);
    let start = raw.now;
    let sent = raw.pass(Duration::from_secs(100));
    let times: Vec<u64> = sent.iter().map(|(at, _)| at.saturating_sub(start).as_secs()).collect();
    assert_eq!(times, [1, 3, 7, 15, 31]);
    assert_eq!(raw.events(), [Event::Reset { flow }]);
    assert_eq!(raw.tcp.counters().half_open, 0);
}

#[test]
fn a_program_that_begins_anew_is_asked_for_anew() {
    let mut raw = Raw::new(settings());
    let first = raw.ask(&key(false, 0), 7);
    raw.send(&key(false, 0), &Fields { seq: 9999, flags: SYN, window: 1000, ..Fields::default() });
    let events = raw.events();
    let [Event::Reset { flow }, Event::Syn { flow: second, .. }] = events[..] else { panic!("{events:?}") };
    assert_eq!(flow, first);
    raw.tcp.accept(raw.now, first);
    assert!(raw.packets().is_empty(), "the id is dead");
    raw.tcp.accept(raw.now, second);
    assert_eq!(raw.one().0.ack, 10_000);
}

#[test]
fn a_program_that_gives_up_is_forgotten() {
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 7);
    raw.send(&key(false, 0), &Fields { seq: 8, flags: RST, ..Fields::default() });
    assert_eq!(raw.events(), [Event::Reset { flow }]);
    assert_eq!(raw.tcp.counters().half_open, 0);
}

#[test]
fn a_reset_counts_only_with_the_exact_number() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &Fields { seq: hand.seq.wrapping_add(100), flags: RST, ..Fields::default() });
    let (challenge, _) = raw.one();
    assert_eq!((challenge.flags, challenge.ack), (ACK, hand.seq));
    raw.send(&hand.key, &Fields { seq: hand.seq.wrapping_sub(100), flags: RST, ..Fields::default() });
    assert!(raw.packets().is_empty() && raw.events().is_empty());
    raw.send(&hand.key, &Fields { seq: hand.seq, flags: RST, ..Fields::default() });
    assert_eq!(raw.events(), [Event::Reset { flow: hand.flow }]);
    assert_eq!(raw.tcp.counters().flows, 0);
}

#[test]
fn a_reset_of_ours_has_the_numbers_that_the_program_expects() {
    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &hand.fields(ACK, b"hello"));
    hand.seq = hand.seq.wrapping_add(5);
    assert_eq!(raw.tcp.write(raw.now, hand.flow, b"world"), 5);
    let (data, bytes) = raw.one();
    assert_eq!((data.seq, data.ack, &bytes[..]), (hand.ack, hand.seq, &b"world"[..]));
    raw.tcp.reset(hand.flow);
    let (reset, _) = raw.one();
    assert_eq!((reset.flags, reset.seq, reset.ack), (RST | ACK, hand.ack.wrapping_add(5), hand.seq));
    assert_eq!(raw.tcp.counters().live, 0);
    assert_eq!(raw.tcp.peek(hand.flow), b"");
}

#[test]
fn a_syn_into_a_connection_is_answered_with_what_we_have() {
    let mut raw = Raw::new(settings());
    let hand = raw.open(&key(false, 0), 7);
    raw.send(&hand.key, &Fields { seq: 99_999, flags: SYN, window: 1000, ..Fields::default() });
    let (challenge, _) = raw.one();
    assert_eq!((challenge.flags, challenge.seq, challenge.ack), (ACK, hand.ack, hand.seq));
    assert!(raw.events().is_empty());
}

/// Our side closes first. Returns the numbers after everything.
fn into_time_wait(raw: &mut Raw) -> super::raw::Hand {
    let mut hand = raw.open(&key(false, 0), 7);
    raw.tcp.shutdown_write(raw.now, hand.flow);
    assert_eq!(raw.one().0.flags, FIN | ACK);
    hand.ack = hand.ack.wrapping_add(1);
    raw.send(&hand.key, &hand.fields(ACK | FIN, b"bye"));
    hand.seq = hand.seq.wrapping_add(4);
    let (last, _) = raw.one();
    assert_eq!((last.flags, last.seq, last.ack), (ACK, hand.ack, hand.seq));
    hand
}

#[test]
fn what_came_last_is_read_after_both_have_closed() {
    let mut raw = Raw::new(settings());
    let hand = into_time_wait(&mut raw);
    let flow = hand.flow;
    assert_eq!(raw.events(), [Event::Readable { flow }]);
    assert_eq!(raw.tcp.counters().live, 0);
    // The four numbers are free again before it is read, and longer than TIME-WAIT.
    raw.pass(Duration::from_secs(60));
    let other = raw.ask(&hand.key, 50);
    assert_ne!(other, flow);
    assert_eq!(raw.tcp.peek(flow), b"bye");
    raw.tcp.consume(raw.now, flow, 3);
    assert_eq!(raw.events(), [Event::Ended { flow }, Event::Closed { flow }]);
    assert_eq!(raw.tcp.counters().flows, 1);
}

#[test]
fn a_new_syn_ends_time_wait_and_an_old_one_does_not() {
    let mut raw = Raw::new(settings());
    let hand = into_time_wait(&mut raw);
    raw.tcp.consume(raw.now, hand.flow, 3);
    raw.events();
    raw.send(&hand.key, &Fields { seq: hand.seq.wrapping_sub(50), flags: SYN, ..Fields::default() });
    let (answer, _) = raw.one();
    assert_eq!((answer.flags, answer.seq, answer.ack), (ACK, hand.ack, hand.seq));
    assert!(raw.events().is_empty());
    assert_ne!(raw.ask(&hand.key, hand.seq.wrapping_add(50)), hand.flow);
    assert_eq!(raw.tcp.counters().flows, 1);
}

#[test]
fn a_repeated_fin_is_acknowledged_in_time_wait() {
    let mut raw = Raw::new(settings());
    let hand = into_time_wait(&mut raw);
    let again = Fields { seq: hand.seq.wrapping_sub(1), ..hand.fields(ACK | FIN, b"") };
    raw.send(&hand.key, &again);
    assert_eq!(raw.one().0.ack, hand.seq);
    raw.tcp.consume(raw.now, hand.flow, 3);
    raw.pass(Duration::from_secs(11));
    assert_eq!(raw.tcp.counters().flows, 0);
    raw.send(&hand.key, &again);
    assert_eq!(raw.one().0.flags, RST);
}

#[test]
fn both_may_close_at_once() {
    let mut raw = Raw::new(settings());
    let mut hand = raw.open(&key(true, 0), 7);
    raw.tcp.shutdown_write(raw.now, hand.flow);
    assert_eq!(raw.one().0.flags, FIN | ACK);
    raw.send(&hand.key, &hand.fields(ACK | FIN, b""));
    hand.seq = hand.seq.wrapping_add(1);
    assert_eq!(raw.one().0.ack, hand.seq);
    hand.ack = hand.ack.wrapping_add(1);
    raw.send(&hand.key, &hand.fields(ACK, b""));
    assert_eq!(raw.events(), [Event::Ended { flow: hand.flow }, Event::Closed { flow: hand.flow }]);
    raw.pass(Duration::from_secs(11));
    assert_eq!(raw.tcp.counters().flows, 0);
}

#[test]
fn closing_before_the_handshake_is_done_closes_after_it() {
    let mut raw = Raw::new(settings());
    let flow = raw.ask(&key(false, 0), 7);
    raw.tcp.accept(raw.now, flow);
    raw.tcp.shutdown_write(raw.now, flow);
    let (answer, _) = raw.one();
    let fields =
        Fields { seq: 8, ack: answer.seq.wrapping_add(1), flags: ACK, window: 100, ..Fields::default() };
    raw.send(&key(false, 0), &fields);
    assert!(raw.segments().iter().any(|(segment, _)| segment.flags == FIN | ACK));
}

#[test]
fn a_segment_to_nobody_is_reset_but_not_without_limit() {
    let mut raw = Raw::new(TcpSettings { answers_per_second: 10, ..settings() });
    for _ in 0..100 {
        raw.send(&key(false, 5), &Fields { seq: 1, ack: 77, flags: ACK, ..Fields::default() });
    }
    let resets = raw.segments();
    assert_eq!(resets.len(), 10);
    assert!(resets.iter().all(|(reset, _)| (reset.flags, reset.seq) == (RST, 77)));
    raw.send(&key(false, 5), &Fields { seq: 1, flags: RST, ..Fields::default() });
    raw.now += Duration::from_secs(1);
    raw.send(&key(false, 5), &Fields { seq: 1, flags: RST, ..Fields::default() });
    assert!(raw.packets().is_empty(), "a reset is not answered");
}

#[test]
fn other_destinations_get_no_answer() {
    let prefixes = vec!["fd00:1::/32".parse().expect("a prefix")];
    let mut raw = Raw::new(TcpSettings { prefixes, ..settings() });
    raw.send(&key(false, 0), &Fields { seq: 1, flags: SYN, window: 100, ..Fields::default() });
    raw.send(&key(false, 0), &Fields { seq: 1, ack: 5, flags: ACK, ..Fields::default() });
    assert!(raw.events().is_empty() && raw.packets().is_empty());
    assert_eq!(raw.tcp.counters().bad_packets, 2);
}
