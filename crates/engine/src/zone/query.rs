//! What is asked.

use hickory_proto::op::{Edns, Header, Message, MessageType, Metadata, OpCode, Query, ResponseCode};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};

use super::MAX_UDP;

/// The largest answer by UDP to who does not say what it takes (RFC 1035, section 4.2.1).
pub(super) const MIN_UDP: u16 = 512;

/// A question that can be answered.
pub(super) struct Request {
    pub(super) query: Query,
    pub(super) edns: Option<Edns>,
}

impl Request {
    /// The version of EDNS that is spoken; there is only 0.
    pub(super) fn edns_version(&self) -> u8 {
        self.edns.as_ref().map_or(0, Edns::version)
    }

    /// The largest answer by UDP: what is asked for, but no more than we send.
    pub(super) fn udp_limit(&self) -> u16 {
        self.edns.as_ref().map_or(MIN_UDP, |edns| edns.max_payload().clamp(MIN_UDP, MAX_UDP))
    }
}

/// The header of the answer, and what is asked or why that cannot be answered. `None` when there is no
/// header, or it is an answer's: who answers answers may do so for ever.
pub(super) fn read(bytes: &[u8]) -> Option<(Metadata, Result<Request, ResponseCode>)> {
    let mut decoder = BinDecoder::new(bytes);
    let header = Header::read(&mut decoder).ok()?;
    if header.metadata.message_type == MessageType::Response {
        return None;
    }
    let metadata = Metadata::response_from_request(&header.metadata);
    let request = if header.metadata.op_code == OpCode::Query {
        read_body(&mut decoder, &header).ok_or(ResponseCode::FormErr)
    } else {
        Err(ResponseCode::NotImp)
    };
    Some((metadata, request))
}

/// One question, and beyond it only what is additional, of which EDNS is understood.
fn read_body(decoder: &mut BinDecoder<'_>, header: &Header) -> Option<Request> {
    let counts = &header.counts;
    if (counts.queries, counts.answers, counts.authorities) != (1, 0, 0) {
        return None;
    }
    let query = Query::read(decoder).ok()?;
    let additionals = usize::from(counts.additionals);
    let (_, edns, _) = Message::read_records(decoder, additionals, true, OpCode::Query).ok()?;
    Some(Request { query, edns })
}
