//! A TCP segment by its place in the packet (RFC 9293, section 3.1), and how one is made and changed.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use hypertap_wire::ip::{Ip, TCP, pseudo_sum, write_header};
use hypertap_wire::tcp::{Flags, Segment as Parts};

use super::syn::SynOptions;

pub(super) const FIN: u8 = Flags::FIN.0;
pub(super) const SYN: u8 = Flags::SYN.0;
pub(super) const RST: u8 = Flags::RST.0;
pub(super) const PSH: u8 = Flags::PSH.0;
pub(super) const ACK: u8 = Flags::ACK.0;

/// Lengths in bytes of the headers without options.
pub(super) const IPV4_HEADER: usize = 20;
pub(super) const IPV6_HEADER: usize = 40;
pub(super) const TCP_HEADER: usize = 20;
/// Where a TCP header has its checksum.
pub(super) const CHECKSUM_AT: usize = 16;

/// Whether sequence number `a` comes after `b` (RFC 9293, section 3.4).
pub(super) fn after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// `len` as a step in sequence space.
#[allow(clippy::cast_possible_truncation, reason = "windows and buffers are below 1 GiB")]
pub(super) fn step(len: usize) -> u32 {
    debug_assert!(len < 1 << 30, "a buffer is smaller than the window's limit");
    len as u32
}

/// The four numbers that name a connection, IPv4 addresses in their mapped form, which no packet
/// of IPv6 is let in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub local: [u8; 16],
    pub remote: [u8; 16],
    pub local_port: u16,
    pub remote_port: u16,
}

impl Key {
    pub fn is_v4(&self) -> bool {
        is_mapped(&self.local)
    }

    /// The service's end.
    pub fn local(&self) -> SocketAddr {
        SocketAddr::new(address(self.local), self.local_port)
    }

    /// The program's end.
    pub fn remote(&self) -> SocketAddr {
        SocketAddr::new(address(self.remote), self.remote_port)
    }

    /// The header of IP without options, in bytes.
    pub fn ip_header(&self) -> usize {
        if self.is_v4() { IPV4_HEADER } else { IPV6_HEADER }
    }
}

fn is_mapped(address: &[u8; 16]) -> bool {
    address.starts_with(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff])
}

fn address(bytes: [u8; 16]) -> IpAddr {
    Ipv6Addr::from(bytes).to_canonical()
}

/// An address's bytes; nothing for what nobody can have a connection with.
fn bytes(address: IpAddr) -> Option<[u8; 16]> {
    let (bytes, reserved) = match address {
        IpAddr::V4(v4) => {
            let first = v4.octets()[0];
            (v4.to_ipv6_mapped().octets(), first == 0 || first >= 224)
        }
        IpAddr::V6(v6) => {
            let reserved = v6.is_multicast() || v6.is_unspecified() || is_mapped(&v6.octets());
            (v6.octets(), reserved)
        }
    };
    (!reserved && !address.is_loopback()).then_some(bytes)
}

/// A segment that came, by its place in the packet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    /// Whose it is: `remote` sent it.
    pub key: Key,
    /// Where the TCP header begins.
    pub tcp: usize,
    /// Where the payload begins.
    pub payload: usize,
    /// Where the packet ends.
    pub end: usize,
    pub seq: u32,
    /// Zero without the flag.
    pub ack: u32,
    pub flags: u8,
    /// As it stands in the header, not scaled.
    pub window: u16,
}

impl Segment {
    /// Reads the headers. Nothing for what is not a whole TCP segment between two unicast
    /// addresses and ports, without extension headers. With `verify` its checksum must be right.
    pub fn parse(packet: &[u8], verify: bool) -> Option<Self> {
        let ip = Ip::parse(packet).ok()?;
        let parts = Parts::parse(&ip).ok()?;
        let key = Key {
            local: bytes(ip.destination)?,
            remote: bytes(ip.source)?,
            local_port: parts.destination_port,
            remote_port: parts.source_port,
        };
        let (tcp, end) = (packet.len() - ip.payload.len(), packet.len());
        let sound = key.local_port != 0
            && key.remote_port != 0
            && (key.is_v4() || tcp == IPV6_HEADER)
            && (!verify || ip.is_checksum_right());
        sound.then(|| Self {
            key,
            tcp,
            payload: end - parts.payload.len(),
            end,
            seq: parts.sequence,
            ack: if parts.flags.contains(Flags::ACK) { parts.acknowledgement } else { 0 },
            flags: parts.flags.0,
            window: parts.window,
        })
    }

