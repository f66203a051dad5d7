//! The connection: whoever polls it moves bytes between it and the session.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncWrite};
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};

use super::error::{OpenError, SessionError};
use super::received::Chunk;
use super::session::{Counters, Session, Side};
use super::settings::YamuxSettings;
use super::substream::Substream;

/// What is read at once, other than bodies of large frames.
const READ: usize = 16 << 10;
/// How often a poll reads, or exchanges buffers, before other tasks have their turn.
const ROUNDS: usize = 32;

/// The session, and who shares it.
#[derive(Debug)]
pub(super) struct Shared(Mutex<Session>);

impl Shared {
    /// Does something with the session; then wakes whom that concerns.
    pub(super) fn with<T>(&self, act: impl FnOnce(&mut Session) -> T) -> T {
        let mut session = self.lock();
        let done = act(&mut session);
        let wakers = session.take_wakers();
        drop(session);
        wakers.wake();
        done
    }

    fn lock(&self) -> MutexGuard<'_, Session> {
        // What panicked would be a poll of the session, each of which leaves it whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection with streams. It moves nothing unless it is polled; see [`StreamMuxer::poll`].
#[derive(Debug)]
pub struct Muxer<C> {
    connection: C,
    shared: Arc<Shared>,
    began: Instant,
    reading: Box<[u8]>,
    /// The body of a large frame, where the session wants it read to.
    chunk: Option<Chunk>,
    writing: Vec<u8>,
    written: usize,
    is_flushed: bool,
}

impl<C> Muxer<C> {
    /// Over a connection that is agreed to be Yamux.
    pub fn new(connection: C, side: Side, settings: YamuxSettings) -> Self {
        Self {
            connection,
            shared: Arc::new(Shared(Mutex::new(Session::new(side, settings)))),
            began: Instant::now(),
            reading: vec![0; READ].into_boxed_slice(),
            chunk: None,
            writing: Vec::new(),
            written: 0,
            is_flushed: true,
        }
    }

    /// How many streams there are.
    pub fn streams(&self) -> usize {
        self.shared.with(|session| session.streams())
    }

    /// What the peer did.
    pub fn counters(&self) -> Counters {
        self.shared.with(|session| session.counters())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin> Muxer<C> {
    /// Moves what can be moved. Ends with the error that ended the connection only.
    fn poll_connection(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        let ended = self.shared.with(|session| {
            session.set_driver(cx);
            session.ended().cloned()
        });
        if let Some(ended) = ended {
            return Poll::Ready(ended);
        }
        let outcome = self.poll_rounds(cx);
        if let Poll::Ready(error) = &outcome {
            self.shared.with(|session| session.end(error.clone()));
            // What is left to say is why. Nobody waits for that, as the peer may not read at all.
            _ = self.poll_send(cx);
        }
        outcome
    }

    fn poll_rounds(&mut self, cx: &mut Context<'_>) -> Poll<SessionError> {
        for _ in 0..ROUNDS {
            if let Poll::Ready(Err(error)) = self.poll_send(cx) {
                return Poll::Ready(error);
            }
            if let Err(error) = ready!(self.poll_receive(cx)) {
                return Poll::Ready(error);
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Writes what the session has to send. Ready when that was all, or much.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        for _ in 0..ROUNDS {
            while let Some(rest) = self.writing.get(self.written..).filter(|rest| !rest.is_empty()) {
                self.is_flushed = false;
                match ready!(Pin::new(&mut self.connection).poll_write(cx, rest))? {
                    0 => return Poll::Ready(Err(SessionError::ClosedByPeer)),
                    length => self.written += length,
                }
            }
            self.written = 0;
            if self.shared.with(|session| session.poll_transmit(&mut self.writing)) {
                cx.waker().wake_by_ref();
            }
            if self.writing.is_empty() {
                if !self.is_flushed {
                    ready!(Pin::new(&mut self.connection).poll_flush(cx))?;
                    self.is_flushed = true;
                }
                return Poll::Ready(Ok(()));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }

    /// Reads once, or a chunk full.
    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SessionError>> {
        if let Some(mut chunk) = self.chunk.take() {
            let outcome = poll_fill(&mut self.connection, cx, &mut chunk);
            let now = self.now();
            self.chunk = self.shared.with(|session| session.handle_chunk(chunk, now));
            return outcome;
        }
        let length = ready!(Pin::new(&mut self.connection).poll_read(cx, &mut self.reading))?;
        if length == 0 {
            return Poll::Ready(Err(SessionError::ClosedByPeer));
        }
        let (bytes, now) = (self.reading.get(..length).unwrap_or_default(), self.now());
        self.chunk = self.shared.with(|session| session.handle_input(bytes, now))?;
        Poll::Ready(Ok(()))
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn substream(&self, opened: Result<u32, OpenError>) -> Result<Substream, SessionError> {
        match opened {
            Ok(id) => Ok(Substream::new(Arc::clone(&self.shared), id)),
            Err(OpenError::Session(error)) => Err(error),
            // An error here would end the connection with all of its streams.
            Err(error) => Ok(Substream::not_opened(error)),
        }
    }
}

/// Reads until `chunk` is full.
fn poll_fill<C: AsyncRead + Unpin>(
    connection: &mut C,
    cx: &mut Context<'_>,
    chunk: &mut Chunk,
) -> Poll<Result<(), SessionError>> {
    while !chunk.vacant().is_empty() {
        match ready!(Pin::new(&mut *connection).poll_read(cx, chunk.vacant()))? {
            0 => return Poll::Ready(Err(SessionError::ClosedByPeer)),
            length => chunk.advance(length),
        }
    }
    Poll::Ready(Ok(()))
}

impl<C: AsyncRead + AsyncWrite + Unpin> StreamMuxer for Muxer<C> {
    type Substream = Substream;
    type Error = SessionError;

    fn poll_inbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let id = ready!(self.shared.with(|session| session.poll_accept(cx)));
        Poll::Ready(self.substream(id.map_err(OpenError::from)))
    }

    fn poll_outbound(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Self::Substream, Self::Error>> {
        let id = ready!(self.shared.with(|session| session.poll_open(cx)));
        Poll::Ready(self.substream(id))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.shared.with(Session::go_away);
        // What is on its way goes out before the end.
        loop {
            ready!(self.poll_send(cx))?;
            if self.writing.is_empty() {
                break;
            }
        }
        ready!(Pin::new(&mut self.connection).poll_close(cx))?;
        Poll::Ready(Ok(()))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, Self::Error>> {
        self.poll_connection(cx).map(Err)
    }
}

impl<C> Drop for Muxer<C> {
    fn drop(&mut self) {
        self.shared.with(|session| session.end(SessionError::Closed));
    }
}
