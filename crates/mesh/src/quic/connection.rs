//! A connection with streams.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite};
use libp2p::PeerId;
use libp2p::core::muxing::{StreamMuxer, StreamMuxerEvent};
use quinn::rustls::pki_types::CertificateDer;
use quinn::{Connecting, ConnectionError, RecvStream, SendStream, VarInt};
use tokio::time::timeout;

use super::QuicError;
use crate::tls;

type Opening = BoxFuture<'static, Result<(SendStream, RecvStream), ConnectionError>>;

/// Streams that the other end of a new connection may have open. Each that it may have takes up memory, and nobody
/// knows yet who is there.
pub(super) const FIRST_STREAMS: u32 = 256;

/// A connection, which goes on by itself.
pub(crate) struct Connection {
    inner: quinn::Connection,
    /// Streams that the other end may have open, and how many at most.
    allowed: u32,
    most: u32,
    /// How many it has opened in all.
    opened: u32,
    accepting: Option<Opening>,
    opening: Option<Opening>,
    closing: Option<BoxFuture<'static, ConnectionError>>,
}

/// Waits for a connection, and says who is at its other end.
///
/// # Errors
/// There is nobody, or nobody who says who they are.
pub(super) async fn establish(
    connecting: Connecting,
    within: Duration,
    streams: u32,
) -> Result<(PeerId, Connection), QuicError> {
    let inner = timeout(within, connecting).await.map_err(|_| QuicError::TimedOut)??;
    let identity = inner.peer_identity();
    let certificates = identity.as_ref().and_then(|all| all.downcast_ref::<Vec<CertificateDer<'_>>>());
    let peer = tls::peer_id(certificates.map(Vec::as_slice))?;
    Ok((peer, Connection::new(inner, streams)))
}

impl Connection {
    fn new(inner: quinn::Connection, most: u32) -> Self {
        let allowed = FIRST_STREAMS.min(most);
        Self { inner, allowed, most, opened: 0, accepting: None, opening: None, closing: None }
    }

    /// Allows twice as many streams before the other end can have all open that it may. How many of them it still has
    /// open nobody here knows: one that was dropped here is, until that end has ended its half, too.
    fn allow_streams(&mut self) {
        if self.allowed < self.most && self.opened >= self.allowed / 2 {
            self.allowed = self.allowed.saturating_mul(2).min(self.most);
            self.inner.set_max_concurrent_bi_streams(VarInt::from_u32(self.allowed));
        }
    }
}

impl StreamMuxer for Connection {
    type Substream = Stream;
    type Error = QuicError;

    fn poll_inbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let Self { inner, accepting, .. } = &mut *self;
        let stream = ready!(poll(accepting, cx, || {
            let inner = inner.clone();
            Box::pin(async move { inner.accept_bi().await })
        }))?;
        self.opened = self.opened.saturating_add(1);
        self.allow_streams();
        Poll::Ready(Ok(stream.into()))
    }

    fn poll_outbound(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<Stream, QuicError>> {
        let Self { inner, opening, .. } = &mut *self;
        let stream = ready!(poll(opening, cx, || {
            let inner = inner.clone();
            Box::pin(async move { inner.open_bi().await })
        }))?;
        Poll::Ready(Ok(stream.into()))
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), QuicError>> {
        let Self { inner, closing, .. } = &mut *self;
        match ready!(poll(closing, cx, || {
            inner.close(VarInt::from_u32(0), b"");
            let inner = inner.clone();
            Box::pin(async move { inner.closed().await })
        })) {
            ConnectionError::LocallyClosed => Poll::Ready(Ok(())),
            other => Poll::Ready(Err(other.into())),
        }
    }

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Result<StreamMuxerEvent, QuicError>> {
        // Its end is seen by who accepts streams.
        Poll::Pending
    }
}

/// Goes on with what is under way, or begins it.
fn poll<T>(
    under_way: &mut Option<BoxFuture<'static, T>>,
    cx: &mut Context<'_>,
    begin: impl FnOnce() -> BoxFuture<'static, T>,
) -> Poll<T> {
    let done = ready!(under_way.get_or_insert_with(begin).as_mut().poll(cx));
    *under_way = None;
    Poll::Ready(done)
}

/// A stream of a connection. Dropped before it was closed it is closed, and not reset.
pub(crate) struct Stream {
    send: SendStream,
    recv: RecvStream,
    is_closed: bool,
}

impl From<(SendStream, RecvStream)> for Stream {
    fn from((send, recv): (SendStream, RecvStream)) -> Self {
        Self { send, recv, is_closed: false }
    }
}

impl AsyncRead for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        AsyncRead::poll_read(Pin::new(&mut self.recv), cx, room)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.send), cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // What was written is on its way.
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.is_closed {
            self.send.finish()?;
            self.is_closed = true;
        }
        Poll::Ready(Ok(()))
    }
}
