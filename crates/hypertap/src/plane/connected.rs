//! The planes over a connected Unix socket: a packet a message, or frames in a stream.
//!
//! One program at a time. Until it connects, the machine's packets are dropped; a second one is
//! turned away. A program that does not read first holds the interface up, for as long as a burst
//! takes to pass; then its packets are dropped, until it reads again. The other direction never
//! waits for this.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hypertap_platform::datagram::{Receiver, Sender};
use hypertap_platform::program::{accept, has_hung_up, is_readable};
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_wire::batch::Batch;
use hypertap_wire::framing::{Deframer, FRAME_HEADER, MAX_FRAME, frame};
use hypertap_wire::packet::{DropCause, Tally};

use super::guard::PeerGuard;
use super::inject::Injector;
use super::stats::Direction;
use super::{PlaneEnd, Rounds, Sink};

/// How long a full socket may hold up the interface before packets are dropped.
const PATIENCE: Duration = Duration::from_millis(100);
/// How much of a stream is read at once, in bytes.
const STREAM_BUFFER: usize = 256 << 10;
/// Packets of a stream that are injected as one batch.
const STREAM_PACKETS: usize = 2048;

/// How packets are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// Each is a message.
    Messages,
    /// Each has its length before it.
    Frames,
}

/// Where the threads of a plane find the program that is connected.
pub(super) struct Meeting {
    listener: UnixListener,
    connected: Mutex<Option<Arc<Connection>>>,
    arrived: Condvar,
}

impl Meeting {
    /// The connected program, if there is one. For one that is at the door it waits a moment: its
    /// connect(2) is done, so it may count on the packets from then on.
    fn program(&self) -> Option<Arc<Connection>> {
        let connected = lock(&self.connected);
        if connected.is_some() || !is_readable(&self.listener) {
            return connected.clone();
        }
        let waited = self.arrived.wait_timeout_while(connected, PATIENCE, |connected| connected.is_none());
        waited.unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    fn set(&self, program: Option<Arc<Connection>>) {
        *lock(&self.connected) = program;
        self.arrived.notify_all();
    }
}

/// A program's connection.
pub(super) struct Connection {
    socket: UnixStream,
    outgoing: Mutex<Outgoing>,
}

/// What one thread at a time needs to send.
enum Outgoing {
    Messages { sender: Box<Sender>, is_slow: bool },
    Frames { rest: Vec<u8>, is_slow: bool },
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What a panicked thread left is still whole: every change of it is one assignment.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    fn new(socket: OwnedFd, framing: Framing) -> Self {
        let outgoing = match framing {
            Framing::Messages => Outgoing::Messages { sender: Box::new(Sender::connected()), is_slow: false },
            Framing::Frames => Outgoing::Frames { rest: Vec::with_capacity(MAX_FRAME), is_slow: false },
        };
        Self { socket: socket.into(), outgoing: Mutex::new(outgoing) }
    }

    /// Waits until there is room again, once for as long as patience lasts. Returns whether there is.
    fn wait_for_room(&self, is_slow: &mut bool, stop: &Stop) -> bool {
        let wait = || stop.wait(&[(self.socket.as_fd(), Interest::Writable)], Some(PATIENCE));
        let has_room = !*is_slow && matches!(wait(), Ok(Wake::Ready(_)));
        *is_slow = !has_room;
        has_room
    }

    fn send_messages(
        &self,
        sender: &mut Sender,
        is_slow: &mut bool,
        batch: &Batch,
        tally: &mut Tally,
        stop: &Stop,
    ) {
        let mut next = 0;
        while next < batch.len() {
            let progress = sender.send(self.socket.as_fd(), batch, next);
            let sent = progress.next - next;
            tally.pass(sent, batch.lengths().skip(next).take(sent).sum());
            *is_slow &= sent == 0;
            next = progress.next;
            if progress.is_full() {
                if !self.wait_for_room(is_slow, stop) {
                    return tally.drop(DropCause::ProgramSlow, batch.len() - next);
                }
            } else if progress.error.is_some() {
                return tally.drop(DropCause::NoReceiver, batch.len() - next);
            }
        }
    }

