//! The client for programs without an asynchronous runtime: every call returns when it is done.

mod data;
mod tap;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use hypertap_wire::command::Verb;
use ipnet::IpNet;
use rustix::event::PollFlags;
use serde_json::{Map, Value};

pub use self::data::DataSocket;
pub use self::tap::{FrameInterface, TapInterface};
use crate::calls::{self, Call};
use crate::connect::connect;
use crate::error::{Error, Result};
use crate::protocol::{Protocol, Ticket};
use crate::session::{CONNECT_TIME, REPLY_TIME, Session};
use crate::socket::{Deadline, Socket, wait};
use crate::start::Prepared;
use crate::{Address, Event, PastEvent, Routes, Start, Stats, Status};

/// A connected stream socket that does not block, for a program that speaks a protocol of its own on it. A queue of
/// connections that is full is waited for, where connect(2) refuses with `EAGAIN`; over TCP it does not delay.
///
/// # Errors
/// Of connect(2); `TimedOut`.
pub fn connect_stream(address: &Address, timeout: Duration) -> io::Result<OwnedFd> {
    connect(address, timeout).map(Socket::into_descriptor)
}

/// A connection to a daemon's command plane.
///
/// Dropping it ends the connection. If this client owned the tunnel, the daemon then takes the tunnel
/// down, and ends unless it was told otherwise (`--on-disconnect`).
#[derive(Debug)]
pub struct Tunnel {
    session: Session,
    reply_time: Option<Duration>,
}

