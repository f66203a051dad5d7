//! Addresses of peers: which may be dialled, and where from one is known.
//!
//! Nobody is believed about addresses inside our own tunnel, whoever says them. What is learnt from the
//! network (mDNS, identify) has bounds, and names no loopback address unless the peer itself is there.

use std::collections::VecDeque;
use std::net::IpAddr;

use libp2p::multiaddr::Protocol;
use libp2p::{Multiaddr, PeerId};

/// The most addresses of a peer that are kept of each source.
const MAX_LEARNT: usize = 16;

/// The first address's IP, when it has one and no name.
pub(crate) fn ip(address: &Multiaddr) -> Option<IpAddr> {
    address.iter().find_map(|part| match part {
        Protocol::Ip4(ip) => Some(IpAddr::V4(ip)),
        Protocol::Ip6(ip) => Some(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)),
        _ => None,
    })
}

/// The peer at an address's end, and the address without it.
pub(crate) fn split_peer(address: &Multiaddr) -> (Multiaddr, Option<PeerId>) {
    let mut rest = address.clone();
    match rest.pop() {
        Some(Protocol::P2p(peer)) => (rest, Some(peer)),
        _ => (address.clone(), None),
    }
}

/// An address as it is dialled for `peer`, if it may be: of a transport that we have, outside the tunnel,
/// and no other peer's.
pub(crate) fn dialable(
    address: &Multiaddr,
    peer: &PeerId,
    is_inside: fn(IpAddr) -> bool,
) -> Option<Multiaddr> {
    let (address, named) = split_peer(address);
    if named.is_some_and(|named| named != *peer) || !has_transport(&address) {
        return None;
    }
    match ip(&address) {
        Some(ip) if ip.is_unspecified() || ip.is_multicast() || is_inside(ip) => None,
        _ => Some(address),
    }
}

/// The same of an address that somebody in the network told. `near`: whether the teller is on this machine.
pub(crate) fn believable(
    address: &Multiaddr,
    peer: &PeerId,
    near: bool,
    is_inside: fn(IpAddr) -> bool,
) -> Option<Multiaddr> {
    let address = dialable(address, peer, is_inside)?;
    // A name could be anything at the time it is asked for.
    let ip = ip(&address)?;
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    ((near || !ip.is_loopback()) && !is_link_local).then_some(address)
}

/// Whether it is of a network that others have too, so that it may be somebody else's here (RFC 1918, RFC 4193,
/// RFC 6598, and what is this machine's or link's own).
pub(crate) fn is_private(address: &Multiaddr) -> bool {
    match ip(address) {
        Some(IpAddr::V4(ip)) => {
            let is_shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            ip.is_private() || ip.is_link_local() || ip.is_loopback() || is_shared
        }
        Some(IpAddr::V6(ip)) => ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_loopback(),
        None => false,
    }
}

fn has_transport(address: &Multiaddr) -> bool {
    let mut parts = address.iter();
    let host = parts.next();
    if let Some(Protocol::Dnsaddr(_)) = host {
        return true;
    }
    let is_host = matches!(
        host,
        Some(Protocol::Ip4(_) | Protocol::Ip6(_) | Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_))
    );
    is_host
        && matches!(
            (parts.next(), parts.next(), parts.next()),
            (Some(Protocol::Tcp(1..)), None, None) | (Some(Protocol::Udp(1..)), Some(Protocol::QuicV1), None)
        )
}

/// Addresses of one peer from one source, the newest last.
#[derive(Debug, Default)]
pub(crate) struct Learnt(VecDeque<Multiaddr>);

impl Learnt {
    /// Adds one; says whether it is new. The oldest makes room.
    pub(crate) fn add(&mut self, address: Multiaddr) -> bool {
        if self.0.contains(&address) {
            return false;
        }
        if self.0.len() >= MAX_LEARNT {
            self.0.pop_front();
        }
        self.0.push_back(address);
        true
    }

    pub(crate) fn remove(&mut self, address: &Multiaddr) {
        self.0.retain(|known| known != address);
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Multiaddr> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inside(ip: IpAddr) -> bool {
        matches!(ip, IpAddr::V4(ip) if ip.octets()[..2] == [100, 64])
    }

    fn address(text: &str) -> Multiaddr {
        text.parse().expect("a multiaddr")
    }

    #[test]
    fn only_transports_that_we_have_are_dialled() {
        let peer = PeerId::random();
        for good in [
            "/ip4/192.0.2.1/tcp/1",
            "/ip6/2001:db8::1/udp/1/quic-v1",
            "/dns/a.example/tcp/1",
            "/dnsaddr/a.example",
        ] {
            assert_eq!(dialable(&address(good), &peer, inside), Some(address(good)));
        }
        for bad in [
            "/ip4/192.0.2.1/udp/1",
            "/ip4/192.0.2.1/tcp/0",
            "/ip4/192.0.2.1/tcp/1/ws",
            "/ip4/0.0.0.0/tcp/1",
            "/unix/a",
        ] {
            assert_eq!(dialable(&address(bad), &peer, inside), None, "{bad}");
        }
    }

    #[test]
    fn an_address_inside_the_tunnel_is_never_dialled_in_whatever_form() {
        let peer = PeerId::random();
        for text in ["/ip4/100.64.1.2/tcp/1", "/ip6/::ffff:100.64.1.2/udp/1/quic-v1"] {
            assert_eq!(dialable(&address(text), &peer, inside), None, "{text}");
        }
    }

    #[test]
    fn an_address_of_another_peer_is_not_dialled() {
        let (peer, other) = (PeerId::random(), PeerId::random());
        let text = address(&format!("/ip4/192.0.2.1/tcp/1/p2p/{other}"));
        assert_eq!(dialable(&text, &peer, inside), None);
        assert_eq!(dialable(&text, &other, inside), Some(address("/ip4/192.0.2.1/tcp/1")));
    }

    #[test]
    fn loopback_is_believed_of_a_peer_that_is_there_alone() {
        let peer = PeerId::random();
        let loopback = address("/ip4/127.0.0.1/tcp/1");
        assert_eq!(believable(&loopback, &peer, false, inside), None);
        assert_eq!(believable(&loopback, &peer, true, inside), Some(loopback));
    }

    #[test]
    fn no_name_is_believed() {
        assert_eq!(believable(&address("/dns/a.example/tcp/1"), &PeerId::random(), true, inside), None);
    }

    #[test]
    fn what_is_learnt_has_a_bound_and_the_newest_stays() {
        let mut learnt = Learnt::default();
        for port in 1..=100 {
            assert!(learnt.add(address(&format!("/ip4/192.0.2.1/tcp/{port}"))));
        }
        assert!(!learnt.add(address("/ip4/192.0.2.1/tcp/100")));
        assert_eq!(learnt.iter().count(), MAX_LEARNT);
        assert_eq!(learnt.iter().last(), Some(&address("/ip4/192.0.2.1/tcp/100")));
    }
}
