//! Where nodes are to be found: multiaddrs to listen at and to dial, the domain, the local network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hypertap_wire::label::{Label, LabelError};
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{NODES_IPV4, is_inside};
use ipnet::Ipv4Net;
use multiaddr::{Multiaddr, Protocol};

/// Where nodes listen unless told otherwise.
const LISTEN: [&str; 4] = [
    "/ip4/0.0.0.0/tcp/8001",
    "/ip4/0.0.0.0/udp/8001/quic-v1",
    "/ip6/::/tcp/8001",
    "/ip6/::/udp/8001/quic-v1",
];

/// libp2p's public bootstrap nodes.
const BOOTSTRAP: [&str; 6] = [
    "/dnsaddr/bootstrap.libp2p.io/p2p/12D3KooWEZXjE41uU4EL2gpkAQeDXYok6wghN7wwNVPF5bwkaNfS",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmQCU2EcMqAqQPR2i9bChDtGNJchTbq5TbXJJ16u19uLTa",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmZa1sAxajnQjVM8WjWXoMbmPd7NsWhfKsPkErzpm9wGkp",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmbLHAnMoJPWSCR5Zhtx6BHJX9KiKNN6tpvbUcqanj75Nb",
    "/dnsaddr/bootstrap.libp2p.io/p2p/QmcZf59bWwK5XFi76CZX8cbJ4BhTzzA3gU1ZjYZcYW3dwt",
];

/// The longest domain in characters, so that there is room before it for an interface (15), a node (63), a
/// service (63) and what a wildcard stands for, in the 253 of a name (RFC 1035, section 2.3.4).
const MAX_DOMAIN: usize = 63;

/// Networks that no local address of a service can be taken from: "this" network, loopback, multicast
/// and what is reserved, and the nodes' own addresses.
const NO_LOCAL: [Ipv4Net; 4] = [
    Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 8),
    Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(224, 0, 0, 0), 3),
    NODES_IPV4,
];

/// Why a text is no address of the kind that is wanted.
#[derive(Debug, thiserror::Error)]
pub(super) enum AddressError {
    #[error("it is no multiaddr ({0}): expected one as in /ip4/192.0.2.1/tcp/8001")]
    Syntax(multiaddr::Error),
    #[error("nothing can listen there: expected /ip4/A or /ip6/A, then /tcp/PORT or /udp/PORT/quic-v1")]
    NoListener,
    #[error("{0} means nothing without its link, which cannot be said here: expected another address, or ::")]
    OfLink(Ipv6Addr),
    #[error("it is an IPv4 address: expected /ip4/{0}")]
    Mapped(Ipv4Addr),
    #[error("{0} is an address of many: expected one of this machine's, 0.0.0.0 or ::")]
    OfMany(IpAddr),
    #[error("nothing can be dialled there: expected /ip4, /ip6 or /dns with a port, or /dnsaddr, first")]
    NotDialled,
    #[error("{0} is an address inside this network, which nothing outside it has")]
    Inside(IpAddr),
    #[error("it ends with the id of another peer, {0}")]
    OtherPeer(PeerId),
    #[error("it does not say whose address it is: expected /p2p/ID at its end")]
    NoPeer,
}

/// Where the node listens without a word about it.
pub(super) fn default_listen() -> Vec<Multiaddr> {
    own(&LISTEN)
}

/// The bootstrap nodes without a word about them.
pub(super) fn default_bootstrap() -> Vec<Multiaddr> {
    own(&BOOTSTRAP)
}

fn own(texts: &[&str]) -> Vec<Multiaddr> {
    texts.iter().map(|text| text.parse().expect("it is ours, and a test reads it")).collect()
}

fn parse(text: &str) -> Result<Multiaddr, AddressError> {
    text.parse().map_err(AddressError::Syntax)
}

/// An address to listen at.
pub(super) fn listen(text: &str) -> Result<Multiaddr, AddressError> {
    let address = parse(text)?;
    let parts: Vec<Protocol<'_>> = address.iter().collect();
    let ip = match parts.as_slice() {
        [ip, Protocol::Tcp(_)] | [ip, Protocol::Udp(_), Protocol::QuicV1] => ip_of(ip),
        _ => None,
    };
    let ip = ip.ok_or(AddressError::NoListener)?;
    outside(ip)?;
    of_host(ip).map(|()| address)
}

