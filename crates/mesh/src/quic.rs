//! QUIC v1 between nodes (RFC 9000; libp2p specs, "quic"): quinn as a transport of libp2p.
//!
//! libp2p's own hides what counts here: which cipher is preferred, and how much the sockets hold.

mod connection;
mod listener;

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use aws_lc_rs::hmac;
use futures::future::BoxFuture;
use futures::stream::{SelectAll, StreamExt as _};
use libp2p::core::transport::{DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::core::{Endpoint as Role, Transport};
use libp2p::identity::Keypair;
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};
use quinn::crypto::rustls::{NoInitialCipherSuite, QuicClientConfig, QuicServerConfig};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{
    ClientConfig, ConnectError, ConnectionError, Endpoint, EndpointConfig, ServerConfig, TokioRuntime,
    TransportConfig, VarInt,
};
use quinn_proto::RandomConnectionIdGenerator;
use socket2::{Domain, Socket, Type};
use tokio::time::sleep;

use crate::settings::SetBuffers;
use crate::tls::{Tls, TlsError};
pub(crate) use connection::Connection;
use listener::Listener;

/// What a socket holds of packets that nobody has read yet, in bytes: what comes in some 10 ms at full speed.
/// With what the kernel gives, packets are lost whenever another program has the processor.
const SOCKET_BUFFER: usize = 4 << 20;
/// What TCP has of a head start, dialled at the same time: on a short path it is the faster one, and its streams can be
/// reset. As between addresses in RFC 8305, section 5.
const HEAD_START: Duration = Duration::from_millis(250);
/// The name that a server is asked for by; QUIC needs one, and libp2p uses this.
const SERVER: &str = "l";

/// How connections are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QuicSettings {
    /// How long one may take to be made.
    pub(crate) handshake_timeout: Duration,
    /// After how long without a packet it is dead.
    pub(crate) idle_timeout: Duration,
    /// How often it sends something, whatever happens.
    pub(crate) keep_alive: Duration,
    /// Streams that the other end may have open, once it has opened about as many.
    pub(crate) streams: u32,
    /// What it may send on one of them before that is read, in bytes.
    pub(crate) stream_window: u32,
    /// And on all of them.
    pub(crate) connection_window: u32,
}

/// Why a connection, or a socket for some, cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuicError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error("no answer")]
    TimedOut,
    #[error(transparent)]
    Peer(#[from] TlsError),
    #[error(transparent)]
    Io(#[from] io::Error),
}

type Upgrade = BoxFuture<'static, Result<(PeerId, Connection), QuicError>>;
type Event = TransportEvent<Upgrade, QuicError>;

/// See the module.
pub(crate) struct Quic {
    client: ClientConfig,
    server: ServerConfig,
    keypair: Keypair,
    handshake_timeout: Duration,
    streams: u32,
    set_buffers: SetBuffers,
    listeners: SelectAll<Listener>,
    /// Sockets to dial from where no listener's will do, by whether they are of IPv6.
    dialers: HashMap<bool, Endpoint>,
    waker: Option<Waker>,
}

impl Quic {
    /// A transport that does not listen yet.
    ///
    /// # Errors
    /// TLS has no cipher that QUIC begins with.
    pub(crate) fn new(
        tls: &Tls,
        keypair: &Keypair,
        settings: &QuicSettings,
        set_buffers: SetBuffers,
    ) -> Result<Self, NoInitialCipherSuite> {
        let transport = Arc::new(transport(settings));
        let mut client = ClientConfig::new(Arc::new(QuicClientConfig::try_from(Arc::clone(&tls.client))?));
        client.transport_config(Arc::clone(&transport));
        let mut server =
            ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(Arc::clone(&tls.server))?));
        server.transport_config(transport).migration(false);
        Ok(Self {
            client,
            server,
            keypair: keypair.clone(),
            handshake_timeout: settings.handshake_timeout,
            streams: settings.streams,
            set_buffers,
            listeners: SelectAll::new(),
            dialers: HashMap::new(),
            waker: None,
        })
    }

    fn open(&self, at: SocketAddr, server: Option<ServerConfig>) -> io::Result<Endpoint> {
        let socket = Socket::new(Domain::for_address(at), Type::DGRAM, None)?;
        if at.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        (self.set_buffers)(socket.as_fd(), SOCKET_BUFFER);
        socket.bind(&at.into())?;
        let socket = UdpSocket::from(socket);
        let mut config = EndpointConfig::new(Arc::new(ResetKey::of(&self.keypair, socket.local_addr()?)));
        config.supported_versions(vec![1]).cid_generator(|| Box::<RandomConnectionIdGenerator>::default());
        Endpoint::new(config, server, socket, Arc::new(TokioRuntime))
    }

    /// The socket to dial an address from: a listener's, so that a NAT has one mapping for both, and one of our own
    /// where no listener's can be.
    fn dialer(&mut self, to: SocketAddr) -> io::Result<Endpoint> {
        let source = source(to)?;
        let at = |ip: IpAddr| self.listeners.iter().find(|listener| listener.ip() == Some(ip));
        if let Some(listener) = at(anywhere(to).ip()).or_else(|| at(source)) {
            return Ok(listener.endpoint().clone());
        }
        if let Some(endpoint) = self.dialers.get(&to.is_ipv6()) {
            return Ok(endpoint.clone());
        }
        let endpoint = self.open(anywhere(to), None)?;
        self.dialers.insert(to.is_ipv6(), endpoint.clone());
        Ok(endpoint)
    }
}

