//! The doors: who is let in to the command plane at all.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use hypertap_platform::peer::{Allowed, tcp_peer, unix_peer};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::connection::Connection;
use super::session::{self, Ask};
use super::strangers::Strangers;

/// How many connections of permitted users are served at once.
const MAX_SESSIONS: usize = 64;
/// How long is waited when the process has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What every door shares.
#[derive(Clone)]
pub struct Door {
    asks: mpsc::Sender<Ask>,
    drain: watch::Receiver<bool>,
    allowed: Arc<Allowed>,
    callers: Arc<Mutex<Callers>>,
}

/// Who has come in by any of the doors.
#[derive(Debug, Default)]
struct Callers {
    sessions: JoinSet<()>,
    strangers: Strangers,
}

impl Door {
    /// A door to the controller behind `asks`.
    pub fn new(asks: mpsc::Sender<Ask>, drain: watch::Receiver<bool>, allowed: Arc<Allowed>) -> Self {
        Self { asks, drain, allowed, callers: Arc::default() }
    }

    /// Lets TCP clients in, for ever.
    pub async fn accept_tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let uid = tcp_uid(&stream);
                    self.enter(Connection::Tcp(stream), &uid);
                }
                Err(error) => exhausted(&error).await,
            }
        }
    }

    /// Lets clients of the Unix socket in, for ever.
    pub async fn accept_unix(self, listener: UnixListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let uid = unix_uid(&stream);
                    self.enter(Connection::Unix(stream), &uid);
                }
                Err(error) => exhausted(&error).await,
            }
        }
    }

    /// Starts a session for a connection of a permitted user; turns away any other.
    fn enter(&self, connection: Connection, uid: &io::Result<Option<u32>>) {
        let mut callers = self.callers.lock().unwrap_or_else(PoisonError::into_inner);
        let Callers { sessions, strangers } = &mut *callers;
        let permitted = uid.as_ref().ok().copied().flatten().filter(|uid| self.allowed.permits(*uid));
        let Some(uid) = permitted else { return strangers.turn_away(connection, uid) };
        while sessions.try_join_next().is_some() {}
        if sessions.len() < MAX_SESSIONS {
            sessions.spawn(session::serve(connection, uid, self.asks.clone(), self.drain.clone()));
        } else {
            tracing::debug!(limit = MAX_SESSIONS, "too many connections; one was closed");
        }
    }

    /// Completes when every session has ended. To be called when nobody is let in any more.
    pub async fn sessions_end(self) {
        let mut callers = std::mem::take(&mut *self.callers.lock().unwrap_or_else(PoisonError::into_inner));
        while callers.sessions.join_next().await.is_some() {}
    }
}

fn tcp_uid(stream: &TcpStream) -> io::Result<Option<u32>> {
    stream.set_nodelay(true)?;
    tcp_peer(stream.local_addr()?, stream.peer_addr()?)
}

fn unix_uid(stream: &UnixStream) -> io::Result<Option<u32>> {
    unix_peer(stream).map(Some)
}

/// Waits out a lack of descriptors; a connection that broke before it was accepted needs no wait.
async fn exhausted(error: &io::Error) {
    tracing::warn!(%error, "cannot accept a connection");
    if error.kind() != io::ErrorKind::ConnectionAborted {
        sleep(EXHAUSTED).await;
    }
}
