//! What a node says about its peers.

use std::fmt;
use std::time::Duration;

use hypertap_wire::peer_id::PeerId;
use libp2p::Multiaddr;
use libp2p::multiaddr::Protocol;

/// A peer, or a bootstrap node, as it is now.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    /// Who it is.
    pub id: PeerId,
    /// Whether it is only a bootstrap node, which gets no streams.
    pub is_bootstrap: bool,
    /// Its connections, the oldest first.
    pub connections: Vec<ConnectionStatus>,
    /// Where it is dialled.
    pub addresses: Vec<Multiaddr>,
    /// Why the last dial failed; none after one that did not.
    pub last_error: Option<String>,
    /// When it is dialled next; none while it is connected, being dialled, or has no address.
    pub retry_in: Option<Duration>,
}

/// A connection to a peer.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// The other end.
    pub address: Multiaddr,
    /// What it runs over.
    pub transport: Transport,
    /// How long a ping and its answer took the last time.
    pub round_trip: Option<Duration>,
    /// Whether new streams take this one, and why.
    pub is_chosen: Option<Why>,
    /// The streams on it now, both ways.
    pub streams: usize,
    /// Streams of the peer that were reset because too many were waiting to be taken.
    pub refused_streams: u64,
    /// How long it has been up.
    pub up_for: Duration,
}

/// What a connection runs over, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// By way of another node.
    Relayed,
    /// QUIC version 1.
    Quic,
    /// TCP with TLS or Noise.
    Tcp,
}

impl Transport {
    /// What an address is of.
    pub(crate) fn of(address: &Multiaddr) -> Self {
        let mut transport = Self::Tcp;
        for part in address {
            match part {
                Protocol::P2pCircuit => return Self::Relayed,
                Protocol::QuicV1 => transport = Self::Quic,
                _ => {}
            }
        }
        transport
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Relayed => "relayed",
            Self::Quic => "QUIC",
            Self::Tcp => "TCP",
        })
    }
}

/// Why a connection is the one for new streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// There is no other.
    Only,
    /// The others run over something worse.
    BestTransport,
    /// Of those over the same transport it is the newest.
    Newest,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Only => "the only one",
            Self::BestTransport => "the best transport",
            Self::Newest => "the newest of its transport",
        })
    }
}
