//! Which packets are in order, and where they go.
//!
//! A peer may send from its own addresses and from the networks behind it, to this node's addresses and
//! to the networks that this node serves. Whose network an address is in is decided by the longest of
//! all routes, so that a wide route of one peer is no licence to speak for another. The ranges of nodes
//! and services are in nobody's route, however wide. Service addresses and local IPv4 addresses are
//! never on the wire as packets: a service exposes itself and nothing else.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hypertap_wire::ip::Ip;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{SERVICES_IPV6, ServiceId};

use super::peers::PeerTable;

/// Why a peer's packet is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dropped {
    /// It is no IP packet that is whole.
    Malformed,
    /// The peer is not configured, or is this node.
    UnknownPeer,
    /// Its source is neither the peer's address nor in a network behind the peer.
    ForeignSource,
    /// Its destination is a service's address.
    ServiceAddress,
    /// Its destination is neither this node's address nor in a network that this node serves.
    ForeignDestination,
}

/// How many packets were dropped, by cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DroppedCounts([u64; Dropped::ALL.len()]);

/// Where a packet from this machine goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Destination {
    /// To a service, if there is one of that id, of a peer or of this node.
    Service {
        /// Whose service.
        node: PeerId,
        /// Which service.
        service: ServiceId,
    },
    /// To the service that a local IPv4 address stands for, if it does.
    LocalService(Ipv4Addr),
    /// To a peer, or a network behind it.
    Node(PeerId),
    /// To this node, or a network that it serves: the kernel need not have asked.
    Ours,
    /// Nobody is there.
    Nobody,
}

impl Dropped {
    /// Every cause, in the order of its number.
    pub const ALL: [Self; 5] = [
        Self::Malformed,
        Self::UnknownPeer,
        Self::ForeignSource,
        Self::ServiceAddress,
        Self::ForeignDestination,
    ];
}

impl DroppedCounts {
    /// Counts a packet.
    pub fn add(&mut self, cause: Dropped) {
        self.0[cause as usize] += 1;
    }

    /// How many were dropped for `cause`.
    pub fn of(&self, cause: Dropped) -> u64 {
        self.0[cause as usize]
    }
}

/// Whether a packet that came from a peer may be handed to the kernel.
///
/// # Errors
/// The first rule that it breaks.
pub fn admit(peers: &PeerTable, from: &PeerId, packet: &[u8]) -> Result<(), Dropped> {
    if peers.is_own(from) || peers.by_id(from).is_none() {
        return Err(Dropped::UnknownPeer);
    }
    let ip = Ip::parse(packet).map_err(|_| Dropped::Malformed)?;
    if node_of(peers, ip.source) != Some(*from) {
        return Err(Dropped::ForeignSource);
    }
    if is_service(peers, ip.destination) {
        return Err(Dropped::ServiceAddress);
    }
    if node_of(peers, ip.destination) != Some(*peers.own().id()) {
        return Err(Dropped::ForeignDestination);
    }
    Ok(())
}

/// Where a packet goes that the kernel has put into the network, by its destination.
pub fn route(peers: &PeerTable, destination: IpAddr) -> Destination {
    if let IpAddr::V6(address) = destination
        && SERVICES_IPV6.contains(&address)
    {
        return match peers.by_service_address(address) {
            Some((peer, service)) => Destination::Service { node: *peer.id(), service },
            None => Destination::Nobody,
        };
    }
    if let IpAddr::V4(address) = destination
        && peers.local_net().contains(&address)
    {
        return Destination::LocalService(address);
    }
    match node_of(peers, destination) {
        Some(node) if peers.is_own(&node) => Destination::Ours,
        Some(node) => Destination::Node(node),
        None => Destination::Nobody,
    }
}

/// Whose address it is: a node's own, or one in a network behind it.
fn node_of(peers: &PeerTable, address: IpAddr) -> Option<PeerId> {
    if !is_routable(address) {
        return None;
    }
    peers.by_address(address).or_else(|| peers.by_route(address)).map(|peer| *peer.id())
}

fn is_service(peers: &PeerTable, address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => peers.local_net().contains(&address),
        IpAddr::V6(address) => SERVICES_IPV6.contains(&address),
    }
}

