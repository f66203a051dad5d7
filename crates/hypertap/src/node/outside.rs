//! What the shard asks the node for.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::future::BoxFuture;
use hypertap_engine::services::admission::{Destination, route};
use hypertap_engine::udp::FlowKey;
use hypertap_wire::batch::Batch;
use hypertap_wire::icmp::{Unreachable, echo_reply, unreachable};
use hypertap_wire::ip::Ip;
use hypertap_wire::offload::{Layer, VirtioHeader, finish, split};
use hypertap_wire::service_stream::Refusal;

use super::client;
use super::far::Far;
use super::interface::Interface;
use super::packets::Packets;
use super::shard::Surroundings;
use super::state::Node;
use super::udp;

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

    fn open_datagrams(&self, key: &FlowKey) -> udp::Opening {
        let (node, key) = (Arc::clone(&self.node), *key);
        Box::pin(async move {
            let opened = udp::open(&node, &key).await;
            if let Err(refusal) = &opened {
                tracing::debug!(local = %key.local, remote = %key.remote, ?refusal, "datagrams were refused");
            }
            opened
        })
    }

    fn is_service(&self, address: IpAddr) -> bool {
        let destination = route(&self.node.tables().peers, address);
        matches!(destination, Destination::Service { .. } | Destination::LocalService(_))
    }

    fn packet(&mut self, header: &VirtioHeader, packet: &mut [u8], interface: &mut Interface) {
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
                let asked = self.node.asked(ip.destination);
                let is_alive = asked.as_ref().is_some_and(|asked| self.node.is_connected(&asked.node));
                if finish(header, packet).is_err() {
                    return;
                }
                let Ok(ip) = Ip::parse(packet) else { return };
                let answer = if is_alive { echo_reply(&ip) } else { unreachable(&ip, Unreachable::Host) };
                if let Some(answer) = answer {
                    interface.push(&answer);
                }
            }
            Destination::Nobody => {
                if finish(header, packet).is_ok()
                    && let Ok(ip) = Ip::parse(packet)
                    && let Some(answer) = unreachable(&ip, Unreachable::Host)
                {
                    interface.push(&answer);
                }
            }
            Destination::Ours => {}
        }
    }
}
