//! One connection's streams.
//!
//! Openings come in a queue from the handles, as many at a time as there are; each is one negotiation, of
//! version 1, so that a stream that is handed out is agreed upon by both ends. (The lazy version sends
//! data along with the offer: a peer that does not speak the protocol would be seen only at the first read.)
//!
//! Inbound streams wait here when whoever takes them is slow, in order, up to [`MAX_HELD`] a connection.
//! They do not hold up the connection, on which ping and identify go on. One more is reset, and counted.
//! They wait, too, until the node's task, which runs beside the connection's, has noted the connection: who is
//! given a stream of a peer's is to find the peer connected.
//!
//! A connection that is not kept is closed by libp2p when it has carried no stream for a while, also none
//! that is being negotiated: only the connection's own task can tell.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::channel::mpsc as queue;
use hypertap_wire::peer_id::PeerId;
use libp2p::Stream;
use libp2p::swarm::handler::{
    ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound,
};
use libp2p::swarm::{ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol};
use tokio::sync::{mpsc, oneshot};

use super::negotiate::{Names, Offer};
use crate::mesh::Inbound;
use crate::open::{Link, Open, OpenError, Opened};
use crate::stream::MeshStream;

/// Inbound streams of one connection that may wait to be taken.
pub(super) const MAX_HELD: usize = 4096;
/// How long a negotiation may take.
pub(crate) const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// What the node's task tells a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Notice {
    /// The connection is noted.
    Noted,
    /// Whether it is to stay while it carries no stream.
    Keep(bool),
}

/// The streams of one connection.
pub(crate) struct Handler {
    peer: PeerId,
    names: Names,
    link: Arc<Link>,
    opens: mpsc::Receiver<Open>,
    inbound: queue::Sender<Inbound>,
    held: VecDeque<Inbound>,
    is_noted: bool,
    is_kept: bool,
}

impl Handler {
    pub(super) fn new(
        peer: PeerId,
        names: Names,
        link: Arc<Link>,
        opens: mpsc::Receiver<Open>,
        inbound: queue::Sender<Inbound>,
    ) -> Self {
        Self { peer, names, link, opens, inbound, held: VecDeque::new(), is_noted: false, is_kept: true }
    }

    fn on_inbound(&mut self, stream: Stream, protocol: &'static str) {
        if self.held.len() >= MAX_HELD {
            self.link.refused.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let stream = MeshStream::new(stream, Arc::clone(&self.link));
        self.held.push_back(Inbound { peer: self.peer, protocol, stream });
    }

    fn deliver(&mut self, cx: &mut Context<'_>) {
        while self.is_noted && !self.held.is_empty() {
            match self.inbound.poll_ready(cx) {
                Poll::Pending => return,
                Poll::Ready(Ok(())) => {
                    if let Some(inbound) = self.held.pop_front() {
                        // It fails only when nobody takes streams any longer: then it is reset.
                        let _ = self.inbound.start_send(inbound);
                    }
                }
                Poll::Ready(Err(_)) => self.held.clear(),
            }
        }
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Notice;
    type ToBehaviour = std::convert::Infallible;
    type InboundProtocol = Names;
    type OutboundProtocol = Offer;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = oneshot::Sender<Opened>;

    fn listen_protocol(&self) -> SubstreamProtocol<Names> {
        SubstreamProtocol::new(self.names.clone(), ()).with_timeout(OPEN_TIMEOUT)
    }

    fn connection_keep_alive(&self) -> bool {
        self.is_kept
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Offer, Self::OutboundOpenInfo, Self::ToBehaviour>> {
        self.deliver(cx);
        while let Poll::Ready(Some(Open { protocols, reply })) = self.opens.poll_recv(cx) {
            if reply.is_closed() {
                continue;
            }
            let protocol = SubstreamProtocol::new(Offer(protocols), reply).with_timeout(OPEN_TIMEOUT);
            return Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
        }
        Poll::Pending
    }

    fn on_behaviour_event(&mut self, notice: Notice) {
        match notice {
            Notice::Noted => self.is_noted = true,
            Notice::Keep(is_kept) => self.is_kept = is_kept,
        }
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<'_, Names, Offer, (), Self::OutboundOpenInfo>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, name),
                ..
            }) => self.on_inbound(stream, name),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, name),
                info: reply,
            }) => {
                let stream = MeshStream::new(stream, Arc::clone(&self.link));
                // Whoever does not wait any longer has it reset.
                let _ = reply.send(Ok((stream, name)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info: reply, error }) => {
                let _ = reply.send(Err(match error {
                    StreamUpgradeError::Timeout => OpenError::TimedOut,
                    StreamUpgradeError::NegotiationFailed => OpenError::NotSupported,
                    StreamUpgradeError::Io(_) => OpenError::Reset,
                    StreamUpgradeError::Apply(never) => match never {},
                }));
            }
            _ => {}
        }
    }
}
