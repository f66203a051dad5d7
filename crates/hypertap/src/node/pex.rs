//! Peer exchange: nodes tell each other where others are (`/hyprspace/pex/0.0.1`).
//!
//! # Theory of operation
//!
//! Whoever connects is asked. When somebody is lost, the others are asked where it is now, and so they are,
//! ever less often, as long as a configured peer is not connected: two that connect to a third at the same
//! time are not known to it yet when they ask. A peer that does not speak the protocol is not asked again
//! before it comes anew.
//!
//! An answer is a hint. It is read up to a bound of bytes and time, used of configured peers alone, and the
//! mesh decides which of the addresses may be dialled at all.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{MeshEvent, MeshStream, Multiaddr, OpenError};
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::pex::{AnswerReader, MAX_LINES, PEX, Request, Sighting};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};

use super::client::{receive, send};
use super::state::Node;

/// How long a question and its answer may take.
const WITHIN: Duration = Duration::from_secs(10);
/// From a change to the next question, and from that to the one after, which doubles up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);
/// The addresses that an answer may tell of one peer.
const ADDRESSES: usize = 16;

/// Asks peers where others are, as long as the mesh is there.
pub async fn run(node: Arc<Node>) {
    let mut events = node.mesh.events();
    let mut asker = Asker { node, tasks: JoinSet::new(), asked: HashSet::new(), mute: HashSet::new() };
    asker.ask_all();
    let mut wait = FIRST_WAIT;
    let mut next = Instant::now() + wait;
    loop {
        tokio::select! {
            event = events.recv() => {
                match event {
                    Ok(MeshEvent::Connected(peer)) => {
                        asker.mute.remove(&peer);
                        asker.ask(peer);
                    }
                    Ok(MeshEvent::Disconnected(_)) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
                wait = FIRST_WAIT;
                next = next.min(Instant::now() + wait);
            }
            Some(done) = asker.tasks.join_next() => asker.on_done(done.ok()),
            () = sleep_until(next) => {
                if asker.node.is_somebody_missing() {
                    asker.ask_all();
                }
                wait = (2 * wait).min(LAST_WAIT);
                next = Instant::now() + wait;
            }
        }
    }
}

/// Answers a peer that asks where others are.
pub async fn serve(node: &Node, peer: PeerId, mut stream: MeshStream) {
    let Some(_guest) = node.guests.enter(peer) else { return };
    let served = async {
        let _: Request = receive(&mut stream).await?;
        stream.write_all(answer(node, &peer).as_bytes()).await?;
        stream.close().await?;
        // Whoever asked ends the stream too; to drop it before would be a reset.
        let mut room = [0; 64];
        while stream.read(&mut room).await? > 0 {}
        io::Result::Ok(())
    };
    match timeout(WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a peer was not told where others are"),
        Err(_) => tracing::debug!(%peer, "a peer did not ask in time where others are"),
    }
}

/// One line for each address of each peer but the asker.
fn answer(node: &Node, asker: &PeerId) -> String {
    let peers = node.mesh.status();
    let others = peers.iter().filter(|peer| !peer.is_bootstrap && peer.id != *asker);
    let sightings = others.flat_map(|peer| {
        peer.addresses.iter().filter_map(|address| Sighting::new(peer.id, &address.to_string()))
    });
    sightings.take(MAX_LINES).map(|sighting| sighting.line()).collect()
}

/// Who is asked, and who is not.
struct Asker {
    node: Arc<Node>,
    tasks: JoinSet<(PeerId, Result<(), OpenError>)>,
    /// Those who are being asked now.
    asked: HashSet<PeerId>,
    /// Those who do not speak the protocol.
    mute: HashSet<PeerId>,
}

impl Asker {
    fn ask(&mut self, peer: PeerId) {
        if !self.mute.contains(&peer) && self.asked.insert(peer) {
            let node = Arc::clone(&self.node);
            self.tasks.spawn(async move { (peer, ask(&node, &peer).await) });
        }
    }

    fn ask_all(&mut self) {
        for peer in self.node.connected() {
            self.ask(peer);
        }
    }

    fn on_done(&mut self, done: Option<(PeerId, Result<(), OpenError>)>) {
        // A task that has failed is not asked again: it is a fault of ours, and would be one the next time.
        let Some((peer, outcome)) = done else { return };
        self.asked.remove(&peer);
        if outcome == Err(OpenError::NotSupported) {
            self.mute.insert(peer);
        }
    }
}

/// Asks a peer, and uses what it says.
async fn ask(node: &Node, peer: &PeerId) -> Result<(), OpenError> {
    let (mut stream, _) = node.mesh.open(peer, &[PEX]).await?;
    let mut seen = Seen::default();
    let asked = timeout(WITHIN, async {
        send(&mut stream, &Request).await?;
        seen.read(node, &mut stream).await?;
        stream.close().await
    });
    // What came before it failed is as good as if it had not.
    if let Ok(Err(error)) = asked.await {
        tracing::debug!(%peer, %error, "a peer did not tell where others are");
    }
    for (other, addresses) in seen.0 {
        tracing::debug!(%peer, %other, ?addresses, "a peer told where another is");
        node.mesh.learn_addresses(&other, addresses).await;
    }
    Ok(())
}

/// Where configured peers were seen.
#[derive(Default)]
struct Seen(HashMap<PeerId, Vec<Multiaddr>>);

impl Seen {
    async fn read(&mut self, node: &Node, stream: &mut MeshStream) -> io::Result<()> {
        let mut reader = AnswerReader::new();
        let mut room = [0; 4096];
        loop {
            let len = stream.read(&mut room).await?;
            if len == 0 {
                return Ok(());
            }
            let mut bytes = room.get(..len).unwrap_or_default();
            let bad = |error| io::Error::new(io::ErrorKind::InvalidData, error);
            while let Some(sighting) = reader.push(&mut bytes).map_err(bad)? {
                self.add(node, &sighting);
            }
        }
    }

    fn add(&mut self, node: &Node, sighting: &Sighting) {
        let Ok(address) = sighting.address().parse::<Multiaddr>() else { return };
        let is_peer = {
            let peers = &node.tables().peers;
            !peers.is_own(sighting.peer()) && peers.by_id(sighting.peer()).is_some()
        };
        if is_peer {
            let addresses = self.0.entry(*sighting.peer()).or_default();
            if addresses.len() < ADDRESSES && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
}
