//! The far end of a flow: a stream to a peer, or the socket to a target of this node's own.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures::{AsyncRead as _, AsyncWrite as _};
use hypertap_engine::udp::Outbox;
use hypertap_mesh::MeshStream;
use hypertap_wire::service_stream::{Item, ItemReader};

use super::super::splice::with_scratch;
use super::target::UdpTarget;

/// Datagrams both ways.
pub enum DatagramFar {
    /// To a peer.
    Mesh(MeshStream, ItemReader),
    /// To a service's target.
    Target(UdpTarget),
}

impl DatagramFar {
    /// Sends all of a box. Ready: it is empty.
    ///
    /// # Errors
    /// The far end is gone.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, outbox: &mut Outbox) -> Poll<io::Result<()>> {
        match self {
            Self::Mesh(stream, _) => {
                while !outbox.is_empty() {
                    let sent = ready!(Pin::new(&mut *stream).poll_write(cx, outbox.unsent()))?;
                    if sent == 0 {
                        return Poll::Ready(Err(ErrorKind::WriteZero.into()));
                    }
                    outbox.consume(sent);
                }
                Pin::new(stream).poll_flush(cx)
            }
            Self::Target(target) => {
                while let Some(item) = outbox.front() {
                    if let Item::Datagram(data) = item {
                        ready!(target.poll_send(cx, data));
                    }
                    let len = item.encoded_len();
                    outbox.consume(len);
                }
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Receives some items.
    ///
    /// # Errors
    /// The far end is gone, or does not keep to the protocol.
    pub fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        each: &mut dyn FnMut(Item<'_>),
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Mesh(stream, reader) => with_scratch(|scratch| {
                let len = ready!(Pin::new(stream).poll_read(cx, scratch))?;
                if len == 0 {
                    return Poll::Ready(Err(ErrorKind::UnexpectedEof.into()));
                }
                let read = reader.read(scratch.get(..len).unwrap_or_default(), each);
                Poll::Ready(read.map_err(|error| io::Error::new(ErrorKind::InvalidData, error)))
            }),
            Self::Target(target) => target.poll_recv(cx, each).map(Ok),
        }
    }

    /// Ready once the flow is to end, whatever both sides do.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Mesh(..) => Poll::Pending,
            Self::Target(target) => target.poll_cut(cx),
        }
    }
}
