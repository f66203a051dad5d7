//! Segmentation offload: many packets of one flow in one read or write of a TUN or TAP.
//!
//! With `IFF_VNET_HDR` the kernel puts a virtio-net header (virtio 1.2, 5.1.6) before each packet
//! and may hand over, and take, up to 64 KiB of one flow at once, its transport checksum left to
//! the other side. A program knows nothing of this. [`split`] makes of such a segment the packets
//! that the kernel would have sent without offload; [`coalesce`] finds packets that came from one
//! flow in a row and makes the header under which one write injects them all.
//!
//! Both are strict where being lenient would change what the far end sees: a packet whose checksum
//! is wrong is never merged into a segment that the kernel takes for whole, and splitting what was
//! merged gives the packets that went in.
//!
//! What is said of packets holds for Ethernet frames ([`Layer::Link`]) as well: each has the header of its
//! segment, tags included, and the offsets in the virtio-net header count from there.

mod coalesce;
mod layer;
mod split;

pub use coalesce::{Head, coalesce};
pub use layer::Layer;
pub use split::{finish, split};

/// `VIRTIO_NET_HDR_F_NEEDS_CSUM`: the checksum field holds the pseudo-header's sum only.
const NEEDS_CSUM: u8 = 1;
/// `VIRTIO_NET_HDR_GSO_ECN`, a bit beside the type: the first packet has CWR set.
const GSO_ECN: u8 = 0x80;

/// TCP's number as an IP protocol.
const TCP: u8 = 6;
/// UDP's number as an IP protocol.
const UDP: u8 = 17;
/// A TCP header without options, in bytes.
const TCP_HEADER: usize = 20;
/// A UDP header, in bytes.
const UDP_HEADER: usize = 8;
/// Where a TCP header has its checksum.
const TCP_CHECKSUM: usize = 16;
/// Where a UDP header has its checksum.
const UDP_CHECKSUM: usize = 6;
/// Where a TCP header has its flags.
const TCP_FLAGS: usize = 13;
const FIN: u8 = 0x01;
const PSH: u8 = 0x08;
const ACK: u8 = 0x10;
const ECE: u8 = 0x40;
const CWR: u8 = 0x80;

/// How a segment is to be cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum GsoType {
    /// It is one packet.
    #[default]
    None = 0,
    /// TCP over IPv4.
    TcpV4 = 1,
    /// TCP over IPv6.
    TcpV6 = 4,
    /// UDP datagrams of one size over either (`VIRTIO_NET_HDR_GSO_UDP_L4`).
    Udp = 5,
}

/// The virtio-net header as Linux's TUN and TAP read and write it: 10 bytes in the machine's byte order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VirtioHeader {
    /// `VIRTIO_NET_HDR_F_*`.
    pub flags: u8,
    /// `VIRTIO_NET_HDR_GSO_*`.
    pub gso_type: u8,
    /// Length of the headers that each packet gets, in bytes; a hint.
    pub hdr_len: u16,
    /// Transport payload of each packet but the last, in bytes.
    pub gso_size: u16,
    /// Where checksumming begins, in bytes from the packet's start.
    pub csum_start: u16,
    /// Where the checksum is, in bytes from `csum_start`.
    pub csum_offset: u16,
}

impl VirtioHeader {
    /// Its length in bytes.
    pub const LEN: usize = 10;

    /// Reads it.
    pub fn parse(bytes: &[u8; Self::LEN]) -> Self {
        let field = |at: usize| u16::from_ne_bytes([bytes[at], bytes[at + 1]]);
        Self {
            flags: bytes[0],
            gso_type: bytes[1],
            hdr_len: field(2),
            gso_size: field(4),
            csum_start: field(6),
            csum_offset: field(8),
        }
    }

    /// Writes it.
    pub fn emit(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[0] = self.flags;
        bytes[1] = self.gso_type;
        for (field, value) in bytes[2..].chunks_exact_mut(2).zip([
            self.hdr_len,
            self.gso_size,
            self.csum_start,
            self.csum_offset,
        ]) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
        bytes
    }

    /// How the segment is to be cut, or nothing for a type that was never asked for.
    pub fn gso(&self) -> Option<GsoType> {
        match self.gso_type & !GSO_ECN {
            0 => Some(GsoType::None),
            1 => Some(GsoType::TcpV4),
            4 => Some(GsoType::TcpV6),
            5 => Some(GsoType::Udp),
            _ => None,
        }
    }

    /// Whether the checksum is still to be made.
    pub fn needs_checksum(&self) -> bool {
        self.flags & NEEDS_CSUM != 0
    }
}

#[cfg(test)]
mod tests;
