//! The far end of a connection: a stream to a peer, or a socket to a service's target.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead as _, AsyncWrite as _};
use hypertap_mesh::MeshStream;
use tokio::time::{Sleep, sleep};

use super::usage::Use;

mod socket;

pub use socket::{TcpSocket, UnixSocket};

/// Bytes both ways, each direction with an end of its own. Dropping one that has not ended both ways does
/// not tell the other side what happened; [`Self::reset`] does.
#[derive(Debug)]
pub enum Far {
    /// To a peer.
    Mesh(MeshStream),
    /// To a service's target.
    Tcp(TcpSocket),
    /// To a service's target.
    Unix(UnixSocket),
    /// To a service's target, counted.
    Used(Box<Far>, Use),
    /// One whose end is not seen before a time.
    Late(Box<Far>, Pin<Box<Sleep>>),
}

impl Far {
    /// Has a connection to a service's target counted, and cut when the use is to end.
    pub fn used(self, by: Use) -> Self {
        by.established();
        Self::Used(Box::new(self), by)
    }

    /// Has the end of what comes held back for so long from now on. What comes before it is not.
    pub fn ends_not_within(self, time: Duration) -> Self {
        Self::Late(Box::new(self), Box::pin(sleep(time)))
    }

    /// Ready once the connection is to be reset, whatever both sides do.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Used(_, used) => used.poll_cut(cx),
            Self::Late(far, _) => far.poll_cut(cx),
            Self::Mesh(_) | Self::Tcp(_) | Self::Unix(_) => Poll::Pending,
        }
    }

    /// Ready once the other side has reset the connection or is gone, though the end of what comes was read;
    /// a target is only to be asked from then on, a peer also while what it sent is not read. Nothing more arrives
    /// at the other side. On QUIC a reset goes unnoticed, the loss of the peer does not.
    pub fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Mesh(stream) => stream.poll_dead(cx),
            Self::Tcp(socket) => socket.poll_dead(cx),
            Self::Unix(socket) => socket.poll_dead(cx),
            Self::Used(far, _) | Self::Late(far, _) => far.poll_dead(cx),
        }
    }

    /// Whether it is to a peer.
    pub fn is_mesh(&self) -> bool {
        matches!(self, Self::Mesh(_))
    }

    /// Reads some bytes; 0 is the end of what comes.
    ///
    /// # Errors
    /// The stream was reset, or what it runs over is gone: after all that came, where a target did it.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        match self {
            Self::Mesh(stream) => Pin::new(stream).poll_read(cx, room),
            Self::Tcp(socket) => socket.poll_read(cx, room),
            Self::Unix(socket) => socket.poll_read(cx, room),
            Self::Used(far, used) => {
                let len = ready!(far.poll_read(cx, room))?;
                used.count_from_target(len);
                Poll::Ready(Ok(len))
            }
            Self::Late(far, at) => {
                let len = ready!(far.poll_read(cx, room))?;
                if len == 0 && !at.is_elapsed() {
                    ready!(at.as_mut().poll(cx));
                }
                Poll::Ready(Ok(len))
            }
        }
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// Nobody reads them any more.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match self {
            Self::Mesh(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tcp(socket) => socket.poll_write(cx, bytes),
            Self::Unix(socket) => socket.poll_write(cx, bytes),
            Self::Used(far, _) | Self::Late(far, _) => far.poll_write(cx, bytes),
        })?;
        if let Self::Used(_, used) = self {
            used.count_to_target(written);
        }
        if written == 0 && !bytes.is_empty() {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        Poll::Ready(Ok(written))
    }

    /// Sees to it that what was written is on its way.
    ///
    /// # Errors
    /// As [`Self::poll_write`].
    pub fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Mesh(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tcp(_) | Self::Unix(_) => Poll::Ready(Ok(())),
            Self::Used(far, _) | Self::Late(far, _) => far.poll_flush(cx),
        }
    }

    /// Ends our direction, after all that was written.
    ///
    /// # Errors
    /// As [`Self::poll_write`].
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Mesh(stream) => Pin::new(stream).poll_close(cx),
            Self::Tcp(socket) => socket.poll_close(cx),
            Self::Unix(socket) => socket.poll_close(cx),
            Self::Used(far, _) | Self::Late(far, _) => far.poll_close(cx),
        }
    }

    /// Ends both directions so that the other side sees an error and no end: a reset, where there is such a
    /// thing. What was written and is not yet sent is lost.
    pub fn reset(self) {
        match self {
            Self::Tcp(socket) => socket.reset(),
            // Closed both ways with something unread, a Unix socket is reset by the kernel; there is no other way.
            Self::Mesh(_) | Self::Unix(_) => {}
            Self::Used(far, _) | Self::Late(far, _) => far.reset(),
        }
    }
}