impl Transport for Quic {
    type Output = (PeerId, Connection);
    type Error = QuicError;
    type ListenerUpgrade = Upgrade;
    type Dial = Upgrade;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<QuicError>> {
        let Some(at) = parse(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let listener = self
            .open(at, Some(self.server.clone()))
            .and_then(|endpoint| Listener::new(id, endpoint, self.handshake_timeout, self.streams));
        self.listeners.push(listener.map_err(|error| TransportError::Other(error.into()))?);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let listener = self.listeners.iter_mut().find(|listener| listener.id() == id);
        listener.map(Listener::close).is_some()
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<Upgrade, TransportError<QuicError>> {
        let to = parse(&address).filter(|to| to.port() != 0 && !to.ip().is_unspecified());
        let Some(to) = to.filter(|_| options.role == Role::Dialer) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let endpoint = self.dialer(to).map_err(|error| TransportError::Other(error.into()))?;
        let (client, within, streams) = (self.client.clone(), self.handshake_timeout, self.streams);
        Ok(Box::pin(async move {
            sleep(HEAD_START).await;
            connection::establish(endpoint.connect_with(client, to, SERVER)?, within, streams).await
        }))
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(Some(event)) = self.listeners.poll_next_unpin(cx) {
            return Poll::Ready(event);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn transport(settings: &QuicSettings) -> TransportConfig {
    let idle = u32::try_from(settings.idle_timeout.as_millis()).unwrap_or(u32::MAX);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.streams.min(connection::FIRST_STREAMS)))
        .datagram_receive_buffer_size(None)
        .keep_alive_interval(Some(settings.keep_alive))
        .max_idle_timeout(Some(VarInt::from_u32(idle).into()))
        .allow_spin(false)
        .stream_receive_window(VarInt::from_u32(settings.stream_window))
        .receive_window(VarInt::from_u32(settings.connection_window));
    transport
}

/// What vouches for a reset that a connection is told by a socket which knows nothing of it, as after a restart
/// (RFC 9000, section 10.3). It is the same in each life of a node, and another for each address that a socket is
/// bound to: what is no connection of one socket may be one of another, which nobody is to be given resets for
/// (section 21.11).
struct ResetKey(hmac::Key);

impl ResetKey {
    fn of(keypair: &Keypair, bound: SocketAddr) -> Self {
        let what_for = format!("libp2p quic stateless reset key of {bound}");
        let secret = keypair.derive_secret(what_for.as_bytes()).expect("a key of Ed25519 has a secret");
        Self(hmac::Key::new(hmac::HMAC_SHA256, &secret))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        signature.copy_from_slice(hmac::sign(&self.0, data).as_ref());
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        hmac::verify(&self.0, data, signature).map_err(|_| CryptoError)
    }
}

/// Any address and port of this machine, of the same version.
fn anywhere(to: SocketAddr) -> SocketAddr {
    match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}

/// The address of this machine that it would send from; the kernel says so without sending anything.
///
/// # Errors
/// It would not send there.
fn source(to: SocketAddr) -> io::Result<IpAddr> {
    let socket = UdpSocket::bind(anywhere(to))?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// The address in `/ip4/…/udp/…/quic-v1`, whoever is said to be there.
fn parse(address: &Multiaddr) -> Option<SocketAddr> {
    let mut parts = address.iter();
    let ip = match parts.next()? {
        Protocol::Ip4(ip) => ip.into(),
        Protocol::Ip6(ip) => ip.into(),
        _ => return None,
    };
    let (Protocol::Udp(port), Protocol::QuicV1) = (parts.next()?, parts.next()?) else { return None };
    let rest = parts.filter(|part| !matches!(part, Protocol::P2p(_))).count();
    (rest == 0).then_some(SocketAddr::new(ip, port))
}

fn multiaddr(address: SocketAddr) -> Multiaddr {
    Multiaddr::from(address.ip()).with(Protocol::Udp(address.port())).with(Protocol::QuicV1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_vouched_for_alike_in_each_life_and_by_no_other_socket() {
        let sign = |seed: u8, bound: &str| {
            let keypair = Keypair::ed25519_from_bytes([seed; 32]).expect("any seed is a key");
            let mut signature = [0; 32];
            ResetKey::of(&keypair, bound.parse().expect("an address")).sign(b"an id", &mut signature);
            signature
        };
        let here = sign(1, "0.0.0.0:8001");
        assert_eq!(sign(1, "0.0.0.0:8001"), here);
        for (seed, bound) in
            [(1, "[::]:8001"), (1, "0.0.0.0:8002"), (1, "192.0.2.1:8001"), (2, "0.0.0.0:8001")]
        {
            assert_ne!(sign(seed, bound), here);
        }
    }
}
