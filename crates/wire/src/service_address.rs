//! The addresses of nodes and services, which are computed and never exchanged.
//!
//! Everybody derives the same addresses from what he knows already: a node's from its peer id, a
//! service's from its node and its name, the DNS listener's from the interface's name. Each is a
//! constant with the bytes of its source folded in by exclusive or, so two sources may give the same:
//! whoever takes them in must look for that.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

use ipnet::{Ipv4Net, Ipv6Net};

use crate::label::Label;
use crate::peer_id::PeerId;

/// Where all nodes' IPv4 addresses are.
pub const NODES_IPV4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(100, 64, 0, 0), 16);
/// Where all nodes' IPv6 addresses are.
pub const NODES_IPV6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x6879, 0x7072, 0x7370, 0x6163, 0x6500, 0, 0), 96);
/// Where all services' IPv6 addresses are.
pub const SERVICES_IPV6: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd00, 0x6879, 0x7072, 0x7370, 0x7376, 0, 0, 0), 80);
/// Where services' IPv4 addresses are, which are given out on one machine for itself (RFC 2544).
pub const LOCAL_SERVICES_IPV4: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(198, 18, 0, 0), 15);

/// Four bytes that stand for a node in addresses.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 4]);

/// Two bytes that stand for a service of a node, in addresses and in stream openings.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(pub [u8; 2]);

impl NodeId {
    /// The node id of a peer.
    pub fn of(peer: &PeerId) -> Self {
        Self(folded([0xde, 0xad, 0xbe, 0xef], peer.as_bytes().iter().copied()))
    }

    /// Whose IPv6 address this is, when it is a node's.
    pub fn of_ipv6(address: Ipv6Addr) -> Option<Self> {
        let [.., a, b, c, d] = address.octets();
        NODES_IPV6.contains(&address).then_some(Self([a, b, c, d]))
    }

    /// The node's IPv6 address.
    pub fn ipv6(self) -> Ipv6Addr {
        with_tail(NODES_IPV6.addr(), self.0)
    }

    /// The addresses of the node's services: the route that leads to it, a /112.
    pub fn service_net(self) -> Ipv6Net {
        Ipv6Net::new_assert(self.service_ipv6(ServiceId([0; 2])), 112)
    }

    /// The IPv6 address of one of the node's services.
    pub fn service_ipv6(self, service: ServiceId) -> Ipv6Addr {
        let ([n0, n1, n2, n3], [s0, s1]) = (self.0, service.0);
        with_tail(SERVICES_IPV6.addr(), [n0, n1, n2, n3, s0, s1])
    }
}

impl ServiceId {
    /// The service id of a name, which is in lower case as every label. The first character does not
    /// count, so names of one node collide easily.
    pub fn of(name: &Label) -> Self {
        // A label is shorter than 256 bytes.
        let weighted = name.as_str().bytes().zip(0_u8..).map(|(byte, index)| byte.wrapping_mul(index));
        Self(folded([0xff, 0xfe], weighted))
    }

    /// Which service of which node an IPv6 address is, when it is a service's.
    pub fn of_ipv6(address: Ipv6Addr) -> Option<(NodeId, Self)> {
        let [.., n0, n1, n2, n3, s0, s1] = address.octets();
        SERVICES_IPV6.contains(&address).then_some((NodeId([n0, n1, n2, n3]), Self([s0, s1])))
    }
}

/// A node's IPv4 address.
pub fn node_ipv4(peer: &PeerId) -> Ipv4Addr {
    let [c, d] = folded([1, 2], peer.as_bytes().iter().copied());
    Ipv4Addr::new(100, 64, c, d)
}

/// Whether an address is inside the network of nodes and services, so that nothing outside it is
/// there: what carries the network may not be dialled at it.
pub fn is_inside(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => NODES_IPV4.contains(&address),
        IpAddr::V6(address) => NODES_IPV6.contains(&address) || SERVICES_IPV6.contains(&address),
    }
}

/// Where the DNS listener of an interface is.
pub fn dns_listener(interface: &str) -> SocketAddrV4 {
    let [b, c, d] = folded([80, 1, 53], interface.bytes());
    let port = interface.bytes().fold(5380_u16, |port, byte| port.wrapping_add(byte.into()) % 40_000 + 5_000);
    SocketAddrV4::new(Ipv4Addr::new(127, b, c, d), port)
}

/// `start` with the bytes folded in, one after the other and round again.
fn folded<const N: usize>(start: [u8; N], bytes: impl Iterator<Item = u8>) -> [u8; N] {
    let mut result = start;
    for (index, byte) in bytes.enumerate() {
        result[index % N] ^= byte;
    }
    result
}