/// Whether an address is a single machine's, on whatever network: not of a group, not of this link or
/// machine only, and not an IPv4 one in IPv6's clothes.
fn is_routable(address: IpAddr) -> bool {
    if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
        return false;
    }
    match address {
        IpAddr::V4(address) => !address.is_link_local() && address != Ipv4Addr::BROADCAST,
        IpAddr::V6(address) => {
            Ipv6Addr::to_ipv4_mapped(&address).is_none() && !address.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::samples::{FIRST, SECOND, entry, id, made_up, table};
    use hypertap_wire::ip::{UDP, write_header};
    use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
    use proptest::prelude::*;

    const FIRST_V6: &str = "fd00:6879:7072:7370:6163:6500:f26:ea70";
    const SECOND_V6: &str = "fd00:6879:7072:7370:6163:6500:b497:d158";

    fn packet(source: &str, destination: &str) -> Vec<u8> {
        let mut packet = vec![0; 60];
        let (source, destination) =
            (source.parse().expect("source"), destination.parse().expect("destination"));
        let len = packet.len() - hypertap_wire::ip::header_len(source);
        write_header(&mut packet, source, destination, UDP, len).expect("room");
        packet
    }

    fn from_bob(source: &str, destination: &str) -> Result<(), Dropped> {
        admit(&table(), &id(SECOND), &packet(source, destination))
    }

    #[test]
    fn a_peer_may_send_from_its_addresses_and_networks_to_ours() {
        for (source, destination) in [
            ("100.64.4.143", "100.64.132.22"),
            (SECOND_V6, FIRST_V6),
            ("10.2.255.1", "100.64.132.22"),
            ("100.64.4.143", "10.1.0.1"),
            ("2001:db8::1", FIRST_V6),
        ] {
            assert_eq!(from_bob(source, destination), Ok(()), "{source} to {destination}");
        }
    }

    #[test]
    fn a_peer_may_not_send_in_anothers_name() {
        for (source, destination) in [
            ("100.64.132.22", "100.64.132.22"),
            (FIRST_V6, FIRST_V6),
            ("fd00:6879:7072:7370:6163:6500::1", FIRST_V6),
            ("10.1.0.9", "100.64.132.22"),
            ("10.3.0.1", "100.64.132.22"),
            ("8.8.8.8", "100.64.132.22"),
            ("fd00:6879:7072:7370:7376:b497:d158:3b9b", FIRST_V6),
            ("198.18.0.1", "100.64.132.22"),
            ("127.0.0.1", "100.64.132.22"),
            ("::ffff:100.64.4.143", FIRST_V6),
            ("fe80::1", FIRST_V6),
        ] {
            assert_eq!(
                from_bob(source, destination),
                Err(Dropped::ForeignSource),
                "{source} to {destination}"
            );
        }
    }

    #[test]
    fn the_longest_route_says_whose_a_source_is() {
        let third = made_up(&[3]);
        let sent = |source| admit(&table(), &third, &packet(source, "100.64.132.22"));
        assert_eq!(sent("10.3.0.1"), Ok(()));
        assert_eq!(sent("10.2.0.1"), Err(Dropped::ForeignSource), "bob's, though within 10.0.0.0/8");
        assert_eq!(sent("10.1.0.1"), Err(Dropped::ForeignSource), "ours");
    }

    #[test]
    fn a_default_route_covers_none_of_the_networks_own_addresses() {
        let peers = [
            entry(id(FIRST), "alice", &["::/0"]),
            entry(id(SECOND), "bob", &["0.0.0.0/0"]),
            entry(made_up(&[3]), "", &[]),
        ];
        let table = PeerTable::new(id(FIRST), None, peers, LOCAL_SERVICES_IPV4).expect("a good list");
        let from_bob = |source, destination| admit(&table, &id(SECOND), &packet(source, destination));
        assert_eq!(from_bob("8.8.8.8", "100.64.132.22"), Ok(()));
        for source in ["100.64.9.9", "198.18.0.1", "127.0.0.1", "224.0.0.1", "0.0.0.0", "169.254.0.1"] {
            assert_eq!(from_bob(source, "100.64.132.22"), Err(Dropped::ForeignSource), "{source}");
        }
        assert_eq!(from_bob(SECOND_V6, "2001:db8::1"), Ok(()));
        for destination in ["ff02::1", "::1", "fe80::1", "fd00:6879:7072:7370:6163:6500::9"] {
            assert_eq!(from_bob(SECOND_V6, destination), Err(Dropped::ForeignDestination), "{destination}");
        }
        assert_eq!(
            from_bob(SECOND_V6, "fd00:6879:7072:7370:7376:f26:ea70:3b9b"),
            Err(Dropped::ServiceAddress)
        );
        assert_eq!(route(&table, "1.1.1.1".parse().unwrap()), Destination::Node(id(SECOND)));
        assert_eq!(route(&table, "255.255.255.255".parse().unwrap()), Destination::Nobody);
        assert_eq!(route(&table, "100.64.9.9".parse().unwrap()), Destination::Nobody);
    }

    #[test]
    fn a_service_address_takes_no_packets() {
        for (source, destination) in [
            (SECOND_V6, "fd00:6879:7072:7370:7376:f26:ea70:3b9b"),
            (SECOND_V6, "fd00:6879:7072:7370:7376::1"),
            ("100.64.4.143", "198.19.255.1"),
        ] {
            assert_eq!(from_bob(source, destination), Err(Dropped::ServiceAddress), "{destination}");
        }
    }

    #[test]
    fn a_peer_may_not_send_through_us() {
        for (source, destination) in [
            ("100.64.4.143", "100.64.4.143"),
            ("100.64.4.143", "10.3.0.1"),
            ("100.64.4.143", "10.2.0.1"),
            ("100.64.4.143", "127.0.0.1"),
            ("100.64.4.143", "192.168.0.1"),
            ("2001:db8::1", "2001:db8::2"),
        ] {
            let dropped = from_bob(source, destination);
            assert_eq!(dropped, Err(Dropped::ForeignDestination), "{source} to {destination}");
        }
    }

    #[test]
    fn strangers_and_broken_packets_are_dropped() {
        let good = packet("100.64.4.143", "100.64.132.22");
        let sent = |from: &PeerId, packet: &[u8]| admit(&table(), from, packet);
        assert_eq!(sent(&made_up(&[9]), &good), Err(Dropped::UnknownPeer));
        assert_eq!(sent(&id(FIRST), &good), Err(Dropped::UnknownPeer), "this node is no peer");
        for broken in [&[][..], &good[..59], &[0x45], &[0xff; 60]] {
            assert_eq!(sent(&id(SECOND), broken), Err(Dropped::Malformed));
        }
    }

    #[test]
    fn drops_are_counted_by_cause() {
        let mut counts = DroppedCounts::default();
        for (at, cause) in Dropped::ALL.into_iter().enumerate() {
            (0..=at).for_each(|_| counts.add(cause));
        }
        assert_eq!(Dropped::ALL.map(|cause| counts.of(cause)), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn a_destination_is_found_by_its_address() {
        let web = ServiceId([0x3b, 0x9b]);
        for (address, destination) in [
            (
                "fd00:6879:7072:7370:7376:b497:d158:3b9b",
                Destination::Service { node: id(SECOND), service: web },
            ),
            (
                "fd00:6879:7072:7370:7376:f26:ea70:3b9b",
                Destination::Service { node: id(FIRST), service: web },
            ),
            ("fd00:6879:7072:7370:7376::3b9b", Destination::Nobody),
            ("198.18.0.1", Destination::LocalService(Ipv4Addr::new(198, 18, 0, 1))),
            ("100.64.4.143", Destination::Node(id(SECOND))),
            (SECOND_V6, Destination::Node(id(SECOND))),
            ("100.64.132.22", Destination::Ours),
            (FIRST_V6, Destination::Ours),
            ("100.64.0.1", Destination::Nobody),
            ("10.2.0.1", Destination::Node(id(SECOND))),
            ("10.3.0.1", Destination::Node(made_up(&[3]))),
            ("10.1.0.1", Destination::Ours),
            ("11.0.0.1", Destination::Nobody),
            ("ff02::2", Destination::Nobody),
        ] {
            assert_eq!(route(&table(), address.parse().expect("an address")), destination, "{address}");
        }
    }

    proptest! {
        #[test]
        fn no_packet_panics(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = admit(&table(), &id(SECOND), &bytes);
        }
    }
}
