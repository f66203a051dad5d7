//! Who is in the network: this node and its peers, found by whatever they may be called.
//!
//! All nodes may share one list of peers, so this node's own entry may be in it. It is nobody to
//! connect to; its name is this node's too, and its routes are the networks that this node serves to
//! the others.
//!
//! Addresses are computed from ids, so two nodes may have the same: such a list is refused, since a
//! packet's address would not say whose it is.

mod reference;
mod routes;

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{NODES_IPV4, NODES_IPV6, NodeId, SERVICES_IPV6, ServiceId, node_ipv4};
use ipnet::{IpNet, Ipv4Net};

use crate::router::Router;
pub use reference::{ReferenceError, ReferenceProblem};

/// What the configuration says of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    /// Who it is.
    pub id: PeerId,
    /// What it is called here.
    pub name: Option<Label>,
    /// The networks behind it.
    pub routes: Vec<IpNet>,
}

/// A node of the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    id: PeerId,
    name: Option<Label>,
    node: NodeId,
    ipv4: Ipv4Addr,
    routes: Vec<IpNet>,
}

/// A node as an error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Its id.
    pub id: PeerId,
    /// Its name, when it has one.
    pub name: Option<Label>,
}

/// Two nodes, `A and B`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Both(Box<(Named, Named)>);

/// Why a list of peers is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PeerTableError {
    /// An id is there twice.
    #[error("{0} are one peer: remove one of the two")]
    SameId(Both),
    /// Two have one name.
    #[error("{0} have one name: rename one of the two")]
    SameName(Both),
    /// Two ids give one node id, so the two would have the same IPv6 addresses.
    #[error("{0} have one node id, {1}: one of the two needs another key")]
    SameNodeId(Both, NodeId),
    /// Two ids give one IPv4 address.
    #[error("{0} have one IPv4 address, {1}: one of the two needs another key")]
    SameIpv4(Both, Ipv4Addr),
    /// A route is within the network's own addresses.
    #[error("{0} has the route {1}, which is within {2}, where nodes and services are: remove it")]
    RouteInside(Box<Named>, IpNet, IpNet),
    /// Two have one route.
    #[error("{0} have one route, {1}: remove it from one of the two")]
    SameRoute(Both, IpNet),
}

/// This node and its peers.
#[derive(Clone, Debug)]
pub struct PeerTable {
    /// This node first.
    all: Vec<Peer>,
    by_id: HashMap<PeerId, usize>,
    by_name: HashMap<Label, usize>,
    by_node: HashMap<NodeId, usize>,
    by_ipv4: HashMap<Ipv4Addr, usize>,
    routes: Router<usize>,
    local: Ipv4Net,
}

/// Where this node is in the list.
const OWN: usize = 0;

impl Peer {
    fn new(entry: PeerEntry) -> Self {
        let PeerEntry { id, name, routes } = entry;
        Self { id, name, node: NodeId::of(&id), ipv4: node_ipv4(&id), routes }
    }

    /// Who it is.
    pub fn id(&self) -> &PeerId {
        &self.id
    }

    /// What it is called here, when it is.
    pub fn name(&self) -> Option<&Label> {
        self.name.as_ref()
    }

    /// What stands for it in addresses.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Its IPv4 address.
    pub fn ipv4(&self) -> Ipv4Addr {
        self.ipv4
    }

    /// Its IPv6 address.
    pub fn ipv6(&self) -> Ipv6Addr {
        self.node.ipv6()
    }

    /// The networks behind it, without host bits.
    pub fn routes(&self) -> &[IpNet] {
        &self.routes
    }

    fn named(&self) -> Named {
        Named { id: self.id, name: self.name.clone() }
    }
}

impl Both {
    fn of(first: &Peer, second: &Peer) -> Self {
        Self(Box::new((first.named(), second.named())))
    }
}

impl PeerTable {
    /// This node, `own`, and its peers. It is called `name`, or what its own entry among the peers says.
    /// `local` is where local IPv4 addresses of services are.
    ///
    /// # Errors
    /// Two that cannot be told apart, or a route that takes the network's own addresses away. A route
    /// that is wider than these is none, for theirs are the longer prefixes.
    pub fn new(
        own: PeerId,
        name: Option<Label>,
        peers: impl IntoIterator<Item = PeerEntry>,
        local: Ipv4Net,
    ) -> Result<Self, PeerTableError> {
        let own = Peer::new(PeerEntry { id: own, name, routes: Vec::new() });
        let mut table = Self {
            all: vec![own],
            by_id: HashMap::new(),
            by_name: HashMap::new(),
            by_node: HashMap::new(),
            by_ipv4: HashMap::new(),
            routes: Router::new(),
            local,
        };
        let mut has_own = false;
        for entry in peers {
            if entry.id == table.own().id && !has_own {
                has_own = true;
                let own = &mut table.all[OWN];
                own.name = own.name.take().or(entry.name);
                own.routes = entry.routes;
            } else {
                table.all.push(Peer::new(entry));
            }
        }
        (0..table.all.len()).try_for_each(|at| table.index(at))?;
        Ok(table)
    }

