//! The control of a running node: a Unix socket of its own, for its owner and root.
//!
//! The socket's name has the number of the network namespace and the interface's name, so that several nodes
//! share one state directory. As long as its file leads to somebody who listens, no other node begins with
//! the interface there; one that a killed node left is replaced.
//!
//! A client sends a line of JSON ([`Request`]) and reads one, as often as it likes.

mod report;
mod request;
mod signals;

use std::io;
use std::os::unix::net::UnixListener as StdListener;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_platform::namespace::network_number;
use hypertap_platform::peer::unix_peer;
use hypertap_platform::process::effective_uid;
use hypertap_wire::line::LineDecoder;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

pub use self::request::Request;
pub use self::signals::{Asked, Signals};
use super::reload::Running;
use crate::cli::status::NODE_PREFIX;
use crate::exit::{Exit, Failure};
use crate::socket_file::{Access, Kind, NotBound, SocketFile, bind_for};
use crate::tunnel::startup::make_state_dir;

/// Clients at once.
const CLIENTS: usize = 32;
/// How long a client may be silent, and how long it may take to read an answer.
const IDLE: Duration = Duration::from_secs(30);
/// How long is waited when the process has run out of descriptors.
const EXHAUSTED: Duration = Duration::from_millis(100);

/// The name of the socket of a node with this interface, in the calling thread's network namespace.
///
/// # Errors
/// `/proc` is not there.
pub fn socket_name(interface: &str) -> io::Result<String> {
    Ok(format!("{NODE_PREFIX}{}-{interface}.sock", network_number()?))
}

/// A node's control socket. Its file goes when this is dropped.
#[derive(Debug)]
pub struct ControlSocket {
    listener: StdListener,
    file: SocketFile,
}

impl ControlSocket {
    /// That of a node with this interface. To be called while the process has one thread.
    ///
    /// # Errors
    /// [`Exit::Taken`] where such a node runs.
    pub fn bind(state_dir: &Path, interface: &str) -> Result<Self, Failure> {
        make_state_dir(state_dir)?;
        let path = state_dir.join(socket_name(interface).context("cannot tell the network namespace")?);
        let access = Access { mode: 0o600, owner: None, group: None };
        let (socket, file) =
            bind_for(&path, Kind::Stream, &access).map_err(|error| refused(interface, &path, error))?;
        let listener = StdListener::from(socket);
        listener.set_nonblocking(true).context("the control socket")?;
        Ok(Self { listener, file })
    }
}

fn refused(interface: &str, path: &Path, error: NotBound) -> Failure {
    let path = path.display();
    match error {
        NotBound::Live => {
            let text = "`hypertap status` shows it; end it first, or choose another --interface";
            let error = anyhow!("a node with the interface {interface} runs here already ({path}): {text}");
            Failure::new(Exit::Taken, error)
        }
        NotBound::Io(error) => {
            let is_right = error.kind() == io::ErrorKind::PermissionDenied;
            let exit = if is_right { Exit::Right } else { Exit::Other };
            Failure::new(exit, anyhow::Error::from(error).context(format!("cannot listen on {path}")))
        }
        error => Failure::new(Exit::Taken, anyhow!("{path} {error}; remove it")),
    }
}

/// Serves the control's clients, for ever.
///
/// # Errors
/// The socket cannot be waited on.
pub async fn serve(socket: ControlSocket, running: Arc<Running>) -> io::Result<()> {
    let ControlSocket { listener, file } = socket;
    let listener = UnixListener::from_std(listener)?;
    tracing::debug!(path = %file.path().display(), "control");
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = sessions.join_next() => continue,
        };
        match accepted {
            Ok((stream, _)) if !is_permitted(&stream) => {
                tracing::debug!("a client of the control was turned away");
            }
            Ok((stream, _)) if sessions.len() >= CLIENTS => turn_away(&stream),
            Ok((stream, _)) => {
                sessions.spawn(converse(stream, Arc::clone(&running)));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a client of the control");
                sleep(EXHAUSTED).await;
            }
        }
    }
}

/// Whether it is root's, or of the user whose node this is; a descriptor may have come into other hands.
fn is_permitted(stream: &UnixStream) -> bool {
    unix_peer(stream).is_ok_and(|uid| uid == 0 || uid == effective_uid())
}

/// Tells a client that there are too many.
fn turn_away(stream: &UnixStream) {
    let error =
        anyhow!("{CLIENTS} clients of its control are connected: try again when one of them has ended");
    let line = format!("{}\n", refusal(&Failure::new(Exit::Taken, error)));
    // A new connection has room for a line.
    let _ = stream.try_write(line.as_bytes());
}

/// Answers a client's lines, one after the other, until it ends or is silent for too long.
async fn converse(mut stream: UnixStream, running: Arc<Running>) {
    let mut lines = LineDecoder::new();
    let mut room = vec![0; 4096];
    loop {
        loop {
            let answer = match lines.next_line() {
                Ok(Some(line)) => answer(line, &running).await,
                Ok(None) => break,
                Err(error) => return drop(write(&mut stream, &refusal(&usage(error))).await),
            };
            if write(&mut stream, &answer).await.is_err() {
                return;
            }
        }
        match timeout(IDLE, stream.read(&mut room)).await {
            Ok(Ok(len @ 1..)) => lines.push(room.get(..len).unwrap_or_default()),
            _ => return,
        }
    }
}

async fn write(stream: &mut UnixStream, answer: &Value) -> io::Result<()> {
    let line = format!("{answer}\n");
    timeout(IDLE, stream.write_all(line.as_bytes())).await.map_err(io::Error::from)?
}

async fn answer(line: &[u8], running: &Running) -> Value {
    let outcome = match serde_json::from_slice(line) {
        Err(error) => Err(usage(anyhow!(error).context("this is no request"))),
        Ok(Request::Status) => Ok(report::node(running, running.counts().await)),
        Ok(Request::Services) => Ok(report::services(running)),
        Ok(Request::Reload) => running.reload().await.map(|done| json!(done)),
        Ok(Request::AddService { name, service, save }) => {
            running.add_service(&name, service, save).await.map(|done| json!(done))
        }
        Ok(Request::RemoveService { name, save }) => {
            running.remove_service(&name, save).await.map(|done| json!(done))
        }
    };
    match outcome {
        Ok(Value::Object(mut fields)) => {
            fields.insert("ok".to_owned(), true.into());
            Value::Object(fields)
        }
        Ok(value) => json!({ "ok": true, "value": value }),
        Err(failure) => refusal(&failure),
    }
}

fn usage(error: impl Into<anyhow::Error>) -> Failure {
    Failure::new(Exit::Usage, error)
}

fn refusal(failure: &Failure) -> Value {
    json!({ "ok": false, "error": failure.sentence(), "exit": failure.exit as u8 })
}
