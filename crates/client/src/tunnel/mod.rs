//! The client for programs on tokio.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use hypertap_wire::command::Verb;
use ipnet::IpNet;
use serde_json::{Map, Value};
use tokio::io::unix::AsyncFd;
use tokio::io::{Interest, Ready};
use tokio::time::{Instant, timeout, timeout_at};

use crate::calls::{self, Call};
use crate::connect::connect_async;
use crate::error::{Error, Result};
use crate::protocol::{Protocol, Ticket};
use crate::session::{CONNECT_TIME, REPLY_TIME, Session};
use crate::socket::watch;
use crate::start::Prepared;
use crate::{Address, DataSocket, Event, PastEvent, Routes, Start, Stats, Status};

/// A connection to a daemon's command plane. Needs a tokio runtime with I/O and time enabled.
///
/// Every call can be cancelled: a command that was begun is still sent with the next call, and its
/// reply thrown away; no event is lost. Dropping the connection ends it. If this client owned the
/// tunnel, the daemon then takes the tunnel down, and ends unless it was told otherwise
/// (`--on-disconnect`).
#[derive(Debug)]
pub struct Tunnel {
    session: AsyncFd<Session>,
    reply_time: Option<Duration>,
}

impl Tunnel {
    /// Connects and reads the greeting.
    ///
    /// # Errors
    /// [`Error::Connect`]; [`Error::Refused`] when the daemon turns this client away.
    pub async fn connect(address: impl Into<Address>) -> Result<Self> {
        let address = address.into();
        let deadline = Instant::now() + CONNECT_TIME;
        let socket = connect_async(&address, CONNECT_TIME).await;
        let session = socket.and_then(|socket| watch(Session::new(socket)));
        let session = session.map_err(|source| Error::Connect { address, source })?;
        let mut tunnel = Self { session, reply_time: Some(REPLY_TIME) };
        let greeting = tunnel.until(|protocol| protocol.is_greeted().then_some(()));
        timeout_at(deadline, greeting).await.unwrap_or(Err(Error::TimedOut))?;
        Ok(tunnel)
    }

    /// Sets how long a reply may take; `None` is for ever. 30 s until set.
    pub fn set_reply_time(&mut self, reply_time: Option<Duration>) {
        self.reply_time = reply_time;
    }

    /// Whether the daemon has the right to configure networking, by its latest word.
    pub fn approved(&self) -> bool {
        self.session.get_ref().protocol.greeting().approved == Some(true)
    }

    /// Whether the TUN driver can be used, by the daemon's latest word.
    pub fn driver(&self) -> bool {
        self.session.get_ref().protocol.greeting().driver == Some(true)
    }

    /// Sends any command and returns the fields of its reply, without `ok`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the daemon's reason, and all the others.
    pub async fn request(&mut self, verb: &str, fields: Map<String, Value>) -> Result<Map<String, Value>> {
        let ticket = self.submit(verb, fields, None)?;
        self.reply(ticket).await
    }

    /// The same, with a copy of a descriptor for the daemon. Only over a Unix socket.
    ///
    /// # Errors
    /// The same, and [`Error::Io`] on a connection that cannot carry it.
    pub async fn request_with_descriptor(
        &mut self,
        verb: &str,
        fields: Map<String, Value>,
        descriptor: BorrowedFd<'_>,
    ) -> Result<Map<String, Value>> {
        let ticket = self.submit(verb, fields, Some(descriptor))?;
        self.reply(ticket).await
    }

    /// Starts the tunnel and opens its data plane.
    ///
    /// A tunnel that is up already stays as it is (the daemon ignores what is asked for then), which
    /// fits only the UDP plane; the others fail with [`Error::Protocol`].
    ///
    /// # Errors
    /// [`Error::Refused`]; [`Error::Io`] when the program's UDP port is taken, or when the data plane
    /// of a tunnel that is up cannot be opened.
    pub async fn start(&mut self, start: &Start) -> Result<DataSocket> {
        let mut prepared = Prepared::new(start)?;
        let reply = self.request(Verb::Start.name(), std::mem::take(&mut prepared.fields)).await?;
        let device = self.session.get_mut().take_descriptor();
        let channel = prepared.open(&reply, device)?;
        DataSocket::new(channel).map_err(|source| Error::Io { doing: "watch the data socket", source })
    }

