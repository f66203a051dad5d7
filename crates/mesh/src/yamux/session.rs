//! The protocol without I/O: what streams there are, what comes of the peer's bytes, what it is to be sent.
//!
//! Bytes come in by [`Session::handle_input`] and, bodies of large frames, by [`Session::handle_chunk`];
//! they go out by [`Session::poll_transmit`]. Times are since any moment, and never go back. Nobody is
//! woken here: [`Session::take_wakers`] says who is to be.

use std::collections::{HashMap, VecDeque};
use std::mem;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hypertap_wire::yamux::{Flags, FrameType, GoAway};

use super::error::{OpenError, SessionError, StreamError, Violation};
use super::input::Input;
use super::outgoing::Outgoing;
use super::rate::Rate;
use super::received::Pool;
use super::settings::YamuxSettings;
use super::stream::{PeerEnd, Stream};
use super::turns::{Room, Turn, Turns};
use super::window::Budget;

/// How many streams may be opened that the peer has not accepted: others reset them, or end the connection.
pub(super) const ACK_BACKLOG: usize = 256;
/// What may wait to be sent beyond the data of streams: what answers the peer.
const MAX_ANSWERS: usize = 2 << 20;
/// How many streams may be removed before the map of them is given a smaller place.
const SMALL_MAP: usize = 1024;

/// Which side of the connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It dialled, and opens streams with odd ids.
    Client,
    /// It listened, and opens streams with even ids.
    Server,
}

/// What the peer did, since the beginning.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Streams that it opened.
    pub opened: u64,
    /// Of these, streams that were reset at once, as there were too many.
    pub refused: u64,
    /// Of these, streams that it reset before they were accepted.
    pub reset_early: u64,
    /// Pings.
    pub pings: u64,
    /// Bytes for streams that are no more.
    pub late_bytes: u64,
}

/// One side of a connection.
#[derive(Debug)]
pub struct Session {
    pub(super) side: Side,
    pub(super) settings: YamuxSettings,
    pub(super) streams: HashMap<u32, Stream>,
    pub(super) next_id: Option<u32>,
    pub(super) unacknowledged: usize,
    /// Streams that the peer opened, not yet accepted here.
    pub(super) inbound: VecDeque<u32>,
    /// Streams accepted since the last transmission, whose acknowledgement may still go with data.
    accepted: Vec<u32>,
    /// Streams accepted before, whose acknowledgement goes now.
    acknowledge: Vec<u32>,
    pub(super) input: Input,
    pub(super) outgoing: Outgoing,
    turns: Turns,
    /// Whether the bytes that were taken last are still being written.
    is_writing: bool,
    pub(super) pool: Pool,
    budget: Budget,
    pub(super) pings: Rate,
    pub(super) early_resets: Rate,
    pub(super) counters: Counters,
    pub(super) is_peer_going: bool,
    pub(super) ended: Option<SessionError>,
    pub(super) now: Duration,
    /// Whoever owns the connection, and whether it will transmit anyway.
    driver: Option<Waker>,
    pub(super) is_driver_awake: bool,
    pub(super) accepter: Option<Waker>,
    pub(super) opener: Option<Waker>,
    pub(super) wakers: Vec<Waker>,
    replaced: Vec<Waker>,
}

/// Tasks to be woken, once nothing holds the session any more.
#[derive(Debug)]
#[must_use]
pub struct Wakers {
    wake: Vec<Waker>,
    /// Not to be woken; but even to drop one may run code of others.
    _replaced: Vec<Waker>,
}

impl Wakers {
    /// Wakes them.
    pub fn wake(self) {
        self.wake.into_iter().for_each(Waker::wake);
    }
}