    /// This node.
    pub fn own(&self) -> &Peer {
        &self.all[OWN]
    }

    /// Whether that is this node.
    pub fn is_own(&self, id: &PeerId) -> bool {
        self.own().id == *id
    }

    /// All others, in the order of the configuration.
    pub fn peers(&self) -> &[Peer] {
        &self.all[OWN + 1..]
    }

    /// Where local IPv4 addresses of services are.
    pub fn local_net(&self) -> Ipv4Net {
        self.local
    }

    /// The node with this id, which may be this one.
    pub fn by_id(&self, id: &PeerId) -> Option<&Peer> {
        self.at(self.by_id.get(id))
    }

    /// The node that is called so, in any case of letters; which may be this one.
    pub fn by_name(&self, name: &str) -> Option<&Peer> {
        self.at(self.by_name.get(name.to_ascii_lowercase().as_str()))
    }

    /// The node with this node id, which may be this one.
    pub fn by_node(&self, node: NodeId) -> Option<&Peer> {
        self.at(self.by_node.get(&node))
    }

    /// The node whose own address this is, which may be this one.
    pub fn by_address(&self, address: IpAddr) -> Option<&Peer> {
        match address {
            IpAddr::V4(address) => self.at(self.by_ipv4.get(&address)),
            IpAddr::V6(address) => self.by_node(NodeId::of_ipv6(address)?),
        }
    }

    /// The node that has the service with this address, and which of its services that is. Whether there
    /// is such a service is not said.
    pub fn by_service_address(&self, address: Ipv6Addr) -> Option<(&Peer, ServiceId)> {
        let (node, service) = ServiceId::of_ipv6(address)?;
        Some((self.by_node(node)?, service))
    }

    /// The node behind which an address is, by the longest of all routes; which may be this one.
    pub fn by_route(&self, address: IpAddr) -> Option<&Peer> {
        if self.inside(IpNet::from(address)).is_some() {
            return None;
        }
        self.at(self.routes.lookup(address))
    }

    /// The network's own ranges: nodes', local IPv4 addresses', services'.
    pub fn ranges(&self) -> [IpNet; 4] {
        [NODES_IPV4.into(), self.local.into(), NODES_IPV6.into(), SERVICES_IPV6.into()]
    }

    /// Which of the network's own ranges a prefix is within: nodes', services', local IPv4 addresses'.
    pub fn inside(&self, net: IpNet) -> Option<IpNet> {
        self.ranges().into_iter().find(|range| range.contains(&net))
    }

    fn at(&self, index: Option<&usize>) -> Option<&Peer> {
        self.all.get(*index?)
    }

    /// Has a node found, unless it cannot be told from another.
    fn index(&mut self, at: usize) -> Result<(), PeerTableError> {
        let peer = &self.all[at];
        let both = |other: usize| Both::of(&self.all[other], peer);
        if let Some(other) = taken(&mut self.by_id, peer.id, at) {
            return Err(PeerTableError::SameId(both(other)));
        }
        if let Some(other) = peer.name.clone().and_then(|name| taken(&mut self.by_name, name, at)) {
            return Err(PeerTableError::SameName(both(other)));
        }
        if let Some(other) = taken(&mut self.by_node, peer.node, at) {
            return Err(PeerTableError::SameNodeId(both(other), peer.node));
        }
        if let Some(other) = taken(&mut self.by_ipv4, peer.ipv4, at) {
            return Err(PeerTableError::SameIpv4(both(other), peer.ipv4));
        }
        self.index_routes(at)
    }
}

/// Who has the key already; if nobody, it is `at`'s.
fn taken<K: std::hash::Hash + Eq>(index: &mut HashMap<K, usize>, key: K, at: usize) -> Option<usize> {
    match index.entry(key) {
        Entry::Occupied(entry) => Some(*entry.get()),
        Entry::Vacant(entry) => {
            entry.insert(at);
            None
        }
    }
}

/// `@alice (12D3Koo…)`, or the id alone.
impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "@{name} ({})", self.id),
            None => write!(f, "{}", self.id),
        }
    }
}

impl fmt::Display for Both {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, second) = &*self.0;
        write!(f, "{first} and {second}")
    }
}

#[cfg(test)]
mod tests;
