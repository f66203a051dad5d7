//! An Ethernet interface, for programs on tokio.

use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::task::spawn_blocking;

use super::stream::Stream;
use super::{Program, TapError, TapServer, TapSpec, connect, open};
use crate::socket::watch;

/// An Ethernet interface, while this lives.
///
/// All calls take `&self`: one task may receive while another sends. Dropped, it ends the connection,
/// and with that the interface, which takes the other end a moment; [`Self::close`] waits for it.
#[derive(Debug)]
pub struct TapInterface {
    stream: AsyncFd<Stream>,
    program: Option<Arc<Mutex<Program>>>,
    name: Option<String>,
}

impl TapInterface {
    /// Connects to a server, which makes the interface then, a moment later. Cancelled, it connects
    /// perhaps, and ends the connection.
    ///
    /// # Errors
    /// [`TapError::Connect`].
    pub async fn connect(server: &TapServer) -> Result<Self, TapError> {
        let server = server.clone();
        let stream = blocking("connect", move || connect(&server)).await?;
        Self::new(stream, None)
    }

    /// Makes an interface, which is there and has its addresses when this returns. Cancelled, it makes
    /// it perhaps, and removes it.
    ///
    /// # Errors
    /// [`TapError::Start`], [`TapError::Refused`] with what the program said, [`TapError::NotReady`].
    pub async fn open(spec: &TapSpec) -> Result<Self, TapError> {
        let spec = spec.clone();
        let (stream, program, name) = blocking("make an interface", move || open(&spec)).await?;
        Self::new(stream, Some((program, name)))
    }

    fn new(stream: Stream, program: Option<(Program, String)>) -> Result<Self, TapError> {
        let stream = watch(stream).map_err(|source| TapError::Io { doing: "watch a socket", source })?;
        let (program, name) = program.unzip();
        Ok(Self { stream, program: program.map(|program| Arc::new(Mutex::new(program))), name })
    }

    /// The interface's name, where this program made it.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The longest frame that can be sent, in bytes: the MTU and the headers.
    pub fn max_frame(&self) -> usize {
        self.stream.get_ref().limit()
    }

    /// Receives one frame that the machine sent, and returns its length; room for [`MAX_FRAME`](super::MAX_FRAME)
    /// bytes is always enough. Cancel-safe: a frame is received whole, or not at all.
    ///
    /// # Errors
    /// [`TapError::Closed`] or [`TapError::Ended`] once the interface is gone, [`TapError::Cut`] when the
    /// frame did not fit and is lost, [`TapError::Frame`], [`TapError::Io`].
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize, TapError> {
        match self.receive(buffer).await {
            Err(TapError::Closed) => Err(self.why_closed().await),
            outcome => outcome,
        }
    }

    /// The same, waiting at most that long; `None` when none came. Cancel-safe.
    ///
    /// # Errors
    /// The same.
    pub async fn recv_timeout(
        &self,
        buffer: &mut [u8],
        timeout: Duration,
    ) -> Result<Option<usize>, TapError> {
        match tokio::time::timeout(timeout, self.recv(buffer)).await {
            Ok(outcome) => outcome.map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Sends one frame to the machine, waiting for room.
    ///
    /// Cancelled, it has taken the frame whole or not at all; what of it has not left goes with the next
    /// call of this or of [`Self::recv`], before everything else.
    ///
    /// # Errors
    /// [`TapError::Length`] or [`TapError::Unsizable`] for a frame that cannot go, of which nothing is
    /// sent; [`TapError::Closed`] or [`TapError::Ended`] once the interface is gone; [`TapError::Io`].
    pub async fn send(&self, frame: &[u8]) -> Result<(), TapError> {
        let outcome = async {
            self.writable(|stream| Ok(stream.send(frame)?.then_some(()))).await?;
            self.writable(|stream| Ok(stream.flush()?.then_some(()))).await
        };
        match outcome.await {
            Err(TapError::Closed) => Err(self.why_closed().await),
            outcome => outcome,
        }
    }

    /// Removes the interface and waits until it is gone; of one that a server made, only the
    /// connection is known to be. Cancelled, it removes it all the same.
    pub async fn close(mut self) {
        let program = self.program.take();
        // The connection ends before its end is waited for.
        drop(self);
        if let Some(program) = program {
            // Where the runtime ends meanwhile, so does the program.
            let _ = spawn_blocking(move || drop(program)).await;
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> Result<usize, TapError> {
        if let Some(length) = self.stream.get_ref().receive_buffered(buffer)? {
            return Ok(length);
        }
        loop {
            let unsent = self.stream.get_ref().has_unsent();
            let interest = if unsent { Interest::READABLE | Interest::WRITABLE } else { Interest::READABLE };
            self.stream.ready(interest).await.map_err(waiting)?.retain_ready();
            if unsent {
                // Where it can never leave, whoever sends next hears of it.
                let _ = self
                    .stream
                    .try_io(Interest::WRITABLE, |stream| ready(stream.flush().map(|all| all.then_some(()))));
            }
            match self.stream.try_io(Interest::READABLE, |stream| ready(stream.receive(buffer))) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                outcome => return outcome.map_err(waiting)?,
            }
        }
    }

    /// What `attempt` yields, once the socket has room for it.
    async fn writable<T>(
        &self,
        mut attempt: impl FnMut(&Stream) -> Result<Option<T>, TapError>,
    ) -> Result<T, TapError> {
        self.stream.async_io(Interest::WRITABLE, |stream| ready(attempt(stream))).await.map_err(waiting)?
    }

    /// The error of a connection that ended, with what the program says of it.
    async fn why_closed(&self) -> TapError {
        let Some(program) = self.program.clone() else { return TapError::Closed };
        let end = spawn_blocking(move || program.lock().unwrap_or_else(PoisonError::into_inner).end());
        end.await.map_or(TapError::Closed, TapError::Ended)
    }
}

/// Waiting for the program's end is not for a task, so a thread does it.
impl Drop for TapInterface {
    fn drop(&mut self) {
        if let Some(program) = self.program.take() {
            self.stream.get_ref().end();
            let end = std::thread::Builder::new().name("hypertap-tap-end".to_owned());
            // Where there can be no thread, this one waits.
            let _ = end.spawn(move || drop(program));
        }
    }
}

/// An attempt as the runtime wants it: nothing is an error of its own.
fn ready<T>(outcome: Result<Option<T>, TapError>) -> io::Result<Result<T, TapError>> {
    outcome.transpose().ok_or_else(|| ErrorKind::WouldBlock.into())
}

fn waiting(source: io::Error) -> TapError {
    TapError::Io { doing: "wait for the socket", source }
}

async fn blocking<T: Send + 'static>(
    doing: &'static str,
    work: impl FnOnce() -> Result<T, TapError> + Send + 'static,
) -> Result<T, TapError> {
    let done = spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(TapError::Io { doing, source: io::Error::other(error) }))
}

#[cfg(test)]
mod tests;
