//! Asking a connection for a stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use libp2p::swarm::ConnectionId;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::stream::MeshStream;

/// Why no stream was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no connection to the peer.
    #[error("the peer is not connected")]
    NotConnected,
    /// The peer speaks none of the protocols.
    #[error("the peer speaks none of the protocols asked for")]
    NotSupported,
    /// The connection ended meanwhile, and there is no other.
    #[error("the connection to the peer was lost while the stream was being opened")]
    ConnectionLost,
    /// The peer reset the stream, as it does with one too many.
    #[error("the peer reset the stream while it was being opened")]
    Reset,
    /// The peer did not answer within 10 s.
    #[error("the peer did not answer within 10 s")]
    TimedOut,
}

/// What comes of asking: the stream and the protocol that was agreed upon.
pub(crate) type Opened = Result<(MeshStream, &'static str), OpenError>;

/// A stream that is wanted.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) protocols: &'static [&'static str],
    /// Closed when nobody waits any longer.
    pub(crate) reply: oneshot::Sender<Opened>,
}

/// The near side of one connection: what its handler, its streams and the node's task have in common.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: ConnectionId,
    opens: mpsc::Sender<Open>,
    /// Streams that are there, both ways.
    pub(crate) streams: AtomicUsize,
    since: Instant,
    /// When a read last brought something, in milliseconds since then; 0: never.
    heard_after: AtomicU64,
    /// Inbound streams that were reset as too many were waiting.
    pub(crate) refused: AtomicU64,
}

impl Link {
    /// How many openings may wait for a connection's task to see them; more wait for a place.
    const QUEUED: usize = 256;

    /// A connection's two sides.
    pub(crate) fn new(id: ConnectionId) -> (Arc<Self>, mpsc::Receiver<Open>) {
        let (opens, wanted) = mpsc::channel(Self::QUEUED);
        let link = Self {
            id,
            opens,
            since: Instant::now(),
            streams: 0.into(),
            heard_after: 0.into(),
            refused: 0.into(),
        };
        (Arc::new(link), wanted)
    }

    /// A stream brought something: the peer is alive.
    pub(crate) fn hear(&self, now: Instant) {
        let after = now.saturating_duration_since(self.since).as_millis();
        self.heard_after.store(u64::try_from(after).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// When a stream last brought something.
    pub(crate) fn last_heard(&self) -> Option<Instant> {
        let after = self.heard_after.load(Ordering::Relaxed);
        (after != 0).then(|| self.since + Duration::from_millis(after))
    }

    /// Whether the connection is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.opens.is_closed()
    }

    /// Waits until the connection is gone.
    pub(crate) async fn closed(&self) {
        self.opens.closed().await;
    }

    /// Opens a stream on this connection. Dropping the future gives the stream up.
    pub(crate) async fn open(&self, protocols: &'static [&'static str]) -> Opened {
        let (reply, opened) = oneshot::channel();
        let sent = self.opens.send(Open { protocols, reply }).await;
        sent.map_err(|_| OpenError::ConnectionLost)?;
        opened.await.unwrap_or(Err(OpenError::ConnectionLost))
    }
}
