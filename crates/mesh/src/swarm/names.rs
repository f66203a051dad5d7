//! Addresses that are names, resolved by the servers that the machine names at the moment.
//!
//! libp2p's resolver reads them once. A node starts at boot, before there is a network, and outlives many.

use std::fs;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use libp2p::PeerId;
use libp2p::core::muxing::StreamMuxerBox;
use libp2p::core::transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent};
use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, Transport, dns};

/// Where the machine names its servers (resolv.conf(5)), and what it knows without them (hosts(5)).
const FILES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

type Connected = (PeerId, StreamMuxerBox);
type Inner = Boxed<Connected>;

/// See the module.
pub(super) struct Names {
    direct: Shared,
    resolving: Option<Resolving>,
}

/// A transport that resolves, and what the machine's files said when it was made.
struct Resolving {
    said: [Option<Vec<u8>>; 2],
    transport: Inner,
}

impl Names {
    /// Over a transport that dials addresses without names.
    pub(super) fn new(direct: Inner) -> Self {
        Self { direct: Shared(Arc::new(Mutex::new(direct))), resolving: None }
    }

    /// What resolves as the machine says now.
    ///
    /// # Errors
    /// It names no server, or its file cannot be read.
    fn resolving(&mut self) -> io::Result<&mut Inner> {
        let said = FILES.map(|file| fs::read(file).ok());
        let resolving = match self.resolving.take() {
            Some(resolving) if resolving.said == said => resolving,
            _ => {
                let transport = dns::tokio::Transport::system(self.direct.clone()).map_err(|error| {
                    io::Error::other(format!("this machine names no server to resolve it: {error}"))
                })?;
                Resolving { said, transport: transport.boxed() }
            }
        };
        Ok(&mut self.resolving.insert(resolving).transport)
    }
}

impl Transport for Names {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = <Inner as Transport>::ListenerUpgrade;
    type Dial = <Inner as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.direct.lock().listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.direct.lock().remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        if !is_name(&address) {
            return self.direct.lock().dial(address, options);
        }
        self.resolving().map_err(TransportError::Other)?.dial(address, options)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *self.direct.lock()).poll(cx)
    }
}

fn is_name(address: &Multiaddr) -> bool {
    let is_one = |part: &Protocol<'_>| {
        matches!(part, Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) | Protocol::Dnsaddr(_))
    };
    address.iter().any(|part| is_one(&part))
}

/// The transport below, which all that resolve have in common. They only dial.
#[derive(Clone)]
struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Transport for Shared {
    type Output = Connected;
    type Error = io::Error;
    type ListenerUpgrade = <Inner as Transport>::ListenerUpgrade;
    type Dial = <Inner as Transport>::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        self.lock().listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.lock().remove_listener(id)
    }

    fn dial(
        &mut self,
        address: Multiaddr,
        options: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        self.lock().dial(address, options)
    }

    fn poll(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut *self.lock()).poll(cx)
    }
}
