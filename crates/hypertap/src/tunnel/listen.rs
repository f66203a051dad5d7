//! The doors: who is let in to the command plane at all.

use std::io;
use std::sync::Arc;

use hypertap_platform::peer::{Allowed, tcp_peer, unix_peer};
use hypertap_wire::event::{Refusal, reply_line};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, sleep};

use super::connection::Connection;
use super::session::{self, Ask};

/// How many connections are served at once, those included that are being turned away.
const MAX_SESSIONS: usize = 64;
/// How long is waited when the process has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// What every door shares.
#[derive(Clone)]
pub struct Door {
    asks: mpsc::Sender<Ask>,
    drain: watch::Receiver<bool>,
    allowed: Arc<Allowed>,
    sessions: Arc<Mutex<JoinSet<()>>>,
}

impl Door {
    /// A door to the controller behind `asks`.
    pub fn new(asks: mpsc::Sender<Ask>, drain: watch::Receiver<bool>, allowed: Arc<Allowed>) -> Self {
        Self { asks, drain, allowed, sessions: Arc::default() }
    }

    /// Lets TCP clients in, for ever.
    pub async fn accept_tcp(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, _)) => {
                    let uid = tcp_uid(&stream);
                    self.enter(Connection::Tcp(stream), uid).await;
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
                    self.enter(Connection::Unix(stream), uid).await;
                }
                Err(error) => exhausted(&error).await,
            }
        }
    }

    /// Starts a session for a connection of a permitted user; turns away any other.
    async fn enter(&self, connection: Connection, uid: io::Result<Option<u32>>) {
        let mut sessions = self.sessions.lock().await;
        while sessions.try_join_next().is_some() {}
        if sessions.len() >= MAX_SESSIONS {
            tracing::debug!(limit = MAX_SESSIONS, "too many connections; one was closed");
            return;
        }
        match uid {
            Ok(Some(uid)) if self.allowed.permits(uid) => {
                sessions.spawn(session::serve(connection, uid, self.asks.clone(), self.drain.clone()));
            }
            refused => {
                tracing::warn!(uid = ?refused, "a connection was not permitted");
                let line = reply_line(Err(Refusal::fixed("not permitted")), None);
                sessions.spawn(async move { connection.turn_away(&line).await });
            }
        }
    }

    /// Completes when every session has ended.
    pub async fn sessions_end(self) {
        let mut sessions = self.sessions.lock().await;
        while sessions.join_next().await.is_some() {}
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
