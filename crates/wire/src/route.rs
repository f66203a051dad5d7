//! Routes of a tunnel: what goes in, what stays out, and how both are written.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Whether a route leads into the tunnel or around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RouteKind {
    /// Goes into the tunnel.
    Included,
    /// Goes where the machine would send it without us.
    Excluded,
}

/// A change of a tunnel's routing table, applied whole or not at all. Removals come first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteChange {
    /// Routes that are there and go.
    pub remove: Vec<(IpNet, RouteKind)>,
    /// Routes that are not there and come.
    pub add: Vec<(IpNet, RouteKind)>,
}

impl RouteChange {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.remove.is_empty() && self.add.is_empty()
    }
}

/// Reads "addr" (a host route) or "addr/prefix", IPv4 or IPv6, and masks the host bits.
///
/// `None` when it is neither. White space, zone indices, signs, leading zeros, and IPv4 addresses in
/// any but the dotted form of four decimal numbers are refused.
pub fn parse_route(text: &str) -> Option<IpNet> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(IpNet::from(address));
    }
    let (address, prefix) = text.split_once('/')?;
    let length: u8 = prefix.parse().ok()?;
    // What parses may still have a sign or leading zeros.
    if length.to_string() != prefix {
        return None;
    }
    Some(IpNet::new(address.parse().ok()?, length).ok()?.trunc())
}

/// Writes a route the way [`parse_route`] reads it: a host route without its prefix.
pub fn format_route(net: &IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn address_is_a_host_route() {
        assert_eq!(parse_route("5.5.5.6").map(|n| n.to_string()).as_deref(), Some("5.5.5.6/32"));
        assert_eq!(parse_route("fd00::1").map(|n| n.to_string()).as_deref(), Some("fd00::1/128"));
    }

    #[test]
    fn host_bits_are_masked() {
        assert_eq!(parse_route("10.1.2.3/8").map(|n| n.to_string()).as_deref(), Some("10.0.0.0/8"));
        assert_eq!(parse_route("0.0.0.0/0").map(|n| n.to_string()).as_deref(), Some("0.0.0.0/0"));
    }

    #[test]
    fn anything_else_is_refused() {
        for bad in [
            "",
            " ",
            "10",
            "10.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/00",
            "fd00::/064",
            "/8",
            "/+8",
            "10.0.0.0/8/8",
            "10.0.0.0 /8",
            " 10.0.0.0/8",
            "::/129",
            "fe80::1%eth0",
            "010.0.0.1",
            "10.0.0.0/0008",
            "a.b.c.d",
        ] {
            assert_eq!(parse_route(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(address: [u8; 16], v4: bool, prefix in 0u8..=128) {
            let address = if v4 {
                IpAddr::from([address[0], address[1], address[2], address[3]])
            } else {
                IpAddr::from(address)
            };
            let net = IpNet::new(address, if v4 { prefix % 33 } else { prefix }).expect("in range").trunc();
            prop_assert_eq!(parse_route(&format_route(&net)), Some(net));
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = parse_route(&text);
        }
    }
}
