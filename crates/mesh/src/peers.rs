//! The table of peers: where each is, how it is connected, when it is dialled next.
//!
//! A peer that is not connected is dialled at all of its addresses at once; the first that answers is
//! taken. After a failure the next dial waits 1 s, then twice as long each time, 15 s at most, for ever. After a
//! connection that stayed up for a while the waits begin anew at 1 s; one that broke at once, as when the peer does
//! not know us, counts as a failure. When this machine gets another address, all are dialled, and the waits begin anew at 2 s.
//!
//! Where what answers first is not of the best transport, as of a peer that was being started, the addresses of better
//! ones are dialled once more.
//!
//! A connection is dead when nothing has been heard on it for [`SILENCE`]: no answer to a ping, and no
//! byte on a stream. So one that is busy is alive however late the answers are.
//!
//! The table decides and does nothing: time is an argument, and what is to be done is returned.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hypertap_wire::peer_id::PeerId;
use libp2p::Multiaddr;
use libp2p::swarm::ConnectionId;
use tokio::time::Instant;

use crate::addresses::{self, Learnt};
use crate::behaviour::Role;
use crate::choice::{self, Merit};
use crate::open::Link;
use crate::status::{ConnectionStatus, PeerStatus, Transport, Why};

/// The wait after the first failure.
const FIRST_BACK_OFF: Duration = Duration::from_secs(1);
/// The longest wait.
const LAST_BACK_OFF: Duration = Duration::from_secs(15);
/// A connection that was up for less was no success.
const SETTLED: Duration = Duration::from_secs(5);
/// A connection on which nothing is heard for so long is dead.
pub(crate) const SILENCE: Duration = Duration::from_secs(12);
/// How often another address of this machine counts at most.
const NETWORK_EVERY: Duration = Duration::from_secs(5);
/// Connections with one peer; one more ends the oldest.
const MAX_CONNECTIONS: usize = 8;

/// What is known of everybody we have to do with.
pub(crate) struct Table {
    own: PeerId,
    is_inside: fn(IpAddr) -> bool,
    filter_private: bool,
    peers: HashMap<PeerId, Peer>,
    connections_made: u64,
    /// Where we listen.
    pub(crate) listening: Vec<Multiaddr>,
    /// When this machine got another address.
    network_at: Option<Instant>,
}

struct Peer {
    role: Role,
    configured: Vec<Multiaddr>,
    from_mdns: Learnt,
    from_identify: Learnt,
    from_others: Learnt,
    connections: Vec<Connection>,
    dial: Dial,
    failures: u32,
    last_error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dial {
    /// Nothing to do: it is connected.
    Rests,
    /// From then on, where there is an address for it.
    At(Instant),
    UnderWay(ConnectionId),
    /// It is connected, and this is to be a better connection.
    Improving(ConnectionId),
}

struct Connection {
    link: Arc<Link>,
    address: Multiaddr,
    merit: Merit,
    since: Instant,
    round_trip: Option<Duration>,
    /// When it came up, answered a ping, or was found dead.
    last_heard: Instant,
    answers_pings: bool,
    is_kept: bool,
}

/// What comes of a change of a peer's connections.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    /// Connections that are to stay without streams from now on, or no longer.
    pub(crate) keep: Vec<(ConnectionId, bool)>,
    /// One too many.
    pub(crate) close: Option<ConnectionId>,
    /// Whether the peer was not connected before, or is no longer.
    pub(crate) is_turn: bool,
}

impl Table {
    pub(crate) fn new(own: PeerId, is_inside: fn(IpAddr) -> bool, filter_private: bool) -> Self {
        Self {
            own,
            is_inside,
            filter_private,
            peers: HashMap::new(),
            connections_made: 0,
            listening: Vec::new(),
            network_at: None,
        }
    }

    /// Sets who there is; returns those that were connected and have to go. Whoever stays what it was is
    /// left alone but for its addresses.
    pub(crate) fn set(&mut self, wanted: Vec<(PeerId, Role, Vec<Multiaddr>)>, now: Instant) -> Vec<PeerId> {
        let mut old = std::mem::take(&mut self.peers);
        for (id, role, configured) in wanted {
            if id == self.own {
                continue;
            }
            let mut peer = match old.remove(&id) {
                Some(peer) if peer.role == role => peer,
                Some(peer) => {
                    old.insert(id, peer);
                    Peer::new(role, now)
                }
                None => Peer::new(role, now),
            };
            if peer.configured != configured {
                peer.configured = configured;
                peer.dial_soon(now);
            }
            self.peers.insert(id, peer);
        }
        old.into_iter().filter(|(_, peer)| !peer.connections.is_empty()).map(|(id, _)| id).collect()
    }

