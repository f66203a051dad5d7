//! What a node is told at its start.

use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use hypertap_wire::peer_id::{PeerId, PrivateKey};
use libp2p::Multiaddr;

/// How a node is to be.
#[derive(Clone)]
pub struct MeshSettings {
    /// Who it is.
    pub key: PrivateKey,
    /// Where it listens: `/ip4/…/tcp/…`, `/ip4/…/udp/…/quic-v1`, the same with `ip6`. Port 0: any.
    pub listen: Vec<Multiaddr>,
    /// Nodes to be connected to that are no peers, each ending in `/p2p/PEERID`. They get no streams of
    /// ours and may open none.
    pub bootstrap: Vec<Multiaddr>,
    /// The peers: the only ones that are served.
    pub peers: Vec<PeerSettings>,
    /// Whether nodes on the same link are asked for by mDNS. Only peers' answers are used.
    pub mdns: bool,
    /// The protocols whose streams are accepted, the preferred first. Each begins with a slash.
    pub inbound: Vec<&'static str>,
    /// Whether no private address is used that peers tell of themselves or of each other.
    pub filter_private: bool,
    /// Whether an address is of our own tunnel: such a one is never dialled, told or believed.
    pub is_inside: fn(IpAddr) -> bool,
    /// Whether this machine would send packets to an address into our own tunnel, now. Such a one is not dialled now, and
    /// nobody is let in from there: a connection would run through itself.
    pub leads_inside: LeadsInside,
    /// What gives a socket buffers of so many bytes, or of as many as it may have: that is each system's own.
    pub set_buffers: SetBuffers,
}

/// See [`MeshSettings::leads_inside`]. It answers at once.
pub type LeadsInside = Arc<dyn Fn(IpAddr) -> bool + Send + Sync>;

/// See [`MeshSettings::set_buffers`].
pub type SetBuffers = fn(BorrowedFd<'_>, usize);

/// One peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerSettings {
    /// Who it is. Our own id is passed over.
    pub id: PeerId,
    /// Where it may be found, with or without `/p2p/PEERID` at the end. Others may be learnt.
    pub addresses: Vec<Multiaddr>,
}
