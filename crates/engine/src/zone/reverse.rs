//! From addresses to names (RFC 1035 section 3.5, RFC 3596 section 2.5): those of nodes and services, and
//! local ones.
//!
//! Each range is a zone of its own below `in-addr.arpa` and `ip6.arpa`; one that ends within a label is
//! as many as that label has values in it.

use std::net::IpAddr;

use hickory_proto::rr::{Name, RecordType};
use hypertap_wire::label::Label;
use hypertap_wire::service_address::{NodeId, ServiceId};
use ipnet::IpNet;

use super::Zone;
use super::reply::Reply;
use crate::services::peers::{Peer, PeerTable};

/// The labels at the end of a reverse name: the family and `arpa`.
const FAMILY_LABELS: usize = 2;
/// The most labels of a reverse name: a digit each of an IPv6 address before these.
const MAX_LABELS: usize = 32 + FAMILY_LABELS;

/// The zones of the names of addresses, with the dot at the end. For a local range that ends within a
/// label they are as many as that label has values in it, 128 at most.
pub fn reverse_zones(peers: &PeerTable) -> Vec<String> {
    let mut zones = Vec::new();
    for range in peers.ranges() {
        let subnets = range.subnets(range.prefix_len().next_multiple_of(label_bits(range)));
        let names =
            subnets.into_iter().flatten().map(|net| Name::from(net.addr()).trim_to(top_labels(range)));
        zones.extend(names.map(|name| name.to_ascii()));
    }
    zones
}

/// How many bits of an address a label stands for.
fn label_bits(range: IpNet) -> u8 {
    if range.addr().is_ipv4() { 8 } else { 4 }
}

/// How many labels the name of a range's zone has, without the root's.
fn top_labels(range: IpNet) -> usize {
    usize::from(range.prefix_len().div_ceil(label_bits(range))) + FAMILY_LABELS
}

impl Zone<'_> {
    /// The answer about a reverse name within the ranges. `None` when it is another's.
    pub(super) fn reverse(&mut self, name: &Name, kind: RecordType) -> Option<Reply> {
        let (net, zone) = self.reverse_zone(name)?;
        // A zone may be of one address alone, whose name is there too.
        let is_address = net.is_some_and(|net| net.prefix_len() == net.max_prefix_len());
        if *name == zone && (!is_address || matches!(kind, RecordType::SOA | RecordType::NS)) {
            return Some(self.top(&zone, kind));
        }
        let reply = match net {
            // There may be something below.
            Some(net) if net.prefix_len() < net.max_prefix_len() => Reply::of(name),
            Some(net) if Name::from(net.addr()) == *name => match self.name_of(net.addr()) {
                Some(target) => {
                    let mut reply = Reply::of(name);
                    if matches!(kind, RecordType::PTR | RecordType::ANY) {
                        reply.add_ptr(target);
                    }
                    reply
                }
                None => Reply::no_such_name(name),
            },
            _ => Reply::no_such_name(name),
        };
        Some(self.ended(reply, &zone))
    }

    /// The zone of ours that a name is in, and the addresses that the name stands for if it is as such names
    /// are made.
    fn reverse_zone(&self, name: &Name) -> Option<(Option<IpNet>, Name)> {
        let labels = name.iter().len();
        if !name.iter().next_back()?.eq_ignore_ascii_case(b"arpa") {
            return None;
        }
        (FAMILY_LABELS..=labels.min(MAX_LABELS)).rev().find_map(|count| {
            let net = name.trim_to(count).parse_arpa_name().ok()?;
            let range = self.peers.inside(net)?;
            Some(((count == labels).then_some(net), name.trim_to(top_labels(range))))
        })
    }

    /// The name of a node, service or local address.
    fn name_of(&self, address: IpAddr) -> Option<Name> {
        if let Some(peer) = self.peers.by_address(address) {
            return self.below(peer, &[]);
        }
        match address {
            IpAddr::V4(address) => {
                let service = self.local_ipv4.service(address)?;
                self.service_name(service.node, service.service, service.name.as_ref())
            }
            IpAddr::V6(address) => {
                let (node, service) = ServiceId::of_ipv6(address)?;
                self.service_name(node, service, None)
            }
        }
    }

    /// The name of a service: as it was asked for, as its node told, or as somebody has asked for it.
    fn service_name(&self, node: NodeId, service: ServiceId, asked: Option<&Label>) -> Option<Name> {
        let peer = self.peers.by_node(node)?;
        let known = || {
            if self.peers.is_own(peer.id()) {
                return self.registry.find(service, None).map(|service| &service.name);
            }
            match self.told.knows(peer.id()) {
                Some(_) => self.told.name_of(peer.id(), service),
                None => self.local_ipv4.name_of(node, service),
            }
        };
        self.below(peer, &[asked.or_else(known)?.as_str().as_bytes()])
    }

    /// A node's name that people know, with labels before it.
    fn below(&self, peer: &Peer, before: &[&[u8]]) -> Option<Name> {
        let is_free = |hostname: &&Label| self.peers.by_name(hostname.as_str()).is_none();
        let hostname = || self.hostname.filter(|_| self.peers.is_own(peer.id())).filter(is_free);
        match peer.name().or_else(hostname) {
            Some(name) => self.suffix.below(&[before, &[name.as_str().as_bytes()]].concat()),
            None => self.id_name(peer, before),
        }
    }
}
