//! Packets of one flow in a row, under one header.
//!
//! The rules are those of the kernel's receive offload, narrowed: the same flow and the same
//! headers but for what counts up, no IP options or extension headers, no fragments, nothing that
//! is urgent or opens or resets a connection, the next sequence number, the same payload size
//! (the last may be shorter), and after a packet with PSH or FIN nothing more. Checksums of all
//! are verified, for the kernel is told to trust the segment; the packets' payload is not moved. Frames
//! are joined when their Ethernet headers are the same, byte by byte; one with padding stays alone.

use std::ops::Range;

use super::layer::{Layer, MAX_LINK};
use super::{
    ACK, ECE, FIN, NEEDS_CSUM, PSH, TCP, TCP_CHECKSUM, TCP_FLAGS, TCP_HEADER, UDP, UDP_CHECKSUM, UDP_HEADER,
    VirtioHeader,
};
use crate::batch::Batch;
use crate::checksum::Sum;
use crate::packet::{IPV4_HEADER, IPV6_HEADER};

/// The most packets in one segment, which bounds the pieces of one write and the datagrams that
/// the kernel takes at once (`UDP_MAX_SEGMENTS` was 64 before Linux 6.9).
const MAX_RUN: usize = 64;
/// The most UDP datagrams in one segment of an Ethernet. The kernel cuts them again before anybody receives the first, while a
/// program that gets them in shorter runs reads one as the next is written; and a run of these has saved most of
/// what there is to save.
const MAX_LINK_UDP_RUN: usize = 16;
/// The longest headers: Ethernet with two tags, IPv6 without extensions, TCP with all options.
const MAX_HEADERS: usize = MAX_LINK + IPV6_HEADER + 60;
const DONT_FRAGMENT: u16 = 0x4000;

/// What a write begins with: the virtio-net header and, before several packets, the headers they
/// share. Of each packet what follows [`Head::skip`] bytes comes after it.
#[derive(Debug)]
pub struct Head {
    bytes: [u8; VirtioHeader::LEN + MAX_HEADERS],
    headers: usize,
}

impl Default for Head {
    fn default() -> Self {
        Self { bytes: [0; VirtioHeader::LEN + MAX_HEADERS], headers: 0 }
    }
}

impl Head {
    /// The bytes to write first.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..VirtioHeader::LEN + self.headers]
    }

    /// How many bytes at the start of each packet stand in [`Self::bytes`] already.
    pub fn skip(&self) -> usize {
        self.headers
    }

    /// Whether what is written is a segment of UDP datagrams.
    pub fn is_udp(&self) -> bool {
        self.bytes[1] == super::GsoType::Udp as u8
    }

    fn set_single(&mut self) {
        self.bytes[..VirtioHeader::LEN].fill(0);
        self.headers = 0;
    }
}

/// Finds how many packets of `batch`, from the first of `packets` on, may be injected in one
/// write, at least one, and makes the header of that write. UDP is only joined where `udp` says
/// that the kernel takes such segments. Packets of [`Layer::Network`] must have passed
/// [`crate::packet::validate`]; frames may be anything, and what is not a whole packet of IP stays alone.
pub fn coalesce(layer: Layer, batch: &Batch, packets: Range<usize>, udp: bool, head: &mut Head) -> usize {
    head.set_single();
    let open = |index| {
        let (link, packet) = layer.open(batch.get(index)?)?;
        Some((link, packet, Segment::of(packet, udp)?))
    };
    let Some((link, packet, first)) = open(packets.start) else { return 1 };
    let (mut count, mut total, mut previous, mut last) = (1, packet.len(), first, packet);
    let most = if layer == Layer::Link && !first.is_tcp { MAX_LINK_UDP_RUN } else { MAX_RUN };
    while count < most && packets.start + count < packets.end && !previous.ends_run(&first) {
        let Some((next_link, next, segment)) = open(packets.start + count) else { break };
        let grown = total + segment.payload_len(next);
        let same_link = layer == Layer::Network || next_link == link;
        let follows = same_link && segment.follows(next, &previous, last, &first, count);
        if grown > usize::from(u16::MAX) || !follows {
            break;
        }
        if count == 1 && !first.is_whole(packet, layer) || !segment.is_whole(next, layer) {
            break;
        }
        (count, total, previous, last) = (count + 1, grown, segment, next);
    }
    if count > 1 && first.write_head(link, packet, last, total, head).is_none() {
        head.set_single();
        return 1;
    }
    count
}

