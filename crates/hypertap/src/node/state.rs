//! What all parts of a node share.

use std::net::{IpAddr, SocketAddrV6};
use std::sync::{Mutex, MutexGuard, PoisonError};

use hypertap_engine::services::admission::{Destination, route};
use hypertap_engine::services::local_ipv4::LocalIpv4;
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::{Registry, Service};
use hypertap_engine::services::told::Told;
use hypertap_mesh::Mesh;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::Refusal;

/// A node as its parts see it.
#[derive(Debug)]
pub struct Node {
    /// Its peers.
    pub mesh: Mesh,
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
        Self { mesh, tables: Mutex::new(tables) }
    }

    /// Whether a node is connected; this one always is.
    pub fn is_connected(&self, node: &PeerId) -> bool {
        self.tables().peers.is_own(node) || self.mesh.is_connected(node)
    }

    /// The tables. Never held across an await.
    pub fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tables {
    /// Whose service an address is, if it is a service's.
    pub fn asked(&mut self, address: IpAddr) -> Option<Asked> {
        let (node, service, name) = match route(&self.peers, address) {
            Destination::Service { node, service } => (node, service, None),
            Destination::LocalService(address) => {
                let local = self.local_ipv4.service(address)?.clone();
                self.local_ipv4.touch(address);
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

    /// A service of this node that a peer, or this node itself, may use.
    ///
    /// # Errors
    /// Why it may not.
    pub fn granted(
        &self,
        to: &PeerId,
        id: ServiceId,
        name: Option<&Label>,
    ) -> Result<Service, Refusal> {
        let service = self.registry.find(id, name).ok_or(Refusal::NoSuchService)?;
        let may = self.peers.is_own(to) || service.acl.permits(to);
        if may { Ok(service.clone()) } else { Err(Refusal::NotAuthorised) }
    }

    /// The address and port of `peer`'s program, as its own node sees it.
    pub fn program_of(&self, peer: &PeerId, port: u16) -> Option<SocketAddrV6> {
        Some(SocketAddrV6::new(self.peers.by_id(peer)?.ipv6(), port, 0, 0))
    }
}
