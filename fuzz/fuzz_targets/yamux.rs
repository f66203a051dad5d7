//! A session of Yamux and whatever its peer sends: what it sends is whole frames, the last of which says
//! so when it ends; a stream never holds more than its window; the cuts make no difference.
//!
//! Input: which side we are (u8, odd is the client), the size of the pieces in which the bytes arrive (u8;
//! zero is one), what the streams' users do (u8: 1 they read, 2 they write, 4 they close, 8 they drop, 16
//! there are none), then the bytes.
#![no_main]

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hypertap_fuzz::Input;
use hypertap_wire::yamux::{Flags, FrameHeader, FrameType, GoAway};
use libfuzzer_sys::fuzz_target;
use mesh::error::SessionError;
use mesh::received::Chunk;
use mesh::session::{Counters, Session, Side};
use mesh::settings::YamuxSettings;

/// The part of mesh that does no I/O, without libp2p, which would take minutes to build.
#[path = "../../crates/mesh/src/yamux"]
#[allow(dead_code)]
mod mesh {
    pub mod error;
    mod input;
    mod outgoing;
    mod rate;
    pub mod received;
    pub mod session;
    pub mod settings;
    mod stream;
    mod turns;
    mod window;
}

const NOW: Duration = Duration::from_secs(1);
const MAX_STREAMS: usize = 20;
const READ: u8 = 1;
const WRITE: u8 = 2;
const CLOSE: u8 = 4;
const DROP: u8 = 8;
const NOBODY: u8 = 16;

/// What became of an input: what was sent, what the peer did, and why the session ended.
#[derive(Debug, PartialEq)]
struct Outcome {
    sent: Vec<u8>,
    counters: Counters,
    ended: Option<String>,
}

fn new(side: u8) -> Session {
    let side = if side % 2 == 1 { Side::Client } else { Side::Server };
    Session::new(side, YamuxSettings { max_streams: MAX_STREAMS, outgoing: 4096, ..Default::default() })
}

/// Gives `bytes` as who reads a connection does: into the chunk, where there is one.
fn receive(session: &mut Session, mut bytes: &[u8], chunk: &mut Option<Chunk>) -> Result<(), SessionError> {
    while !bytes.is_empty() {
        if let Some(mut filling) = chunk.take() {
            let vacant = filling.vacant();
            let length = vacant.len().min(bytes.len());
            vacant[..length].copy_from_slice(&bytes[..length]);
            filling.advance(length);
            bytes = &bytes[length..];
            *chunk = session.handle_chunk(filling, NOW);
        } else {
            *chunk = session.handle_input(bytes, NOW)?;
            return Ok(());
        }
    }
    Ok(())
}

/// Adds what the session sends, which is whole frames, to `sent`; returns the last.
fn check_sent(session: &mut Session, sent: &mut Vec<u8>) -> Option<FrameHeader> {
    let (mut buffer, mut last) = (Vec::new(), None);
    loop {
        let is_more_to_come = session.poll_transmit(&mut buffer);
        sent.extend_from_slice(&buffer);
        let mut rest = &buffer[..];
        while let Some((header, after)) = rest.split_first_chunk() {
            let header = FrameHeader::parse(header).expect("a header");
            let is_stream = matches!(header.kind, FrameType::Data | FrameType::WindowUpdate);
            assert_eq!(is_stream, header.stream != 0);
            assert!(!header.flags.contains(Flags::SYN), "nothing was opened here");
            rest = after.get(header.body_length() as usize..).expect("a whole frame");
            last = Some(header);
        }
        assert!(rest.is_empty(), "half a header");
        if buffer.is_empty() && !is_more_to_come {
            return last;
        }
    }
}

fn use_streams(session: &mut Session, acts: u8, streams: &mut Vec<(u32, Vec<u8>)>) {
    let cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Ok(id)) = session.poll_accept(&cx) {
        streams.push((id, Vec::new()));
    }
    let mut buffer = [0; 1000];
    for (id, bytes) in streams {
        while acts & READ != 0
            && let Poll::Ready(Ok(length @ 1..)) = session.poll_read(*id, &cx, &mut buffer)
        {
            bytes.extend_from_slice(&buffer[..length]);
        }
        if acts & WRITE != 0 {
            _ = session.poll_write(*id, &cx, b"an answer");
        }
        if acts & CLOSE != 0 {
            _ = session.close(*id);
        }
        if acts & DROP != 0 {
            session.forget(*id);
        }
    }
}

fn run(side: u8, size: usize, acts: u8, bytes: &[u8]) -> Outcome {
    let (mut session, mut streams, mut chunk, mut sent) = (new(side), Vec::new(), None, Vec::new());
    for piece in bytes.chunks(size) {
        let received = receive(&mut session, piece, &mut chunk);
        assert!(session.streams() <= MAX_STREAMS);
        if let Err(error) = received {
            let last = check_sent(&mut session, &mut sent);
            if matches!(error, SessionError::Violation(_)) {
                let last = last.expect("a last word");
                assert_eq!((last.kind, last.length), (FrameType::GoAway, GoAway::ProtocolError as u32));
            }
            assert!(session.handle_input(b"", NOW).is_err(), "and so it stays");
            break;
        }
        if acts & NOBODY == 0 {
            use_streams(&mut session, acts, &mut streams);
        }
        check_sent(&mut session, &mut sent);
    }
    // What was received before the end is read after it too, and is no more than arrived.
    use_streams(&mut session, READ, &mut streams);
    assert!(streams.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() <= bytes.len());
    Outcome { sent, counters: session.counters(), ended: session.ended().map(ToString::to_string) }
}

fuzz_target!(|data: &[u8]| {
    let mut input = Input(data);
    let (side, size, acts) = (input.u8(), usize::from(input.u8().max(1)), input.u8());
    let outcome = run(side, size, acts, input.0);
    if acts & NOBODY != 0 {
        assert_eq!(run(side, input.0.len().max(1), acts, input.0), outcome, "the cuts made a difference");
    }
});
