//! Packets between nodes.
//!
//! A task a peer sends; each stream has a task that receives. A stream goes both ways whoever opened it, so a
//! peer's own is answered on. A packet that finds its peer's queue full, or no connection, is lost as
//! in any network, and counted.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, IoSlice, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use futures::io::{ReadHalf, WriteHalf};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_engine::services::admission::{DroppedCounts, admit};
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
    unsent: AtomicU64,
}

/// What a peer's sender is given.
enum Outgoing {
    Packet(Box<[u8]>),
    /// A stream that the peer opened and that may be answered on.
    Stream(WriteHalf<MeshStream>),
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
            unsent: AtomicU64::new(0),
        })
    }

    /// Packets from peers that were not let in, by cause.
    pub fn dropped(&self) -> DroppedCounts {
        *self.dropped.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Packets to peers that could not be sent.
    pub fn unsent(&self) -> u64 {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Sends a packet to a peer, some time.
    pub fn send(self: &Arc<Self>, peer: PeerId, packet: &[u8]) {
        let is_taken =
            packet.len() <= usize::from(MAX_LENGTH) && self.put(peer, Outgoing::Packet(packet.into()));
        self.unsent.fetch_add(u64::from(!is_taken), Ordering::Relaxed);
    }

    /// Takes a stream that a peer opened.
    pub fn on_stream(self: &Arc<Self>, peer: PeerId, stream: MeshStream, one_way: bool) {
        let (reader, writer) = stream.split();
        if !one_way {
            self.put(peer, Outgoing::Stream(writer));
        }
        self.runtime.spawn(Arc::clone(self).receive(peer, reader));
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
        let mut stream: Option<WriteHalf<MeshStream>> = None;
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
                    Outgoing::Stream(theirs) => stream = stream.or(Some(theirs)),
                }
                next = if bytes.len() < AT_ONCE { outgoing.try_recv().ok() } else { None };
            }
            if packets == 0 {
                continue;
            }
            if stream.is_none() {
                stream = self.open(peer).await;
            }
            let sent = match &mut stream {
                Some(writer) => send(writer, &bytes).await.is_ok(),
                None => false,
            };
            if !sent {
                stream = None;
                self.unsent.fetch_add(packets, Ordering::Relaxed);
            }
            bytes.clear();
        }
    }

    async fn open(self: &Arc<Self>, peer: PeerId) -> Option<WriteHalf<MeshStream>> {
        let (stream, protocol) = self.node.mesh.open(&peer, &[PACKETS, PACKETS_ONE_WAY]).await.ok()?;
        let (reader, writer) = stream.split();
        if protocol == PACKETS {
            self.runtime.spawn(Arc::clone(self).receive(peer, reader));
        }
        Some(writer)
    }

    /// Hands a peer's packets to the kernel, until the stream ends.
    async fn receive(self: Arc<Self>, peer: PeerId, mut reader: ReadHalf<MeshStream>) {
        let mut deframer = PacketDeframer::new(ROOM, 64);
        loop {
            let read = reader.read(deframer.room()).await;
            let Ok(len @ 1..) = read else { return };
            if deframer.advance(len).is_err() {
                return;
            }
            loop {
                match deframer.next_batch() {
                    Ok(Some(batch)) => batch.iter().for_each(|packet| self.inject(&peer, packet)),
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
                let header = VirtioHeader::default().emit();
                // What the interface does not take is lost as in any network.
                let _ = (&*self.device).write_vectored(&[IoSlice::new(&header), IoSlice::new(packet)]);
            }
            Err(cause) => self.dropped.lock().unwrap_or_else(PoisonError::into_inner).add(cause),
        }
    }
}

async fn send(writer: &mut WriteHalf<MeshStream>, bytes: &[u8]) -> io::Result<()> {
    writer.write_all(bytes).await?;
    writer.flush().await
}
