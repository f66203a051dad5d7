//! What is answered.

use std::net::{Ipv4Addr, Ipv6Addr};

use hickory_proto::op::{Edns, Message, MessageType, Metadata, OpCode, ResponseCode};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, NS, PTR, SOA};
use hickory_proto::rr::{Name, RData, Record};

use super::MAX_UDP;
use super::query::Request;

/// How long addresses at ids hold, in seconds: they are computed, and never change.
pub(super) const ID_TTL: u32 = 86_400;
/// How long names hold, and that there is nothing, in seconds: configurations and services change.
const NAME_TTL: u32 = 0;

/// Zone transfers are not to be had, so these say nothing to anybody.
const SERIAL: u32 = 1;
const REFRESH: i32 = 3600;
const RETRY: i32 = 600;
const EXPIRE: i32 = 86_400;
/// Nobody reads mail about the zone (RFC 6761, section 6.4).
const MAILBOX: [&[u8]; 2] = [b"nobody", b"invalid"];

/// An answer in the making.
pub(super) struct Reply {
    code: ResponseCode,
    is_authoritative: bool,
    /// Whose records are added.
    owner: Name,
    answers: Vec<Record>,
    authorities: Vec<Record>,
    /// Whether there is what was asked for, so that the answer needs no reason for being empty.
    has_data: bool,
}

impl Reply {
    /// An answer about a name that is there.
    pub(super) fn of(name: &Name) -> Self {
        Self {
            code: ResponseCode::NoError,
            is_authoritative: true,
            owner: name.clone(),
            answers: Vec::new(),
            authorities: Vec::new(),
            has_data: false,
        }
    }

    /// An answer about a name that is not there.
    pub(super) fn no_such_name(name: &Name) -> Self {
        Self { code: ResponseCode::NXDomain, ..Self::of(name) }
    }

    /// An answer that says only why there is none.
    pub(super) fn error(code: ResponseCode) -> Self {
        Self { code, is_authoritative: false, ..Self::of(&Name::root()) }
    }

    /// Says what the name is another name of; what is added then is of that.
    pub(super) fn add_cname(&mut self, canonical: Name) {
        let record = RData::CNAME(CNAME(canonical.clone()));
        self.answers.push(Record::from_rdata(self.owner.clone(), NAME_TTL, record));
        self.owner = canonical;
    }

    /// Says that what was asked for is all there.
    pub(super) fn set_complete(&mut self) {
        self.has_data = true;
    }

    pub(super) fn add_a(&mut self, address: Ipv4Addr, ttl: u32) {
        self.add(RData::A(A(address)), ttl);
    }

    pub(super) fn add_aaaa(&mut self, address: Ipv6Addr, ttl: u32) {
        self.add(RData::AAAA(AAAA(address)), ttl);
    }

    pub(super) fn add_ptr(&mut self, name: Name) {
        self.add(RData::PTR(PTR(name)), NAME_TTL);
    }

    pub(super) fn add_ns(&mut self, zone: &Name, server: &Name) {
        self.owner = zone.clone();
        self.add(RData::NS(NS(server.clone())), NAME_TTL);
    }

    pub(super) fn add_soa(&mut self, zone: &Name, server: &Name) {
        self.owner = zone.clone();
        self.add(RData::SOA(soa(server)), NAME_TTL);
    }

    /// Adds the reason for being empty, if it is.
    pub(super) fn end(&mut self, zone: &Name, server: &Name) {
        if !self.has_data {
            self.authorities.push(Record::from_rdata(zone.clone(), NAME_TTL, RData::SOA(soa(server))));
        }
    }

    fn add(&mut self, data: RData, ttl: u32) {
        self.has_data = true;
        self.answers.push(Record::from_rdata(self.owner.clone(), ttl, data));
    }

    /// The message, with the question as it was asked. What is longer than `limit` is left out, and that
    /// said (RFC 2181, section 9).
    pub(super) fn emit(self, metadata: Metadata, request: Option<&Request>, limit: u16) -> Option<Vec<u8>> {
        let mut message = Message::new(metadata.id, MessageType::Response, OpCode::Query);
        message.metadata = metadata;
        message.metadata.response_code = self.code;
        message.metadata.authoritative = self.is_authoritative;
        if let Some(request) = request {
            message.add_query(request.query.clone());
            message.edns = request.edns.as_ref().map(edns);
        }
        message.answers = self.answers;
        message.authorities = self.authorities;
        let bytes = message.to_vec().ok()?;
        if bytes.len() <= usize::from(limit) { Some(bytes) } else { message.truncate().to_vec().ok() }
    }
}

/// What we say of EDNS to who speaks of it (RFC 6891, section 6.1.1).
fn edns(asked: &Edns) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(MAX_UDP).set_dnssec_ok(asked.flags().dnssec_ok);
    edns
}

fn soa(server: &Name) -> SOA {
    let mailbox = Name::from_labels(MAILBOX).expect("two short labels are a name");
    SOA::new(server.clone(), mailbox, SERIAL, REFRESH, RETRY, EXPIRE, NAME_TTL)
}