/// Whether a socket can be bound to it.
///
/// # Errors
/// It is an address of many, or one that is different on each link (which a multiaddr cannot name), or IPv4 in IPv6's
/// clothes (which a socket of IPv6 alone does not take).
fn of_host(ip: IpAddr) -> Result<(), AddressError> {
    match ip {
        IpAddr::V6(ip) if ip.is_unicast_link_local() => Err(AddressError::OfLink(ip)),
        IpAddr::V6(v6) if let Some(v4) = v6.to_ipv4_mapped() => Err(AddressError::Mapped(v4)),
        ip if ip.is_multicast() || ip == Ipv4Addr::BROADCAST => Err(AddressError::OfMany(ip)),
        _ => Ok(()),
    }
}

/// An address to dial a peer at; `peer`'s own id may be at its end.
pub(super) fn of_peer(text: &str, peer: &PeerId) -> Result<Multiaddr, AddressError> {
    let address = dialled(text)?;
    match last_peer(&address) {
        Some(other) if other != *peer => Err(AddressError::OtherPeer(other)),
        _ => Ok(address),
    }
}

/// An address of a bootstrap node, with its id at the end.
pub(super) fn bootstrap(text: &str) -> Result<Multiaddr, AddressError> {
    let address = dialled(text)?;
    if last_peer(&address).is_some() { Ok(address) } else { Err(AddressError::NoPeer) }
}

fn dialled(text: &str) -> Result<Multiaddr, AddressError> {
    let address = parse(text)?;
    let mut parts = address.iter();
    let host = parts.next().ok_or(AddressError::NotDialled)?;
    let has_port = matches!(parts.next(), Some(Protocol::Tcp(1..) | Protocol::Udp(1..)));
    let is_place = match &host {
        Protocol::Dnsaddr(_) => true,
        Protocol::Dns(_) | Protocol::Dns4(_) | Protocol::Dns6(_) => has_port,
        host => has_port && ip_of(host).is_some_and(|ip| !ip.is_unspecified() && !ip.is_multicast()),
    };
    if let Some(ip) = ip_of(&host) {
        outside(ip)?;
    }
    if is_place { Ok(address) } else { Err(AddressError::NotDialled) }
}

fn ip_of(part: &Protocol<'_>) -> Option<IpAddr> {
    match part {
        Protocol::Ip4(ip) => Some((*ip).into()),
        Protocol::Ip6(ip) => Some((*ip).into()),
        _ => None,
    }
}

fn outside(ip: IpAddr) -> Result<(), AddressError> {
    if is_inside(ip) { Err(AddressError::Inside(ip)) } else { Ok(()) }
}

/// The id that an address ends with.
fn last_peer(address: &Multiaddr) -> Option<PeerId> {
    match address.iter().last()? {
        Protocol::P2p(id) => PeerId::from_multihash(&id.to_bytes()).ok(),
        _ => None,
    }
}

/// Why a text is no domain.
#[derive(Debug, thiserror::Error)]
pub(super) enum DomainError {
    #[error("one of its labels is none: {0}; expected a DNS suffix, as in vpn.internal")]
    Label(LabelError),
    #[error("it is longer than {MAX_DOMAIN} characters, which leaves too little room for names before it")]
    TooLong,
}

/// A DNS suffix, in lower case and without a dot at the end.
pub(super) fn domain(text: &str) -> Result<String, DomainError> {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.split('.').try_for_each(|label| Label::new(label).map(drop)).map_err(DomainError::Label)?;
    if text.len() > MAX_DOMAIN { Err(DomainError::TooLong) } else { Ok(text.to_ascii_lowercase()) }
}

/// Why a text is no network for local addresses.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error("it is no IPv4 network: expected one as in 198.18.0.0/15")]
    NoNetwork,
    #[error("it is too large or too small: expected a prefix length from 8 to 28")]
    Size,
    #[error("some of it is in {0}, which is for something else: expected one as in 198.18.0.0/15")]
    Taken(Ipv4Net),
}