    /// Payload in bytes.
    pub fn len(&self) -> usize {
        self.end - self.payload
    }

    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// The sequence number after this segment.
    pub fn next_seq(&self) -> u32 {
        let control = u32::from(self.has(SYN)) + u32::from(self.has(FIN));
        self.seq.wrapping_add(step(self.len())).wrapping_add(control)
    }

    /// Takes `cut` bytes off the payload's end, and FIN and PSH with them. Checksums are left as
    /// they are.
    pub fn trim(&mut self, packet: &mut [u8], cut: usize) {
        self.shorten(packet, cut);
        self.flags &= !(FIN | PSH);
        put(packet, self.tcp + 13, &[self.flags]);
    }

    /// Takes the payload away from before a FIN.
    pub fn leave_fin(&mut self, packet: &mut [u8]) {
        self.seq = self.seq.wrapping_add(step(self.len()));
        put(packet, self.tcp + 4, &self.seq.to_be_bytes());
        self.shorten(packet, self.len());
    }

    fn shorten(&mut self, packet: &mut [u8], cut: usize) {
        self.end = self.payload.max(self.end.saturating_sub(cut));
        let (at, length) = if self.key.is_v4() { (2, self.end) } else { (4, self.end - IPV6_HEADER) };
        let length = u16::try_from(length).unwrap_or(u16::MAX);
        put(packet, at, &length.to_be_bytes());
    }

    /// Whether it carries something, and acknowledges less than an earlier one did, which has `una`.
    pub fn is_dated(&self, una: u32) -> bool {
        (self.len() > 0 || self.has(FIN)) && after(una, self.ack)
    }

    /// Puts another number in the window field.
    pub fn rewrite_window(&self, packet: &mut [u8], window: u16) {
        put(packet, self.tcp + 14, &window.to_be_bytes());
    }

    /// Puts another number in the acknowledgement field.
    pub fn rewrite_ack(&self, packet: &mut [u8], ack: u32) {
        put(packet, self.tcp + 8, &ack.to_be_bytes());
    }

    /// What a SYN's options say.
    pub fn syn_options(&self, packet: &[u8]) -> SynOptions {
        SynOptions::parse(packet.get(self.tcp + TCP_HEADER..self.payload).unwrap_or_default())
    }
}

/// Writes `bytes` at `at`, if that is inside.
pub(super) fn put(packet: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(field) = packet.get_mut(at..at + bytes.len()) {
        field.copy_from_slice(bytes);
    }
}

/// Which way a made segment goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the program: checksums are made.
    Out,
    /// As if the program had sent it: checksums are left open.
    In,
}

/// What a made segment says.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fields<'a> {
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub window: u16,
    pub options: &'a [u8],
    pub payload: &'a [u8],
}

/// Makes a packet in `packet`, whose former content is dropped.
pub(super) fn build(packet: &mut Vec<u8>, key: &Key, way: Way, fields: &Fields<'_>) {
    let (source, destination) = match way {
        Way::Out => (key.local(), key.remote()),
        Way::In => (key.remote(), key.local()),
    };
    let words = (TCP_HEADER + fields.options.len()).div_ceil(4);
    let (tcp, length) = (key.ip_header(), words * 4 + fields.payload.len());
    packet.clear();
    packet.resize(tcp, 0);
    packet.extend_from_slice(&source.port().to_be_bytes());
    packet.extend_from_slice(&destination.port().to_be_bytes());
    packet.extend_from_slice(&fields.seq.to_be_bytes());
    packet.extend_from_slice(&fields.ack.to_be_bytes());
    packet.extend_from_slice(&[u8::try_from(words << 4).unwrap_or(0), fields.flags]);
    packet.extend_from_slice(&fields.window.to_be_bytes());
    packet.extend_from_slice(&[0; 4]);
    packet.extend_from_slice(fields.options);
    packet.resize(tcp + words * 4, 0);
    packet.extend_from_slice(fields.payload);
    let fits = write_header(packet, source.ip(), destination.ip(), TCP, length).is_some();
    debug_assert!(fits, "what is made here is shorter than a packet may be");
    if way == Way::Out {
        checksum(packet, key, false);
    }
}

