//! A peer that breaks the rules.

use hypertap_wire::yamux::{Flags, FrameType, GoAway, INITIAL_WINDOW};

use super::peer::*;
use crate::yamux::error::{SessionError, Violation};
use crate::yamux::session::{Session, Side};

/// What a server with stream 1 open and stream 3 ended by the peer says to `bytes`.
fn violation(bytes: &[u8]) -> Option<Violation> {
    for cut in [1, 7, 1 << 20] {
        let (mut client, mut server) = pair();
        let (_, ended) = (stream(&mut client, &mut server), stream(&mut client, &mut server));
        client.close(ended).expect("open");
        settle(&mut client, &mut server);
        match receive(&mut server, bytes, cut) {
            Ok(()) => assert!(server.ended().is_none()),
            Err(SessionError::Violation(violation)) => {
                let last = headers(&transmit(&mut server)).pop().expect("a last word");
                assert_eq!((last.kind, last.length), (FrameType::GoAway, GoAway::ProtocolError as u32));
                assert!(receive(&mut server, bytes, cut).is_err(), "it stays ended");
                if cut > 7 {
                    return Some(violation);
                }
            }
            Err(other) => panic!("{other}"),
        }
    }
    None
}

#[test]
fn what_no_peer_may_do_ends_the_connection_and_says_what_it_was() {
    let above = INITIAL_WINDOW + 1;
    let (data, update) = (FrameType::Data, FrameType::WindowUpdate);
    let bad = [
        (
            frame(data, Flags::NONE, 1, above),
            Violation::AboveWindow { stream: 1, length: above, window: above - 1 },
        ),
        (
            frame(data, Flags::SYN, 5, above),
            Violation::AboveWindow { stream: 5, length: above, window: above - 1 },
        ),
        (frame(data, Flags::NONE, 99, 17 << 20), Violation::TooLong(17 << 20)),
        (frame(update, Flags::SYN, 1, 0), Violation::IdInUse(1)),
        (frame(update, Flags::SYN, 2, 0), Violation::WrongSide(2)),
        (frame(update, Flags::SYN, 0, 0), Violation::NoStream),
        (frame(data, Flags::NONE, 0, 3), Violation::NoStream),
        (frame(update, Flags::NONE, 1, u32::MAX), Violation::WindowOverflow(1)),
        (frame(data, Flags::NONE, 3, 1), Violation::DataAfterEnd(3)),
    ];
    for (bytes, expected) in bad {
        assert_eq!(violation(&bytes), Some(expected));
    }
    for bytes in [[1, 0], [0, 9]] {
        let header = [&bytes[..], &[0; 10]].concat();
        assert!(matches!(violation(&header), Some(Violation::Header(_))));
    }
}

#[test]
fn what_a_peer_may_do_late_or_twice_ends_nothing() {
    let (data, update) = (FrameType::Data, FrameType::WindowUpdate);
    for bytes in [
        frame(data, Flags::NONE, 99, 100_000),
        frame(data, Flags::FIN, 98, 0),
        frame(update, Flags::RST, 99, 0),
        frame(update, Flags::ACK, 1, 0),
        frame(update, Flags::NONE, 99, u32::MAX),
        frame(update, Flags::SYN | Flags::RST, 5, 0),
        frame(update, Flags::FIN, 3, 0),
        frame(FrameType::Ping, Flags::ACK, 0, 7),
        frame(data, Flags::RST, 1, 10),
    ] {
        assert_eq!(violation(&bytes), None, "{:?}", headers(&bytes));
    }
}

#[test]
fn a_ping_is_answered_with_its_number() {
    let mut server = session(Side::Server);
    receive(&mut server, &frame(FrameType::Ping, Flags::SYN, 0, 0xdead), 5).expect("no violation");
    let answer = headers(&transmit(&mut server));
    assert_eq!(answer.len(), 1);
    assert_eq!((answer[0].kind, answer[0].flags, answer[0].length), (FrameType::Ping, Flags::ACK, 0xdead));
}

/// Gives `frames` without end; when the session ends, why.
fn flood(session: &mut Session, mut frames: impl FnMut(u32) -> Vec<u8>) -> SessionError {
    (0..).find_map(|n| receive(session, &frames(n), 1 << 20).err()).expect("an end")
}

#[test]
fn floods_end_the_connection() {
    let mut server = session(Side::Server);
    let pings = flood(&mut server, |n| frame(FrameType::Ping, Flags::SYN, 0, n));
    assert!(matches!(pings, SessionError::Violation(Violation::PingFlood)));

    let mut server = session(Side::Server);
    let resets = flood(&mut server, |n| frame(FrameType::Data, Flags::SYN | Flags::RST, 2 * n + 1, 0));
    assert!(matches!(resets, SessionError::Violation(Violation::ResetFlood)));
    assert!(server.streams() == 0 && server.counters().reset_early > 1000);

    let mut server = session(Side::Server);
    let unread = flood(&mut server, |n| frame(FrameType::Data, Flags::SYN, 2 * n + 1, 0));
    assert!(matches!(unread, SessionError::Violation(Violation::DoesNotRead)));
    assert!(transmit(&mut server).len() < 3 << 20);
}