/// A network for services' local addresses, without host bits.
pub(super) fn local_network(text: &str) -> Result<Ipv4Net, LocalError> {
    let net: Ipv4Net = text.parse().map_err(|_| LocalError::NoNetwork)?;
    let net = net.trunc();
    if !(8..=28).contains(&net.prefix_len()) {
        return Err(LocalError::Size);
    }
    match NO_LOCAL.iter().find(|taken| taken.contains(&net) || net.contains(*taken)) {
        Some(taken) => Err(LocalError::Taken(*taken)),
        None => Ok(net),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEER: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
    const OTHER: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";

    #[test]
    fn the_defaults_are_good_by_their_own_rules() {
        assert_eq!(default_listen().len(), 4);
        assert!(LISTEN.iter().all(|text| listen(text).is_ok()));
        assert_eq!(default_bootstrap().len(), 6);
        assert!(BOOTSTRAP.iter().all(|text| bootstrap(text).is_ok()));
    }

    #[test]
    fn one_listens_at_an_address_with_tcp_or_quic() {
        assert!(listen("/ip4/127.0.0.1/tcp/0").is_ok());
        for bad in
            ["/ip4/0.0.0.0", "/ip4/0.0.0.0/udp/8001", "/dns/a/tcp/1", "/ip4/0.0.0.0/tcp/1/ws", "/tcp/1"]
        {
            assert!(matches!(listen(bad), Err(AddressError::NoListener)), "{bad}");
        }
        for bad in ["", "8001", "0.0.0.0:8001", "/ip4/0.0.0/tcp/1", "/ip4/0.0.0.0/tcp/65536", "/ip4"] {
            let error = listen(bad).expect_err(bad).to_string();
            assert!(error.contains("/ip4"), "{bad}: {error}");
        }
        assert!(matches!(listen("/ip4/100.64.1.2/tcp/1"), Err(AddressError::Inside(_))));
        for (bad, reason) in [
            ("/ip6/fe80::1", "without its link"),
            ("/ip6/::ffff:192.0.2.1", "expected /ip4/192.0.2.1"),
            ("/ip4/224.0.0.9", "of many"),
            ("/ip6/ff02::1", "of many"),
            ("/ip4/255.255.255.255", "of many"),
        ] {
            let error = listen(&format!("{bad}/udp/8001/quic-v1")).expect_err(bad).to_string();
            assert!(error.contains(reason), "{bad}: {error}");
        }
    }

    #[test]
    fn a_peer_is_dialled_outside_the_network_and_under_its_own_id() {
        let peer = PEER.parse().unwrap();
        for good in [
            "/ip4/192.168.1.5/tcp/8001",
            "/ip6/2001:db8::1/udp/8001/quic-v1",
            "/dns4/a.example/tcp/8001/p2p/12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN",
            &format!("/ip4/192.0.2.1/tcp/8001/p2p/{OTHER}/p2p-circuit"),
            &format!("/ip4/192.0.2.1/tcp/8001/p2p/{OTHER}/p2p-circuit/p2p/{PEER}"),
        ] {
            assert_eq!(of_peer(good, &peer).unwrap().to_string(), good);
        }
        let other = of_peer(&format!("/ip4/192.0.2.1/tcp/8001/p2p/{OTHER}"), &peer);
        assert!(matches!(other, Err(AddressError::OtherPeer(_))));
        for bad in
            ["/ip4/0.0.0.0/tcp/1", "/ip4/192.0.2.1/tcp/0", "/ip4/192.0.2.1", "/ip4/224.0.0.1/udp/1/quic-v1"]
        {
            assert!(matches!(of_peer(bad, &peer), Err(AddressError::NotDialled)), "{bad}");
        }
        for bad in ["/ip4/100.64.1.2/tcp/1", "/ip6/fd00:6879:7072:7370:6163:6500::1/tcp/1"] {
            assert!(matches!(of_peer(bad, &peer), Err(AddressError::Inside(_))), "{bad}");
        }
    }

    #[test]
    fn a_bootstrap_node_has_its_id_at_the_end() {
        assert!(matches!(bootstrap("/dnsaddr/bootstrap.libp2p.io"), Err(AddressError::NoPeer)));
        assert!(bootstrap(&format!("/ip4/192.0.2.1/tcp/1/p2p/{PEER}")).is_ok());
    }

    #[test]
    fn a_domain_is_labels_without_case() {
        assert_eq!(domain("VPN.Internal.").unwrap(), "vpn.internal");
        for bad in ["", ".", "a..b", ".a", "a b", &format!("{0}.{0}", "a".repeat(40))] {
            assert!(domain(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_local_network_is_one_that_nobody_else_is_in() {
        assert_eq!(local_network("10.1.2.3/16").unwrap().to_string(), "10.1.0.0/16");
        for bad in
            ["10.0.0.0", "10.0.0.0/7", "10.0.0.0/29", "127.1.0.0/16", "100.64.0.0/10", "240.0.0.0/8", "::/8"]
        {
            assert!(local_network(bad).is_err(), "{bad}");
        }
    }
}
