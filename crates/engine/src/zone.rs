//! The names of nodes and services: an authoritative DNS server's answers, from bytes to bytes.
//!
//! | name before the zone's | what is there |
//! |---|---|
//! | none | SOA, NS |
//! | `NODE` | A, AAAA |
//! | `SERVICE.NODE` | A (local, given out on this machine alone, while there are any), AAAA |
//! | `ANYTHING.SERVICE.NODE` | what `SERVICE.NODE` has |
//!
//! NODE is a peer's id in base36, where the addresses are; or another name of the node, which is a CNAME
//! for that: its name in the configuration, this machine's host name, its id in base58. Case says nothing
//! (RFC 4343), except in base58, whose id is another one in other case. The names of this node's services,
//! and those of peers that have told theirs, are there or not; of any other peer each valid name is there,
//! since only a connection shows.
//!
//! Addresses have names too: those of nodes, services and local ones ([`reverse`]). All other names are
//! not ours to answer for: REFUSED.

mod forward;
mod query;
mod reply;
mod reverse;
mod suffix;

use std::time::Duration;

use hickory_proto::op::{Query, ResponseCode};
use hickory_proto::rr::{DNSClass, Name, RecordType};
use hypertap_wire::label::Label;

use crate::services::local_ipv4::LocalIpv4;
use crate::services::peers::{Peer, PeerTable};
use crate::services::registry::Registry;
use crate::services::told::Told;
use query::Request;
use reply::Reply;
pub use reverse::reverse_zones;
pub use suffix::{Suffix, SuffixError};

/// The largest answer by UDP that we send or take, in bytes: what passes every path unfragmented (DNS flag
/// day 2020).
pub const MAX_UDP: u16 = 1232;

/// How a query came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// In a datagram: the answer is cut at the size that the client asks for.
    Udp,
    /// In a stream: the answer may be as long as its length can say. The two bytes of length are not of
    /// the message.
    Tcp,
}

/// All that answers are made of, put together for each query.
#[derive(Debug)]
pub struct Zone<'a> {
    /// What all names end with.
    pub suffix: &'a Suffix,
    /// This machine's host name, one more name of this node unless a node is called so.
    pub hostname: Option<&'a Label>,
    /// The nodes.
    pub peers: &'a PeerTable,
    /// This node's services.
    pub registry: &'a Registry,
    /// What peers have told of theirs.
    pub told: &'a Told,
    /// From where services get IPv4 addresses when they are asked for.
    pub local_ipv4: &'a mut LocalIpv4,
    /// The time, as the local addresses have it.
    pub now: Duration,
}

impl Zone<'_> {
    /// The answer to a query (RFC 1035, section 4). `None` when there is nobody to answer to: it is no
    /// message, or itself an answer.
    pub fn answer(&mut self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let (metadata, request) = query::read(query)?;
        let reply = match &request {
            Ok(request) if request.edns_version() > 0 => Reply::error(ResponseCode::BADVERS),
            Ok(request) => self.reply(&request.query),
            Err(code) => Reply::error(*code),
        };
        let request = request.as_ref().ok();
        let limit = match transport {
            Transport::Udp => request.map_or(query::MIN_UDP, Request::udp_limit),
            Transport::Tcp => u16::MAX,
        };
        reply.emit(metadata, request, limit)
    }

    fn reply(&mut self, query: &Query) -> Reply {
        if query.query_class() != DNSClass::IN {
            return Reply::error(ResponseCode::NotImp);
        }
        match query.query_type() {
            RecordType::AXFR | RecordType::IXFR => return Reply::error(ResponseCode::Refused),
            RecordType::OPT | RecordType::TSIG => return Reply::error(ResponseCode::FormErr),
            _ => {}
        }
        let name = query.name();
        self.forward(name, query.query_type())
            .or_else(|| self.reverse(name, query.query_type()))
            .unwrap_or_else(|| Reply::error(ResponseCode::Refused))
    }

    /// What has been asked for at a zone's top.
    fn top(&self, zone: &Name, kind: RecordType) -> Reply {
        let (mut reply, server) = (Reply::of(zone), self.server());
        if matches!(kind, RecordType::SOA | RecordType::ANY) {
            reply.add_soa(zone, &server);
        }
        if matches!(kind, RecordType::NS | RecordType::ANY) {
            reply.add_ns(zone, &server);
        }
        self.ended(reply, zone)
    }

    /// A reply that says why it is empty, if it is: with the SOA, for caches (RFC 2308).
    fn ended(&self, mut reply: Reply, zone: &Name) -> Reply {
        reply.end(zone, &self.server());
        reply
    }

    /// Who answers for the zone: this node.
    fn server(&self) -> Name {
        self.id_name(self.peers.own(), &[]).unwrap_or_else(|| self.suffix.name().clone())
    }

    /// The name of a node by its id, with labels before it. `None` when the id does not fit into a label,
    /// as those of some kinds of keys do not.
    fn id_name(&self, peer: &Peer, before: &[&[u8]]) -> Option<Name> {
        let id = peer.id().to_base36();
        self.suffix.below(&[before, &[id.as_bytes()]].concat())
    }
}

#[cfg(test)]
mod tests;
