//! The command plane: bytes to lines to commands, and the replies to them.
//!
//! Input: the size of the pieces in which the bytes arrive (u8; zero is one), then the bytes.
#![no_main]

use hypertap_fuzz::Input;
use hypertap_wire::command::{
    MAX_MTU, MIN_MTU, MIN_MTU_IPV6, Request, StartFields, is_interface_name, parse_routes,
};
use hypertap_wire::event::{Refusal, reply_line};
use hypertap_wire::line::{LineDecoder, LineTooLong, MAX_LINE, is_browsers};
use hypertap_wire::route::{RouteKind, format_route, parse_route};
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

const PADDING: [u8; 5] = *b"\0\r\n \t";

/// The lines of bytes that arrive in pieces, and whether one was too long.
fn lines<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut decoder = LineDecoder::new();
    let mut lines = Vec::new();
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_line() {
                Ok(Some(line)) => lines.push(line.to_vec()),
                Ok(None) => break,
                Err(LineTooLong) => {
                    assert_eq!(decoder.next_line(), Err(LineTooLong), "and so it stays");
                    return (lines, true);
                }
            }
        }
        assert!(!decoder.pending().contains(&b'\n'), "a line was left behind");
        assert!(decoder.begun().is_some() || decoder.pending().is_empty(), "a line without a beginning");
    }
    (lines, false)
}

fn check_line(line: &[u8]) {
    assert!((1..=MAX_LINE).contains(&line.len()));
    assert!(!line.contains(&b'\n'));
    for end in [line.first(), line.last()] {
        assert!(end.is_some_and(|byte| !PADDING.contains(byte)), "padding was left");
    }
}

/// A reply is one line: a JSON object with `ok`, and `error` where that is false.
fn check_reply(outcome: Result<Map<String, Value>, Refusal>, id: Option<Value>) {
    let (is_ok, wanted_id) = (outcome.is_ok(), id.clone());
    let line = reply_line(outcome, id);
    assert_eq!(line.find('\n').unwrap_or(line.len() - 1), line.len() - 1, "more than one line");
    let reply: Value = serde_json::from_str(&line).expect("a reply is JSON");
    assert_eq!(reply["ok"], is_ok);
    assert_eq!(reply["error"].is_string(), !is_ok);
    assert_eq!(reply.get("id").cloned(), wanted_id);
}

fn check_start(fields: &Map<String, Value>) -> Result<(), Refusal> {
    let start = StartFields::parse(fields)?;
    assert!(!start.ipv4.is_unspecified() && !start.ipv4.is_broadcast());
    let least = if start.ipv6.is_some() { MIN_MTU_IPV6 } else { MIN_MTU };
    assert!(start.mtu.is_none_or(|mtu| (least..=MAX_MTU).contains(&mtu)));
    if let Some(name) = &start.name {
        assert!(is_interface_name(name) && name.len() <= 15 && !name.contains(['/', ':', '%', ' ', '\0']));
    }
    assert_ne!(start.receive_port, Some(0));
    Ok(())
}

fn check_routes(fields: &Map<String, Value>, kind: RouteKind) -> Result<(), Refusal> {
    let routes = parse_routes(fields, kind)?;
    assert_eq!(Some(routes.len()), fields["routes"].as_array().map(Vec::len), "all of them, or none");
    for route in routes {
        assert_eq!(route, route.trunc(), "host bits were left");
        assert_eq!(parse_route(&format_route(&route)), Some(route));
    }
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let size = usize::from(input.u8().max(1));
    let whole = lines(std::iter::once(input.0));
    assert_eq!(lines(input.0.chunks(size)), whole, "the cuts made a difference");

    for line in &whole.0 {
        check_line(line);
        match Request::parse(line) {
            Err((refusal, id)) => {
                assert!(["invalid json", "missing cmd", "unknown cmd"].contains(&refusal.text.as_str()));
                check_reply(Err(refusal), id);
            }
            Ok(request) => {
                assert!(!is_browsers(line), "a command was taken for a browser's request");
                check_reply(check_start(&request.fields).map(|()| Map::new()), request.id.clone());
                for kind in [RouteKind::Included, RouteKind::Excluded] {
                    check_reply(check_routes(&request.fields, kind).map(|()| Map::new()), request.id.clone());
                }
            }
        }
    }
});
