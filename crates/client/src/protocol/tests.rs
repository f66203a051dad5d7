use super::*;
use hypertap_wire::event::{Refusal, reply_line};
use proptest::prelude::*;
use serde_json::json;

/// What a connection yields, as text.
fn outcome(protocol: &mut Protocol, tickets: &[Ticket]) -> (Vec<String>, Vec<Event>) {
    let replies = tickets.iter().map(|ticket| format!("{:?}", protocol.poll_reply(*ticket))).collect();
    (replies, std::iter::from_fn(|| protocol.poll_event()).collect())
}

fn greeted() -> Protocol {
    let mut protocol = Protocol::new();
    feed(&mut protocol, &[&Event::VpnApproved.to_line(), &Event::ExtensionApproved.to_line()]);
    protocol
}

fn feed(protocol: &mut Protocol, lines: &[&str]) {
    for line in lines {
        protocol.handle_bytes(format!("{line}\n").as_bytes()).expect("lines of the protocol");
    }
}

fn ask(protocol: &mut Protocol, verb: &str) -> Ticket {
    protocol.request(verb, Map::new()).expect("few requests").0
}

#[test]
fn a_request_is_one_line_with_its_verb() {
    let fields = Map::from_iter([("cmd".to_owned(), json!("x")), ("a".to_owned(), json!("b\nc"))]);
    let (_, line) = Protocol::new().request("start", fields).expect("a short line");
    assert_eq!(String::from_utf8_lossy(&line), "{\"cmd\":\"start\",\"a\":\"b\\nc\"}\n");
}

#[test]
fn the_greeting_is_known_once_both_halves_came_and_is_no_event() {
    let mut protocol = Protocol::new();
    feed(&mut protocol, &[&Event::VpnPending.to_line()]);
    assert!(!protocol.is_greeted());
    feed(&mut protocol, &[&Event::ExtensionApproved.to_line()]);
    assert_eq!(protocol.greeting(), Greeting { approved: Some(false), driver: Some(true) });
    assert_eq!(protocol.poll_event(), None);
    feed(&mut protocol, &[&Event::VpnApproved.to_line()]);
    assert_eq!(protocol.greeting().approved, Some(true));
    assert_eq!(protocol.poll_event(), Some(Event::VpnApproved));
}

