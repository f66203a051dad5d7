//! Where the threads that take the machine's packets find the program that is connected.

use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixListener;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use hypertap_platform::program::is_readable;
use hypertap_platform::stop::Stop;
use hypertap_wire::batch::Batch;
use hypertap_wire::packet::{DropCause, Tally};

use super::Sink;
use super::connection::{Connection, PATIENCE, lock};

/// The place where a connected program stands, and the door that it comes in by.
pub(super) struct Meeting {
    pub(super) listener: UnixListener,
    connected: Mutex<Option<Arc<Connection>>>,
    arrived: Condvar,
}

impl Meeting {
    pub(super) fn new(listener: UnixListener) -> Self {
        Self { listener, connected: Mutex::default(), arrived: Condvar::new() }
    }

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

    /// Has a program stand here, or nobody.
    pub(super) fn set(&self, program: Option<Arc<Connection>>) {
        *lock(&self.connected) = program;
        self.arrived.notify_all();
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
        let has_rest = connection.deliver(batch, tally, stop);
        self.unfinished = has_rest.then_some(connection);
    }

    fn unfinished(&self) -> Option<BorrowedFd<'_>> {
        self.unfinished.as_ref().map(|connection| connection.socket().as_fd())
    }

    fn finish(&mut self, stop: &Stop) {
        self.unfinished.take_if(|connection| !connection.finish(stop));
    }
}
