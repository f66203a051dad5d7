//! What libp2p's swarm asks of us: who may connect, and streams.
//!
//! Only the admitted come past the handshake; whoever else proves an identity is disconnected before any
//! protocol is offered. Streams pass by: the [`Handler`] of a connection takes openings from the handles
//! and gives inbound streams to the one who reads them.

mod handler;
mod negotiate;

use std::collections::{HashMap, HashSet, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::channel::mpsc;
use libp2p::core::Endpoint;
use libp2p::core::transport::PortUse;
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler, THandlerInEvent,
    THandlerOutEvent, ToSwarm,
};
use libp2p::{Multiaddr, PeerId};

use crate::addresses;
use crate::mesh::Inbound;
use crate::open::Link;
use crate::settings::LeadsInside;
pub(crate) use handler::OPEN_TIMEOUT;
use handler::{Handler, Notice};
pub(crate) use negotiate::Names;

/// Connections that are between their first packet and the proof of who it is.
const MAX_PENDING_INBOUND: usize = 128;

/// What somebody is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Served.
    Peer,
    /// Connected to, with no streams.
    Bootstrap,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it is not among the configured peers")]
    Unknown,
    #[error("it comes from inside our own tunnel")]
    Inside,
    #[error("too many connections have not said yet who they are")]
    TooManyPending,
}

/// The part of the swarm that lets connections in and makes their handlers.
pub(crate) struct Streams {
    names: Names,
    inbound: mpsc::Sender<Inbound>,
    leads_inside: LeadsInside,
    admitted: HashMap<PeerId, Role>,
    links: HashMap<ConnectionId, Arc<Link>>,
    pending: HashSet<ConnectionId>,
    notices: VecDeque<ToSwarm<Infallible, Notice>>,
}

impl Streams {
    pub(crate) fn new(names: Names, inbound: mpsc::Sender<Inbound>, leads_inside: LeadsInside) -> Self {
        Self {
            names,
            inbound,
            leads_inside,
            admitted: HashMap::new(),
            links: HashMap::new(),
            pending: HashSet::new(),
            notices: VecDeque::new(),
        }
    }

    /// Who may connect from now on. Those that are connected stay.
    pub(crate) fn admit(&mut self, admitted: HashMap<PeerId, Role>) {
        self.admitted = admitted;
    }

    /// The near side of a connection that is up.
    pub(crate) fn link(&self, id: ConnectionId) -> Option<Arc<Link>> {
        self.links.get(&id).cloned()
    }

    /// A connection is noted: what the peer opens on it is handed out from now on.
    pub(crate) fn noted(&mut self, peer: PeerId, id: ConnectionId) {
        self.notify(peer, id, Notice::Noted);
    }

    /// Says whether a connection is to stay while it carries no stream.
    pub(crate) fn keep(&mut self, peer: PeerId, id: ConnectionId, is_kept: bool) {
        self.notify(peer, id, Notice::Keep(is_kept));
    }

    fn notify(&mut self, peer_id: PeerId, id: ConnectionId, event: Notice) {
        let handler = NotifyHandler::One(id);
        self.notices.push_back(ToSwarm::NotifyHandler { peer_id, handler, event });
    }

    fn established(&mut self, id: ConnectionId, peer: PeerId) -> Result<Handler, ConnectionDenied> {
        self.pending.remove(&id);
        let role = self.admitted.get(&peer).ok_or_else(|| ConnectionDenied::new(Refused::Unknown))?;
        let (names, id_of_peer) = match (role, crate::node::wire_id(&peer)) {
            (_, None) => return Err(ConnectionDenied::new(Refused::Unknown)),
            (Role::Peer, Some(id)) => (self.names.clone(), id),
            (Role::Bootstrap, Some(id)) => (Names::default(), id),
        };
        let (link, opens) = Link::new(id);
        self.links.insert(id, Arc::clone(&link));
        Ok(Handler::new(id_of_peer, names, link, opens, self.inbound.clone()))
    }

    fn is_from_inside(&self, remote: &Multiaddr) -> bool {
        addresses::ip(remote).is_some_and(|ip| (self.leads_inside)(ip))
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        id: ConnectionId,
        _local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        if self.is_from_inside(remote) {
            return Err(ConnectionDenied::new(Refused::Inside));
        }
        if self.pending.len() >= MAX_PENDING_INBOUND {
            return Err(ConnectionDenied::new(Refused::TooManyPending));
        }
        self.pending.insert(id);
        Ok(())
    }

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _local: &Multiaddr,
        _remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(id, peer)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _address: &Multiaddr,
        _role: Endpoint,
        _port: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.established(id, peer)
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        let id = match event {
            FromSwarm::ConnectionClosed(closed) => closed.connection_id,
            FromSwarm::ListenFailure(failure) => failure.connection_id,
            FromSwarm::DialFailure(failure) => failure.connection_id,
            _ => return,
        };
        self.pending.remove(&id);
        self.links.remove(&id);
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.notices.pop_front().map_or(Poll::Pending, Poll::Ready)
    }
}
