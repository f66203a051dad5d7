//! Packets between nodes.
//!
//! A task a peer sends; each stream has a task that receives. A stream goes both ways whoever opened it, so a
//! peer's own is answered on, and its newest is: after it came again, an older one leads nowhere. When
//! receiving ends, whatever the cause, nothing more is sent on that stream, and it is closed. A
//! packet that finds its peer's queue full, or no connection, is lost as in any network, and counted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{IoSlice, Write as _};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_engine::services::admission::{DroppedCounts, admit};
use hypertap_engine::services::peers::PeerTable;
use hypertap_mesh::MeshStream;
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::packet_stream::{MAX_LENGTH, PACKETS, PACKETS_ONE_WAY, PacketDeframer};
use hypertap_wire::peer_id::PeerId;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::state::Node;

/// Packets that wait for a peer.
const QUEUED: usize = 512;
/// Bytes that are written to a stream at once.
const AT_ONCE: usize = 64 * 1024;
/// What is read from a stream at once.
const ROOM: usize = 64 * 1024;

/// Packets to and from all peers.
pub struct Packets {
    node: Arc<Node>,
    device: Arc<File>,
    runtime: Handle,
    senders: Mutex<HashMap<PeerId, mpsc::Sender<Outgoing>>>,
    dropped: Mutex<DroppedCounts>,
    counts: Counts,
}

/// How many packets passed, and how many to peers did not.
#[derive(Debug, Default)]
pub struct Counts {
    /// To peers.
    pub sent: AtomicU64,
    /// From peers, to this machine.
    pub received: AtomicU64,
    /// Longer than what streams carry.
    pub too_long: AtomicU64,
    /// The peer takes no more for now.
    pub queue_full: AtomicU64,
    /// The peer is not connected, or was lost.
    pub not_connected: AtomicU64,
}

/// What a peer's sender is given.
enum Outgoing {
    Packet(Box<[u8]>),
    /// A stream that the peer opened and that may be answered on.
    Stream(Writer),
    /// Receiving has ended on a stream.
    Ended,
}

/// Our direction of a stream.
struct Writer {
    half: WriteHalf<MeshStream>,
    /// Whether receiving on it has ended.
    is_over: Arc<AtomicBool>,
}

impl Packets {
    /// For a node whose interface this is a queue of. Tasks run on `runtime`.
    pub fn new(node: Arc<Node>, device: Arc<File>, runtime: Handle) -> Arc<Self> {
        Arc::new(Self {
            node,
            device,
            runtime,
            senders: Mutex::default(),
            dropped: Mutex::default(),
            counts: Counts::default(),
        })
    }

    /// Packets from peers that were not let in, by cause.
    pub fn dropped(&self) -> DroppedCounts {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What passed, and what of this machine's did not.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Ends what is for peers that are gone.
    pub fn retain(&self, peers: &PeerTable) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        senders.retain(|peer, _| peers.by_id(peer).is_some());
    }

