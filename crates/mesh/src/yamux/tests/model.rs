//! Two sessions, whatever is done with them and however their bytes are cut, against what streams are.

use std::collections::BTreeMap;
use std::task::Poll;

use proptest::prelude::*;

use super::peer::*;
use crate::yamux::error::StreamError;
use crate::yamux::session::{Session, Side};
use crate::yamux::settings::YamuxSettings;

#[derive(Clone, Debug)]
enum Step {
    Open,
    Accept,
    Write(usize, usize),
    Read(usize, usize),
    Close(usize),
    Forget(usize),
    /// Moves so many bytes to the other side, cut into pieces of this size.
    Carry(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let length = || prop_oneof![0..100_usize, 0..400_000_usize];
    prop_oneof![
        2 => Just(Step::Open),
        3 => Just(Step::Accept),
        6 => (any::<usize>(), length()).prop_map(|(at, length)| Step::Write(at, length)),
        6 => (any::<usize>(), length()).prop_map(|(at, length)| Step::Read(at, length)),
        1 => any::<usize>().prop_map(Step::Close),
        1 => any::<usize>().prop_map(Step::Forget),
        8 => (length(), prop_oneof![1..40_usize, 1..70_000_usize]).prop_map(|(length, cut)| Step::Carry(length, cut)),
    ]
}

/// One direction of a stream: how much went in and came out, and whether it was closed.
#[derive(Clone, Copy, Debug, Default)]
struct Direction {
    written: usize,
    read: usize,
    is_closed: bool,
    is_end_read: bool,
}

/// A stream as its users see it; of two, the first is the client's.
#[derive(Debug, Default)]
struct Seen {
    /// What each side writes.
    directions: [Direction; 2],
    has: [bool; 2],
    /// Dropped by a side that had not written and read both ends.
    is_reset: bool,
}

fn byte(id: u32, side: usize, at: usize) -> u8 {
    ((at * 31) ^ (at >> 8) ^ (id as usize) ^ (side << 7)) as u8
}

struct World {
    sessions: [Session; 2],
    /// Bytes on their way to each side.
    wires: [Vec<u8>; 2],
    seen: BTreeMap<u32, Seen>,
}

impl World {
    fn new() -> Self {
        let settings = YamuxSettings { max_frame: 20_000, outgoing: 50_000, ..Default::default() };
        let sessions = [Side::Client, Side::Server].map(|side| Session::new(side, settings.clone()));
        Self { sessions, wires: Default::default(), seen: BTreeMap::new() }
    }

    fn pick(&self, side: usize, at: usize) -> Option<u32> {
        let ids: Vec<_> = self.seen.iter().filter(|(_, seen)| seen.has[side]).map(|(id, _)| *id).collect();
        ids.get(at % ids.len().max(1)).copied()
    }

