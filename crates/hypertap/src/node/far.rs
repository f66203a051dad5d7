//! The far end of a connection: a stream to a peer, or a socket to a service's target.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::{AsyncRead as _, AsyncWrite as _};
use hypertap_mesh::MeshStream;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::{TcpStream, UnixStream};

/// Bytes both ways, each direction with an end of its own. Dropping one that has not ended both ways does
/// not tell the other side what happened; [`Self::reset`] does.
#[derive(Debug)]
pub enum Far {
    /// To a peer.
    Mesh(MeshStream),
    /// To a service's target.
    Tcp(TcpStream),
    /// To a service's target.
    Unix(UnixStream),
}

impl Far {
    /// Reads some bytes; 0 is the end of what comes.
    ///
    /// # Errors
    /// The stream was reset, or what it runs over is gone.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        match self {
            Self::Mesh(stream) => return Pin::new(stream).poll_read(cx, room),
            Self::Tcp(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
            Self::Unix(stream) => ready!(Pin::new(stream).poll_read(cx, &mut buffer))?,
        }
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// Writes some bytes.
    ///
    /// # Errors
    /// Nobody reads them any more.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(match self {
            Self::Mesh(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, bytes),
        })?;
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
        }
    }

    /// Ends our direction, after all that was written.
    ///
    /// # Errors
    /// As [`Self::poll_write`].
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Mesh(stream) => Pin::new(stream).poll_close(cx),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }

    /// Ends both directions so that the other side sees an error and no end: a reset, where there is such a
    /// thing. What was written and is not yet sent is lost.
    pub fn reset(self) {
        match self {
            Self::Tcp(stream) => {
                // Closing with this is a reset (RFC 9293, section 3.10.4, ABORT). It cannot fail on a socket.
                let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            }
            // Closed both ways with something unread, a Unix socket is reset by the kernel; there is no other way.
            Self::Mesh(_) | Self::Unix(_) => {}
        }
    }
}