    /// Sends a packet to a peer, some time.
    pub fn send(self: &Arc<Self>, peer: PeerId, packet: &[u8]) {
        if packet.len() > usize::from(MAX_LENGTH) {
            self.counts.too_long.fetch_add(1, Ordering::Relaxed);
        } else if !self.put(peer, Outgoing::Packet(packet.into())) {
            self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a stream that a peer opened.
    pub fn on_stream(self: &Arc<Self>, peer: PeerId, stream: MeshStream, one_way: bool) {
        let (reader, half) = stream.split();
        let is_over = Arc::<AtomicBool>::default();
        if !one_way {
            self.put(peer, Outgoing::Stream(Writer { half, is_over: Arc::clone(&is_over) }));
        }
        self.runtime.spawn(Arc::clone(self).receive(peer, reader, is_over));
    }

    fn put(self: &Arc<Self>, peer: PeerId, what: Outgoing) -> bool {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = senders.entry(peer).or_insert_with(|| {
            let (sender, outgoing) = mpsc::channel(QUEUED);
            self.runtime.spawn(Arc::clone(self).send_all(peer, outgoing));
            sender
        });
        sender.try_send(what).is_ok()
    }

    /// Sends a peer's packets, on one stream after another.
    async fn send_all(self: Arc<Self>, peer: PeerId, mut outgoing: mpsc::Receiver<Outgoing>) {
        let mut stream: Option<Writer> = None;
        let mut bytes = Vec::new();
        while let Some(what) = outgoing.recv().await {
            let mut packets = 0;
            let mut next = Some(what);
            while let Some(what) = next {
                match what {
                    Outgoing::Packet(packet) => {
                        packets += 1;
                        bytes.extend(u16::try_from(packet.len()).unwrap_or(0).to_le_bytes());
                        bytes.extend_from_slice(&packet);
                    }
                    Outgoing::Stream(theirs) => stream = Some(theirs),
                    Outgoing::Ended => {}
                }
                next = if bytes.len() < AT_ONCE { outgoing.try_recv().ok() } else { None };
            }
            stream = stream.filter(|stream| !stream.is_over.load(Ordering::Acquire));
            if packets == 0 {
                continue;
            }
            let mut sent = send(stream.as_mut(), &bytes).await;
            if !sent {
                // It may have been of a connection that is gone, while another is there.
                stream = self.open(peer).await;
                sent = send(stream.as_mut(), &bytes).await;
            }
            if sent {
                self.counts.sent.fetch_add(packets, Ordering::Relaxed);
            } else {
                stream = None;
                self.counts.not_connected.fetch_add(packets, Ordering::Relaxed);
            }
            bytes.clear();
        }
    }

    async fn open(self: &Arc<Self>, peer: PeerId) -> Option<Writer> {
        let (stream, protocol) = self.node.mesh.open(&peer, &[PACKETS, PACKETS_ONE_WAY]).await.ok()?;
        let (reader, half) = stream.split();
        let is_over = Arc::<AtomicBool>::default();
        if protocol == PACKETS {
            self.runtime.spawn(Arc::clone(self).receive(peer, reader, Arc::clone(&is_over)));
        }
        Some(Writer { half, is_over })
    }

    /// Hands a peer's packets to the kernel, until the stream ends.
    async fn receive(self: Arc<Self>, peer: PeerId, reader: ReadHalf<MeshStream>, is_over: Arc<AtomicBool>) {
        self.receive_all(&peer, reader).await;
        is_over.store(true, Ordering::Release);
        // Where the queue is full the sender looks soon enough.
        self.put(peer, Outgoing::Ended);
    }

    async fn receive_all(&self, peer: &PeerId, mut reader: ReadHalf<MeshStream>) {
        let mut deframer = PacketDeframer::new(ROOM, 64);
        loop {
            let read = reader.read(deframer.room()).await;
            let Ok(len @ 1..) = read else { return };
            if deframer.advance(len).is_err() {
                return;
            }
            loop {
                match deframer.next_batch() {
                    Ok(Some(batch)) => batch.iter().for_each(|packet| self.inject(peer, packet)),
                    Ok(None) => break,
                    Err(error) => return tracing::debug!(%peer, %error, "a stream of packets was closed"),
                }
            }
        }
    }

    fn inject(&self, peer: &PeerId, packet: &[u8]) {
        let admitted = admit(&self.node.tables().peers, peer, packet);
        match admitted {
            Ok(()) => {
                self.counts.received.fetch_add(1, Ordering::Relaxed);
                let header = VirtioHeader::default().emit();
                // What the interface does not take is lost as in any network.
                let _ = (&*self.device).write_vectored(&[IoSlice::new(&header), IoSlice::new(packet)]);
            }
            Err(cause) => self.dropped.lock().unwrap_or_else(PoisonError::into_inner).add(cause),
        }
    }
}

/// Sends bytes; says whether they are on their way.
async fn send(stream: Option<&mut Writer>, bytes: &[u8]) -> bool {
    let Some(Writer { half, .. }) = stream else { return false };
    half.write_all(bytes).await.is_ok() && half.flush().await.is_ok()
}
