//! The task that owns the swarm: what happens there goes into the table, and what the table decides is
//! done here.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::channel::mpsc as queue;
use hypertap_wire::peer_id::PeerId;
use libp2p::core::transport::{ListenerId, TransportError};
use libp2p::identity::Keypair;
use libp2p::swarm::dial_opts::{DialOpts, PeerCondition};
use libp2p::swarm::{ConnectionId, DialError, Swarm, SwarmEvent};
use libp2p::{Multiaddr, identify, mdns, ping};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::addresses::split_peer;
use crate::behaviour::{Names, Role, Streams};
use crate::mesh::{Inbound, MeshEvent, Shared, StartError};
use crate::peers::Settled;
use crate::settings::{LeadsInside, MeshSettings, PeerSettings};
use crate::swarm::{self, Behaviour, BehaviourEvent, Surroundings};

/// How long connections may take to close.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(1500);
/// How long the QUIC sockets go on after that: their last packets are sent by tasks that tell nobody.
const LAST_PACKETS: Duration = Duration::from_millis(50);
/// How long a listener may take to say where it listens.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(2);

/// libp2p's form of an id.
pub(crate) fn libp2p_id(id: &PeerId) -> Option<libp2p::PeerId> {
    libp2p::PeerId::from_bytes(id.as_bytes()).ok()
}

/// Our form of an id.
pub(crate) fn wire_id(id: &libp2p::PeerId) -> Option<PeerId> {
    PeerId::from_multihash(&id.to_bytes()).ok()
}

/// What a handle asks for.
pub(crate) enum Command {
    SetPeers(Vec<PeerSettings>, oneshot::Sender<()>),
    Learn(PeerId, Vec<Multiaddr>),
    Close(oneshot::Sender<()>),
}

/// The task's state.
pub(crate) struct Node {
    swarm: Swarm<Behaviour>,
    shared: Arc<Shared>,
    bootstrap: Vec<(PeerId, Multiaddr)>,
    listeners: Vec<ListenerId>,
}

impl Node {
    /// A node that listens.
    ///
    /// # Errors
    /// See [`StartError`].
    pub(crate) fn new(
        settings: MeshSettings,
        inbound: queue::Sender<Inbound>,
        shared: Arc<Shared>,
    ) -> Result<Self, StartError> {
        let keypair = Keypair::ed25519_from_bytes(*settings.key.seed()).map_err(|_| StartError::Key)?;
        if wire_id(&keypair.public().to_peer_id()) != Some(PeerId::from_ed25519(settings.key.public())) {
            return Err(StartError::Key);
        }
        let bootstrap = settings.bootstrap.into_iter().map(|address| {
            let id = split_peer(&address).1.and_then(|id| wire_id(&id));
            id.map(|id| (id, address.clone())).ok_or(StartError::BootstrapWithoutPeer(address))
        });
        let bootstrap = bootstrap.collect::<Result<_, _>>()?;
        let (is_inside, leads_inside) = (settings.is_inside, settings.leads_inside);
        let leads_inside: LeadsInside = Arc::new(move |ip| is_inside(ip) || leads_inside(ip));
        let streams = Streams::new(Names::new(settings.inbound), inbound, Arc::clone(&leads_inside));
        let surroundings = Surroundings { is_inside, leads_inside, set_buffers: settings.set_buffers };
        let swarm =
            swarm::build(&keypair, streams, settings.mdns, surroundings).map_err(StartError::Transport)?;
        let mut node = Self { swarm, shared, bootstrap, listeners: Vec::new() };
        node.listen(settings.listen)?;
        node.set_peers(settings.peers);
        Ok(node)
    }

    /// Runs until each listener has said where it listens.
    pub(crate) async fn wait_for_addresses(&mut self) {
        let mut waiting = self.listeners.clone();
        let told = async {
            while !waiting.is_empty() {
                let event = self.swarm.select_next_some().await;
                if let SwarmEvent::NewListenAddr { listener_id, .. } = &event {
                    waiting.retain(|id| id != listener_id);
                }
                self.handle(event);
            }
        };
        if timeout(LISTEN_TIMEOUT, told).await.is_err() {
            tracing::warn!("a listening socket has no address yet: is the network down?");
        }
    }

