//! Two sessions that are connected by nothing but their bytes, and frames by hand.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use hypertap_wire::yamux::{Flags, FrameHeader, FrameType};

use crate::yamux::error::{SessionError, StreamError};
use crate::yamux::session::{Session, Side};
use crate::yamux::settings::YamuxSettings;

pub(super) const NOW: Duration = Duration::from_secs(1);

pub(super) fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Counts how often it is woken.
#[derive(Default)]
pub(super) struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Wakes {
    pub(super) fn new() -> (Arc<Self>, Waker) {
        let wakes = Arc::new(Self::default());
        (Arc::clone(&wakes), Waker::from(wakes))
    }

    /// How often since it was last asked, what `session` has to wake included.
    pub(super) fn take(&self, session: &mut Session) -> usize {
        session.take_wakers().wake();
        self.0.swap(0, Ordering::Relaxed)
    }
}

pub(super) fn session(side: Side) -> Session {
    Session::new(side, YamuxSettings::default())
}

pub(super) fn pair() -> (Session, Session) {
    (session(Side::Client), session(Side::Server))
}

/// All that `session` has to send.
pub(super) fn transmit(session: &mut Session) -> Vec<u8> {
    let (mut all, mut buffer) = (Vec::new(), Vec::new());
    loop {
        let is_more_to_come = session.poll_transmit(&mut buffer);
        all.extend_from_slice(&buffer);
        if buffer.is_empty() && !is_more_to_come {
            return all;
        }
    }
}

/// Gives `bytes` to `session` as whoever reads the connection does.
pub(super) fn receive(session: &mut Session, bytes: &[u8], cut: usize) -> Result<(), SessionError> {
    let mut rest = bytes;
    let mut chunk = None;
    while !rest.is_empty() {
        if let Some(mut filling) = Option::take(&mut chunk) {
            let vacant = crate::yamux::Chunk::vacant(&mut filling);
            let length = vacant.len().min(rest.len()).min(cut);
            vacant[..length].copy_from_slice(&rest[..length]);
            filling.advance(length);
            rest = &rest[length..];
            chunk = session.handle_chunk(filling, NOW);
        } else {
            let (piece, after) = rest.split_at(rest.len().min(cut));
            chunk = session.handle_input(piece, NOW)?;
            rest = after;
        }
    }
    Ok(())
}

/// Moves bytes both ways until there are none.
pub(super) fn settle(a: &mut Session, b: &mut Session) {
    loop {
        let (to_b, to_a) = (transmit(a), transmit(b));
        if to_a.is_empty() && to_b.is_empty() {
            return;
        }
        receive(b, &to_b, 16 << 10).expect("a keeps the rules");
        receive(a, &to_a, 16 << 10).expect("b keeps the rules");
    }
}

pub(super) fn frame(kind: FrameType, flags: Flags, stream: u32, length: u32) -> Vec<u8> {
    let mut bytes = FrameHeader { kind, flags, stream, length }.emit().to_vec();
    if kind == FrameType::Data {
        bytes.resize(bytes.len() + length as usize, b'x');
    }
    bytes
}

/// The headers in `bytes`, which are whole frames.
pub(super) fn headers(bytes: &[u8]) -> Vec<FrameHeader> {
    let (mut rest, mut headers) = (bytes, Vec::new());
    while let Some((header, after)) = rest.split_first_chunk() {
        let header = FrameHeader::parse(header).expect("a header");
        rest = &after[header.body_length() as usize..];
        headers.push(header);
    }
    assert!(rest.is_empty());
    headers
}

pub(super) fn flags(bytes: &[u8]) -> Vec<(u32, Flags)> {
    headers(bytes).iter().map(|header| (header.stream, header.flags)).collect()
}

pub(super) fn open(session: &mut Session) -> u32 {
    match session.poll_open(&cx()) {
        Poll::Ready(Ok(id)) => id,
        other => panic!("not opened: {other:?}"),
    }
}

pub(super) fn accept(session: &mut Session) -> Option<u32> {
    match session.poll_accept(&cx()) {
        Poll::Ready(id) => Some(id.expect("a session")),
        Poll::Pending => None,
    }
}

/// Writes as much of `data` as is taken.
pub(super) fn write(session: &mut Session, id: u32, data: &[u8]) -> Result<usize, StreamError> {
    let mut done = 0;
    while done < data.len() {
        match session.poll_write(id, &cx(), &data[done..])? {
            Poll::Ready(length) => done += length,
            Poll::Pending => break,
        }
    }
    Ok(done)
}

/// Reads what there is; whether the end came.
pub(super) fn read(session: &mut Session, id: u32) -> Result<(Vec<u8>, bool), StreamError> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; 100_000]);
    loop {
        match session.poll_read(id, &cx(), &mut buffer)? {
            Poll::Ready(0) => return Ok((all, true)),
            Poll::Ready(length) => all.extend_from_slice(&buffer[..length]),
            Poll::Pending => return Ok((all, false)),
        }
    }
}

/// A stream that both sides know and have acknowledged.
pub(super) fn stream(client: &mut Session, server: &mut Session) -> u32 {
    let id = open(client);
    client.flush(id).expect("open");
    settle(client, server);
    assert_eq!(accept(server), Some(id));
    settle(client, server);
    id
}
