//! IP packets as bytes: just enough to send, answer and recognize them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The protocol numbers of IP (IANA).
pub const ICMP: u8 = 1;
/// TCP.
pub const TCP: u8 = 6;
/// UDP.
pub const UDP: u8 = 17;
/// ICMP for IPv6.
pub const ICMP6: u8 = 58;

/// The internet checksum (RFC 1071).
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("it was folded")
}

/// An IPv4 packet with the header's checksum right.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + payload.len()).expect("it fits");
    let mut packet = vec![0x45, 0];
    packet.extend(length.to_be_bytes());
    packet.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    seal(&mut packet);
    packet.extend(payload);
    packet
}

/// Sets the checksum of an IPv4 header without options, or with whatever its length says.
pub fn seal(packet: &mut [u8]) {
    let header = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&packet[..header]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// An IPv6 packet.
pub fn ipv6(source: Ipv6Addr, destination: Ipv6Addr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(u16::try_from(payload.len()).expect("it fits").to_be_bytes());
    packet.extend([protocol, 64]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    packet
}

/// A UDP datagram, without checksum as IPv4 allows.
pub fn udp(source: u16, destination: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(8 + payload.len()).expect("it fits");
    let fields = [source, destination, length, 0];
    fields.iter().flat_map(|field| field.to_be_bytes()).chain(payload.iter().copied()).collect()
}

/// A UDP packet over IPv4.
pub fn udp4(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    ipv4(source.0, destination.0, UDP, &udp(source.1, destination.1, payload))
}

/// As [`udp4`], with the datagram's checksum too, as a kernel sends it.
pub fn udp4_summed(source: (Ipv4Addr, u16), destination: (Ipv4Addr, u16), payload: &[u8]) -> Vec<u8> {
    let mut packet = udp4(source, destination, payload);
    // The pseudo-header of RFC 768: addresses, protocol, length; then the datagram.
    let covered = [&packet[12..20], &[0, UDP], &packet[24..26], &packet[20..]].concat();
    // A sum of zero is sent as its complement, for zero says that there is none.
    let sum = Some(checksum(&covered)).filter(|sum| *sum != 0).unwrap_or(0xffff);
    packet[26..28].copy_from_slice(&sum.to_be_bytes());
    packet
}

/// What a packet says at its beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Whence.
    pub source: IpAddr,
    /// Where to.
    pub destination: IpAddr,
    /// Of IP.
    pub protocol: u8,
    /// Where the payload begins.
    pub payload: usize,
    /// The port it goes to, for UDP and TCP.
    pub port: Option<u16>,
}

/// Reads a packet's head; the kernel makes no other than these.
pub fn head(packet: &[u8]) -> Head {
    let array = |at: usize| <[u8; 4]>::try_from(&packet[at..at + 4]).expect("four bytes");
    let long = |at: usize| <[u8; 16]>::try_from(&packet[at..at + 16]).expect("sixteen bytes");
    let (source, destination, protocol, payload): (IpAddr, IpAddr, u8, usize) = match packet[0] >> 4 {
        4 => (array(12).into(), array(16).into(), packet[9], usize::from(packet[0] & 15) * 4),
        6 => (long(8).into(), long(24).into(), packet[6], 40),
        version => panic!("version {version}: {packet:02x?}"),
    };
    let port =
        matches!(protocol, UDP | TCP).then(|| u16::from_be_bytes([packet[payload + 2], packet[payload + 3]]));
    Head { source, destination, protocol, payload, port }
}

/// Whether a packet is of the kernel's own accord: router solicitations, multicast reports.
pub fn is_chatter(packet: &[u8]) -> bool {
    head(packet).destination.is_multicast()
}

/// The same packet on its way back: addresses swapped, which leaves every checksum right.
pub fn turned(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    let (from, length) = if packet[0] >> 4 == 4 { (12, 4) } else { (8, 16) };
    let (sources, destinations) = packet[from..from + 2 * length].split_at_mut(length);
    sources.swap_with_slice(destinations);
    packet
}

/// The answer to a ping; `None` for anything else.
pub fn ping_reply(packet: &[u8]) -> Option<Vec<u8>> {
    let head = head(packet);
    let mut reply = turned(packet);
    let icmp = &mut reply[head.payload..];
    match (head.protocol, icmp[0]) {
        (ICMP, 8) => {
            icmp[0] = 0;
            icmp[2..4].fill(0);
            let sum = checksum(icmp);
            icmp[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        (ICMP6, 128) => {
            icmp[0] = 129;
            icmp[2..4].fill(0);
            let length = u32::try_from(icmp.len()).expect("it fits");
            let mut covered = reply[8..40].to_vec();
            covered.extend(length.to_be_bytes());
            covered.extend([0, 0, 0, ICMP6]);
            covered.extend(&reply[head.payload..]);
            let sum = checksum(&covered);
            reply[head.payload + 2..head.payload + 4].copy_from_slice(&sum.to_be_bytes());
        }
        _ => return None,
    }
    Some(reply)
}

/// The answer to a UDP packet: the same payload back.
pub fn udp_echo(packet: &[u8]) -> Option<Vec<u8>> {
    let head = head(packet);
    let mut reply = turned(packet);
    if head.protocol != UDP {
        return None;
    }
    let ports = &mut reply[head.payload..head.payload + 4];
    ports.rotate_left(2);
    Some(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const THERE: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

    #[test]
    fn a_sealed_header_sums_to_zero() {
        let packet = udp4((HERE, 1), (THERE, 2), b"abc");
        assert_eq!(checksum(&packet[..20]), 0);
        assert_eq!(checksum(&turned(&packet)[..20]), 0);
    }

    #[test]
    fn an_echo_goes_back_where_it_came_from() {
        let reply = udp_echo(&udp4((HERE, 1), (THERE, 2), b"abc")).expect("it is UDP");
        assert_eq!(reply, udp4((THERE, 2), (HERE, 1), b"abc"));
    }

    #[test]
    fn a_ping_reply_is_sealed() {
        let request = [8, 0, 0xf7, 0xff, 0, 0, 0, 0];
        assert_eq!(checksum(&request), 0);
        let reply = ping_reply(&ipv4(HERE, THERE, ICMP, &request)).expect("it is a ping");
        assert_eq!((reply[20], checksum(&reply[20..])), (0, 0));
    }
}