/// Where things are in a packet that may be joined with others.
#[derive(Clone, Copy)]
struct Segment {
    is_v4: bool,
    is_tcp: bool,
    /// Where the transport header begins, in bytes.
    transport: usize,
    /// Where the payload begins, in bytes.
    payload: usize,
    /// Where the packet ends.
    len: usize,
    /// TCP's sequence number.
    sequence: u32,
    /// IPv4's identification.
    id: u16,
    /// TCP's flags.
    flags: u8,
}

impl Segment {
    /// The packet's layout, when it is of a kind that may be joined at all.
    fn of(packet: &[u8], udp: bool) -> Option<Self> {
        let is_v4 = packet.first()? >> 4 == 4;
        let (transport, protocol, said, id) = if is_v4 {
            let header = packet.first_chunk::<IPV4_HEADER>()?;
            let fragment = u16::from_be_bytes([header[6], header[7]]);
            if header[0] != 0x45 || fragment & !DONT_FRAGMENT != 0 {
                return None;
            }
            let said = usize::from(u16::from_be_bytes([header[2], header[3]]));
            (IPV4_HEADER, header[9], said, u16::from_be_bytes([header[4], header[5]]))
        } else {
            let header = packet.first_chunk::<IPV6_HEADER>()?;
            if header[0] >> 4 != 6 {
                return None;
            }
            (IPV6_HEADER, header[6], IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]])), 0)
        };
        if said != packet.len() {
            return None;
        }
        let rest = packet.get(transport..)?;
        let mut segment = Self {
            is_v4,
            is_tcp: protocol == TCP,
            transport,
            payload: 0,
            len: said,
            sequence: 0,
            id,
            flags: 0,
        };
        match protocol {
            TCP => {
                let header = rest.first_chunk::<TCP_HEADER>()?;
                let header_len = usize::from(header[12] >> 4) * 4;
                segment.flags = header[TCP_FLAGS];
                segment.sequence = u32::from_be_bytes([header[4], header[5], header[6], header[7]]);
                segment.payload = transport + header_len;
                let joinable = segment.flags & ACK != 0 && segment.flags & !(ACK | PSH | FIN | ECE) == 0;
                (header_len >= TCP_HEADER && joinable && segment.payload < said).then_some(segment)
            }
            UDP if udp => {
                let header = rest.first_chunk::<UDP_HEADER>()?;
                segment.payload = transport + UDP_HEADER;
                let whole = usize::from(u16::from_be_bytes([header[4], header[5]])) == rest.len();
                let summed = header[6..8] != [0, 0];
                (whole && summed && segment.payload < said).then_some(segment)
            }
            _ => None,
        }
    }

    fn payload_len(&self, packet: &[u8]) -> usize {
        packet.len() - self.payload
    }

    /// Whether nothing may come after this packet in a run that `first` began.
    fn ends_run(&self, first: &Self) -> bool {
        self.flags & (PSH | FIN) != 0 || self.len - self.payload < first.len - first.payload
    }

    /// Whether the packet comes right after `last` in its flow, with the same headers.
    fn follows(&self, packet: &[u8], previous: &Self, last: &[u8], first: &Self, count: usize) -> bool {
        self.is_v4 == previous.is_v4
            && self.is_tcp == previous.is_tcp
            && self.payload == previous.payload
            && self.len <= first.len
            && self.same_network(packet, last)
            && self.id_follows(packet, previous, first, count)
            && self.same_transport(packet, previous, last)
    }

    fn same_network(&self, packet: &[u8], last: &[u8]) -> bool {
        if self.is_v4 {
            // All but total length, identification and checksum.
            packet[..2] == last[..2] && packet[6..10] == last[6..10] && packet[12..20] == last[12..20]
        } else {
            // All but payload length.
            packet[..4] == last[..4] && packet[6..40] == last[6..40]
        }
    }

    /// Whether the IPv4 identification counts up by one in each of the `count` packets before this and
    /// in it, as it will again when the segment is cut. One that stays zero under "don't fragment"
    /// means nothing (RFC 6864), and may be lost.
    fn id_follows(&self, packet: &[u8], previous: &Self, first: &Self, count: usize) -> bool {
        let atomic = self.is_v4 && u16::from_be_bytes([packet[6], packet[7]]) & DONT_FRAGMENT != 0;
        let before = u16::try_from(count - 1).map(|before| first.id.wrapping_add(before));
        !self.is_v4
            || before == Ok(previous.id) && self.id == previous.id.wrapping_add(1)
            || atomic && self.id == 0 && previous.id == 0 && first.id == 0
    }

    fn same_transport(&self, packet: &[u8], previous: &Self, last: &[u8]) -> bool {
        let (new, old) = (&packet[self.transport..self.payload], &last[self.transport..self.payload]);
        if self.is_tcp {
            let expected =
                previous.sequence.wrapping_add(u32::try_from(previous.len - previous.payload).unwrap_or(0));
            self.sequence == expected
                && new[..4] == old[..4]
                && new[8..13] == old[8..13]
                && (self.flags ^ previous.flags) & !(PSH | FIN) == 0
                && new[14..16] == old[14..16]
                && new[18..] == old[18..]
        } else {
            new[..4] == old[..4]
        }
    }

    /// Whether the checksums are right; that of IPv4's header only where nobody looked at it before.
    fn is_whole(&self, packet: &[u8], layer: Layer) -> bool {
        if layer == Layer::Link && self.is_v4 && !Sum::ZERO.add(&packet[..IPV4_HEADER]).is_whole() {
            return false;
        }
        let transport = &packet[self.transport..];
        u16::try_from(transport.len()).is_ok_and(|len| self.pseudo(packet, len).add(transport).is_whole())
    }

    /// The sum of the pseudo-header of a transport packet of `len` bytes.
    fn pseudo(&self, packet: &[u8], len: u16) -> Sum {
        let addresses = if self.is_v4 { &packet[12..20] } else { &packet[8..40] };
        let protocol = if self.is_tcp { TCP } else { UDP };
        Sum::ZERO.add(addresses).add_u16(u16::from(protocol)).add_u16(len)
    }

    /// Makes the headers of a segment of `total` bytes behind `link` that begins with `packet`, which this
    /// describes, and ends with `last`.
    fn write_head(
        &self,
        link: &[u8],
        packet: &[u8],
        last: &[u8],
        total: usize,
        head: &mut Head,
    ) -> Option<()> {
        let shared = link.len() + self.payload;
        let whole = u16::try_from(total).ok()?;
        let transport_len = u16::try_from(total.checked_sub(self.transport)?).ok()?;
        let (gso_type, checksum) = match (self.is_tcp, self.is_v4) {
            (true, true) => (super::GsoType::TcpV4, TCP_CHECKSUM),
            (true, false) => (super::GsoType::TcpV6, TCP_CHECKSUM),
            (false, _) => (super::GsoType::Udp, UDP_CHECKSUM),
        };
        let virtio = VirtioHeader {
            flags: NEEDS_CSUM,
            gso_type: gso_type as u8,
            hdr_len: u16::try_from(shared).ok()?,
            gso_size: u16::try_from(self.len - self.payload).ok()?,
            csum_start: u16::try_from(link.len() + self.transport).ok()?,
            csum_offset: u16::try_from(checksum).ok()?,
        };
        let pseudo = self.pseudo(packet, transport_len).folded();
        let (first, rest) = head.bytes.split_at_mut_checked(VirtioHeader::LEN)?;
        let (ethernet, headers) = rest.get_mut(..shared)?.split_at_mut_checked(link.len())?;
        ethernet.copy_from_slice(link);
        headers.copy_from_slice(packet.get(..self.payload)?);
        let (network, transport) = headers.split_at_mut_checked(self.transport)?;
        if self.is_v4 {
            network.get_mut(2..4)?.copy_from_slice(&whole.to_be_bytes());
            network.get_mut(10..12)?.fill(0);
            let checksum = Sum::ZERO.add(network).checksum();
            network.get_mut(10..12)?.copy_from_slice(&checksum);
        } else {
            network.get_mut(4..6)?.copy_from_slice(&transport_len.to_be_bytes());
        }
        if self.is_tcp {
            *transport.get_mut(TCP_FLAGS)? |= last.get(self.transport + TCP_FLAGS)? & (PSH | FIN);
        } else {
            transport.get_mut(4..6)?.copy_from_slice(&transport_len.to_be_bytes());
        }
        transport.get_mut(checksum..checksum + 2)?.copy_from_slice(&pseudo);
        first.copy_from_slice(&virtio.emit());
        head.headers = shared;
        Some(())
    }
}
