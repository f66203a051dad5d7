//! A stream, for whoever reads and writes it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::{AsyncRead, AsyncWrite};

use super::error::{OpenError, StreamError};
use super::muxer::Shared;

/// One stream of a connection, in any task.
///
/// After all data that came, a reader sees the end of the peer's direction as no bytes, a reset as
/// [`io::ErrorKind::ConnectionReset`], and the end of the connection as `ConnectionAborted`. A writer gets `ConnectionReset`, or `BrokenPipe` when the connection is gone or the
/// stream closed. Closing ends our direction only; the other goes on. Dropped before both directions are
/// closed, the stream is reset.
pub struct Substream(Handle);

enum Handle {
    Open { shared: Arc<Shared>, id: u32 },
    NotOpened(Arc<OpenError>),
}

impl Substream {
    pub(super) fn new(shared: Arc<Shared>, id: u32) -> Self {
        Self(Handle::Open { shared, id })
    }

    /// One on which everything fails with `error`.
    pub(super) fn not_opened(error: OpenError) -> Self {
        Self(Handle::NotOpened(Arc::new(error)))
    }

    fn open(&self) -> Result<(&Shared, u32), StreamError> {
        match &self.0 {
            Handle::Open { shared, id } => Ok((shared, *id)),
            Handle::NotOpened(error) => Err(StreamError::NotOpened(Arc::clone(error))),
        }
    }
}

impl AsyncRead for Substream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut [u8]) -> Poll<io::Result<usize>> {
        let (shared, id) = self.open().map_err(StreamError::into_read_error)?;
        shared.with(|session| session.poll_read(id, cx, buffer)).map_err(StreamError::into_read_error)
    }
}

impl AsyncWrite for Substream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let (shared, id) = self.open().map_err(StreamError::into_write_error)?;
        shared.with(|session| session.poll_write(id, cx, data)).map_err(StreamError::into_write_error)
    }

    /// What was written is on its way anyway, so there is nothing to wait for.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (shared, id) = self.open().map_err(StreamError::into_write_error)?;
        Poll::Ready(shared.with(|session| session.flush(id)).map_err(StreamError::into_write_error))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (shared, id) = self.open().map_err(StreamError::into_write_error)?;
        Poll::Ready(shared.with(|session| session.close(id)).map_err(StreamError::into_write_error))
    }
}

impl Drop for Substream {
    fn drop(&mut self) {
        if let Handle::Open { shared, id } = &self.0 {
            shared.with(|session| session.forget(*id));
        }
    }
}

impl fmt::Debug for Substream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Handle::Open { id, .. } => write!(f, "Substream({id})"),
            Handle::NotOpened(error) => write!(f, "Substream({error})"),
        }
    }
}