    /// Everybody that may connect.
    pub(crate) fn roles(&self) -> impl Iterator<Item = (PeerId, Role)> {
        self.peers.iter().map(|(id, peer)| (*id, peer.role))
    }

    /// Whether it is a peer of ours, or a bootstrap node.
    pub(crate) fn role(&self, id: &PeerId) -> Option<Role> {
        self.peers.get(id).map(|peer| peer.role)
    }

    /// Those to be dialled now, with their addresses. Those without any wait until one is known.
    pub(crate) fn due(&self, now: Instant) -> Vec<(PeerId, Vec<Multiaddr>)> {
        let due = |(id, peer): (&PeerId, &Peer)| match peer.dial {
            Dial::At(at) if at <= now => {
                let addresses = self.wanted(id, peer);
                (!addresses.is_empty()).then_some((*id, addresses))
            }
            _ => None,
        };
        self.peers.iter().filter_map(due).collect()
    }

    pub(crate) fn on_dialling(&mut self, id: &PeerId, connection: ConnectionId) {
        if let Some(peer) = self.peers.get_mut(id) {
            let is_connected = !peer.connections.is_empty();
            let dial = if is_connected { Dial::Improving } else { Dial::UnderWay };
            peer.dial = dial(connection);
        }
    }

    /// We listen at an address. Where this machine has it anew, whoever could not be reached may be now.
    pub(crate) fn on_listening(&mut self, address: Multiaddr, now: Instant) {
        let ip = addresses::ip(&address);
        let is_known = self.listening.iter().any(|known| addresses::ip(known) == ip);
        if !self.listening.contains(&address) {
            self.listening.push(address);
        }
        let is_new = ip.is_some_and(|ip| !is_known && leads_on(ip) && !(self.is_inside)(ip));
        if is_new && self.network_at.is_none_or(|at| now >= at + NETWORK_EVERY) {
            self.network_at = Some(now);
            for peer in self.peers.values_mut() {
                peer.failures = peer.failures.min(1);
                peer.dial_soon(now);
            }
        }
    }

    /// Says whether it is the first failure since the peer was connected.
    pub(crate) fn on_dial_failed(
        &mut self,
        id: &PeerId,
        connection: ConnectionId,
        error: String,
        now: Instant,
    ) -> bool {
        let Some(peer) = self.peers.get_mut(id) else { return false };
        if !peer.dial.is(connection) {
            return false;
        }
        if !peer.connections.is_empty() {
            peer.dial = Dial::Rests;
            return false;
        }
        peer.last_error = Some(error);
        peer.fail(now);
        peer.failures == 1
    }

    /// A connection is up. Nothing comes of one that is nobody's.
    pub(crate) fn on_connected(
        &mut self,
        id: &PeerId,
        address: Multiaddr,
        link: Arc<Link>,
        now: Instant,
    ) -> Settled {
        let Some(peer) = self.peers.get_mut(id) else {
            return Settled { close: Some(link.id), ..Settled::default() };
        };
        if peer.dial.is(link.id) || matches!(peer.dial, Dial::Rests | Dial::At(_)) {
            peer.dial = if peer.role == Role::Peer { Dial::At(now + SETTLED) } else { Dial::Rests };
        }
        peer.last_error = None;
        self.connections_made += 1;
        let merit = Merit { transport: Transport::of(&address), order: self.connections_made };
        peer.connections.push(Connection {
            link,
            address,
            merit,
            since: now,
            round_trip: None,
            last_heard: now,
            answers_pings: true,
            is_kept: true,
        });
        let mut settled = peer.settle(self.own < *id);
        settled.is_turn = peer.connections.len() == 1;
        if peer.connections.len() > MAX_CONNECTIONS {
            settled.close = peer.connections.first().map(|oldest| oldest.link.id);
        }
        settled
    }

    /// A connection is gone.
    pub(crate) fn on_closed(&mut self, id: &PeerId, connection: ConnectionId, now: Instant) -> Settled {
        let Some(peer) = self.peers.get_mut(id) else { return Settled::default() };
        let Some(place) = peer.connections.iter().position(|known| known.link.id == connection) else {
            return Settled::default();
        };
        let gone = peer.connections.remove(place);
        if peer.connections.is_empty() {
            if now.saturating_duration_since(gone.since) >= SETTLED {
                peer.failures = 0;
            }
            if !matches!(peer.dial, Dial::UnderWay(_)) {
                peer.fail(now);
            }
            return Settled { is_turn: true, ..Settled::default() };
        }
        peer.settle(self.own < *id)
    }

