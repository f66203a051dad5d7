//! libp2p's swarm as we have it: transports and behaviours.
//!
//! TCP is secured by TLS or Noise, TLS offered first as it has AES; QUIC by the same TLS. Names are
//! resolved above a [`Guard`], so that no name leads into our own tunnel either.

mod closing;
mod guard;
mod mdns;
mod names;
mod security;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use futures::future::Either;
use libp2p::core::ConnectedPoint;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::Boxed;
use libp2p::core::upgrade::Version;
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::swarm::behaviour::toggle::Toggle;
use libp2p::swarm::{self, NetworkBehaviour, Swarm};
use libp2p::{Multiaddr, PeerId, Transport, identify, ping, tcp};

use socket2::{Domain, Socket, Type};

use crate::behaviour::Streams;
use crate::quic::{Quic, QuicSettings};
use crate::settings::{LeadsInside, SetBuffers};
use crate::tls::Tls;
use crate::yamux::{self, YamuxSettings};
use closing::Closing;
use guard::Guard;
use mdns::Mdns;
use names::Names;
use security::Security;

/// How long a connection may take from the first packet to the agreed multiplexer.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a superseded connection without streams stays.
pub(crate) const SUPERSEDED_FOR: Duration = Duration::from_secs(2);
/// How often a connection is pinged; well within what it may be silent (`peers::SILENCE`).
const PING_EVERY: Duration = Duration::from_secs(4);
/// A late answer is still one: `peers` decides when a connection is dead.
const PING_TIMEOUT: Duration = Duration::from_secs(12);

/// What a peer may send on one QUIC stream before it is read, in bytes.
const QUIC_STREAM_WINDOW: u32 = 4 << 20;
const QUIC: QuicSettings = QuicSettings {
    handshake_timeout: CONNECT_TIMEOUT,
    idle_timeout: Duration::from_secs(12),
    keep_alive: PING_EVERY,
    streams: 65_536,
    stream_window: QUIC_STREAM_WINDOW,
    // Of 256 streams that nobody reads. Past it the others would stop.
    connection_window: 256 * QUIC_STREAM_WINDOW,
};

/// All that a connection speaks.
#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct Behaviour {
    /// First, as it refuses whoever is not admitted.
    pub(crate) streams: Streams,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    mdns: Toggle<Mdns>,
}

/// What the transports are to know of the machine; see [`MeshSettings`](crate::MeshSettings).
pub(crate) struct Surroundings {
    pub(crate) is_inside: fn(IpAddr) -> bool,
    pub(crate) leads_inside: LeadsInside,
    pub(crate) set_buffers: SetBuffers,
}

/// Makes the swarm, which does not listen yet.
///
/// # Errors
/// A socket or a certificate cannot be made.
pub(crate) fn build(
    keypair: &Keypair,
    streams: Streams,
    with_mdns: bool,
    surroundings: Surroundings,
) -> io::Result<Swarm<Behaviour>> {
    let id = keypair.public().to_peer_id();
    let identify = identify::Config::new("ipfs/0.1.0".to_owned(), keypair.public())
        .with_agent_version(concat!("hypertap/", env!("CARGO_PKG_VERSION")).to_owned())
        .with_push_listen_addr_updates(true)
        .with_cache_size(0);
    let ping = ping::Config::new().with_interval(PING_EVERY).with_timeout(PING_TIMEOUT);
    let mdns = with_mdns.then(|| Mdns::new(id)).transpose();
    let mdns = mdns.unwrap_or_else(|error| {
        tracing::warn!(%error, "peers on this link are not looked for: mDNS cannot be used");
        None
    });
    let behaviour = Behaviour {
        streams,
        identify: identify::Behaviour::new(identify),
        ping: ping::Behaviour::new(ping),
        mdns: mdns.into(),
    };
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(SUPERSEDED_FOR);
    Ok(Swarm::new(transport(keypair, surroundings)?, behaviour, id, config))
}

fn transport(keypair: &Keypair, surroundings: Surroundings) -> io::Result<Boxed<(PeerId, StreamMuxerBox)>> {
    let Surroundings { is_inside, leads_inside, set_buffers } = surroundings;
    let tls = Tls::new(keypair).map_err(io::Error::other)?;
    let tcp = tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let tcp = Guard::new(tcp, is_inside, Arc::clone(&leads_inside))
        .upgrade(Version::V1Lazy)
        .authenticate(Security::new(tls.clone(), keypair).map_err(io::Error::other)?)
        .multiplex(yamux::Upgrade::new(YamuxSettings::default()))
        .timeout(CONNECT_TIMEOUT)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(Closing::new(muxer))));
    let quic = Quic::new(&tls, keypair, &QUIC, set_buffers).map_err(io::Error::other)?;
    let quic = Guard::new(quic, is_inside, leads_inside)
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)));
    let direct = quic.or_transport(tcp).map(|either, _| match either {
        Either::Left(connection) | Either::Right(connection) => connection,
    });
    Ok(Names::new(direct.and_then(as_dialled).boxed()).boxed())
}

/// Somebody else answers where a peer was dialled.
#[derive(Debug, thiserror::Error)]
#[error("somebody else is there: {0}")]
struct SomebodyElse(PeerId);

/// A connection, if it is to whom it was made for. Said here, the peer's other addresses are still tried, which
/// libp2p gives up with the first connection that there is.
async fn as_dialled<C>(connected: (PeerId, C), point: ConnectedPoint) -> Result<(PeerId, C), SomebodyElse> {
    let ConnectedPoint::Dialer { address, .. } = point else { return Ok(connected) };
    match address.iter().last() {
        Some(Protocol::P2p(whom)) if whom != connected.0 => Err(SomebodyElse(connected.0)),
        _ => Ok(connected),
    }
}

/// Whether this node can listen there, and nobody does yet. libp2p lets several programs of one user listen on
/// one TCP port (`SO_REUSEPORT`), each of which would get some of the connections.
///
/// # Errors
/// Somebody does, or the machine has no such address, or it is one of a link, whose name cannot be said.
pub(crate) fn check_free(address: &Multiaddr) -> io::Result<()> {
    let mut parts = address.iter();
    let ip = match parts.next() {
        Some(Protocol::Ip4(ip)) => IpAddr::V4(ip),
        Some(Protocol::Ip6(ip)) if ip.is_unicast_link_local() => {
            let reason =
                "an address of one link means nothing without its interface, which cannot be said here";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        Some(Protocol::Ip6(ip)) => IpAddr::V6(ip),
        _ => return Ok(()),
    };
    let (port, kind) = match parts.next() {
        Some(Protocol::Tcp(port)) => (port, Type::STREAM),
        Some(Protocol::Udp(port)) => (port, Type::DGRAM),
        _ => return Ok(()),
    };
    let at = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(at), kind, None)?;
    if at.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if kind == Type::DGRAM {
        return socket.bind(&at.into());
    }
    socket.set_reuse_address(true)?;
    socket.bind(&at.into())?;
    socket.listen(1)
}
