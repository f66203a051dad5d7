//! What all parts of a node share.

use std::net::{IpAddr, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hypertap_engine::services::admission::{Destination, route};
use hypertap_engine::services::local_ipv4::LocalIpv4;
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::{Registry, Service};
use hypertap_engine::services::told::Told;
use hypertap_mesh::Mesh;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::{Refusal, ServiceNames};
use tokio::sync::watch;

use super::check::Checks;
use super::guests::Guests;
use super::usage::Usage;

/// Streams that one peer may have open here at once.
const STREAMS_PER_PEER: usize = 16_384;

/// A node as its parts see it.
#[derive(Debug)]
pub struct Node {
    /// Its peers.
    pub mesh: Mesh,
    /// Who uses its services.
    pub usage: Usage,
    /// What checks of services' targets have found.
    pub checks: Checks,
    /// The streams that peers have open here.
    pub guests: Guests,
    started: Instant,
    changed: watch::Sender<()>,
    tables: Mutex<Tables>,
}

/// Who there is, and what they have. A reload changes all of it at once.
#[derive(Debug)]
pub struct Tables {
    /// This node and its peers.
    pub peers: PeerTable,
    /// This node's services.
    pub registry: Registry,
    /// What peers have told of theirs.
    pub told: Told,
    /// The IPv4 addresses that services have on this machine.
    pub local_ipv4: LocalIpv4,
}

/// A service that a program asks for by its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Whose it is.
    pub node: PeerId,
    /// Which one.
    pub service: ServiceId,
    /// Its name, where it is known.
    pub name: Option<Label>,
}

impl Node {
    /// A node with these tables.
    pub fn new(mesh: Mesh, tables: Tables) -> Self {
        Self {
            mesh,
            usage: Usage::default(),
            checks: Checks::default(),
            guests: Guests::new(STREAMS_PER_PEER),
            started: Instant::now(),
            changed: watch::Sender::new(()),
            tables: Mutex::new(tables),
        }
    }

    /// Tells those who follow [`Self::changes`] that the tables were changed: peers are told new names,
    /// checks begin and end. To be called after each change of services or peers.
    pub fn changed(&self) {
        self.changed.send_replace(());
    }

    /// Follows changes of the tables.
    pub fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The peers that are connected.
    pub fn connected(&self) -> Vec<PeerId> {
        let peers: Vec<PeerId> = self.tables().peers.peers().iter().map(|peer| *peer.id()).collect();
        peers.into_iter().filter(|peer| self.mesh.is_connected(peer)).collect()
    }

    /// Whether a peer is not connected.
    pub fn is_somebody_missing(&self) -> bool {
        self.connected().len() < self.tables().peers.peers().len()
    }

    /// Whether a node is connected; this one always is.
    pub fn is_connected(&self, node: &PeerId) -> bool {
        self.tables().peers.is_own(node) || self.mesh.is_connected(node)
    }

    /// For how long it has been there.
    pub fn age(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whose service an address is, if it is a service's; a connection is about to use it.
    pub fn asked(&self, address: IpAddr) -> Option<Asked> {
        self.tables().asked(address, self.age())
    }

    /// The tables. Never held across an await.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    fn asked(&mut self, address: IpAddr, now: Duration) -> Option<Asked> {
        let (node, service, name) = match route(&self.peers, address) {
            Destination::Service { node, service } => (node, service, None),
            Destination::LocalService(address) => {
                let local = self.local_ipv4.service(address)?.clone();
                self.local_ipv4.touch(address, now);
                (*self.peers.by_node(local.node)?.id(), local.service, local.name)
            }
            Destination::Node(_) | Destination::Ours | Destination::Nobody => return None,
        };
        let name = name.or_else(|| self.name_of(&node, service));
        Some(Asked { node, service, name })
    }

    /// What a service is called, as far as this node knows.
    fn name_of(&self, node: &PeerId, service: ServiceId) -> Option<Label> {
        if self.peers.is_own(node) {
            return self.registry.find(service, None).map(|service| service.name.clone());
        }
        let told = self.told.name_of(node, service).cloned();
        told.or_else(|| self.local_ipv4.name_of(self.peers.by_id(node)?.node(), service).cloned())
    }

    /// The names of this node's services that a peer may use; `None` when it is no peer, or no longer.
    pub fn names_for(&self, peer: &PeerId) -> Option<ServiceNames> {
        self.peers.by_id(peer).map(|_| self.registry.names_for(peer))
    }

    /// A service of this node that a peer, or this node itself, may use.
    ///
    /// # Errors
    /// Why it may not.
    pub fn granted(&self, to: &PeerId, id: ServiceId, name: Option<&Label>) -> Result<Service, Refusal> {
        // A stream may be older than the last change of the configuration.
        self.peers.by_id(to).ok_or(Refusal::NotAuthorised)?;
        let service = self.registry.find(id, name).ok_or(Refusal::NoSuchService)?;
        let may = self.peers.is_own(to) || service.acl.permits(to);
        if may { Ok(service.clone()) } else { Err(Refusal::NotAuthorised) }
    }

    /// The address and port of `peer`'s program, as its own node sees it.
    pub fn program_of(&self, peer: &PeerId, port: u16) -> Option<SocketAddrV6> {
        Some(SocketAddrV6::new(self.peers.by_id(peer)?.ipv6(), port, 0, 0))
    }
}