    /// A ping was answered, or never will be: the peer does not know it.
    pub(crate) fn on_ping(
        &mut self,
        id: &PeerId,
        link: ConnectionId,
        answer: Option<Duration>,
        now: Instant,
    ) {
        let peer = self.peers.get_mut(id);
        let mut connections = peer.into_iter().flat_map(|peer| &mut peer.connections);
        if let Some(connection) = connections.find(|known| known.link.id == link) {
            connection.answers_pings = answer.is_some();
            connection.round_trip = answer;
            connection.last_heard = now;
        }
    }

    /// Connections that are dead.
    pub(crate) fn silent(&mut self, now: Instant) -> Vec<(PeerId, ConnectionId)> {
        let mut dead = Vec::new();
        for (id, peer) in &mut self.peers {
            for connection in &mut peer.connections {
                if connection.dead_at().is_some_and(|at| at <= now) {
                    // Not asked again while it is being closed.
                    connection.last_heard = now;
                    dead.push((*id, connection.link.id));
                }
            }
        }
        dead
    }

    /// An address that mDNS showed, or no longer shows.
    pub(crate) fn on_mdns(&mut self, id: &PeerId, address: &Multiaddr, is_there: bool, now: Instant) {
        let (is_inside, own_id) = (self.is_inside, crate::node::libp2p_id(id));
        let (Some(peer), Some(own_id)) = (self.peers.get_mut(id), own_id) else { return };
        if peer.role != Role::Peer {
            return;
        }
        let Some(address) = addresses::believable(address, &own_id, false, is_inside) else { return };
        if !is_there {
            peer.from_mdns.remove(&address);
        } else if peer.from_mdns.add(address) {
            peer.dial_soon(now);
        }
    }

    /// The addresses that a peer says are its own.
    pub(crate) fn on_identified(&mut self, id: &PeerId, link: ConnectionId, addresses: &[Multiaddr]) {
        let (is_inside, own_id) = (self.is_inside, crate::node::libp2p_id(id));
        let filter_private = self.filter_private;
        let (Some(peer), Some(own_id)) = (self.peers.get_mut(id), own_id) else { return };
        let Some(connection) = peer.connections.iter().find(|known| known.link.id == link) else { return };
        let near = addresses::ip(&connection.address).is_some_and(|ip| ip.is_loopback());
        peer.from_identify.clear();
        for address in addresses {
            if let Some(address) = addresses::believable(address, &own_id, near, is_inside)
                && !(filter_private && addresses::is_private(&address))
            {
                peer.from_identify.add(address);
            }
        }
    }

    /// The addresses that others say are a peer's.
    pub(crate) fn on_told(&mut self, id: &PeerId, addresses: &[Multiaddr], now: Instant) {
        let (is_inside, own_id) = (self.is_inside, crate::node::libp2p_id(id));
        let (Some(peer), Some(own_id)) = (self.peers.get_mut(id), own_id) else { return };
        if peer.role != Role::Peer {
            return;
        }
        let mut is_new = false;
        for address in addresses {
            if let Some(address) = addresses::believable(address, &own_id, false, is_inside)
                && !(self.filter_private && addresses::is_private(&address))
            {
                is_new |= peer.from_others.add(address);
            }
        }
        if is_new {
            peer.dial_soon(now);
        }
    }

    /// The connection that a new stream takes.
    pub(crate) fn chosen(&self, id: &PeerId, except: &[ConnectionId]) -> Option<Arc<Link>> {
        let peer = self.peers.get(id).filter(|peer| peer.role == Role::Peer)?;
        let is_up = |link: &Link| !link.is_closed() && !except.contains(&link.id);
        let up: Vec<&Connection> = peer.connections.iter().filter(|known| is_up(&known.link)).collect();
        let (place, _) = choice::best(up.iter().map(|known| known.merit))?;
        up.get(place).map(|known| Arc::clone(&known.link))
    }

    /// Whether it is connected.
    pub(crate) fn is_connected(&self, id: &PeerId) -> bool {
        self.peers.get(id).is_some_and(|peer| !peer.connections.is_empty())
    }

