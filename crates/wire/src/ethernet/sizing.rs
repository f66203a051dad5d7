//! A frame's size, as its content tells it.
//!
//! A stream of bare frames, with nothing between them, can be read only by who works out each
//! frame's length from the frame. The type after all tags names the protocol, and the length is
//! the header's and what the protocol's own header says:
//!
//! | type | length of the payload |
//! |---|---|
//! | IPv4 | total length (RFC 791) |
//! | IPv6 | 40 and the payload length (RFC 8200), jumbograms excepted |
//! | ARP, RARP, AARP | 8 and twice both addresses' lengths (RFC 826) |
//! | up to 1500 | the type field itself (IEEE 802.3: LLC and SNAP, STP, IPX, `AppleTalk`) |
//! | `AppleTalk` DDP, phase 1 | the low ten bits of its long header |
//! | IPX | its length field |
//! | `PPPoE` | 6 and its length (RFC 2516) |
//! | EAPOL | 4 and its length (IEEE 802.1X) |
//! | LLDP | up to the End TLV (IEEE 802.1AB) |
//! | MPLS | the label stack (RFC 3032) and an IP packet; pseudowires cannot be told |
//! | loopback | 46, since nothing in it tells: a frame of the least length, as its senders pad it |
//!
//! A length that is shorter than its own header is an error. So every frame takes at least its
//! header from the stream, and none makes a reader wait for ever: what is asked for grows with each
//! answer [`Sizing::NeedMore`], up to a limit that is the reader's.

use super::{EtherType, HEADER, MIN_FRAME, TAG, ethertype_before};
use crate::packet::{IPV4_HEADER, IPV6_HEADER};

/// What the first bytes of a stream of bare frames say of the first one's length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizing {
    /// Nothing before there are so many bytes, which is more than were given.
    NeedMore(usize),
    /// So many bytes; they may not all have come.
    Len(usize),
    /// That it cannot be told.
    Unknown(SizeError),
}

/// Why a frame's length cannot be told from its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    /// A type whose payload does not tell its length, or is not known here.
    #[error("EtherType {0} is none whose length is known")]
    UnknownType(EtherType),
    /// A length field that is shorter than the header it stands in.
    #[error("EtherType {ethertype} with a length of {len} bytes, shorter than its own header")]
    TooShort {
        /// The protocol.
        ethertype: EtherType,
        /// The field's value in bytes.
        len: usize,
    },
    /// A payload that does not begin as its type's do.
    #[error("EtherType {0} before what is not that protocol's header")]
    NotItsHeader(EtherType),
}

/// The length in bytes of the first frame in `bytes`, its header included.
pub fn frame_len(bytes: &[u8]) -> Sizing {
    FrameSizer::default().size(bytes)
}

/// Sizes one frame while it comes. It does not look again at the tags, TLVs and labels that it has passed, so
/// that a chain of them costs what it is long, into however many pieces it is cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameSizer {
    /// The bytes of tags that were passed.
    tags: usize,
    /// The bytes of the payload's TLVs or labels that were passed.
    links: usize,
}

impl FrameSizer {
    /// The length in bytes of the first frame in `bytes`, its header included, as [`frame_len`] tells it. They are
    /// those of the call before, if there was one, and more.
    pub fn size(&mut self, bytes: &[u8]) -> Sizing {
        loop {
            let header = HEADER + self.tags;
            let Some(ethertype) = ethertype_before(bytes, header) else { return Sizing::NeedMore(header) };
            if !ethertype.is_tag() {
                let payload = Fields(bytes.get(header..).unwrap_or_default());
                return match payload_len(ethertype, payload, &mut self.links) {
                    Ok(len) => Sizing::Len(header + len),
                    Err(Untold::NeedMore(len)) => Sizing::NeedMore(header + len),
                    Err(Untold::Unknown(error)) => Sizing::Unknown(error),
                };
            }
            self.tags += TAG;
        }
    }
}

/// Why there is no length (yet).
enum Untold {
    /// So many bytes of the payload are needed.
    NeedMore(usize),
    Unknown(SizeError),
}

impl From<SizeError> for Untold {
    fn from(error: SizeError) -> Self {
        Self::Unknown(error)
    }
}

