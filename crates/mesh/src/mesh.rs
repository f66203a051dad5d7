//! The handle on a node.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc as queue;
use hypertap_wire::peer_id::PeerId;
use libp2p::Multiaddr;
use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use crate::behaviour::OPEN_TIMEOUT;
use crate::node::{Command, Node};
use crate::open::{OpenError, Opened};
use crate::peers::Table;
use crate::settings::{MeshSettings, PeerSettings};
use crate::status::PeerStatus;
use crate::stream::MeshStream;

/// Events that a slow listener may be behind before it misses some.
const EVENTS: usize = 256;
/// Inbound streams that wait for all of the connections together; each connection holds more itself.
const INBOUND: usize = 64;

/// A handle on a running node. Clones are the same node; when the last is dropped it ends, as by
/// [`Mesh::close`].
#[derive(Clone)]
pub struct Mesh {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
}

/// What the handles and the node's task have in common.
pub(crate) struct Shared {
    table: Mutex<Table>,
    pub(crate) events: broadcast::Sender<MeshEvent>,
}

/// A stream that a peer opened.
#[derive(Debug)]
pub struct Inbound {
    /// Who opened it: one of the configured peers.
    pub peer: PeerId,
    /// What was agreed upon, of [`MeshSettings::inbound`].
    pub protocol: &'static str,
    /// The stream.
    pub stream: MeshStream,
}

/// The streams that peers open, in order for each connection. They wait when nobody takes them: for
/// each connection up to 4,096, past which they are reset and counted. When this is dropped all are reset.
#[derive(Debug)]
pub struct InboundStreams(queue::Receiver<Inbound>);

/// What happened to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MeshEvent {
    /// Its first connection is up.
    Connected(PeerId),
    /// Its last connection is gone.
    Disconnected(PeerId),
}

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The two halves of the private key do not belong together.
    #[error("the private key is damaged: its public half is not of its secret half")]
    Key,
    /// A bootstrap address does not say whose it is.
    #[error("the bootstrap address {0} does not say whose it is: end it with /p2p/PEERID")]
    BootstrapWithoutPeer(Multiaddr),
    /// What every node needs could not be made.
    #[error("the node's sockets and certificates cannot be made: {0}")]
    Transport(#[source] io::Error),
    /// It cannot listen there.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: Multiaddr,
        /// Why.
        source: io::Error,
    },
}

impl Mesh {
    /// Starts a node, in a task of the current tokio runtime; returns when it listens and
    /// [`Mesh::listening`] says where. An address of a kind that this machine has not (IPv6) is passed
    /// over with a warning as long as another is left.
    ///
    /// # Errors
    /// What of the settings cannot be had.
    pub async fn start(settings: MeshSettings) -> Result<(Self, InboundStreams), StartError> {
        let (inbound_sender, inbound) = queue::channel(INBOUND);
        let (commands, requests) = mpsc::channel(16);
        let (events, _) = broadcast::channel(EVENTS);
        let own = PeerId::from_ed25519(settings.key.public());
        let table = Table::new(own, settings.is_inside, settings.filter_private);
        let shared = Arc::new(Shared { table: Mutex::new(table), events });
        let mut node = Node::new(settings, inbound_sender, Arc::clone(&shared))?;
        node.wait_for_addresses().await;
        #[expect(clippy::disallowed_methods, reason = "it outlives the last handle, to close what is open")]
        tokio::spawn(node.run(requests));
        Ok((Self { shared, commands }, InboundStreams(inbound)))
    }

    /// Opens a stream to a peer, on the connection that is chosen now. The protocols are offered in
    /// order, in one negotiation; returned is the one that the peer took. Dropping the future gives up.
    ///
    /// # Errors
    /// [`OpenError::NotConnected`] at once when there is no connection; within 10 s the others.
    pub async fn open(&self, peer: &PeerId, protocols: &'static [&'static str]) -> Opened {
        let deadline = Instant::now() + OPEN_TIMEOUT;
        let mut tried = Vec::new();
        let mut last = OpenError::NotConnected;
        loop {
            let Some(link) = self.shared.table().chosen(peer, &tried) else { return Err(last) };
            last = match timeout_at(deadline, link.open(protocols)).await {
                Err(_) => return Err(OpenError::TimedOut),
                // Nothing was said on it yet, so another connection will do.
                Ok(Err(error @ (OpenError::ConnectionLost | OpenError::Reset))) => error,
                Ok(opened) => return opened,
            };
            tried.push(link.id);
        }
    }

    /// Whether there is a connection to a peer.
    pub fn is_connected(&self, peer: &PeerId) -> bool {
        self.shared.table().is_connected(peer)
    }

    /// Waits until a peer is connected, for so long at most; says whether it is.
    pub async fn wait_connected(&self, peer: &PeerId, at_most: Duration) -> bool {
        let mut events = self.events();
        let connected = async {
            while !self.shared.table().is_connected(peer) {
                if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                    return false;
                }
            }
            true
        };
        timeout(at_most, connected).await.unwrap_or(false)
    }

    /// Sets the peers anew. Those that are gone are disconnected, new ones dialled, others left alone.
    pub async fn set_peers(&self, peers: Vec<PeerSettings>) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::SetPeers(peers, done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Takes what somebody says of where a peer is. What may be dialled at all is tried while the peer
    /// is not connected; of what was learnt so the newest 16 are kept.
    pub async fn learn_addresses(&self, peer: &PeerId, addresses: Vec<Multiaddr>) {
        // Nobody is there to be told once the node has ended.
        let _ = self.commands.send(Command::Learn(*peer, addresses)).await;
    }

    /// Who comes and goes from now on. A listener that is more than 256 behind misses the oldest.
    pub fn events(&self) -> broadcast::Receiver<MeshEvent> {
        self.shared.events.subscribe()
    }

    /// Everybody as it is now: the peers, then the bootstrap nodes.
    pub fn status(&self) -> Vec<PeerStatus> {
        self.shared.table().status(Instant::now())
    }

    /// Where the node listens, each address of the machine on its own.
    pub fn listening(&self) -> Vec<Multiaddr> {
        self.shared.table().listening.clone()
    }

    /// Closes all connections, so that peers know at once, and ends the node. Takes 2 s at most.
    pub async fn close(&self) {
        let (done, is_done) = oneshot::channel();
        if self.commands.send(Command::Close(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }
}

impl std::fmt::Debug for Mesh {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mesh").finish_non_exhaustive()
    }
}

impl InboundStreams {
    /// The next stream; none once the node has ended. Nothing is lost when the future is dropped.
    pub async fn recv(&mut self) -> Option<Inbound> {
        self.0.next().await
    }
}

impl Shared {
    /// The table. Never held across an await.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
