//! What makes a packet from the program fit to be injected, and why one was dropped.

use serde::{Deserialize, Serialize};

use crate::checksum::Sum;

/// The longest packet in bytes: what a UDP datagram over IPv4 holds.
pub const MAX_PACKET: usize = 65_507;

/// The length in bytes of an IPv4 header without options.
pub(crate) const IPV4_HEADER: usize = 20;
/// The length in bytes of the fixed IPv6 header.
pub(crate) const IPV6_HEADER: usize = 40;

/// Why a packet went no further. Its name is the one that `stats` shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[repr(usize)]
pub enum DropCause {
    /// An empty datagram.
    Empty,
    /// More than [`MAX_PACKET`] bytes.
    TooLong,
    /// Neither IP version 4 nor 6.
    BadVersion,
    /// Shorter than its own header.
    TruncatedHeader,
    /// An IPv4 header length of less than five words.
    BadHeaderLength,
    /// The length in the header is not the length that came.
    LengthMismatch,
    /// Larger than the interface's MTU.
    ExceedsMtu,
    /// The IPv4 header's checksum is wrong.
    BadHeaderChecksum,
    /// The program's end belongs to a user who may not use the tunnel.
    NotPermitted,
    /// No program is there to take it.
    NoReceiver,
    /// The program, or the memory that queues for it, has no room.
    ProgramSlow,
    /// The interface is down.
    DeviceDown,
    /// The kernel's device took it not, for another reason.
    DeviceRefused,
    /// A segment from the kernel that its virtio-net header does not describe rightly.
    BadOffload,
}

impl DropCause {
    /// Every cause, in the order of its number.
    pub const ALL: [Self; 14] = [
        Self::Empty,
        Self::TooLong,
        Self::BadVersion,
        Self::TruncatedHeader,
        Self::BadHeaderLength,
        Self::LengthMismatch,
        Self::ExceedsMtu,
        Self::BadHeaderChecksum,
        Self::NotPermitted,
        Self::NoReceiver,
        Self::ProgramSlow,
        Self::DeviceDown,
        Self::DeviceRefused,
        Self::BadOffload,
    ];
}

/// What happened to the packets of one or more batches in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets that were passed on.
    pub packets: u64,
    /// Their bytes, headers of IP included.
    pub bytes: u64,
    /// Packets that were not, by cause's number.
    pub dropped: [u64; DropCause::ALL.len()],
}

impl Tally {
    /// Counts packets that were passed on, and their bytes together.
    pub fn pass(&mut self, packets: usize, bytes: usize) {
        self.packets += packets as u64;
        self.bytes += bytes as u64;
    }

    /// Counts packets that were dropped.
    pub fn drop(&mut self, cause: DropCause, packets: usize) {
        self.dropped[cause as usize] += packets as u64;
    }

    /// How many packets were dropped for `cause`.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }
}

/// Whether a packet from the program may be injected into an interface with this MTU (bytes):
/// 1 to 65,507 bytes, IPv4 with a header of at least five words and a right checksum or IPv6, the
/// header whole, its length field equal to what came, and not larger than the MTU
/// (docs/tunnel.md, "Data plane"; RFC 791, RFC 8200).
///
/// # Errors
/// The first rule that it breaks.
pub fn validate(packet: &[u8], mtu: usize) -> Result<(), DropCause> {
    let Some(first) = packet.first() else { return Err(DropCause::Empty) };
    if packet.len() > MAX_PACKET {
        return Err(DropCause::TooLong);
    }
    match first >> 4 {
        4 => validate_v4(packet, mtu),
        6 => validate_v6(packet, mtu),
        _ => Err(DropCause::BadVersion),
    }
}

pub(crate) fn validate_v4(packet: &[u8], mtu: usize) -> Result<(), DropCause> {
    let Some(fixed) = packet.first_chunk::<IPV4_HEADER>() else { return Err(DropCause::TruncatedHeader) };
    let header_len = usize::from(fixed[0] & 0x0f) * 4;
    if header_len < IPV4_HEADER {
        return Err(DropCause::BadHeaderLength);
    }
    let Some(header) = packet.get(..header_len) else { return Err(DropCause::TruncatedHeader) };
    check_length(packet.len(), usize::from(u16::from_be_bytes([fixed[2], fixed[3]])), mtu)?;
    if Sum::ZERO.add(header).is_whole() { Ok(()) } else { Err(DropCause::BadHeaderChecksum) }
}

pub(crate) fn validate_v6(packet: &[u8], mtu: usize) -> Result<(), DropCause> {
    let Some(header) = packet.first_chunk::<IPV6_HEADER>() else { return Err(DropCause::TruncatedHeader) };
    check_length(packet.len(), IPV6_HEADER + usize::from(u16::from_be_bytes([header[4], header[5]])), mtu)
}

fn check_length(came: usize, said: usize, mtu: usize) -> Result<(), DropCause> {
    if came != said {
        Err(DropCause::LengthMismatch)
    } else if came > mtu {
        Err(DropCause::ExceedsMtu)
    } else {
        Ok(())
    }
}

