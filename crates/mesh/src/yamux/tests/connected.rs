//! Two muxers, ours or the `yamux` crate's, at the ends of a connection, each driven by a task.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::core::muxing::StreamMuxer;
use tokio::io::DuplexStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::yamux::{Muxer, Side, YamuxSettings};

pub(super) trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

pub(super) type BoxedStream = Box<dyn Duplex>;

/// What the tests need of a muxer.
trait Driven: Send + 'static {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>>;
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>>;
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<String>;
    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driven for Muxer<C> {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>> {
        StreamMuxer::poll_inbound(Pin::new(self), cx)
            .map(|stream| Ok(Box::new(stream.map_err(|e| e.to_string())?) as _))
    }

    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>> {
        StreamMuxer::poll_outbound(Pin::new(self), cx)
            .map(|stream| Ok(Box::new(stream.map_err(|e| e.to_string())?) as _))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<String> {
        StreamMuxer::poll(Pin::new(self), cx).map(|event| event.expect_err("there are no events").to_string())
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        StreamMuxer::poll_close(Pin::new(self), cx).map(|_| ())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Driven for yamux::Connection<C> {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>> {
        self.poll_next_inbound(cx).map(|stream| match stream {
            Some(Ok(stream)) => Ok(Box::new(stream) as _),
            Some(Err(error)) => Err(error.to_string()),
            None => Err("closed".to_owned()),
        })
    }

    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Result<BoxedStream, String>> {
        self.poll_new_outbound(cx).map(|stream| Ok(Box::new(stream.map_err(|e| e.to_string())?) as _))
    }

    fn poll_rest(&mut self, _: &mut Context<'_>) -> Poll<String> {
        Poll::Pending
    }

    fn poll_close(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        yamux::Connection::poll_close(self, cx).map(|_| ())
    }
}

/// One side; when it is dropped, its connection is closed.
pub(super) struct Node {
    opener: mpsc::Sender<oneshot::Sender<BoxedStream>>,
    inbound: mpsc::Receiver<BoxedStream>,
    ended: tokio::task::JoinHandle<String>,
}

impl Node {
    fn new(muxer: impl Driven) -> Self {
        let (opener, wishes) = mpsc::channel(16);
        let (accepted, inbound) = mpsc::channel(20_000);
        Self { opener, inbound, ended: tokio::spawn(drive(muxer, wishes, accepted)) }
    }

    pub(super) async fn open(&self) -> BoxedStream {
        let (wish, stream) = oneshot::channel();
        self.opener.send(wish).await.expect("a connection");
        stream.await.expect("a connection")
    }

    pub(super) async fn accept(&mut self) -> BoxedStream {
        self.inbound.recv().await.expect("a connection")
    }

    /// Closes the connection.
    pub(super) async fn close(self) {
        drop((self.opener, self.inbound));
        self.ended.await.expect("no panic");
    }
}

async fn drive(
    mut muxer: impl Driven,
    mut wishes: mpsc::Receiver<oneshot::Sender<BoxedStream>>,
    accepted: mpsc::Sender<BoxedStream>,
) -> String {
    let mut wish = None;
    let why = poll_fn(|cx| {
        loop {
            if wish.is_none() {
                match wishes.poll_recv(cx) {
                    Poll::Ready(Some(new)) => wish = Some(new),
                    Poll::Ready(None) => return Poll::Ready(String::new()),
                    Poll::Pending => {}
                }
            }
            if wish.is_some()
                && let Poll::Ready(stream) = muxer.poll_outbound(cx)
            {
                match stream {
                    Ok(stream) => _ = wish.take().map(|wish| wish.send(stream)),
                    Err(error) => return Poll::Ready(error),
                }
                continue;
            }
            if let Poll::Ready(stream) = muxer.poll_inbound(cx) {
                match stream {
                    Ok(stream) => _ = accepted.try_send(stream),
                    Err(error) => return Poll::Ready(error),
                }
                continue;
            }
            return muxer.poll_rest(cx);
        }
    })
    .await;
    if why.is_empty() {
        poll_fn(|cx| muxer.poll_close(cx)).await;
    }
    why
}

/// Whose implementation a side is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Theirs,
}

/// The pairs of which one is ours, the client first.
pub(super) const PAIRS: [(Whose, Whose); 3] =
    [(Whose::Ours, Whose::Ours), (Whose::Ours, Whose::Theirs), (Whose::Theirs, Whose::Ours)];

pub(super) fn node(connection: Compat<DuplexStream>, side: Side, whose: Whose) -> Node {
    match whose {
        Whose::Ours => Node::new(Muxer::new(connection, side, YamuxSettings::default())),
        Whose::Theirs => {
            let mode = if side == Side::Client { yamux::Mode::Client } else { yamux::Mode::Server };
            let mut config = yamux::Config::default();
            config.set_max_connection_receive_window(None);
            config.set_max_num_streams(10_000);
            Node::new(yamux::Connection::new(connection, config, mode))
        }
    }
}

/// A connected client and server.
pub(super) fn nodes((client, server): (Whose, Whose)) -> (Node, Node) {
    let (a, b) = tokio::io::duplex(200_000);
    (node(a.compat(), Side::Client, client), node(b.compat(), Side::Server, server))
}

/// The outcome of a test, which is a failure when something is stuck.
pub(super) async fn in_time<T>(test: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), test).await.expect("something is stuck")
}

pub(super) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * 31) ^ (at >> 8)) as u8).collect()
}

pub(super) async fn read_all(stream: &mut BoxedStream) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await?;
    Ok(all)
}

/// Reads all of `stream`, answers with the same, and closes it.
pub(super) async fn echo_whole(mut stream: BoxedStream) -> io::Result<()> {
    let all = read_all(&mut stream).await?;
    stream.write_all(&all).await?;
    stream.close().await
}