#[test]
fn an_event_between_two_replies_goes_to_neither() {
    let mut protocol = greeted();
    let tickets = [ask(&mut protocol, "stop"), ask(&mut protocol, "status")];
    let stopped = Event::TunnelStopped(StopReason::StoppedByUser);
    feed(&mut protocol, &[r#"{"ok":true}"#, &stopped.to_line(), r#"{"ok":true,"status":"disconnected"}"#]);
    // The later may be asked for first.
    let second = protocol.poll_reply(tickets[1]).expect("answered").expect("accepted");
    assert_eq!(second.get("status"), Some(&json!("disconnected")));
    assert!(protocol.poll_reply(tickets[0]).expect("answered").expect("accepted").is_empty());
    assert_eq!(protocol.poll_event(), Some(stopped));
    assert!(protocol.poll_reply(tickets[0]).is_none(), "a reply is taken once");
}

#[test]
fn a_refusal_keeps_text_and_code() {
    let mut protocol = greeted();
    let ticket = ask(&mut protocol, "start");
    feed(&mut protocol, &[&reply_line(Err(Refusal::with_code("no", 3)), Some(json!(7)))]);
    let error = protocol.poll_reply(ticket).expect("answered").expect_err("refused");
    assert!(matches!(error, Error::Refused { text, code: Some(3) } if text == "no"));
}

#[test]
fn an_abandoned_reply_does_not_shift_the_next() {
    let mut protocol = greeted();
    let (first, second) = (ask(&mut protocol, "status"), ask(&mut protocol, "getName"));
    protocol.abandon(first);
    feed(&mut protocol, &[r#"{"ok":true,"status":"connected"}"#, r#"{"ok":true,"name":"t0"}"#]);
    assert!(protocol.poll_reply(first).is_none());
    let name = protocol.poll_reply(second).expect("answered").expect("accepted");
    assert_eq!(name.get("name"), Some(&json!("t0")));
    let third = ask(&mut protocol, "status");
    feed(&mut protocol, &[r#"{"ok":true}"#]);
    protocol.abandon(third);
    assert!(protocol.poll_reply(third).is_none(), "abandoned after it came");
}

#[test]
fn being_turned_away_is_a_refusal() {
    let mut protocol = Protocol::new();
    feed(&mut protocol, &[r#"{"ok":false,"error":"Another client is already connected"}"#]);
    let farewell = protocol.farewell().expect("a reason").to_string();
    assert_eq!(farewell, "Another client is already connected");
}

#[test]
fn junk_ends_the_connection_and_shows_itself() {
    for junk in ["SSH-2.0-OpenSSH_10", "[1]", "{", "\u{1}"] {
        let mut protocol = greeted();
        let error = protocol.handle_bytes(format!("{junk}\n{{}}\n").as_bytes()).expect_err(junk);
        assert_eq!(error, Violation::NotAnObject(junk.to_owned()));
        assert_eq!(protocol.handle_bytes(b"{}\n"), Err(error), "for ever after");
    }
    assert_eq!(greeted().handle_bytes(b"{\"ok\":true}\n"), Err(Violation::UnexpectedReply));
}

#[test]
fn what_a_later_version_may_say_is_passed_over() {
    let mut protocol = greeted();
    let ticket = ask(&mut protocol, "status");
    let later = [r#"{"cmd":"event","event":"moonRose"}"#, r#"{"cmd":"log","ok":1}"#, "{}", r#"{"ok":true}"#];
    feed(&mut protocol, &later);
    assert!(protocol.poll_reply(ticket).is_some_and(|reply| reply.is_ok()));
    assert_eq!(protocol.poll_event(), None);
    feed(&mut protocol, &[r#"{"cmd":"event","event":"tunnelStopped","reason":"later"}"#]);
    assert_eq!(protocol.poll_event(), Some(Event::TunnelStopped(StopReason::Unknown)));
}

#[test]
fn every_event_is_read_as_it_is_written() {
    let mut protocol = greeted();
    let mut events = vec![Event::VpnPending, Event::VpnDenied, Event::VpnRemoved, Event::TunnelStarted];
    events.extend(StopReason::ALL.map(Event::TunnelStopped));
    for event in events {
        feed(&mut protocol, &[&event.to_line()]);
        assert_eq!(protocol.poll_event(), Some(event));
    }
}

#[test]
fn the_oldest_events_go_first_and_are_counted() {
    let mut protocol = greeted();
    feed(&mut protocol, &[&Event::TunnelStarted.to_line()]);
    for _ in 0..MAX_EVENTS + 4 {
        feed(&mut protocol, &[&Event::VpnRemoved.to_line()]);
    }
    assert_eq!(protocol.missed_events(), 5);
    assert_eq!(protocol.poll_event(), Some(Event::VpnRemoved));
    assert_eq!(std::iter::from_fn(|| protocol.poll_event()).count(), MAX_EVENTS - 1);
}

#[test]
fn requests_without_replies_are_bounded() {
    let mut protocol = greeted();
    for _ in 0..MAX_WAITING {
        let ticket = ask(&mut protocol, "status");
        protocol.abandon(ticket);
    }
    let error = protocol.request("status", Map::new()).expect_err("too many");
    assert!(matches!(error, Error::Protocol(Violation::Unanswered(MAX_WAITING))));
    feed(&mut protocol, &[r#"{"ok":true}"#]);
    ask(&mut protocol, "status");
}

#[test]
fn a_request_that_the_daemon_would_not_take_is_not_sent() {
    let fields = Map::from_iter([("a".to_owned(), json!("x".repeat(MAX_LINE)))]);
    assert!(matches!(greeted().request("status", fields), Err(Error::RequestTooLong)));
}

fn a_line() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(r#"{"ok":true}"#.to_owned()),
        Just(r#"{"ok":true,"status":"connected","id":1}"#.to_owned()),
        Just(r#"{"ok":false,"error":"no","code":5}"#.to_owned()),
        Just(Event::TunnelStarted.to_line()),
        Just(Event::TunnelStopped(StopReason::VpnRemoved).to_line()),
        Just(r#"{"cmd":"event","event":"unheardOf"}"#.to_owned()),
        Just(String::new()),
    ]
}

proptest! {
    #[test]
    fn any_cut_of_the_bytes_gives_the_same_replies_and_events(
        lines in prop::collection::vec(a_line(), 0..20),
        cuts in prop::collection::vec(1..40_usize, 1..9),
    ) {
        let bytes = lines.concat().replace('}', "}\r\n");
        let run = |pieces: &mut dyn Iterator<Item = usize>| {
            let mut protocol = greeted();
            let tickets: Vec<Ticket> = (0..20).map(|_| ask(&mut protocol, "status")).collect();
            let mut rest = bytes.as_bytes();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(pieces.next().unwrap_or(rest.len()).min(rest.len()));
                protocol.handle_bytes(piece).expect("lines of the protocol");
                rest = after;
            }
            outcome(&mut protocol, &tickets)
        };
        let whole = run(&mut std::iter::empty());
        prop_assert_eq!(run(&mut cuts.iter().copied().cycle()), whole);
    }

    #[test]
    fn any_bytes_are_read_or_refused(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..9)) {
        let mut protocol = Protocol::new();
        for piece in pieces {
            let _ = protocol.handle_bytes(&piece);
        }
    }
}