    fn send_frames(
        &self,
        rest: &mut Vec<u8>,
        is_slow: &mut bool,
        batch: &mut Batch,
        tally: &mut Tally,
        stop: &Stop,
    ) {
        frame(batch);
        // A frame that was begun must be ended before the next.
        let ended = self.send_rest(rest, is_slow, stop);
        if !rest.is_empty() {
            return tally.drop(DropCause::ProgramSlow, batch.len());
        }
        let stream = batch.taken();
        let (written, cause) = match ended {
            Ok(()) => self.write(stream, is_slow, stop),
            Err(cause) => (0, cause),
        };
        let mut end = 0;
        for len in batch.lengths() {
            let start = end;
            end += FRAME_HEADER + len;
            if start < written {
                tally.pass(1, len);
                if written < end && cause == DropCause::ProgramSlow {
                    rest.extend_from_slice(&stream[written..end]);
                }
            } else {
                tally.drop(cause, 1);
            }
        }
    }

    /// Goes on with a frame that was begun; forgets it when nobody is there to read it.
    fn send_rest(&self, rest: &mut Vec<u8>, is_slow: &mut bool, stop: &Stop) -> Result<(), DropCause> {
        let (written, cause) = self.write(rest, is_slow, stop);
        rest.drain(..written);
        if rest.is_empty() || cause == DropCause::ProgramSlow {
            return Ok(());
        }
        rest.clear();
        Err(cause)
    }

    /// Writes what the socket takes. Returns how much, and why not the rest.
    fn write(&self, bytes: &[u8], is_slow: &mut bool, stop: &Stop) -> (usize, DropCause) {
        let mut written = 0;
        while written < bytes.len() {
            match (&self.socket).write(&bytes[written..]) {
                Ok(0) => return (written, DropCause::NoReceiver),
                Ok(len) => {
                    written += len;
                    *is_slow = false;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if !self.wait_for_room(is_slow, stop) {
                        return (written, DropCause::ProgramSlow);
                    }
                }
                Err(_) => return (written, DropCause::NoReceiver),
            }
        }
        (written, DropCause::ProgramSlow)
    }
}

/// Sends the machine's packets to whichever program is connected.
pub(super) struct ConnectedSink {
    meeting: Arc<Meeting>,
    /// The connection on which a frame was begun and not ended.
    unfinished: Option<Arc<Connection>>,
}

impl ConnectedSink {
    pub(super) fn new(meeting: Arc<Meeting>) -> Self {
        Self { meeting, unfinished: None }
    }
}

impl Sink for ConnectedSink {
    fn deliver(&mut self, batch: &mut Batch, tally: &mut Tally, stop: &Stop) {
        self.unfinished = None;
        let Some(connection) = self.meeting.program() else {
            return tally.drop(DropCause::NoReceiver, batch.len());
        };
        let has_rest = match &mut *lock(&connection.outgoing) {
            Outgoing::Messages { sender, is_slow } => {
                connection.send_messages(sender, is_slow, batch, tally, stop);
                false
            }
            Outgoing::Frames { rest, is_slow } => {
                connection.send_frames(rest, is_slow, batch, tally, stop);
                !rest.is_empty()
            }
        };
        self.unfinished = has_rest.then_some(connection);
    }

    fn unfinished(&self) -> Option<BorrowedFd<'_>> {
        self.unfinished.as_ref().map(|connection| connection.socket.as_fd())
    }

    fn finish(&mut self, stop: &Stop) {
        let Some(connection) = self.unfinished.take() else { return };
        let has_rest = match &mut *lock(&connection.outgoing) {
            Outgoing::Messages { .. } => false,
            Outgoing::Frames { rest, is_slow } => {
                let sent = connection.send_rest(rest, is_slow, stop);
                sent.is_ok() && !rest.is_empty()
            }
        };
        self.unfinished = has_rest.then_some(connection);
    }
}

/// Lets programs in, one at a time, and takes their packets.
pub(super) struct Door {
    framing: Framing,
    guard: Arc<dyn PeerGuard>,
    meeting: Arc<Meeting>,
}

impl Door {
    pub(super) fn new(listener: UnixListener, framing: Framing, guard: Arc<dyn PeerGuard>) -> Self {
        let meeting = Meeting { listener, connected: Mutex::default(), arrived: Condvar::new() };
        Self { framing, guard, meeting: Arc::new(meeting) }
    }

    /// Where the connected program will stand.
    pub(super) fn meeting(&self) -> Arc<Meeting> {
        Arc::clone(&self.meeting)
    }