/// An address with other last bytes.
fn with_tail<const N: usize>(address: Ipv6Addr, tail: [u8; N]) -> Ipv6Addr {
    let mut octets = address.octets();
    if let Some(last) = octets.last_chunk_mut() {
        *last = tail;
    }
    octets.into()
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}", u16::from_be_bytes(self.0))
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FIRST: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
    const SECOND: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";

    fn peer(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    fn service(name: &str) -> ServiceId {
        ServiceId::of(&name.parse().unwrap())
    }

    #[test]
    fn nodes_have_the_addresses_that_the_network_knows_them_by() {
        for (id, ipv4, ipv6) in [
            (FIRST, "100.64.132.22", "fd00:6879:7072:7370:6163:6500:f26:ea70"),
            (SECOND, "100.64.4.143", "fd00:6879:7072:7370:6163:6500:b497:d158"),
        ] {
            let node = NodeId::of(&peer(id));
            assert_eq!(node_ipv4(&peer(id)).to_string(), ipv4);
            assert_eq!(node.ipv6().to_string(), ipv6);
            assert_eq!(NodeId::of_ipv6(node.ipv6()), Some(node));
            assert_eq!(ServiceId::of_ipv6(node.ipv6()), None);
        }
    }

    #[test]
    fn services_have_the_ids_that_the_network_knows_them_by() {
        for (name, id) in
            [("http", "17da"), ("ssh", "2f8d"), ("web", "3b9b"), ("example", "a3dd"), ("ab", "ff9c")]
        {
            assert_eq!(service(name).to_string(), id, "{name}");
        }
        assert_eq!(service("WEB"), service("web"));
    }

    #[test]
    fn a_services_address_is_in_its_nodes_net() {
        let node = NodeId::of(&peer(FIRST));
        let address = node.service_ipv6(service("web"));
        assert_eq!(address.to_string(), "fd00:6879:7072:7370:7376:f26:ea70:3b9b");
        assert_eq!(node.service_net().to_string(), "fd00:6879:7072:7370:7376:f26:ea70:0/112");
        assert_eq!(ServiceId::of_ipv6(address), Some((node, service("web"))));
        assert_eq!(NodeId::of_ipv6(address), None);
    }

    #[test]
    fn names_that_are_known_to_collide_do() {
        for names in [
            ["ai", "ci"].as_slice(),
            &["chat", "ldap"],
            &["ftp", "ntp"],
            &["hass", "k8s", "pass"],
            &["idp", "rdp"],
            &["paperless", "www"],
        ] {
            assert!(names.iter().all(|name| service(name) == service(names[0])), "{names:?}");
        }
    }

    #[test]
    fn the_dns_listener_follows_the_interfaces_name() {
        for (interface, listener) in [
            ("hyprspace", "127.43.104.80:11355"),
            ("hs0", "127.56.114.5:20647"),
            ("hs1", "127.56.114.4:20648"),
            ("hypertap", "127.60.122.49:6257"),
        ] {
            assert_eq!(dns_listener(interface).to_string(), listener);
        }
    }

    #[test]
    fn addresses_inside_are_told_from_those_outside() {
        for inside in [
            "100.64.1.2",
            "::ffff:100.64.1.2",
            "fd00:6879:7072:7370:6163:6500::1",
            "fd00:6879:7072:7370:7376::1",
        ] {
            assert!(is_inside(inside.parse().unwrap()), "{inside}");
        }
        for outside in ["100.65.0.1", "127.0.0.1", "fd00:6879:7072:7370:6163:6501::1", "2001:db8::1", "::1"] {
            assert!(!is_inside(outside.parse().unwrap()), "{outside}");
        }
    }

    proptest! {
        #[test]
        fn every_derived_address_is_in_its_range(public: [u8; 32], name in "[a-z0-9_]{1,63}", interface in ".{0,15}") {
            let peer = PeerId::from_ed25519(&public);
            let (node, service) = (NodeId::of(&peer), service(&name));
            prop_assert!(NODES_IPV4.contains(&node_ipv4(&peer)));
            prop_assert_eq!(NodeId::of_ipv6(node.ipv6()), Some(node));
            prop_assert!(node.service_net().contains(&node.service_ipv6(service)));
            prop_assert_eq!(ServiceId::of_ipv6(node.service_ipv6(service)), Some((node, service)));
            let listener = dns_listener(&interface);
            prop_assert!(listener.ip().is_loopback() && listener.port() >= 5000);
        }
    }
}
