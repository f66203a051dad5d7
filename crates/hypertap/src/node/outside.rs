//! What the shard asks the node for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use hypertap_engine::services::admission::{Destination, route};
use hypertap_wire::batch::Batch;
use hypertap_wire::icmp::{Unreachable, echo_reply, unreachable};
use hypertap_wire::ip::Ip;
use hypertap_wire::offload::{Layer, VirtioHeader, finish, split};
use hypertap_wire::service_stream::Refusal;

use super::client;
use super::far::Far;
use super::packets::Packets;
use super::shard::Surroundings;
use super::state::Node;

/// Room for one segment of 64 KiB in packets of 1420 bytes and less.
const SPLIT_ROOM: usize = 216 << 10;

/// The node, as the shard sees it.
pub struct Outside {
    node: Arc<Node>,
    packets: Arc<Packets>,
    split: Batch,
}

impl Outside {
    /// What a shard of this node asks.
    pub fn new(node: Arc<Node>, packets: Arc<Packets>) -> Self {
        Self { node, packets, split: Batch::new(SPLIT_ROOM, 1400) }
    }

    fn answer(answers: &mut Batch, answer: Option<Vec<u8>>) {
        let Some(answer) = answer else { return };
        let at = answers.len();
        if answers.push(&answer)
            && let Some(prefix) = answers.prefix_mut(at).and_then(|prefix| prefix.first_chunk_mut())
        {
            *prefix = VirtioHeader::default().emit();
        }
    }
}

impl Surroundings for Outside {
    fn open(&self, local: SocketAddr, remote: SocketAddr) -> BoxFuture<'static, Result<Far, Refusal>> {
        let node = Arc::clone(&self.node);
        Box::pin(async move {
            let opened = client::open(&node, local, remote).await;
            if let Err(refusal) = &opened {
                tracing::debug!(%local, %remote, ?refusal, "a connection was refused");
            }
            opened
        })
    }

    fn is_service(&self, address: IpAddr) -> bool {
        let destination = route(&self.node.tables().peers, address);
        matches!(destination, Destination::Service { .. } | Destination::LocalService(_))
    }

    fn packet(&mut self, header: &VirtioHeader, packet: &mut [u8], answers: &mut Batch) {
        let Ok(ip) = Ip::parse(packet) else { return };
        let destination = route(&self.node.tables().peers, ip.destination);
        match destination {
            Destination::Node(peer) => {
                self.split.clear();
                // What does not describe itself rightly is no packet.
                if split(Layer::Network, header, packet, &mut self.split).is_ok() {
                    self.split.iter().for_each(|packet| self.packets.send(peer, packet));
                }
            }
            Destination::Service { .. } | Destination::LocalService(_) => {
                let asked = self.node.tables().asked(ip.destination);
                let is_alive = asked.as_ref().is_some_and(|asked| self.node.is_connected(&asked.node));
                if finish(header, packet).is_err() {
                    return;
                }
                let Ok(ip) = Ip::parse(packet) else { return };
                let answer = if is_alive { echo_reply(&ip) } else { unreachable(&ip, Unreachable::Host) };
                Self::answer(answers, answer);
            }
            Destination::Nobody => {
                if finish(header, packet).is_ok()
                    && let Ok(ip) = Ip::parse(packet)
                {
                    Self::answer(answers, unreachable(&ip, Unreachable::Host));
                }
            }
            Destination::Ours => {}
        }
    }
}
