//! A socket to a target, as programs know sockets: an error ends what comes, and is no end.
//!
//! The kernel tells of a socket's error once, to whichever call comes first. When that is a write, the reads
//! after it bring what had come and then an end, as if nothing were missing. So the error is kept for them. Once
//! the end was read nobody reads any more, and an idle writer does not ask either; from then on the error itself
//! is waited for.

use std::fmt;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::{TcpStream, UnixStream, tcp, unix};

/// A connection to a target over TCP.
pub type TcpSocket = Socket<tcp::OwnedReadHalf, tcp::OwnedWriteHalf>;
/// A connection to a target on this machine.
pub type UnixSocket = Socket<unix::OwnedReadHalf, unix::OwnedWriteHalf>;

/// A connected socket. Closed by dropping it, without more.
pub struct Socket<R, W: WriteHalf> {
    /// Until its error alone is waited for.
    read: Option<R>,
    learnt: Option<BoxFuture<'static, io::Error>>,
    /// Until it is dropped.
    write: Option<W>,
    /// What a write or the kernel said, which no read will say again.
    failed: Option<ErrorKind>,
}

/// The half of a socket that reads.
pub trait ReadHalf: AsyncRead + Unpin + Send + Sized + 'static {
    /// Waits until the socket may have an error.
    fn wait(&self) -> impl Future<Output = io::Result<()>> + Send;

    /// Takes the socket's error.
    ///
    /// # Errors
    /// It has none: `WouldBlock`.
    fn take(&self) -> io::Result<io::Error>;

    /// The socket's next error.
    fn learn(self) -> BoxFuture<'static, io::Error> {
        Box::pin(async move {
            loop {
                match self.wait().await.and_then(|()| self.take()) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                    Ok(error) | Err(error) => return error,
                }
            }
        })
    }
}

/// The half of a socket that writes.
pub trait WriteHalf: AsyncWrite + Unpin {
    /// Drops it, and sends no end for it.
    fn forget(self);
}

impl ReadHalf for tcp::OwnedReadHalf {
    async fn wait(&self) -> io::Result<()> {
        self.ready(Interest::ERROR).await.map(|_| ())
    }

    fn take(&self) -> io::Result<io::Error> {
        let stream: &TcpStream = self.as_ref();
        stream.try_io(Interest::ERROR, || stream.take_error()?.ok_or(ErrorKind::WouldBlock.into()))
    }
}

impl ReadHalf for unix::OwnedReadHalf {
    async fn wait(&self) -> io::Result<()> {
        self.ready(Interest::ERROR).await.map(|_| ())
    }

    fn take(&self) -> io::Result<io::Error> {
        let stream: &UnixStream = self.as_ref();
        stream.try_io(Interest::ERROR, || stream.take_error()?.ok_or(ErrorKind::WouldBlock.into()))
    }
}

impl WriteHalf for tcp::OwnedWriteHalf {
    fn forget(self) {
        self.forget();
    }
}

impl WriteHalf for unix::OwnedWriteHalf {
    fn forget(self) {
        self.forget();
    }
}

impl From<TcpStream> for TcpSocket {
    fn from(stream: TcpStream) -> Self {
        Self::of(stream.into_split())
    }
}

impl From<UnixStream> for UnixSocket {
    fn from(stream: UnixStream) -> Self {
        Self::of(stream.into_split())
    }
}

impl TcpSocket {
    /// Has it closed with a reset (RFC 9293, section 3.10.4, ABORT).
    pub fn reset(self) {
        if let Some(write) = &self.write {
            // It cannot fail on a socket.
            let _ = socket2::SockRef::from(write.as_ref()).set_linger(Some(Duration::ZERO));
        }
    }
}

impl<R: ReadHalf, W: WriteHalf> Socket<R, W> {
    fn of((read, write): (R, W)) -> Self {
        Self { read: Some(read), learnt: None, write: Some(write), failed: None }
    }