/// The fields of a payload of which the first bytes are there.
#[derive(Clone, Copy)]
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn bytes<const N: usize>(self, at: usize) -> Result<[u8; N], Untold> {
        let bytes = self.0.get(at..).and_then(<[u8]>::first_chunk);
        bytes.copied().ok_or(Untold::NeedMore(at + N))
    }

    fn u8(self, at: usize) -> Result<usize, Untold> {
        self.bytes::<1>(at).map(|[byte]| usize::from(byte))
    }

    fn u16(self, at: usize) -> Result<usize, Untold> {
        self.bytes(at).map(|bytes| usize::from(u16::from_be_bytes(bytes)))
    }
}

/// `passed` is how many bytes of its TLVs or labels need not be looked at again.
fn payload_len(ethertype: EtherType, payload: Fields, passed: &mut usize) -> Result<usize, Untold> {
    match ethertype {
        EtherType::IPV4 => ipv4_len(ethertype, payload),
        EtherType::IPV6 => ipv6_len(ethertype, payload),
        EtherType::ARP | EtherType::RARP | EtherType::AARP => Ok(8 + 2 * (payload.u8(4)? + payload.u8(5)?)),
        EtherType::APPLETALK => at_least(13, payload.u16(0)? & 0x3ff, ethertype),
        EtherType::IPX => at_least(30, payload.u16(2)?, ethertype),
        EtherType::PPPOE_DISCOVERY | EtherType::PPPOE_SESSION => match payload.u8(0)? {
            0x11 => Ok(6 + payload.u16(4)?),
            _ => Err(SizeError::NotItsHeader(ethertype).into()),
        },
        EtherType::EAPOL => Ok(4 + payload.u16(2)?),
        EtherType::LLDP => lldp_len(payload, passed),
        EtherType::MPLS | EtherType::MPLS_UPSTREAM => mpls_len(ethertype, payload, passed),
        EtherType::LOOPBACK => Ok(MIN_FRAME - HEADER),
        _ => match ethertype.length() {
            Some(len) => at_least(LLC_HEADER, len, ethertype),
            None => Err(SizeError::UnknownType(ethertype).into()),
        },
    }
}

/// The length in bytes of the least header of 802.2 logical link control.
const LLC_HEADER: usize = 3;

fn at_least(header: usize, len: usize, ethertype: EtherType) -> Result<usize, Untold> {
    if len < header { Err(SizeError::TooShort { ethertype, len }.into()) } else { Ok(len) }
}

fn ipv4_len(ethertype: EtherType, packet: Fields) -> Result<usize, Untold> {
    let first = packet.u8(0)?;
    let header = (first & 0x0f) * 4;
    if first >> 4 != 4 || header < IPV4_HEADER {
        return Err(SizeError::NotItsHeader(ethertype).into());
    }
    at_least(header, packet.u16(2)?, ethertype)
}

/// A payload length of 0 before a hop-by-hop header (0) is a jumbogram's (RFC 2675), or nonsense.
fn ipv6_len(ethertype: EtherType, packet: Fields) -> Result<usize, Untold> {
    if packet.u8(0)? >> 4 != 6 {
        return Err(SizeError::NotItsHeader(ethertype).into());
    }
    let len = packet.u16(4)?;
    if len == 0 && packet.u8(6)? == 0 {
        return Err(SizeError::TooShort { ethertype, len }.into());
    }
    Ok(IPV6_HEADER + len)
}

/// Each TLV has 7 bits of type, then 9 of length (IEEE 802.1AB, 8.4); type 0 ends them.
fn lldp_len(payload: Fields, passed: &mut usize) -> Result<usize, Untold> {
    loop {
        let tlv = payload.u16(*passed)?;
        match (tlv >> 9, tlv & 0x1ff) {
            (0, 0) => return Ok(*passed + 2),
            (0, _) => return Err(SizeError::NotItsHeader(EtherType::LLDP).into()),
            (_, len) => *passed += 2 + len,
        }
    }
}

/// The third byte's lowest bit is set in the last label of the stack.
fn mpls_len(ethertype: EtherType, payload: Fields, passed: &mut usize) -> Result<usize, Untold> {
    while payload.u8(*passed + 2)? & 1 == 0 {
        *passed += 4;
    }
    let stack = *passed + 4;
    let version = payload.u8(stack)? >> 4;
    let packet = Fields(payload.0.get(stack..).unwrap_or_default());
    let len = match version {
        4 => ipv4_len(ethertype, packet),
        6 => ipv6_len(ethertype, packet),
        _ => Err(SizeError::UnknownType(ethertype).into()),
    };
    match len {
        Ok(len) => Ok(stack + len),
        Err(Untold::NeedMore(len)) => Err(Untold::NeedMore(stack + len)),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests;
