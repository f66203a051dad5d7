//! An IP packet taken apart, and put together: as much as answering one takes.
//!
//! Parsing finds what the packet carries, past IPv6's extension headers, of which there may be a few
//! (RFC 8200, section 4). It does not reassemble: of fragments it says that they are some. Packets that
//! are made here have neither options nor extension headers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::checksum::Sum;
use crate::packet::{DropCause, IPV4_HEADER, IPV6_HEADER, validate_v4, validate_v6};

/// ICMP's number (IANA).
pub const ICMP: u8 = 1;
/// TCP's number.
pub const TCP: u8 = 6;
/// UDP's number.
pub const UDP: u8 = 17;
/// `ICMPv6`'s number.
pub const ICMPV6: u8 = 58;

/// The most extension headers that are followed; each kind should occur once.
const MAX_EXTENSIONS: usize = 8;
const FRAGMENT: u8 = 44;
const AUTHENTICATION: u8 = 51;
/// Hop-by-hop options, routing, destination options, mobility, HIP, shim6: all of one form.
const OPTIONS: [u8; 6] = [0, 43, 60, 135, 139, 140];
/// The time to live that an answer sets out with.
const HOPS: u8 = 64;

/// Whether a packet is a piece of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// It is no piece.
    Whole,
    /// It is the first, so that transport headers are there.
    First,
    /// It is another.
    Later,
}

/// An IP packet taken apart.
#[derive(Clone, Copy, Debug)]
pub struct Ip<'a> {
    /// Where it comes from.
    pub source: IpAddr,
    /// Where it goes.
    pub destination: IpAddr,
    /// How many more hops it may take.
    pub hop_limit: u8,
    /// IANA's number of what the payload is.
    pub protocol: u8,
    /// Whether it is a piece of another packet.
    pub fragment: Fragment,
    /// What follows the header and the extension headers.
    pub payload: &'a [u8],
    /// All of it.
    pub packet: &'a [u8],
}

/// Why a packet cannot be taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IpError {
    /// It is not whole in itself: the rule that it breaks.
    #[error("the packet is not whole: {0:?}")]
    Broken(DropCause),
    /// It ends within an extension header.
    #[error("the packet ends within an extension header")]
    ExtensionCut,
    /// It has more extension headers than anybody needs.
    #[error("the packet has more than {MAX_EXTENSIONS} extension headers")]
    TooManyExtensions,
}

impl<'a> Ip<'a> {
    /// Takes a packet apart: of any length that its header can say, which is the length that came.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(packet: &'a [u8]) -> Result<Self, IpError> {
        match packet.first().map(|first| first >> 4) {
            Some(4) => Self::parse_v4(packet),
            Some(6) => Self::parse_v6(packet),
            Some(_) => Err(IpError::Broken(DropCause::BadVersion)),
            None => Err(IpError::Broken(DropCause::Empty)),
        }
    }

    fn parse_v4(packet: &'a [u8]) -> Result<Self, IpError> {
        validate_v4(packet, usize::MAX).map_err(IpError::Broken)?;
        let cut = IpError::Broken(DropCause::TruncatedHeader);
        let header = packet.first_chunk::<IPV4_HEADER>().ok_or(cut)?;
        let payload = packet.get(usize::from(header[0] & 0x0f) * 4..).ok_or(cut)?;
        let [source, destination] = [12, 16].map(|at| header[at..].first_chunk::<4>());
        let address =
            |bytes: Option<&[u8; 4]>| bytes.copied().map(|bytes| IpAddr::V4(bytes.into())).ok_or(cut);
        let fragment = u16::from_be_bytes([header[6], header[7]]);
        Ok(Self {
            source: address(source)?,
            destination: address(destination)?,
            hop_limit: header[8],
            protocol: header[9],
            fragment: Fragment::of(fragment & 0x1fff != 0, fragment & 0x2000 != 0),
            payload,
            packet,
        })
    }

    fn parse_v6(packet: &'a [u8]) -> Result<Self, IpError> {
        validate_v6(packet, usize::MAX).map_err(IpError::Broken)?;
        let cut = IpError::Broken(DropCause::TruncatedHeader);
        let (header, rest) = packet.split_first_chunk::<IPV6_HEADER>().ok_or(cut)?;
        let (fixed, addresses) = header.split_at(8);
        let ([source, destination], []) = addresses.as_chunks::<16>() else { return Err(cut) };
        let (protocol, fragment, payload) = skip_extensions(fixed[6], rest)?;
        Ok(Self {
            source: IpAddr::V6((*source).into()),
            destination: IpAddr::V6((*destination).into()),
            hop_limit: fixed[7],
            protocol,
            fragment,
            payload,
            packet,
        })
    }

    /// Whether the checksum in the payload of a whole TCP, UDP or ICMP packet is right. UDP over IPv4 may
    /// have none (RFC 768). Not to be asked of packets whose checksum the kernel left to be made.
    pub fn is_checksum_right(&self) -> bool {
        let is_unsummed =
            self.protocol == UDP && self.source.is_ipv4() && self.payload.get(6..8) == Some(&[0, 0]);
        is_unsummed
            || pseudo_sum(self.source, self.destination, self.protocol, self.payload.len())
                .is_some_and(|sum| sum.add(self.payload).is_whole())
    }

    /// Whether anybody may be answered: source and destination are single machines.
    pub(crate) fn is_answerable(&self) -> bool {
        is_single(self.source) && is_single(self.destination)
    }
}

