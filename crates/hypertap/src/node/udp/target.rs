//! A socket to the target of a UDP service.

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::future::BoxFuture;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::{Item, Refusal};
use hypertap_wire::target::{Host, Target};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::super::server;
use super::super::splice::with_scratch;
use super::super::state::Node;
use super::super::target::{WITHIN, addresses, refusal};
use super::super::usage::Use;

/// A socket that is connected to a target, so that it takes nobody else's datagrams, and learns that
/// nobody takes its own.
pub struct UdpTarget {
    socket: Arc<UdpSocket>,
    /// What the kernel learns of the target between two datagrams, which makes a socket neither readable nor writable.
    learnt: BoxFuture<'static, io::Error>,
    used: Use,
    /// The target has answered that nobody is there, which is still to be told.
    is_refused: bool,
}

impl UdpTarget {
    /// Opens one for a peer, or this node itself.
    ///
    /// # Errors
    /// What the client is to be told.
    pub async fn open(
        node: &Node,
        peer: &PeerId,
        service: ServiceId,
        name: Option<&Label>,
    ) -> Result<Self, Refusal> {
        let (granted, used) = server::grant(node, peer, service, name)?;
        let Target::Udp(host, port) = &granted.target else { return Err(Refusal::WrongProtocol) };
        let connected = timeout(WITHIN, connect(host, *port)).await.map_err(|_| Refusal::TimedOut)?;
        let socket = Arc::new(connected.map_err(|error| refusal(&error))?);
        used.established();
        Ok(Self { learnt: Box::pin(learn(Arc::clone(&socket))), socket, used, is_refused: false })
    }

    /// Ready once the service is gone, or no longer for this client.
    pub fn poll_cut(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.used.poll_cut(cx)
    }

    /// Sends a datagram. What the socket does not take is lost as in any network.
    pub fn poll_send(&mut self, cx: &mut Context<'_>, data: &[u8]) -> Poll<()> {
        match ready!(self.socket.poll_send(cx, data)) {
            Ok(sent) => self.used.count_to_target(sent),
            Err(error) => self.note(&error),
        }
        Poll::Ready(())
    }

    /// Receives a datagram, or the news that the target refuses them.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>, each: &mut dyn FnMut(Item<'_>)) -> Poll<()> {
        while let Poll::Ready(error) = self.learnt.as_mut().poll(cx) {
            self.note(&error);
            self.learnt = Box::pin(learn(Arc::clone(&self.socket)));
        }
        with_scratch(|scratch| {
            if !self.is_refused {
                let mut room = ReadBuf::new(scratch);
                match ready!(self.socket.poll_recv(cx, &mut room)) {
                    Ok(()) => {
                        self.used.count_from_target(room.filled().len());
                        each(Item::Datagram(room.filled()));
                    }
                    Err(error) => self.note(&error),
                }
            }
            if std::mem::take(&mut self.is_refused) {
                each(Item::Refused);
            }
            Poll::Ready(())
        })
    }

    fn note(&mut self, error: &io::Error) {
        // An answer to what was sent earlier, whichever call it comes out of.
        self.is_refused |= error.kind() == ErrorKind::ConnectionRefused;
        tracing::trace!(%error, "a target's socket did not take or give a datagram");
    }
}

async fn learn(socket: Arc<UdpSocket>) -> io::Error {
    loop {
        let is_ready = socket.ready(Interest::ERROR).await;
        let error = is_ready.and_then(|_| {
            socket.try_io(Interest::ERROR, || socket.take_error()?.ok_or(ErrorKind::WouldBlock.into()))
        });
        if let Ok(error) = error {
            return error;
        }
    }
}

async fn connect(host: &Host, port: NonZeroU16) -> io::Result<UdpSocket> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses(host, port.get()).await? {
        let own = if address.is_ipv4() {
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))
        } else {
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))
        };
        let socket = UdpSocket::bind(own).await?;
        match socket.connect(address).await {
            Ok(()) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(last)
}