    fn act(&mut self, side: usize, step: &Step) {
        match *step {
            Step::Open => {
                if let Poll::Ready(id) = self.sessions[side].poll_open(&cx()) {
                    let mut seen = Seen::default();
                    seen.has[side] = true;
                    self.seen.insert(id.expect("ids"), seen);
                }
            }
            Step::Accept => {
                if let Some(id) = accept(&mut self.sessions[side]) {
                    let seen = self.seen.get_mut(&id).expect("opened by the other");
                    assert!(!seen.has[side], "accepted twice");
                    seen.has[side] = true;
                }
            }
            Step::Write(at, length) => {
                if let Some(id) = self.pick(side, at) {
                    self.write(side, id, length);
                }
            }
            Step::Read(at, length) => {
                if let Some(id) = self.pick(side, at) {
                    self.read(side, id, length);
                }
            }
            Step::Close(at) => {
                if let Some(id) = self.pick(side, at) {
                    let closed = self.sessions[side].close(id);
                    let seen = self.seen.get_mut(&id).expect("picked");
                    match closed {
                        Ok(()) => seen.directions[side].is_closed = true,
                        Err(StreamError::Reset) => assert!(seen.is_reset),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            Step::Forget(at) => {
                if let Some(id) = self.pick(side, at) {
                    self.sessions[side].forget(id);
                    let seen = self.seen.get_mut(&id).expect("picked");
                    seen.has[side] = false;
                    seen.is_reset |= !seen.directions.iter().all(|direction| direction.is_closed);
                    // The peer's end may have been on its way only.
                    seen.is_reset |= !seen.directions[1 - side].is_end_read;
                }
            }
            Step::Carry(length, cut) => _ = self.carry(side, length, cut),
        }
    }

    fn write(&mut self, side: usize, id: u32, length: usize) {
        let seen = self.seen.get_mut(&id).expect("picked");
        let direction = &mut seen.directions[side];
        let data: Vec<_> = (0..length).map(|at| byte(id, side, direction.written + at)).collect();
        match self.sessions[side].poll_write(id, &cx(), &data) {
            Poll::Ready(Ok(length)) => direction.written += length,
            Poll::Pending => {}
            Poll::Ready(Err(StreamError::Closed)) => assert!(direction.is_closed),
            Poll::Ready(Err(StreamError::Reset)) => assert!(seen.is_reset),
            Poll::Ready(Err(other)) => panic!("{other}"),
        }
    }

    /// Whether something came of it.
    fn read(&mut self, side: usize, id: u32, length: usize) -> bool {
        let seen = self.seen.get_mut(&id).expect("picked");
        let direction = &mut seen.directions[1 - side];
        let mut buffer = vec![0; length];
        match self.sessions[side].poll_read(id, &cx(), &mut buffer) {
            Poll::Ready(Ok(0)) if length > 0 => {
                assert!(direction.is_closed && direction.read == direction.written, "an end too early");
                !std::mem::replace(&mut direction.is_end_read, true)
            }
            Poll::Ready(Ok(length)) => {
                assert!(length == 0 || !direction.is_end_read);
                for (at, got) in buffer[..length].iter().enumerate() {
                    assert_eq!(*got, byte(id, 1 - side, direction.read + at));
                }
                direction.read += length;
                length > 0
            }
            Poll::Pending => false,
            Poll::Ready(Err(StreamError::Reset)) => {
                assert!(seen.is_reset);
                false
            }
            Poll::Ready(Err(other)) => panic!("{other}"),
        }
    }

    /// Carries what `side` sends; whether that was anything.
    fn carry(&mut self, side: usize, length: usize, cut: usize) -> bool {
        let mut buffer = Vec::new();
        self.sessions[side].poll_transmit(&mut buffer);
        let wire = &mut self.wires[1 - side];
        wire.extend_from_slice(&buffer);
        let now: Vec<_> = wire.drain(..length.min(wire.len())).collect();
        receive(&mut self.sessions[1 - side], &now, cut).expect("both keep the rules");
        !now.is_empty()
    }

    /// Reads and carries everything, and holds what remains against what must be.
    fn finish(&mut self) {
        let mut is_moving = true;
        while is_moving {
            is_moving = false;
            for side in [0, 1] {
                // Turns and acknowledgements may take some rounds with nothing to be seen.
                for _ in 0..50 {
                    is_moving |= self.carry(side, usize::MAX, 10_000);
                }
                while !self.sessions[side].inbound.is_empty() {
                    self.act(side, &Step::Accept);
                    is_moving = true;
                }
                let ids: Vec<_> =
                    self.seen.iter().filter(|(_, seen)| seen.has[side]).map(|(id, _)| *id).collect();
                for id in ids {
                    while self.read(side, id, 100_000) {
                        is_moving = true;
                    }
                }
            }
        }
        for (id, seen) in &self.seen {
            for (side, direction) in seen.directions.iter().enumerate() {
                if seen.has[0] && seen.has[1] {
                    assert_eq!(direction.read, direction.written, "stream {id}");
                    assert_eq!(direction.is_end_read, direction.is_closed, "stream {id}");
                } else if seen.has[1 - side] && !seen.is_reset {
                    assert_eq!(direction.read, direction.written, "stream {id}");
                }
            }
        }
        for (side, session) in self.sessions.iter().enumerate() {
            let has = self.seen.values().filter(|seen| seen.has[side]).count();
            assert_eq!(session.streams(), has, "streams that nobody has");
        }
    }
}

proptest! {
    #[test]
    fn streams_carry_their_bytes_and_ends_whatever_is_done(
        steps in prop::collection::vec((0..2_usize, step()), 1..200),
    ) {
        let mut world = World::new();
        for (side, step) in &steps {
            world.act(*side, step);
        }
        world.finish();
    }

    #[test]
    fn arbitrary_frames_in_arbitrary_pieces_break_nothing(
        frames in prop::collection::vec((0..4_u8, 0..16_u16, 0..6_u32, prop_oneof![0..10_u32, any::<u32>()]), 1..100),
        cut in 1..100_usize,
    ) {
        let mut bytes = Vec::new();
        for (kind, flags, stream, length) in frames {
            bytes.extend_from_slice(&[0, kind]);
            bytes.extend_from_slice(&flags.to_be_bytes());
            bytes.extend_from_slice(&stream.to_be_bytes());
            bytes.extend_from_slice(&length.to_be_bytes());
            if kind == 0 {
                bytes.resize(bytes.len() + length.min(20) as usize, 0);
            }
        }
        let mut server = session(Side::Server);
        let outcome = receive(&mut server, &bytes, cut);
        prop_assert_eq!(outcome.is_err(), server.ended().is_some());
        while let Poll::Ready(Ok(id)) = server.poll_accept(&cx()) {
            _ = read(&mut server, id);
            server.forget(id);
        }
        headers(&transmit(&mut server));
    }
}
