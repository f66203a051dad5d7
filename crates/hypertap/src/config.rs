//! The configuration of a node of the services network: one JSON file.
//!
//! A text becomes a [`Config`] in three steps, each of which names all the faults that it finds: it is JSON
//! without a key twice in one object (`duplicates`); it has the form that the schema says (`form`, `structure`);
//! its values mean something together (`meaning`). A text with a fault is refused whole; what is merely odd
//! is a warning. Files of Hyprspace v0.15 are read as they are: `null` and an empty name count as absent,
//! as they do there.

mod addresses;
mod duplicates;
mod fault;
mod file;
mod form;
mod key;
mod meaning;
mod peers;
mod services;
mod structure;

use std::io;
use std::path::Path;

use hypertap_engine::services::peers::{PeerEntry, PeerTable};
pub use hypertap_engine::services::registry::Service;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::{PeerId, PrivateKey};
use ipnet::{IpNet, Ipv4Net};
use multiaddr::Multiaddr;

pub use self::fault::{Fault, listed};
pub use self::file::{create, default_path, edit, load};
pub use self::form::{peer as peer_form, schema};
pub use self::key::{belongs_together, generate};
pub use self::peers::{Put, put as put_peer, remove as remove_peer};
pub use self::services::{one as service, put as put_service};

/// All that a node is told at its start and at each reload.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The node's identity.
    pub private_key: PrivateKey,
    /// What the list of peers calls this node itself, where it is in there.
    pub name: Option<Label>,
    /// The networks behind this node, where it is in the list of peers.
    pub routes: Vec<IpNet>,
    /// The other nodes, in the file's order. They make a [`PeerTable`].
    pub peers: Vec<Peer>,
    /// This node's services, in the order of their names. They make a
    /// [`Registry`](hypertap_engine::services::registry::Registry).
    pub services: Vec<Service>,
    /// Where peers may connect: an IP address with TCP or QUIC.
    pub listen_addresses: Vec<Multiaddr>,
    /// Where the public network is entered; each ends with `/p2p/ID`.
    pub bootstrap_peers: Vec<Multiaddr>,
    /// What names of nodes end with: labels in lower case, without a dot at the end.
    pub domain: String,
    /// Whether private addresses that peers tell of are left alone.
    pub filter_private_addresses: bool,
    /// Where services' IPv4 addresses are taken from, which are this machine's alone.
    pub local_services_ipv4: Ipv4Net,
    /// Bounds.
    pub limits: Limits,
}

/// Another node.
#[derive(Clone, Debug, PartialEq)]
pub struct Peer {
    /// Its identity.
    pub id: PeerId,
    /// What it is called here.
    pub name: Option<Label>,
    /// The networks behind it, without host bits.
    pub routes: Vec<IpNet>,
    /// Where it may be dialled.
    pub addresses: Vec<Multiaddr>,
}

/// Bounds of what the node keeps for its users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections to services at once, of whatever state.
    pub connections: usize,
    /// Bytes of all their buffers together.
    pub buffered: usize,
}

/// What a text says.
#[derive(Clone, Debug, PartialEq)]
pub struct Parsed {
    /// What it says.
    pub config: Config,
    /// What is odd about it.
    pub warnings: Vec<Fault>,
}

impl Config {
    /// This node and its peers.
    pub fn peer_table(&self) -> PeerTable {
        let own = self.private_key.peer_id();
        let entry = PeerEntry { id: own, name: None, routes: self.routes.clone() };
        let others = self.peers.iter().map(Peer::entry);
        PeerTable::new(own, self.name.clone(), others.chain([entry]), self.local_services_ipv4)
            .expect("a list that is refused makes no configuration")
    }
}

impl Peer {
    fn entry(&self) -> PeerEntry {
        PeerEntry { id: self.id, name: self.name.clone(), routes: self.routes.clone() }
    }
}

/// Reads a text. `key_file` yields what is in the file that `privateKeyFile` names, if one is named.
///
/// # Errors
/// All faults of the first step that finds any.
pub fn parse(text: &str, key_file: impl FnOnce(&Path) -> io::Result<String>) -> Result<Parsed, Vec<Fault>> {
    meaning::of(form::read(form::json(text)?)?, key_file)
}

#[cfg(test)]
mod tests;