    /// Waits for a program and takes its packets until it goes away or the stop is set.
    ///
    /// # Errors
    /// That it went away, that it does not speak in frames, or that the interface is gone.
    pub(super) fn serve(
        self,
        injector: &mut Injector,
        stats: &Direction,
        stop: &Stop,
    ) -> Result<(), PlaneEnd> {
        let Some(connection) = self.wait_for_program(stop)? else { return Ok(()) };
        self.meeting.set(Some(Arc::clone(&connection)));
        let mut incoming = match self.framing {
            Framing::Messages => Incoming::Messages(Receiver::connected()),
            Framing::Frames => Incoming::Frames(Deframer::new(STREAM_BUFFER, STREAM_PACKETS)),
        };
        let served = self.take_packets(&connection, &mut incoming, injector, stats, stop);
        self.meeting.set(None);
        served
    }

    fn wait_for_program(&self, stop: &Stop) -> Result<Option<Arc<Connection>>, PlaneEnd> {
        while !stop.is_set() {
            match accept(&self.meeting.listener).map_err(PlaneEnd::Program)? {
                Some((socket, uid)) if self.guard.may_connect(uid) => {
                    return Ok(Some(Arc::new(Connection::new(socket, self.framing))));
                }
                Some((_, uid)) => {
                    tracing::warn!(uid, "turned a program of a user away who may not use the tunnel")
                }
                None => {
                    stop.wait(&[(self.meeting.listener.as_fd(), Interest::Readable)], None)
                        .map_err(PlaneEnd::Program)?;
                }
            }
        }
        Ok(None)
    }

    fn take_packets(
        &self,
        connection: &Connection,
        incoming: &mut Incoming,
        injector: &mut Injector,
        stats: &Direction,
        stop: &Stop,
    ) -> Result<(), PlaneEnd> {
        let mut rounds = Rounds::default();
        while rounds.goes_on(stop) {
            let mut tally = Tally::default();
            let received = incoming.receive(&connection.socket, injector, &mut tally);
            stats.add(&tally);
            match received {
                Ok(true) => continue,
                Ok(false) => {}
                Err(PlaneEnd::Program(error)) if error.kind() == ErrorKind::WouldBlock => {}
                // It left without reading all of ours: said once, before what it had sent and the end.
                Err(PlaneEnd::Program(error))
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionReset) =>
                {
                    continue;
                }
                Err(end) => return Err(end),
            }
            if rounds.are_last() {
                break;
            }
            let interests = [
                (connection.socket.as_fd(), Interest::Readable),
                (self.meeting.listener.as_fd(), Interest::Readable),
            ];
            let wake = stop.wait(&interests, None).map_err(PlaneEnd::Program)?;
            if wake.is_ready(1) && matches!(accept(&self.meeting.listener), Ok(Some(_))) {
                tracing::info!("turned a second program away: one is connected to the data plane already");
            }
        }
        Ok(())
    }
}

/// What takes packets from a connection.
enum Incoming {
    Messages(Receiver),
    Frames(Deframer),
}

impl Incoming {
    /// Takes and injects what waits. Returns whether more may wait.
    fn receive(
        &mut self,
        socket: &UnixStream,
        injector: &mut Injector,
        tally: &mut Tally,
    ) -> Result<bool, PlaneEnd> {
        match self {
            Self::Messages(receiver) => {
                let more = receiver.recv(socket.as_fd()).map_err(PlaneEnd::Program)?;
                let (batch, _) = receiver.received();
                // The end reads as an empty message, over and over; an empty message ends nothing.
                let has_empty = batch.lengths().any(|len| len == 0);
                if has_empty && has_hung_up(socket) {
                    batch.retain(|_, packet| !packet.is_empty());
                    injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                    return Err(PlaneEnd::ProgramGone);
                }
                injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                Ok(more)
            }
            Self::Frames(deframer) => {
                let room = deframer.room();
                let wanted = room.len();
                let len = (&*socket).read(room).map_err(PlaneEnd::Program)?;
                if len == 0 {
                    return Err(PlaneEnd::ProgramGone);
                }
                let broken = |error| PlaneEnd::Program(io::Error::new(ErrorKind::InvalidData, error));
                deframer.advance(len).map_err(broken)?;
                while let Some(batch) = deframer.next_batch() {
                    injector.inject(batch, tally).map_err(PlaneEnd::Device)?;
                }
                Ok(len == wanted)
            }
        }
    }
}