    /// Reads some bytes; 0 is the end, and an error is no end, even where a write saw it before.
    pub fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(room);
        if let Some(read) = &mut self.read {
            ready!(Pin::new(read).poll_read(cx, &mut buffer))?;
        }
        match (buffer.filled().len(), self.failed) {
            (0, Some(failed)) => Poll::Ready(Err(failed.into())),
            (len, _) => Poll::Ready(Ok(len)),
        }
    }

    /// Writes some bytes.
    pub fn poll_write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(write) = &mut self.write else { return Poll::Ready(Err(ErrorKind::BrokenPipe.into())) };
        let written = ready!(Pin::new(write).poll_write(cx, bytes));
        Poll::Ready(self.noted(written))
    }

    /// Ends our direction.
    pub fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(write) = &mut self.write else { return Poll::Ready(Err(ErrorKind::BrokenPipe.into())) };
        let ended = ready!(Pin::new(write).poll_shutdown(cx));
        Poll::Ready(self.noted(ended))
    }

    /// Ready once the socket has an error. From the first call on nothing is read any more.
    pub fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(read) = self.read.take() {
            self.learnt = Some(read.learn());
        }
        if self.failed.is_none()
            && let Some(learnt) = &mut self.learnt
        {
            self.failed = Some(ready!(learnt.as_mut().poll(cx)).kind());
        }
        Poll::Ready(())
    }

    fn noted<T>(&mut self, done: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &done {
            // A broken pipe comes after an end, or is what a Unix socket says to writes only.
            let news = Some(error.kind()).filter(|kind| *kind != ErrorKind::BrokenPipe);
            self.failed = self.failed.or(news);
        }
        done
    }
}

impl<R, W: WriteHalf> Drop for Socket<R, W> {
    fn drop(&mut self) {
        if let Some(write) = self.write.take() {
            write.forget();
        }
    }
}

impl<R, W: WriteHalf> fmt::Debug for Socket<R, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("failed", &self.failed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures::poll;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpSocket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let stream = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        (stream.into(), listener.accept().await.expect("a connection").0)
    }

    async fn read<R: ReadHalf, W: WriteHalf>(socket: &mut Socket<R, W>) -> io::Result<usize> {
        poll_fn(|cx| socket.poll_read(cx, &mut [0; 16])).await
    }

    fn reset(stream: TcpStream) {
        TcpSocket::from(stream).reset();
    }

    #[tokio::test]
    async fn a_reset_that_a_write_was_told_of_is_no_end_of_what_is_read() {
        let (mut socket, mut target) = pair().await;
        target.write_all(b"reply").await.expect("it is open");
        reset(target);
        let told = loop {
            if let Err(error) = poll_fn(|cx| socket.poll_write(cx, b"x")).await {
                break error;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(told.kind(), ErrorKind::ConnectionReset);
        assert_eq!(read(&mut socket).await.expect("what came before it"), 5);
        assert_eq!(read(&mut socket).await.expect_err("no end").kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn what_is_reset_after_its_end_is_dead() {
        let (mut socket, mut target) = pair().await;
        target.shutdown().await.expect("it is open");
        assert_eq!(read(&mut socket).await.expect("an end"), 0);
        assert!(poll!(poll_fn(|cx| socket.poll_dead(cx))).is_pending());
        reset(target);
        poll_fn(|cx| socket.poll_dead(cx)).await;
        poll_fn(|cx| socket.poll_dead(cx)).await;
    }

    #[tokio::test]
    async fn what_was_closed_both_ways_is_not_dead() {
        let (mut socket, mut target) = pair().await;
        target.shutdown().await.expect("it is open");
        assert_eq!(read(&mut socket).await.expect("an end"), 0);
        assert!(poll!(poll_fn(|cx| socket.poll_dead(cx))).is_pending());
        poll_fn(|cx| socket.poll_close(cx)).await.expect("it is open");
        assert_eq!(target.read(&mut [0; 1]).await.expect("an end"), 0);
        drop(target);
        tokio::time::timeout(Duration::from_millis(100), poll_fn(|cx| socket.poll_dead(cx)))
            .await
            .expect_err("it is not");
    }

    #[tokio::test]
    async fn a_unix_socket_that_is_closed_with_something_unread_is_reset() {
        let (ours, target) = UnixStream::pair().expect("sockets");
        let mut socket = UnixSocket::from(ours);
        poll_fn(|cx| socket.poll_write(cx, b"unread")).await.expect("it is open");
        drop(target);
        let told = poll_fn(|cx| socket.poll_write(cx, b"x")).await.expect_err("nobody reads");
        assert_eq!(told.kind(), ErrorKind::BrokenPipe);
        assert_eq!(read(&mut socket).await.expect_err("no end").kind(), ErrorKind::ConnectionReset);

        let (ours, mut target) = UnixStream::pair().expect("sockets");
        let mut socket = UnixSocket::from(ours);
        target.shutdown().await.expect("it is open");
        poll_fn(|cx| socket.poll_write(cx, b"unread")).await.expect("it is open");
        assert_eq!(read(&mut socket).await.expect("an end"), 0);
        assert!(poll!(poll_fn(|cx| socket.poll_dead(cx))).is_pending());
        drop(target);
        poll_fn(|cx| socket.poll_dead(cx)).await;
    }
}