impl Tunnel {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::Refused`] when the daemon turns this client away.
    pub fn connect(address: impl Into<Address>) -> Result<Self> {
        let address = address.into();
        let deadline = Deadline::after(Some(CONNECT_TIME));
        let socket = connect(&address, CONNECT_TIME).map_err(|source| Error::Connect { address, source })?;
        let mut tunnel = Self { session: Session::new(socket), reply_time: Some(REPLY_TIME) };
        match tunnel.until(deadline, |protocol| protocol.is_greeted().then_some(()))? {
            Some(()) => Ok(tunnel),
            None => Err(Error::TimedOut),
        }
    }

    /// Sets how long a reply may take; `None` is for ever. 30 s until set.
    pub fn set_reply_time(&mut self, reply_time: Option<Duration>) {
        self.reply_time = reply_time;
    }

    /// Whether the daemon has the right to configure networking, by its latest word.
    pub fn approved(&self) -> bool {
        self.session.protocol.greeting().approved == Some(true)
    }

    /// Whether the TUN driver can be used, by the daemon's latest word.
    pub fn driver(&self) -> bool {
        self.session.protocol.greeting().driver == Some(true)
    }

    /// Sends any command and returns the fields of its reply, without `ok`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the daemon's reason, and all the others.
    pub fn request(&mut self, verb: &str, fields: Map<String, Value>) -> Result<Map<String, Value>> {
        let ticket = self.session.submit(verb, fields, None)?;
        self.reply(ticket)
    }

    /// The same, with a copy of a descriptor for the daemon. Only over a Unix socket.
    ///
    /// # Errors
    /// The same, and [`Error::Io`] on a connection that cannot carry it.
    pub fn request_with_descriptor(
        &mut self,
        verb: &str,
        fields: Map<String, Value>,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Map<String, Value>> {
        let ticket = self.session.submit(verb, fields, Some(descriptor))?;
        self.reply(ticket)
    }

    /// Starts the tunnel and opens its data plane.
    ///
    /// A tunnel that is up already stays as it is (the daemon ignores what is asked for then), which
    /// fits only the UDP plane; the others fail with [`Error::Protocol`].
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Io`] when the program's UDP port is taken, or when the data plane
    /// of a tunnel that is up cannot be opened.
    pub fn start(&mut self, start: &Start) -> Result<DataSocket> {
        let mut prepared = Prepared::new(start)?;
        let reply = self.request(Verb::Start.name(), std::mem::take(&mut prepared.fields))?;
        let device = self.session.take_descriptor();
        prepared.open(&reply, device).map(DataSocket::new)
    }

    /// Takes the tunnel down and keeps the daemon. Nothing to take down is no error.
    pub fn stop(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::Stop))
    }

    /// Takes the tunnel down and ends the daemon.
    pub fn shutdown(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::Shutdown))
    }

    /// Has the daemon ask for the right to configure networking. The outcome is an event,
    /// [`Event::VpnApproved`] or [`Event::VpnDenied`].
    pub fn load_config(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::LoadConfig))
    }

    /// Has the TUN driver made available. The outcome is an event,
    /// [`Event::ExtensionApproved`] or [`Event::ExtensionNotApproved`].
    pub fn load_extension(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::LoadExtension))
    }

    /// Sends routes into the tunnel, all or none. They are in force when this returns.
    pub fn add_included(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::AddIncludedRoutes, nets))
    }

    /// No longer sends routes into the tunnel. Those that are not there are no error.
    pub fn remove_included(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::RemoveIncludedRoutes, nets))
    }

    /// Keeps routes out of the tunnel, even where an included one covers them; removes equal
    /// included ones.
    pub fn add_excluded(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::AddExcludedRoutes, nets))
    }

    /// No longer keeps routes out of the tunnel.
    pub fn remove_excluded(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::RemoveExcludedRoutes, nets))
    }

    /// Captures every DNS query of the machine into the tunnel. In force when this returns.
    pub fn turn_on_dns(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::TurnOnDns))
    }

    /// Stops capturing DNS queries.
    pub fn turn_off_dns(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::TurnOffDns))
    }

    /// What the tunnel is doing.
    pub fn status(&mut self) -> Result<Status> {
        self.call(calls::status())
    }

    /// The interface's name.
    pub fn name(&mut self) -> Result<String> {
        self.call(calls::name())
    }

    /// The daemon's version, x.y.z.
    pub fn version(&mut self) -> Result<String> {
        self.call(calls::version())
    }

    /// Packets, bytes and drops since the tunnel started.
    pub fn stats(&mut self) -> Result<Stats> {
        self.call(calls::stats())
    }

    /// The tunnel's routes.
    pub fn routes(&mut self) -> Result<Routes> {
        self.call(calls::routes())
    }

    /// Whether the routes send an address into the tunnel.
    pub fn is_in_tunnel(&mut self, address: IpAddr) -> Result<bool> {
        self.call(calls::is_in_tunnel(address))
    }

    /// The latest events that the daemon keeps (64), oldest first, those before this client included.
    pub fn events(&mut self) -> Result<Vec<PastEvent>> {
        self.call(calls::events())
    }

    /// The next event, waiting at most that long (`None`: for ever). `Ok(None)` when none came.
    ///
    /// # Errors
    /// [`Error::Closed`] once the daemon is gone and all its events were taken.
    pub fn next_event(&mut self, timeout: impl Into<Option<Duration>>) -> Result<Option<Event>> {
        self.until(Deadline::after(timeout.into()), Protocol::poll_event)
    }

    /// How many events were thrown away because nobody took them; the last 256 are kept.
    pub fn missed_events(&self) -> u64 {
        self.session.protocol.missed_events()
    }

    fn call<T>(&mut self, mut call: Call<T>) -> Result<T> {
        let fields = std::mem::take(&mut call.fields);
        let reply = self.request(call.verb, fields)?;
        call.read(&reply)
    }

    fn reply(&mut self, ticket: Ticket) -> Result<Map<String, Value>> {
        match self.until(Deadline::after(self.reply_time), |protocol| protocol.poll_reply(ticket)) {
            Ok(Some(reply)) => reply,
            outcome => {
                self.session.protocol.abandon(ticket);
                outcome.and(Err(Error::TimedOut))
            }
        }
    }

    /// Drives the connection until `ready` yields something, or `None` at the deadline.
    fn until<T>(
        &mut self,
        deadline: Deadline,
        mut ready: impl FnMut(&mut Protocol) -> Option<T>,
    ) -> Result<Option<T>> {
        loop {
            if let Some(found) = ready(&mut self.session.protocol) {
                return Ok(Some(found));
            }
            let is_flushed = self.session.write()?;
            if self.session.read()? && !deadline.is_past() {
                continue;
            }
            let interest = if is_flushed { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let waited = wait(self.session.as_fd(), interest, deadline);
            if !waited.map_err(|source| Error::Io { doing: "wait for the daemon", source })? {
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests;
