//! From names to addresses.

use hickory_proto::rr::{Name, RecordType};
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;

use super::Zone;
use super::reply::{ID_TTL, Reply};
use crate::services::local_ipv4::{self, LocalService};
use crate::services::peers::Peer;

/// A node, as a label names it.
struct Node<'a> {
    peer: &'a Peer,
    /// Whether that is the name where the addresses are.
    is_id: bool,
}

impl<'a> Zone<'a> {
    /// The answer about a name of the zone. `None` when it is another's.
    pub(super) fn forward(&mut self, name: &Name, kind: RecordType) -> Option<Reply> {
        let labels = self.suffix.labels_before(name)?;
        let zone = self.suffix.name();
        let (node, before) = match labels.as_slice() {
            [] => return Some(self.top(zone, kind)),
            [before @ .., node] => (self.node(node), before),
        };
        let reply = match (node, before) {
            (None, _) => None,
            (Some(node), []) => Some(self.node_reply(name, kind, &node)),
            (Some(node), [.., service]) => {
                self.service(node.peer, service).map(|service| self.service_reply(name, kind, &node, service))
            }
        };
        Some(self.ended(reply.unwrap_or_else(|| Reply::no_such_name(name)), zone))
    }

    /// The node that a label names.
    fn node(&self, label: &[u8]) -> Option<Node<'a>> {
        let (peers, text) = (self.peers, str::from_utf8(label).ok()?);
        if let Ok(id) = text.parse::<PeerId>() {
            let is_id = id.to_base36().eq_ignore_ascii_case(text);
            return peers.by_id(&id).map(|peer| Node { peer, is_id });
        }
        let is_hostname =
            || self.hostname.is_some_and(|hostname| hostname.as_str().eq_ignore_ascii_case(text));
        let peer = peers.by_name(text).or_else(|| is_hostname().then(|| peers.own()))?;
        Some(Node { peer, is_id: false })
    }

    /// The service of a node that a label names, if it is there or nobody knows.
    fn service(&self, peer: &Peer, label: &[u8]) -> Option<Label> {
        let name = Label::new(str::from_utf8(label).ok()?).ok()?;
        let is_there = if self.peers.is_own(peer.id()) {
            self.registry.by_name(&name).is_some()
        } else {
            self.told.knows(peer.id()).is_none_or(|names| names.contains(&name))
        };
        is_there.then_some(name)
    }

    fn node_reply(&self, name: &Name, kind: RecordType, node: &Node<'_>) -> Reply {
        let mut reply = Reply::of(name);
        if self.add_cname(&mut reply, kind, node, &[]) {
            return reply;
        }
        if matches!(kind, RecordType::A | RecordType::ANY) {
            reply.add_a(node.peer.ipv4(), ID_TTL);
        }
        if matches!(kind, RecordType::AAAA | RecordType::ANY) {
            reply.add_aaaa(node.peer.ipv6(), ID_TTL);
        }
        reply
    }

    fn service_reply(&mut self, name: &Name, kind: RecordType, node: &Node<'_>, service: Label) -> Reply {
        let mut reply = Reply::of(name);
        if self.add_cname(&mut reply, kind, node, &[service.as_str().as_bytes()]) {
            return reply;
        }
        let (node, id) = (node.peer.node(), ServiceId::of(&service));
        if matches!(kind, RecordType::A | RecordType::ANY) {
            let service = LocalService { node, service: id, name: Some(service) };
            if let Some(address) = self.local_ipv4.allocate(&service, self.now) {
                reply.add_a(address, local_ipv4::TTL);
            }
        }
        if matches!(kind, RecordType::AAAA | RecordType::ANY) {
            reply.add_aaaa(node.service_ipv6(id), ID_TTL);
        }
        reply
    }

    /// Says what a name by which a node is called stands for, and whether that is all that was asked for.
    fn add_cname(&self, reply: &mut Reply, kind: RecordType, node: &Node<'_>, before: &[&[u8]]) -> bool {
        if node.is_id {
            return false;
        }
        let Some(canonical) = self.id_name(node.peer, before) else { return false };
        reply.add_cname(canonical);
        let is_all = matches!(kind, RecordType::CNAME | RecordType::ANY);
        if is_all {
            reply.set_complete();
        }
        is_all
    }
}
