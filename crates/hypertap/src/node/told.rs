//! The names that nodes tell each other: `/hypertap/services/1`.
//!
//! # Theory of operation
//!
//! Each connected peer has a task that tells it the names that it may use, when it connects and whenever
//! they have changed. A telling is a stream of its own, which the listener ends when it has taken the names:
//! a stream that stayed open would hold up a connection that is to be given up for a better one, and
//! its end says that the next telling cannot overtake this one.
//!
//! What a peer told stays while it is away. Its names do not change by that, and programs look them up
//! before they connect, when the peer may be about to come back: they would learn that there is no such
//! name, and remember it. It is forgotten when the peer is no longer configured, or comes back as a
//! node that does not speak this protocol.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{MeshEvent, MeshStream, OpenError};
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_stream::{SERVICES, ServiceNames};
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

use super::client::{receive, send};
use super::state::Node;

/// How long a telling may take.
const WITHIN: Duration = Duration::from_secs(10);
/// The wait after the first failure; the next are longer, up to [`LAST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(60);

/// Tells peers this node's names, as long as the mesh is there.
pub async fn run(node: Arc<Node>) {
    let mut events = node.mesh.events();
    let mut tellers = Tellers { node, tasks: JoinSet::new(), by_peer: HashMap::new() };
    tellers.settle();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Ok(MeshEvent::Connected(peer)) => tellers.start(peer),
                Ok(MeshEvent::Disconnected(peer)) => tellers.stop(&peer),
                Err(RecvError::Lagged(_)) => tellers.settle(),
                Err(RecvError::Closed) => return,
            },
            Some(_) = tellers.tasks.join_next() => {}
        }
    }
}

/// Takes what a peer tells.
pub async fn listen(node: &Node, peer: PeerId, mut stream: MeshStream) {
    let Some(_guest) = node.guests.enter(peer) else { return };
    let heard = async {
        let names: ServiceNames = receive(&mut stream).await?;
        let count = names.names().len();
        let is_new = {
            let tables = &mut *node.tables();
            tables.told.replace(&tables.peers, &peer, names)
        };
        tracing::debug!(%peer, count, is_new, "a peer told its services");
        // What a later version puts here is skipped. The end must be seen, or our own would be a reset.
        let mut room = [0; 64];
        while stream.read(&mut room).await? > 0 {}
        stream.close().await
    };
    match timeout(WITHIN, heard).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%peer, %error, "a peer told nothing"),
        Err(_) => tracing::debug!(%peer, "a peer told nothing in time"),
    }
}

/// The tasks that tell, one for each connected peer.
struct Tellers {
    node: Arc<Node>,
    tasks: JoinSet<()>,
    by_peer: HashMap<PeerId, AbortHandle>,
}

impl Tellers {
    /// Tells a peer from the beginning: another program may have its identity now.
    fn start(&mut self, peer: PeerId) {
        self.stop(&peer);
        let task = self.tasks.spawn(tell(Arc::clone(&self.node), peer));
        self.by_peer.insert(peer, task);
    }

    fn stop(&mut self, peer: &PeerId) {
        if let Some(task) = self.by_peer.remove(peer) {
            task.abort();
        }
    }

    /// Begins anew with all that are connected.
    fn settle(&mut self) {
        self.tasks.abort_all();
        self.by_peer.clear();
        for peer in self.node.connected() {
            self.start(peer);
        }
    }
}

/// What came of a telling.
enum Telling {
    Taken,
    /// The peer does not speak the protocol.
    NotSpoken,
    Failed,
}

/// Tells one peer all that it is to know, until the task is ended.
async fn tell(node: Arc<Node>, peer: PeerId) {
    let mut changes = node.changes();
    let mut taken = None;
    let mut wait = FIRST_WAIT;
    loop {
        changes.mark_unchanged();
        let names = node.tables().names_for(&peer);
        if let Some(names) = names.filter(|names| taken.as_ref() != Some(names)) {
            match tell_once(&node, &peer, &names).await {
                Telling::Taken => {
                    taken = Some(names);
                    wait = FIRST_WAIT;
                }
                Telling::NotSpoken => {
                    // Nor will it tell: what is known of it is of another program.
                    node.tables().told.forget(&peer);
                    return;
                }
                Telling::Failed => {
                    sleep(wait).await;
                    wait = (2 * wait).min(LAST_WAIT);
                    continue;
                }
            }
        }
        if changes.changed().await.is_err() {
            return;
        }
    }
}

async fn tell_once(node: &Node, peer: &PeerId, names: &ServiceNames) -> Telling {
    let mut stream = match node.mesh.open(peer, &[SERVICES]).await {
        Ok((stream, _)) => stream,
        Err(OpenError::NotSupported) => return Telling::NotSpoken,
        Err(_) => return Telling::Failed,
    };
    let taken = async {
        send(&mut stream, names).await?;
        stream.close().await?;
        // Nothing comes back but the end.
        stream.read(&mut [0; 1]).await
    };
    match timeout(WITHIN, taken).await {
        Ok(Ok(0)) => Telling::Taken,
        _ => Telling::Failed,
    }
}