    /// When there is something to do next: a dial, or a look at whether connections are alive.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let mut times = Vec::new();
        for (id, peer) in &self.peers {
            if let Dial::At(at) = peer.dial
                && !self.wanted(id, peer).is_empty()
            {
                times.push(at);
            }
            times.extend(peer.connections.iter().filter_map(Connection::dead_at));
        }
        times.into_iter().min()
    }

    /// Everybody, peers first, in the order of their ids.
    pub(crate) fn status(&self, now: Instant) -> Vec<PeerStatus> {
        let mut all: Vec<PeerStatus> =
            self.peers.iter().map(|(id, peer)| peer.status(*id, self.addresses(id, peer), now)).collect();
        all.sort_by_key(|peer| (peer.is_bootstrap, peer.id));
        all
    }

    /// Where a peer is to be dialled: everywhere, or while it is connected where a better connection may be had.
    fn wanted(&self, id: &PeerId, peer: &Peer) -> Vec<Multiaddr> {
        let best = peer.connections.iter().map(|connection| connection.merit.transport).max();
        let mut addresses = self.addresses(id, peer);
        addresses.retain(|address| best.is_none_or(|best| Transport::of(address) > best));
        addresses
    }

    fn addresses(&self, id: &PeerId, peer: &Peer) -> Vec<Multiaddr> {
        let Some(id) = crate::node::libp2p_id(id) else { return Vec::new() };
        let mut addresses: Vec<Multiaddr> = Vec::new();
        let learnt = [&peer.from_mdns, &peer.from_identify, &peer.from_others];
        for address in peer.configured.iter().chain(learnt.into_iter().flat_map(Learnt::iter)) {
            let address = addresses::dialable(address, &id, self.is_inside);
            addresses.extend(address.filter(|address| !addresses.contains(address)));
        }
        addresses
    }
}

impl Dial {
    /// Whether this connection is what is under way.
    fn is(self, connection: ConnectionId) -> bool {
        self == Self::UnderWay(connection) || self == Self::Improving(connection)
    }
}

/// Whether others may be reached from an address of this machine that are not on its own link.
fn leads_on(ip: IpAddr) -> bool {
    let is_link = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !is_link && !ip.is_loopback()
}

impl Peer {
    fn new(role: Role, now: Instant) -> Self {
        Self {
            role,
            configured: Vec::new(),
            from_mdns: Learnt::default(),
            from_identify: Learnt::default(),
            from_others: Learnt::default(),
            connections: Vec::new(),
            dial: Dial::At(now),
            failures: 0,
            last_error: None,
        }
    }

    /// There is a new address, of the peer or of this machine: no need to wait any longer.
    fn dial_soon(&mut self, now: Instant) {
        if let Dial::At(at) = &mut self.dial {
            *at = now;
        }
    }

    fn fail(&mut self, now: Instant) {
        let wait = FIRST_BACK_OFF.saturating_mul(1 << self.failures.min(4));
        self.failures = self.failures.saturating_add(1);
        self.dial = Dial::At(now + wait.min(LAST_BACK_OFF));
    }

    /// Which connections stay without streams: all, or on the side that closes the others the chosen one.
    fn settle(&mut self, closes: bool) -> Settled {
        let chosen = choice::best(self.connections.iter().map(|known| known.merit));
        let mut settled = Settled::default();
        for (place, connection) in self.connections.iter_mut().enumerate() {
            let is_kept = !closes || chosen.is_some_and(|(chosen, _)| chosen == place);
            if connection.is_kept != is_kept {
                connection.is_kept = is_kept;
                settled.keep.push((connection.link.id, is_kept));
            }
        }
        settled
    }

    fn status(&self, id: PeerId, addresses: Vec<Multiaddr>, now: Instant) -> PeerStatus {
        let chosen = choice::best(self.connections.iter().map(|known| known.merit));
        let is_chosen = |place| chosen.filter(|(chosen, _)| *chosen == place).map(|(_, why)| why);
        let connections = self.connections.iter().enumerate();
        let connections = connections.map(|(place, known)| known.status(is_chosen(place), now)).collect();
        let retry_in = match self.dial {
            Dial::At(at) if self.connections.is_empty() && !addresses.is_empty() => {
                Some(at.saturating_duration_since(now))
            }
            _ => None,
        };
        PeerStatus {
            id,
            is_bootstrap: self.role == Role::Bootstrap,
            connections,
            addresses,
            last_error: self.last_error.clone(),
            retry_in,
        }
    }
}

impl Connection {
    /// When it is dead unless something is heard.
    fn dead_at(&self) -> Option<Instant> {
        let heard = self.link.last_heard().map_or(self.last_heard, |heard| heard.max(self.last_heard));
        self.answers_pings.then(|| heard + SILENCE)
    }

    fn status(&self, is_chosen: Option<Why>, now: Instant) -> ConnectionStatus {
        ConnectionStatus {
            address: self.address.clone(),
            transport: self.merit.transport,
            round_trip: self.round_trip,
            is_chosen,
            streams: self.link.streams.load(Ordering::Relaxed),
            refused_streams: self.link.refused.load(Ordering::Relaxed),
            up_for: now.saturating_duration_since(self.since),
        }
    }
}

#[cfg(test)]
mod tests;