impl Fragment {
    fn of(has_offset: bool, has_more: bool) -> Self {
        match (has_offset, has_more) {
            (true, _) => Self::Later,
            (false, true) => Self::First,
            (false, false) => Self::Whole,
        }
    }
}

/// The protocol and the payload behind extension headers. A later fragment's payload begins right behind
/// the header that says so.
fn skip_extensions(first: u8, rest: &[u8]) -> Result<(u8, Fragment, &[u8]), IpError> {
    let (mut next, mut rest, mut fragment) = (first, rest, Fragment::Whole);
    for _ in 0..=MAX_EXTENSIONS {
        if fragment == Fragment::Later
            || !(OPTIONS.contains(&next) || [FRAGMENT, AUTHENTICATION].contains(&next))
        {
            return Ok((next, fragment, rest));
        }
        let [following, units, o0, o1, ..] = rest else { return Err(IpError::ExtensionCut) };
        let len = match next {
            FRAGMENT => {
                let offset = u16::from_be_bytes([*o0, *o1]);
                fragment = Fragment::of(offset & 0xfff8 != 0, offset & 1 != 0);
                8
            }
            AUTHENTICATION => (usize::from(*units) + 2) * 4,
            _ => (usize::from(*units) + 1) * 8,
        };
        next = *following;
        rest = rest.get(len..).ok_or(IpError::ExtensionCut)?;
    }
    Err(IpError::TooManyExtensions)
}

fn is_single(address: IpAddr) -> bool {
    let is_broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
    !(address.is_multicast() || address.is_unspecified() || is_broadcast)
}

/// The sum of what the checksum of a payload covers besides the payload, of `len` bytes (RFC 9293 section
/// 3.1, RFC 8200 section 8.1): nothing for ICMP over IPv4. `None` when the addresses are of two families
/// or the payload is too long for a packet.
pub fn pseudo_sum(source: IpAddr, destination: IpAddr, protocol: u8, len: usize) -> Option<Sum> {
    let len = u16::try_from(len).ok()?;
    let addresses = match (source, destination) {
        (IpAddr::V4(_), IpAddr::V4(_)) if protocol == ICMP => return Some(Sum::ZERO),
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            Sum::ZERO.add(&source.octets()).add(&destination.octets())
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            Sum::ZERO.add(&source.octets()).add(&destination.octets())
        }
        _ => return None,
    };
    Some(addresses.add_u16(u16::from(protocol)).add_u16(len))
}

/// The length in bytes of the header that [`write_header`] writes.
pub fn header_len(source: IpAddr) -> usize {
    if source.is_ipv4() { IPV4_HEADER } else { IPV6_HEADER }
}

/// Writes the header of a packet with `len` bytes of payload to the front of `buffer`, and yields the
/// payload's room. `None` when there is not as much, the addresses are of two families, or the packet would
/// be longer than its header can say.
pub fn write_header(
    buffer: &mut [u8],
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    len: usize,
) -> Option<&mut [u8]> {
    let (header, rest) = buffer.split_at_mut_checked(header_len(source))?;
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = header.first_chunk_mut()?;
            *header = v4_header(source, destination, protocol, u16::try_from(IPV4_HEADER + len).ok()?);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = header.first_chunk_mut()?;
            *header = v6_header(source, destination, protocol, u16::try_from(len).ok()?);
        }
        _ => return None,
    }
    rest.get_mut(..len)
}

fn v4_header(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, len: u16) -> [u8; IPV4_HEADER] {
    let mut header = [0; IPV4_HEADER];
    header[0] = 0x45;
    header[2..4].copy_from_slice(&len.to_be_bytes());
    // Never in pieces, so it needs no identification (RFC 6864).
    header[6] = 0x40;
    header[8] = HOPS;
    header[9] = protocol;
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let checksum = Sum::ZERO.add(&header).checksum();
    header[10..12].copy_from_slice(&checksum);
    header
}

fn v6_header(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, len: u16) -> [u8; IPV6_HEADER] {
    let mut header = [0; IPV6_HEADER];
    header[0] = 0x60;
    header[4..6].copy_from_slice(&len.to_be_bytes());
    header[6] = protocol;
    header[7] = HOPS;
    header[8..24].copy_from_slice(&source.octets());
    header[24..].copy_from_slice(&destination.octets());
    header
}

/// A packet back from where `ip` goes to where it comes from. The payload has its checksum, still zero, at
/// `checksum_at`.
pub(crate) fn answer(ip: &Ip<'_>, protocol: u8, payload: &[u8], checksum_at: usize) -> Option<Vec<u8>> {
    let (source, destination) = (ip.destination, ip.source);
    let mut packet = vec![0; header_len(source) + payload.len()];
    let room = write_header(&mut packet, source, destination, protocol, payload.len())?;
    room.copy_from_slice(payload);
    let sum = pseudo_sum(source, destination, protocol, payload.len())?.add(payload);
    *room.get_mut(checksum_at..)?.first_chunk_mut()? = sum.checksum();
    Some(packet)
}

#[cfg(test)]
pub(crate) mod tests;
