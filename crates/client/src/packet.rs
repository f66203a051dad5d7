//! A little of IP for small programs: answering pings, reading the name in a DNS query.
//!
//! Everything is checked against the packet's length; what is not whole, or is something else, is
//! left alone. Packets are plain IP packets as the data planes carry them, without a virtio-net header.

use std::fmt::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use hypertap_wire::checksum::Sum;
pub use hypertap_wire::packet::MAX_PACKET;

/// The length in bytes of the fixed IPv6 header.
const IPV6_HEADER: usize = 40;
/// The length in bytes of an ICMP header.
const ICMP_HEADER: usize = 8;
/// The time to live that an answer sets out with.
const HOPS: u8 = 64;

/// Protocol numbers (IANA).
const ICMP: u8 = 1;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;

/// Where an IP packet's parts lie.
struct Layout {
    /// Both addresses, the source first.
    addresses: Range<usize>,
    /// The protocol of what follows the header; extension headers of IPv6 are not followed.
    protocol: u8,
    /// What follows the header.
    payload: Range<usize>,
}

/// Finds the parts of a packet that is whole and no fragment (RFC 791, RFC 8200).
fn layout(packet: &[u8]) -> Option<Layout> {
    match packet.first()? >> 4 {
        4 => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let fragment = read_u16(packet, 6)?;
            let is_fragment = fragment & 0x3fff != 0;
            let is_whole = header >= 20 && header <= packet.len() && read_u16(packet, 2)? == packet.len();
            (is_whole && !is_fragment).then_some(Layout {
                addresses: 12..20,
                protocol: *packet.get(9)?,
                payload: header..packet.len(),
            })
        }
        6 => (IPV6_HEADER + read_u16(packet, 4)? == packet.len()).then_some(Layout {
            addresses: 8..40,
            protocol: *packet.get(6)?,
            payload: IPV6_HEADER..packet.len(),
        }),
        _ => None,
    }
}

fn read_u16(packet: &[u8], at: usize) -> Option<usize> {
    Some(usize::from(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?)))
}

/// Turns an ICMP or `ICMPv6` echo request into its reply, in place, checksums included. Returns whether
/// it was one (RFC 792, RFC 4443 section 4); if not, the packet is as it was.
pub fn answer_echo(packet: &mut [u8]) -> bool {
    answer(packet).is_some()
}

fn answer(packet: &mut [u8]) -> Option<()> {
    let Layout { addresses, protocol, payload } = layout(packet)?;
    let (request, reply) = match (packet.first()? >> 4, protocol) {
        (4, ICMP) => (8, 0),
        (6, ICMPV6) => (128, 129),
        _ => return None,
    };
    // ICMPv6 sums the addresses, the length and the protocol too (RFC 8200, section 8.1).
    let pseudo = match protocol {
        ICMPV6 => {
            let length = u16::try_from(payload.len()).ok()?;
            Sum::ZERO.add(packet.get(addresses.clone())?).add_u16(length).add_u16(u16::from(ICMPV6))
        }
        _ => Sum::ZERO,
    };
    let icmp = packet.get_mut(payload)?;
    let is_request = icmp.len() >= ICMP_HEADER && icmp.first_chunk() == Some(&[request, 0]);
    if !is_request || !pseudo.add(icmp).is_whole() {
        return None;
    }
    *icmp.first_mut()? = reply;
    icmp.get_mut(2..4)?.fill(0);
    // The sum does not depend on the addresses' order.
    let checksum = pseudo.add(icmp).checksum();
    icmp.get_mut(2..4)?.copy_from_slice(&checksum);
    let addresses = packet.get_mut(addresses)?;
    let (source, destination) = addresses.split_at_mut(addresses.len() / 2);
    source.swap_with_slice(destination);
    set_hops(packet)
}

/// Sets the hop limit, and the header checksum that covers it in IPv4.
fn set_hops(packet: &mut [u8]) -> Option<()> {
    if packet.first()? >> 4 == 6 {
        *packet.get_mut(7)? = HOPS;
        return Some(());
    }
    let header = usize::from(packet.first()? & 0x0f) * 4;
    *packet.get_mut(8)? = HOPS;
    packet.get_mut(10..12)?.fill(0);
    let checksum = Sum::ZERO.add(packet.get(..header)?).checksum();
    packet.get_mut(10..12)?.copy_from_slice(&checksum);
    Some(())
}

/// What a DNS query over UDP asks, and whom.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DnsQuery {
    /// Who asks.
    pub source: SocketAddr,
    /// The resolver.
    pub resolver: SocketAddr,
    /// The first question's name, without the last dot; bytes that are no plain characters as `\DDD`
    /// (RFC 1035, section 5.1).
    pub name: String,
    /// The first question's type, as A = 1 and AAAA = 28.
    pub kind: u16,
}

impl fmt::Display for DnsQuery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            1 => "A",
            28 => "AAAA",
            12 => "PTR",
            15 => "MX",
            16 => "TXT",
            33 => "SRV",
            65 => "HTTPS",
            other => return write!(f, "{} TYPE{other} of {}", self.name, self.resolver),
        };
        write!(f, "{} {kind} of {}", self.name, self.resolver)
    }
}

/// Reads a DNS query over UDP to port 53 (RFC 1035, section 4); `None` for every other packet.
pub fn dns_query(packet: &[u8]) -> Option<DnsQuery> {
    let layout = layout(packet)?;
    let (source, resolver) = addresses(packet.get(layout.addresses)?)?;
    let udp = packet.get(layout.payload)?;
    let (source_port, port) = (read_u16(udp, 0)?, read_u16(udp, 2)?);
    if layout.protocol != UDP || port != 53 || read_u16(udp, 4)? != udp.len() {
        return None;
    }
    let message = udp.get(8..)?;
    let is_query = message.get(2)? & 0xf8 == 0;
    if !is_query || read_u16(message, 4)? == 0 {
        return None;
    }
    let (name, after) = dns_name(message.get(12..)?)?;
    let kind = u16::try_from(read_u16(after, 0)?).ok()?;
    let at = |address, port| Some(SocketAddr::new(address, u16::try_from(port).ok()?));
    Some(DnsQuery { source: at(source, source_port)?, resolver: at(resolver, port)?, name, kind })
}

fn addresses(bytes: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let (source, destination) = bytes.split_at_checked(bytes.len() / 2)?;
    let read = |bytes: &[u8]| match bytes.len() {
        4 => Some(IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk()?))),
        _ => Some(IpAddr::V6(Ipv6Addr::from(*bytes.first_chunk()?))),
    };
    Some((read(source)?, read(destination)?))
}

/// Reads a name, and what follows it. A question's name has nothing before it to point at.
fn dns_name(mut rest: &[u8]) -> Option<(String, &[u8])> {
    let mut name = String::new();
    let mut length = 1;
    loop {
        let (&count, after) = rest.split_first()?;
        if count == 0 {
            return Some((name, after));
        }
        length += 1 + usize::from(count);
        if count > 63 || length > 255 {
            return None;
        }
        let (label, after) = after.split_at_checked(usize::from(count))?;
        if !name.is_empty() {
            name.push('.');
        }
        for &byte in label {
            if byte.is_ascii_graphic() && !matches!(byte, b'.' | b'\\') {
                name.push(char::from(byte));
            } else {
                // Writing to a string cannot fail.
                let _ = write!(name, "\\{byte:03}");
            }
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests;