    /// Runs until it is told to close, or nobody has a handle any longer.
    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let done = loop {
            let deadline = self.act();
            tokio::select! {
                event = self.swarm.select_next_some() => self.handle(event),
                command = commands.recv() => match command {
                    Some(Command::SetPeers(peers, done)) => {
                        self.set_peers(peers);
                        let _ = done.send(());
                    }
                    Some(Command::Learn(peer, addresses)) => {
                        self.shared.table().on_told(&peer, &addresses, Instant::now());
                    }
                    Some(Command::Close(done)) => break Some(done),
                    None => break None,
                },
                () = until(deadline) => {}
            }
        };
        self.close().await;
        if let Some(done) = done {
            let _ = done.send(());
        }
    }

    /// Does what is due; says when there is something next.
    fn act(&mut self) -> Option<Instant> {
        let now = Instant::now();
        let due = self.shared.table().due(now);
        for (id, addresses) in due {
            self.dial(&id, addresses, now);
        }
        let silent = self.shared.table().silent(now);
        for (id, connection) in silent {
            tracing::info!(peer = %id, "connection lost: nothing was heard on it");
            self.swarm.close_connection(connection);
        }
        self.shared.table().deadline()
    }

    fn dial(&mut self, id: &PeerId, addresses: Vec<Multiaddr>, now: Instant) {
        let Some(peer) = libp2p_id(id) else { return };
        tracing::debug!(peer = %id, ?addresses, "dialling");
        let options = DialOpts::peer_id(peer).condition(PeerCondition::Always).addresses(addresses).build();
        let connection = options.connection_id();
        self.shared.table().on_dialling(id, connection);
        if let Err(error) = self.swarm.dial(options) {
            self.on_dial_failed(id, connection, &error, now);
        }
    }

    fn on_dial_failed(&mut self, id: &PeerId, connection: ConnectionId, error: &DialError, now: Instant) {
        let error = cause(error);
        if self.shared.table().on_dial_failed(id, connection, error.clone(), now) {
            tracing::info!(peer = %id, %error, "not reachable; tried again until it is");
        } else {
            tracing::debug!(peer = %id, %error, "dial failed");
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = Instant::now();
        match event {
            SwarmEvent::Behaviour(event) => self.handle_behaviour(event, now),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                let link = self.swarm.behaviour().streams.link(connection_id);
                let (Some(id), Some(link)) = (wire_id(&peer_id), link) else { return };
                let address = split_peer(endpoint.get_remote_address()).0;
                tracing::debug!(peer = %id, %address, "connection is up");
                let settled = self.shared.table().on_connected(&id, address, link, now);
                self.swarm.behaviour_mut().streams.noted(peer_id, connection_id);
                if settled.is_turn {
                    self.tell(id, MeshEvent::Connected(id));
                }
                self.settle(peer_id, settled);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, cause, .. } => {
                let Some(id) = wire_id(&peer_id) else { return };
                let cause = cause.map(|cause| cause.to_string());
                tracing::debug!(peer = %id, ?cause, "connection closed");
                let settled = self.shared.table().on_closed(&id, connection_id, now);
                if settled.is_turn {
                    self.tell(id, MeshEvent::Disconnected(id));
                }
                self.settle(peer_id, settled);
            }
            SwarmEvent::OutgoingConnectionError { peer_id: Some(peer), connection_id, error } => {
                if let Some(id) = wire_id(&peer) {
                    self.on_dial_failed(&id, connection_id, &error, now);
                }
            }
            SwarmEvent::IncomingConnectionError { send_back_addr, error, .. } => {
                tracing::debug!(from = %send_back_addr, %error, "not let in");
            }
            SwarmEvent::NewListenAddr { address, .. } => {
                tracing::debug!(%address, "listening");
                self.shared.table().on_listening(address, now);
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.shared.table().listening.retain(|known| *known != address);
            }
            SwarmEvent::ListenerClosed { addresses, reason, .. } => {
                self.shared.table().listening.retain(|known| !addresses.contains(known));
                if let Err(error) = reason {
                    tracing::warn!(%error, ?addresses, "no longer listening");
                }
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "a listening socket fails"),
            _ => {}
        }
    }

    fn handle_behaviour(&mut self, event: BehaviourEvent, now: Instant) {
        match event {
            BehaviourEvent::Ping(ping::Event { peer, connection, result }) => {
                let answer = match result {
                    Ok(round_trip) => Some(round_trip),
                    Err(ping::Failure::Unsupported) => None,
                    // The table knows for how long nothing was heard.
                    Err(_) => return,
                };
                if let Some(id) = wire_id(&peer) {
                    self.shared.table().on_ping(&id, connection, answer, now);
                }
            }
            BehaviourEvent::Identify(identify::Event::Received { connection_id, peer_id, info }) => {
                if let Some(id) = wire_id(&peer_id) {
                    tracing::debug!(peer = %id, agent = %info.agent_version, "identified");
                    self.shared.table().on_identified(&id, connection_id, &info.listen_addrs);
                }
            }
            BehaviourEvent::Mdns(mdns::Event::Discovered(found)) => self.on_mdns(found, true, now),
            BehaviourEvent::Mdns(mdns::Event::Expired(lost)) => self.on_mdns(lost, false, now),
            BehaviourEvent::Identify(_) => {}
            BehaviourEvent::Streams(never) => match never {},
        }
    }

    fn on_mdns(&mut self, nodes: Vec<(libp2p::PeerId, Multiaddr)>, is_there: bool, now: Instant) {
        for (peer, address) in nodes {
            if let Some(id) = wire_id(&peer) {
                self.shared.table().on_mdns(&id, &address, is_there, now);
            }
        }
    }

    fn settle(&mut self, peer: libp2p::PeerId, settled: Settled) {
        for (connection, is_kept) in settled.keep {
            self.swarm.behaviour_mut().streams.keep(peer, connection, is_kept);
        }
        if let Some(connection) = settled.close {
            self.swarm.close_connection(connection);
        }
    }

    /// Tells of a peer; bootstrap nodes are nobody's concern.
    fn tell(&self, id: PeerId, event: MeshEvent) {
        if self.shared.table().role(&id) != Some(Role::Peer) {
            return;
        }
        match event {
            MeshEvent::Connected(_) => tracing::info!(peer = %id, "connected"),
            MeshEvent::Disconnected(_) => tracing::info!(peer = %id, "disconnected"),
        }
        let _ = self.shared.events.send(event);
    }

    fn listen(&mut self, addresses: Vec<Multiaddr>) -> Result<(), StartError> {
        let mut failure = None;
        for address in addresses {
            let listener = swarm::check_free(&address).and_then(|()| {
                self.swarm.listen_on(address.clone()).map_err(|error| match error {
                    TransportError::Other(error) => error,
                    TransportError::MultiaddrNotSupported(_) => io::ErrorKind::Unsupported.into(),
                })
            });
            match listener.map_err(|source| (is_missing(&source), StartError::Listen { address, source })) {
                Ok(listener) => self.listeners.push(listener),
                Err((true, error)) => {
                    tracing::warn!("{error}");
                    failure.get_or_insert(error);
                }
                Err((false, error)) => return Err(error),
            }
        }
        match failure {
            Some(failure) if self.listeners.is_empty() => Err(failure),
            _ => Ok(()),
        }
    }

    fn set_peers(&mut self, peers: Vec<PeerSettings>) {
        let mut wanted: HashMap<PeerId, (Role, Vec<Multiaddr>)> = HashMap::new();
        for (id, address) in &self.bootstrap {
            wanted.entry(*id).or_insert((Role::Bootstrap, Vec::new())).1.push(address.clone());
        }
        for peer in peers {
            let known = wanted.entry(peer.id).or_insert((Role::Peer, Vec::new()));
            known.0 = Role::Peer;
            known.1.extend(peer.addresses);
        }
        let wanted = wanted.into_iter().map(|(id, (role, addresses))| (id, role, addresses)).collect();
        let mut table = self.shared.table();
        let gone = table.set(wanted, Instant::now());
        let admitted = table.roles().filter_map(|(id, role)| Some((libp2p_id(&id)?, role))).collect();
        drop(table);
        self.swarm.behaviour_mut().streams.admit(admitted);
        for id in gone {
            tracing::info!(peer = %id, "disconnected: no longer a peer");
            let _ = self.shared.events.send(MeshEvent::Disconnected(id));
            if let Some(peer) = libp2p_id(&id) {
                let _ = self.swarm.disconnect_peer_id(peer);
            }
        }
    }

    async fn close(mut self) {
        self.swarm.behaviour_mut().streams.admit(HashMap::new());
        for listener in std::mem::take(&mut self.listeners) {
            self.swarm.remove_listener(listener);
        }
        let connected: Vec<_> = self.swarm.connected_peers().copied().collect();
        for peer in connected {
            let _ = self.swarm.disconnect_peer_id(peer);
        }
        let closed = async {
            while self.swarm.network_info().num_peers() > 0 {
                let event = self.swarm.select_next_some().await;
                self.handle(event);
            }
        };
        if timeout(CLOSE_TIMEOUT, closed).await.is_err() {
            tracing::debug!("some connections did not close in time");
        }
        sleep(LAST_PACKETS).await;
        self.shared.table().set(Vec::new(), Instant::now());
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => std::future::pending().await,
    }
}

/// Whether an address cannot be listened on because the machine has none of its kind.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.to_string().contains("not supported")
}

/// A failed dial in one line: the cause for each address.
fn cause(error: &DialError) -> String {
    let DialError::Transport(addresses) = error else { return error.to_string() };
    let causes = addresses.iter().map(|(address, error)| {
        let mut root: &dyn std::error::Error = error;
        while let Some(source) = root.source() {
            root = source;
        }
        format!("{address}: {root}")
    });
    causes.collect::<Vec<_>>().join("; ")
}