impl Session {
    /// A session of a connection on which nothing was sent yet.
    pub fn new(side: Side, settings: YamuxSettings) -> Self {
        Self {
            side,
            streams: HashMap::new(),
            next_id: Some(if side == Side::Client { 1 } else { 2 }),
            unacknowledged: 0,
            inbound: VecDeque::new(),
            accepted: Vec::new(),
            acknowledge: Vec::new(),
            input: Input::default(),
            outgoing: Outgoing::new(settings.max_frame),
            turns: Turns::default(),
            is_writing: false,
            pool: Pool::default(),
            budget: Budget { stream_window: settings.stream_window, left: settings.connection_window },
            pings: Rate::new(1000, 100),
            early_resets: Rate::new(10_000, 1000),
            counters: Counters::default(),
            is_peer_going: false,
            ended: None,
            now: Duration::ZERO,
            driver: None,
            is_driver_awake: true,
            accepter: None,
            opener: None,
            wakers: Vec::new(),
            replaced: Vec::new(),
            settings,
        }
    }

    /// Opens a stream, and returns its id. Pending while as many are not yet accepted as peers bear.
    ///
    /// # Errors
    /// There are too many streams, or the peer, the ids or the connection are at their end.
    pub fn poll_open(&mut self, cx: &Context<'_>) -> Poll<Result<u32, OpenError>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(ended.clone().into()));
        }
        if self.is_peer_going {
            return Poll::Ready(Err(OpenError::PeerGoesAway));
        }
        if self.streams.len() >= self.settings.max_streams {
            return Poll::Ready(Err(OpenError::TooMany(self.settings.max_streams)));
        }
        let Some(id) = self.next_id else {
            return Poll::Ready(Err(OpenError::Exhausted));
        };
        if self.unacknowledged >= ACK_BACKLOG {
            keep(&mut self.opener, cx, &mut self.replaced);
            return Poll::Pending;
        }
        self.next_id = id.checked_add(2);
        self.unacknowledged += 1;
        self.streams.insert(id, Stream::outbound(self.now));
        Poll::Ready(Ok(id))
    }

    /// The next stream that the peer has opened.
    ///
    /// # Errors
    /// The connection ended.
    pub fn poll_accept(&mut self, cx: &Context<'_>) -> Poll<Result<u32, SessionError>> {
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(ended.clone()));
        }
        while let Some(id) = self.inbound.pop_front() {
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.is_unaccepted = false;
                self.accepted.push(id);
                self.wake_driver();
                return Poll::Ready(Ok(id));
            }
        }
        keep(&mut self.accepter, cx, &mut self.replaced);
        Poll::Pending
    }

    /// Reads what has come for stream `id`. No bytes are the end, when the peer has closed its direction; who
    /// reads that is still woken if the peer resets the stream after all. A read into no room at all leaves what came
    /// where it is, tells of a reset, and is woken by whatever is new.
    ///
    /// # Errors
    /// The peer reset the stream, or the connection ended, and what it had brought is read.
    pub fn poll_read(
        &mut self,
        id: u32,
        cx: &Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, StreamError>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        if buffer.is_empty() {
            if stream.peer_end == PeerEnd::Reset {
                return Poll::Ready(Err(StreamError::Reset));
            }
            keep(&mut stream.reader, cx, &mut self.replaced);
            return Poll::Ready(Ok(0));
        }
        let length = stream.received.read(buffer, &mut self.pool);
        if length > 0 {
            if stream.peer_end == PeerEnd::Open && self.ended.is_none() {
                let unread = u32::try_from(stream.received.len()).unwrap_or(u32::MAX);
                if let Some(grant) = stream.window.grant(unread, self.now, &mut self.budget) {
                    let flags = stream.take_due(Flags::NONE);
                    self.outgoing.control(FrameType::WindowUpdate, flags, id, grant);
                    self.wake_driver();
                }
            }
            return Poll::Ready(Ok(length));
        }
        match stream.peer_end {
            PeerEnd::Open => {}
            PeerEnd::Finished => {
                keep(&mut stream.reader, cx, &mut self.replaced);
                return Poll::Ready(Ok(0));
            }
            PeerEnd::Reset => return Poll::Ready(Err(StreamError::Reset)),
        }
        if let Some(ended) = &self.ended {
            return Poll::Ready(Err(StreamError::Session(ended.clone())));
        }
        keep(&mut stream.reader, cx, &mut self.replaced);
        // Whoever waits for the peer to speak first has to let it know of the stream.
        self.announce(id);
        Poll::Pending
    }

    /// Writes as much of `data` to stream `id` as there is room for, and returns how much that is.
    ///
    /// # Errors
    /// The peer reset the stream, it is closed for writing, or the connection ended.
    pub fn poll_write(&mut self, id: u32, cx: &Context<'_>, data: &[u8]) -> Poll<Result<usize, StreamError>> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Poll::Ready(Err(StreamError::Closed));
        };
        check_writable(stream, self.ended.as_ref())?;
        if data.is_empty() {
            return Poll::Ready(Ok(0));
        }
        if stream.send_window == 0 {
            self.turns.leave(id, &mut stream.turn);
            keep(&mut stream.writer, cx, &mut self.replaced);
            return Poll::Pending;
        }
        let data = &data[..data.len().min(stream.send_window.min(self.settings.max_frame.max(1)) as usize)];
        let room = match self.outgoing.len() {
            0 if !self.is_writing => Room::All,
            length if length < self.settings.outgoing => Room::Some,
            _ => Room::None,
        };
        if !self.turns.may_write(id, &mut stream.turn, data.len(), room) {
            keep(&mut stream.writer, cx, &mut self.replaced);
            return Poll::Pending;
        }
        let flags = stream.take_due(Flags::NONE);
        let length = self.outgoing.data(id, flags, data);
        stream.send_window = stream.send_window.saturating_sub(u32::try_from(length).unwrap_or(u32::MAX));
        self.wake_driver();
        Poll::Ready(Ok(length))
    }

    /// Makes the peer know of stream `id`, if it does not yet.
    ///
    /// # Errors
    /// The peer reset the stream, or the connection ended.
    pub fn flush(&mut self, id: u32) -> Result<(), StreamError> {
        let Some(stream) = self.streams.get(&id) else {
            return Err(StreamError::Closed);
        };
        if !stream.is_finished {
            check_writable(stream, self.ended.as_ref())?;
        }
        self.announce(id);
        Ok(())
    }

    /// Closes our direction of stream `id`: the peer reads its end after all data.
    ///
    /// # Errors
    /// The peer reset the stream, or the connection ended before.
    pub fn close(&mut self, id: u32) -> Result<(), StreamError> {
        let Some(stream) = self.streams.get_mut(&id) else {
            return Err(StreamError::Closed);
        };
        if stream.is_finished {
            return Ok(());
        }
        check_writable(stream, self.ended.as_ref())?;
        self.turns.leave(id, &mut stream.turn);
        stream.is_finished = true;
        let flags = stream.take_due(Flags::FIN);
        // Never with data: Yamux in Go tells its reader of the end before it has the same frame's data.
        self.outgoing.control(FrameType::Data, flags, id, 0);
        self.wake_driver();
        Ok(())
    }

    /// Forgets stream `id`, and resets it unless both directions were closed.
    pub fn forget(&mut self, id: u32) {
        let Some(stream) = self.streams.get(&id) else {
            return;
        };
        if !stream.is_over() && !stream.due.contains(Flags::SYN) && self.ended.is_none() {
            self.outgoing.control(FrameType::WindowUpdate, Flags::RST, id, 0);
            self.wake_driver();
        }
        self.remove(id);
    }

    /// Exchanges `written`, all of whose bytes must have been sent, for those to send next. When they are
    /// none there is nothing to do until the driver is woken; but if it returns true, streams were only
    /// just let in to write, and it must be called again, once their tasks could do so.
    pub fn poll_transmit(&mut self, written: &mut Vec<u8>) -> bool {
        for id in mem::replace(&mut self.acknowledge, mem::take(&mut self.accepted)) {
            self.announce(id);
        }
        written.clear();
        self.outgoing.take(written);
        self.is_writing = !written.is_empty();
        self.turns.next_round();
        let mut given = 0;
        while given < self.settings.outgoing.max(1)
            && let Some((id, turn, length)) = self.turns.give()
        {
            given += length;
            if let Some(stream) = self.streams.get_mut(&id) {
                stream.turn = turn;
                self.wakers.extend(stream.writer.take());
            }
        }
        let is_more_to_come =
            !self.is_writing && (self.turns.is_anyone_waiting() || !self.acknowledge.is_empty());
        self.is_driver_awake = self.is_writing || is_more_to_come;
        is_more_to_come
    }

    /// Who drives the connection: woken when there is something to transmit.
    pub fn set_driver(&mut self, cx: &Context<'_>) {
        keep(&mut self.driver, cx, &mut self.replaced);
    }

    /// Whom to wake.
    pub fn take_wakers(&mut self) -> Wakers {
        Wakers { wake: mem::take(&mut self.wakers), _replaced: mem::take(&mut self.replaced) }
    }

    /// Tells the peer that this side goes, and ends all streams.
    pub fn go_away(&mut self) {
        if self.ended.is_none() {
            self.outgoing.control(FrameType::GoAway, Flags::NONE, 0, GoAway::Normal as u32);
            self.end(SessionError::Closed);
        }
    }

    /// The connection ended: so do all streams, when what it had brought is read.
    pub fn end(&mut self, why: SessionError) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(why);
        self.inbound = VecDeque::new();
        for stream in self.streams.values_mut() {
            stream.turn = Turn::None;
            self.wakers.extend(stream.reader.take());
            self.wakers.extend(stream.writer.take());
        }
        self.turns = Turns::default();
        self.wakers.extend(self.accepter.take());
        self.wakers.extend(self.opener.take());
        self.wake_driver();
    }

    /// Why it ended.
    pub fn ended(&self) -> Option<&SessionError> {
        self.ended.as_ref()
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.streams.len()
    }

    /// What the peer did.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Sends SYN or ACK in a frame of its own, if none has carried it yet.
    fn announce(&mut self, id: u32) {
        if let Some(stream) = self.streams.get_mut(&id)
            && stream.due != Flags::NONE
            && stream.peer_end != PeerEnd::Reset
            && self.ended.is_none()
        {
            let flags = stream.take_due(Flags::NONE);
            self.outgoing.control(FrameType::WindowUpdate, flags, id, 0);
            self.wake_driver();
        }
    }

    /// Takes a stream out of all books.
    pub(super) fn remove(&mut self, id: u32) {
        let Some(mut stream) = self.streams.remove(&id) else {
            return;
        };
        self.turns.leave(id, &mut stream.turn);
        stream.window.release(&mut self.budget);
        stream.received.clear(&mut self.pool);
        self.replaced.extend(stream.reader.take());
        self.replaced.extend(stream.writer.take());
        if stream.is_unacknowledged {
            self.acknowledged();
        }
        if self.streams.capacity() > SMALL_MAP && self.streams.len() < self.streams.capacity() / 8 {
            self.streams.shrink_to(self.streams.len() * 2);
        }
    }

    /// One stream less is waited for.
    pub(super) fn acknowledged(&mut self) {
        self.unacknowledged = self.unacknowledged.saturating_sub(1);
        self.wakers.extend(self.opener.take());
    }

    /// The peer broke the rules: tells it so, and ends.
    pub(super) fn violated(&mut self, violation: Violation) -> SessionError {
        let error = SessionError::from(violation);
        if self.ended.is_none() {
            self.outgoing.control(FrameType::GoAway, Flags::NONE, 0, GoAway::ProtocolError as u32);
            self.end(error.clone());
        }
        error
    }

    /// Whether the peer reads so little of what answers it that it cannot go on.
    pub(super) fn is_too_much_unread(&self) -> bool {
        self.outgoing.len() > self.settings.outgoing + self.settings.max_frame as usize + MAX_ANSWERS
    }

    fn wake_driver(&mut self) {
        if !self.is_driver_awake {
            self.is_driver_awake = true;
            self.wakers.extend(self.driver.clone());
        }
    }
}

/// Whether our direction can take more.
fn check_writable(stream: &Stream, ended: Option<&SessionError>) -> Result<(), StreamError> {
    if stream.peer_end == PeerEnd::Reset {
        return Err(StreamError::Reset);
    }
    if stream.is_finished {
        return Err(StreamError::Closed);
    }
    ended.map_or(Ok(()), |ended| Err(StreamError::Session(ended.clone())))
}

/// Keeps the waker of `cx`.
fn keep(place: &mut Option<Waker>, cx: &Context<'_>, replaced: &mut Vec<Waker>) {
    if !place.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
        replaced.extend(place.replace(cx.waker().clone()));
    }
}