    /// Takes the tunnel down and keeps the daemon. Nothing to take down is no error.
    pub async fn stop(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::Stop)).await
    }

    /// Takes the tunnel down and ends the daemon.
    pub async fn shutdown(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::Shutdown)).await
    }

    /// Has the daemon ask for the right to configure networking. The outcome is an event,
    /// [`Event::VpnApproved`] or [`Event::VpnDenied`].
    pub async fn load_config(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::LoadConfig)).await
    }

    /// Has the TUN driver made available. The outcome is an event,
    /// [`Event::ExtensionApproved`] or [`Event::ExtensionNotApproved`].
    pub async fn load_extension(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::LoadExtension)).await
    }

    /// Sends routes into the tunnel, all or none. They are in force when this returns.
    pub async fn add_included(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::AddIncludedRoutes, nets)).await
    }

    /// No longer sends routes into the tunnel. Those that are not there are no error.
    pub async fn remove_included(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::RemoveIncludedRoutes, nets)).await
    }

    /// Keeps routes out of the tunnel, even where an included one covers them; removes equal
    /// included ones.
    pub async fn add_excluded(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::AddExcludedRoutes, nets)).await
    }

    /// No longer keeps routes out of the tunnel.
    pub async fn remove_excluded(&mut self, nets: &[IpNet]) -> Result<()> {
        self.call(calls::change_routes(Verb::RemoveExcludedRoutes, nets)).await
    }

    /// Captures every DNS query of the machine into the tunnel. In force when this returns.
    pub async fn turn_on_dns(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::TurnOnDns)).await
    }

    /// Stops capturing DNS queries.
    pub async fn turn_off_dns(&mut self) -> Result<()> {
        self.call(calls::plain(Verb::TurnOffDns)).await
    }

    /// What the tunnel is doing.
    pub async fn status(&mut self) -> Result<Status> {
        self.call(calls::status()).await
    }

    /// The interface's name.
    pub async fn name(&mut self) -> Result<String> {
        self.call(calls::name()).await
    }

    /// The daemon's version, x.y.z.
    pub async fn version(&mut self) -> Result<String> {
        self.call(calls::version()).await
    }

    /// Packets, bytes and drops since the tunnel started.
    pub async fn stats(&mut self) -> Result<Stats> {
        self.call(calls::stats()).await
    }

    /// The tunnel's routes.
    pub async fn routes(&mut self) -> Result<Routes> {
        self.call(calls::routes()).await
    }

    /// Whether the routes send an address into the tunnel.
    pub async fn is_in_tunnel(&mut self, address: IpAddr) -> Result<bool> {
        self.call(calls::is_in_tunnel(address)).await
    }

    /// The latest events that the daemon keeps (64), oldest first, those before this client included.
    pub async fn events(&mut self) -> Result<Vec<PastEvent>> {
        self.call(calls::events()).await
    }

    /// The next event. Cancel-safe, so `tokio::time::timeout` may be put around it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the daemon is gone and all its events were taken.
    pub async fn next_event(&mut self) -> Result<Event> {
        self.until(Protocol::poll_event).await
    }

    /// How many events were thrown away because nobody took them; the last 256 are kept.
    pub fn missed_events(&self) -> u64 {
        self.session.get_ref().protocol.missed_events()
    }

    async fn call<T>(&mut self, mut call: Call<T>) -> Result<T> {
        let fields = std::mem::take(&mut call.fields);
        let reply = self.request(call.verb, fields).await?;
        call.read(&reply)
    }

    fn submit(
        &mut self,
        verb: &str,
        fields: Map<String, Value>,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<Ticket> {
        let session = self.session.get_mut();
        // Whoever waited for an earlier one was cancelled, or this call could not be under way.
        session.protocol.abandon_all();
        session.submit(verb, fields, descriptor)
    }

    async fn reply(&mut self, ticket: Ticket) -> Result<Map<String, Value>> {
        let reply_time = self.reply_time;
        let reply = self.until(|protocol| protocol.poll_reply(ticket));
        match reply_time {
            Some(reply_time) => timeout(reply_time, reply).await.unwrap_or(Err(Error::TimedOut))?,
            None => reply.await?,
        }
    }

    /// Drives the connection until `ready` yields something. Cancel-safe: all state is the session's.
    async fn until<T>(&mut self, mut ready: impl FnMut(&mut Protocol) -> Option<T>) -> Result<T> {
        let failed = |source| Error::Io { doing: "wait for the daemon", source };
        loop {
            if let Some(found) = ready(&mut self.session.get_mut().protocol) {
                return Ok(found);
            }
            let wants_to_write = self.session.get_ref().wants_to_write();
            let interest =
                if wants_to_write { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            let mut guard = self.session.ready_mut(interest).await.map_err(failed)?;
            if guard.ready().is_writable() && !guard.get_inner_mut().write()? {
                guard.clear_ready_matching(Ready::WRITABLE);
            }
            if guard.ready().is_readable() && !guard.get_inner_mut().read()? {
                guard.clear_ready_matching(Ready::READABLE);
            }
        }
    }
}

#[cfg(test)]
mod tests;