/// A number that is the same for all packets of a flow (addresses, protocol, ports), and with luck
/// not for those of another. Fragments count as a flow of their own.
pub fn flow_hash(packet: &[u8]) -> u32 {
    let (addresses, transport, protocol) = match packet.first().map(|first| first >> 4) {
        Some(4) => {
            let is_fragment = packet.get(6..8).is_none_or(|field| field[0] & 0x3f != 0 || field[1] != 0);
            let transport = if is_fragment { usize::MAX } else { usize::from(packet[0] & 0x0f) * 4 };
            (packet.get(12..20), transport, packet.get(9))
        }
        Some(6) => (packet.get(8..40), IPV6_HEADER, packet.get(6)),
        _ => return 0,
    };
    let ports = transport.checked_add(4).and_then(|end| packet.get(transport..end));
    let ports = ports.filter(|_| matches!(protocol, Some(6 | 17)));
    let words = addresses.into_iter().chain(ports).flat_map(|bytes| bytes.as_chunks::<4>().0);
    let hash = words.fold(u64::from(protocol.copied().unwrap_or(0)), |hash, word| {
        (hash ^ u64::from(u32::from_ne_bytes(*word))).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    #[allow(clippy::cast_possible_truncation, reason = "32 bits are left")]
    let hash = (hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32;
    hash
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x45;
        packet[2..4].copy_from_slice(&u16::try_from(len).unwrap().to_be_bytes());
        seal(&mut packet);
        packet
    }

    fn seal(packet: &mut [u8]) {
        packet[10..12].fill(0);
        let header = usize::from(packet[0] & 15) * 4;
        let checksum = Sum::ZERO.add(&packet[..header]).checksum();
        packet[10..12].copy_from_slice(&checksum);
    }

    fn v6(len: usize) -> Vec<u8> {
        let mut packet = vec![0; len];
        packet[0] = 0x60;
        packet[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
        packet
    }

    #[test]
    fn whole_packets_up_to_the_mtu_pass() {
        for len in [20, 21, 1499, 1500] {
            assert_eq!(validate(&v4(len), 1500), Ok(()), "{len}");
        }
        for len in [40, 41, 1500] {
            assert_eq!(validate(&v6(len), 1500), Ok(()), "{len}");
        }
        assert_eq!(validate(&v4(MAX_PACKET), MAX_PACKET), Ok(()));
        assert_eq!(validate(&v6(MAX_PACKET), MAX_PACKET), Ok(()));
    }

    #[test]
    fn each_broken_rule_has_its_own_cause() {
        let mut ihl_four = v4(40);
        ihl_four[0] = 0x44;
        let mut options_cut = v4(20);
        options_cut[0] = 0x46;
        let mut short = v4(40);
        short[3] -= 1;
        seal(&mut short);
        let mut checksum = v4(40);
        checksum[8] ^= 1;
        let mut v6_short = v6(60);
        v6_short[5] += 1;
        let cases: [(&[u8], DropCause); 13] = [
            (&[], DropCause::Empty),
            (&vec![0x45; MAX_PACKET + 1], DropCause::TooLong),
            (&[0x00], DropCause::BadVersion),
            (&[0x50; 64], DropCause::BadVersion),
            (&v4(20)[..19], DropCause::TruncatedHeader),
            (&options_cut, DropCause::TruncatedHeader),
            (&v6(40)[..39], DropCause::TruncatedHeader),
            (&ihl_four, DropCause::BadHeaderLength),
            (&short, DropCause::LengthMismatch),
            (&v6_short, DropCause::LengthMismatch),
            (&v4(1501), DropCause::ExceedsMtu),
            (&v6(1501), DropCause::ExceedsMtu),
            (&checksum, DropCause::BadHeaderChecksum),
        ];
        for (packet, cause) in cases {
            assert_eq!(validate(packet, 1500), Err(cause));
        }
    }

    #[test]
    fn causes_are_numbered_and_named_as_listed() {
        for (number, cause) in DropCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, number);
        }
        assert_eq!(serde_json::to_string(&DropCause::BadHeaderChecksum).unwrap(), "\"badHeaderChecksum\"");
    }

    #[test]
    fn a_flow_is_told_by_addresses_protocol_and_ports() {
        let mut packet = v4(60);
        packet[9] = 6;
        let hash = flow_hash(&packet);
        for (at, differs) in
            [(8, false), (4, false), (24, false), (9, true), (12, true), (19, true), (21, true), (23, true)]
        {
            let mut other = packet.clone();
            other[at] ^= 0x40;
            assert_eq!(flow_hash(&other) != hash, differs, "byte {at}");
        }
    }

    #[test]
    fn flows_of_one_server_are_spread_whichever_port_differs() {
        for (at, buckets) in [20, 22].into_iter().flat_map(|at| [2, 3, 4, 8].map(|buckets| (at, buckets))) {
            let mut counts = vec![0; buckets];
            for port in 40_000..40_800_u16 {
                let mut packet = v4(60);
                packet[9] = 6;
                packet[at..at + 2].copy_from_slice(&port.to_be_bytes());
                counts[flow_hash(&packet) as usize % buckets] += 1;
            }
            let fair = 800 / buckets;
            let is_fair = |count: &usize| (fair / 2..fair * 2).contains(count);
            assert!(counts.iter().all(is_fair), "ports at {at}: {counts:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_get_a_verdict(packet in prop::collection::vec(any::<u8>(), 0..200), mtu in 0..300_usize) {
            let _ = validate(&packet, mtu);
            let _ = flow_hash(&packet);
        }

        #[test]
        fn any_changed_bit_of_an_ipv4_header_is_noticed(at in 0..20_usize, bit in 0..8_u8) {
            let mut packet = v4(60);
            packet[at] ^= 1 << bit;
            prop_assert!(validate(&packet, 1500).is_err());
        }
    }
}
