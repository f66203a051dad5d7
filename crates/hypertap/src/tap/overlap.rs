//! Networks that two interfaces have: what is sent to one is sent to either, whichever route comes first.

use std::net::IpAddr;

use hypertap_platform::TapSpec;
use ipnet::IpNet;
use nix::ifaddrs::{InterfaceAddress, getifaddrs};

/// Says in the log which other links have addresses in the networks that an interface is to have.
pub fn warn_of_overlaps(spec: &TapSpec) {
    let Ok(links) = getifaddrs() else { return };
    let there: Vec<(String, IpNet)> = links
        .filter_map(|link| Some((network(&link)?, link)))
        .map(|(network, link)| (link.interface_name, network))
        .collect();
    for (address, prefix) in spec.addresses() {
        let Ok(ours) = IpNet::new(address, prefix) else { continue };
        let option = if address.is_ipv4() { "--ip-address" } else { "--ip6-address" };
        for (link, theirs) in there.iter().filter(|(_, theirs)| overlap(&ours, theirs)) {
            tracing::warn!(
                link,
                "{link} has {theirs}, in the network of {option} {ours}: packets go to one of the two only; \
                 choose another network with {option}"
            );
        }
    }
}

/// A link's address with its network.
fn network(link: &InterfaceAddress) -> Option<IpNet> {
    let of = |address: nix::sys::socket::SockaddrStorage| -> Option<IpAddr> {
        let v4 = address.as_sockaddr_in().map(|address| address.ip().into());
        v4.or_else(|| address.as_sockaddr_in6().map(|address| address.ip().into()))
    };
    let (address, mask) = (of(link.address?)?, of(link.netmask?)?);
    IpNet::with_netmask(address, mask).ok()
}

/// Whether two networks have an address in common. Every link has the local one of IPv6 (RFC 4291, 2.5.6).
fn overlap(one: &IpNet, other: &IpNet) -> bool {
    let is_local = matches!(one.addr(), IpAddr::V6(address) if address.is_unicast_link_local());
    !is_local && (one.contains(&other.network()) || other.contains(&one.network()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_overlap_where_one_is_in_the_other() {
        for (one, other, wanted) in [
            ("192.168.0.5/24", "192.168.0.10/24", true),
            ("192.168.0.5/24", "192.168.1.10/24", false),
            ("10.7.7.1/24", "10.0.0.5/8", true),
            ("10.0.0.1/8", "10.7.7.1/32", true),
            ("10.0.0.1/8", "fd00::1/64", false),
            ("fd00::1/64", "fd00::2/128", true),
            ("fe80::5/64", "fe80::1/64", false),
        ] {
            let of = |text: &str| text.parse().expect("good");
            assert_eq!(overlap(&of(one), &of(other)), wanted, "{one} {other}");
        }
    }
}
