//! A stream to or from a peer.

use std::io::{self, IoSlice, IoSliceMut};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use futures::{AsyncRead, AsyncWrite};
use tokio::time::Instant;

use crate::open::Link;

/// Bytes both ways between two nodes, in order. Closing ends our direction; the peer's goes on until a
/// read says 0. To drop one that has not ended both ways is to reset it; on QUIC the peer may see the end
/// of the stream instead, as libp2p's QUIC has no reset.
pub struct MeshStream {
    stream: libp2p::Stream,
    link: Arc<Link>,
    /// The end of the connection, where somebody waits for it.
    lost: Option<BoxFuture<'static, ()>>,
}

impl MeshStream {
    pub(crate) fn new(stream: libp2p::Stream, link: Arc<Link>) -> Self {
        link.streams.fetch_add(1, Ordering::Relaxed);
        Self { stream, link, lost: None }
    }

    /// Ready once the peer has reset the stream, or its connection is gone, though not all is read that came before.
    /// For who does not read, after the end or for want of room, and so would never know. On QUIC a reset
    /// is not seen, the loss of the connection is.
    pub fn poll_dead(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.link.is_closed() {
            return Poll::Ready(());
        }
        // Our Yamux says so to a read that takes nothing, and wakes whom it has answered otherwise.
        if let Poll::Ready(Err(_)) = Pin::new(&mut self.stream).poll_read(cx, &mut []) {
            return Poll::Ready(());
        }
        let link = &self.link;
        let lost = self.lost.get_or_insert_with(|| {
            let link = Arc::clone(link);
            Box::pin(async move { link.closed().await })
        });
        lost.as_mut().poll(cx)
    }

    fn read(&self, result: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(1..)) = result {
            self.link.hear(Instant::now());
        }
        result
    }
}

impl Drop for MeshStream {
    fn drop(&mut self) {
        self.link.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl std::fmt::Debug for MeshStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MeshStream").finish_non_exhaustive()
    }
}

impl AsyncRead for MeshStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut [u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.read(result)
    }

    fn poll_read_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_read_vectored(cx, bufs);
        self.read(result)
    }
}

impl AsyncWrite for MeshStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}