/// Makes the TCP checksum of a packet to the program: whole or, for a device that completes it, of its
/// pseudo-header alone.
pub(super) fn checksum(packet: &mut [u8], key: &Key, partial: bool) {
    let tcp = key.ip_header();
    let Some(segment) = packet.get(tcp..) else { return };
    let (source, destination) = (address(key.local), address(key.remote));
    let Some(sum) = pseudo_sum(source, destination, TCP, segment.len()) else { return };
    let field = if partial { sum.folded() } else { sum.add(segment).checksum() };
    put(packet, tcp + CHECKSUM_AT, &field);
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::checksum::Sum;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;

    fn key(v4: bool) -> Key {
        let address = |v4: bool, last: u8| -> [u8; 16] {
            if v4 {
                Ipv4Addr::new(198, 18, 0, last).to_ipv6_mapped().octets()
            } else {
                Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, u16::from(last)).octets()
            }
        };
        Key { local: address(v4, 1), remote: address(v4, 2), local_port: 80, remote_port: 40_000 }
    }

    #[test]
    fn what_is_made_is_read_back() {
        for v4 in [true, false] {
            let options = SynOptions { mss: 1360, scale: Some(7), sack: true };
            let (mut packet, bytes) = (Vec::new(), options.emit());
            let fields = Fields { seq: 7, flags: SYN, window: 9, options: &bytes, ..Fields::default() };
            build(&mut packet, &key(v4), Way::Out, &fields);
            let segment = Segment::parse(&packet, false).expect("a segment");
            let there = Key {
                local: key(v4).remote,
                remote: key(v4).local,
                local_port: key(v4).remote_port,
                remote_port: key(v4).local_port,
            };
            assert_eq!((segment.key, segment.seq, segment.flags, segment.window), (there, 7, SYN, 9));
            assert_eq!(segment.syn_options(&packet), options);
            assert!(Segment::parse(&packet, true).is_some());
            packet[segment.tcp + 4] ^= 1;
            assert!(Segment::parse(&packet, true).is_none());
        }
    }

    #[test]
    fn a_trimmed_segment_is_shorter_and_has_no_fin() {
        for v4 in [true, false] {
            let mut packet = Vec::new();
            let fields = Fields { flags: ACK | FIN, payload: b"hello", ..Fields::default() };
            build(&mut packet, &key(v4), Way::In, &fields);
            let mut segment = Segment::parse(&packet, false).expect("a segment");
            segment.trim(&mut packet, 3);
            assert_eq!((segment.len(), segment.has(FIN)), (2, false));
            if v4 {
                put(&mut packet, 10, &[0; 2]);
                let sum = Sum::ZERO.add(&packet[..IPV4_HEADER]).checksum();
                put(&mut packet, 10, &sum);
            }
            assert_eq!(Segment::parse(&packet[..segment.end], false).expect("still one").len(), 2);
        }
    }

    proptest! {
        #[test]
        fn no_segment_panics(bytes in prop::collection::vec(any::<u8>(), 20..120), v4: bool, cut in 0..200_usize) {
            let mut packet = Vec::new();
            build(&mut packet, &key(v4), Way::In, &Fields { payload: &bytes, ..Fields::default() });
            let tcp = key(v4).ip_header();
            packet.truncate(tcp + bytes.len());
            packet[tcp..].copy_from_slice(&bytes);
            write_header(&mut packet, address(key(v4).remote), address(key(v4).local), TCP, bytes.len());
            if let Some(mut segment) = Segment::parse(&packet, false) {
                segment.syn_options(&packet);
                segment.trim(&mut packet, cut);
                segment.leave_fin(&mut packet);
                prop_assert_eq!(segment.len(), 0);
            }
        }
    }
}
