//! The planes over a connected Unix socket: lets programs in, one at a time, and takes their packets.
//!
//! Until a program connects, the machine's packets are dropped; a second one is turned away.

use std::io::ErrorKind;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hypertap_platform::program::accept;
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_wire::packet::Tally;

use super::connection::{Connection, Framing};
use super::guard::PeerGuard;
use super::incoming::Incoming;
use super::inject::Injector;
use super::meeting::Meeting;
use super::stats::Direction;
use super::{PlaneEnd, Rounds};

/// How long nobody is let in after the machine had no room for one: no descriptor or no memory is
/// left. Whoever waits at the door goes on waiting.
const NO_ROOM: Duration = Duration::from_millis(100);

/// Lets programs in, one at a time, and takes their packets.
pub(super) struct Door {
    framing: Framing,
    guard: Arc<dyn PeerGuard>,
    meeting: Arc<Meeting>,
    /// Until when nobody is let in, where there was no room.
    shut_until: Option<Instant>,
}

impl Door {
    pub(super) fn new(listener: UnixListener, framing: Framing, guard: Arc<dyn PeerGuard>) -> Self {
        Self { framing, guard, meeting: Arc::new(Meeting::new(listener)), shut_until: None }
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
        mut self,
        injector: &mut Injector,
        stats: &Direction,
        stop: &Stop,
    ) -> Result<(), PlaneEnd> {
        let Some(connection) = self.wait_for_program(stop)? else { return Ok(()) };
        self.meeting.set(Some(Arc::clone(&connection)));
        let mut incoming = Incoming::new(self.framing);
        let served = self.take_packets(&connection, &mut incoming, injector, stats, stop);
        self.meeting.set(None);
        served
    }

    /// Lets a program in that may use the tunnel. `None` when the stop is set first.
    fn wait_for_program(&mut self, stop: &Stop) -> Result<Option<Arc<Connection>>, PlaneEnd> {
        while !stop.is_set() {
            if !self.wait(None, stop)? {
                continue;
            }
            match self.let_in() {
                Some((socket, uid)) if self.guard.may_connect(uid) => {
                    return Ok(Some(Arc::new(Connection::new(socket, self.framing))));
                }
                Some((_, uid)) => {
                    tracing::warn!(uid, "turned a program of a user away who may not use the tunnel");
                }
                None => {}
            }
        }
        Ok(None)
    }

    /// A program that is at the door, with its user, if one is.
    fn let_in(&mut self) -> Option<(OwnedFd, u32)> {
        self.shut_until = None;
        accept(&self.meeting.listener).unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot let a program in to the data plane; trying again");
            self.shut_until = Some(Instant::now() + NO_ROOM);
            None
        })
    }

    /// Waits until a program is at the door, or the connected one has something. Returns whether to look
    /// at the door, which after a lack of room is not before its time.
    fn wait(&self, connection: Option<&Connection>, stop: &Stop) -> Result<bool, PlaneEnd> {
        let door = (self.meeting.listener.as_fd(), Interest::Readable);
        let program = connection.map(|connection| (connection.socket().as_fd(), Interest::Readable));
        let shut = self.shut_until.map(|until| until.saturating_duration_since(Instant::now()));
        let wake = match (program, shut) {
            (Some(program), None) => stop.wait(&[door, program], None),
            (None, None) => stop.wait(&[door], None),
            (Some(program), Some(_)) => stop.wait(&[program], shut),
            (None, Some(_)) => stop.wait(&[], shut),
        };
        let wake = wake.map_err(PlaneEnd::Program)?;
        Ok(if shut.is_some() { wake == Wake::TimedOut } else { wake.is_ready(0) })
    }

    fn take_packets(
        &mut self,
        connection: &Connection,
        incoming: &mut Incoming,
        injector: &mut Injector,
        stats: &Direction,
        stop: &Stop,
    ) -> Result<(), PlaneEnd> {
        let mut rounds = Rounds::default();
        while rounds.goes_on(stop) {
            let mut tally = Tally::default();
            let received = incoming.receive(connection.socket(), injector, &mut tally);
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
            if self.wait(Some(connection), stop)? && self.let_in().is_some() {
                tracing::info!("turned a second program away: one is connected to the data plane already");
            }
        }
        Ok(())
    }
}
