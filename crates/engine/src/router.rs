//! Longest-prefix match over IPv4 and IPv6 prefixes (RFC 1812, section 5.2.4.3).
//!
//! One hash table for each prefix length that is in use, searched from the longest: a look-up
//! costs as many probes as there are lengths, however many prefixes there are.
//!
//! For the services door, which chooses by a packet's destination who gets it. The tunnel door needs no
//! such choice, for there the kernel's routing table makes it ([`crate::routes`]); so nothing in the
//! binary uses this yet.

use std::collections::HashMap;
use std::net::IpAddr;

use ipnet::IpNet;

/// Maps prefixes to values and addresses to the value of their longest prefix.
#[derive(Clone, Debug)]
pub struct Router<T> {
    v4: Family<T>,
    v6: Family<T>,
}

/// The tables of one address family, longest prefix first; none is empty.
#[derive(Clone, Debug)]
struct Family<T> {
    bits: u8,
    tables: Vec<(u8, HashMap<u128, T>)>,
}

fn key(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

impl<T> Default for Router<T> {
    fn default() -> Self {
        let family = |bits| Family { bits, tables: Vec::new() };
        Self { v4: family(32), v6: family(128) }
    }
}

impl<T> Router<T> {
    /// An empty table.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the value of a prefix (host bits are ignored) and returns the one it had.
    pub fn insert(&mut self, net: IpNet, value: T) -> Option<T> {
        self.family_mut(net).insert(net.prefix_len(), key(net.trunc().addr()), value)
    }

    /// Removes a prefix and returns its value.
    pub fn remove(&mut self, net: IpNet) -> Option<T> {
        self.family_mut(net).remove(net.prefix_len(), key(net.trunc().addr()))
    }

    /// The value of exactly this prefix.
    pub fn exact(&self, net: IpNet) -> Option<&T> {
        let family = if matches!(net, IpNet::V4(_)) { &self.v4 } else { &self.v6 };
        let (_, table) = family.tables.iter().find(|(length, _)| *length == net.prefix_len())?;
        table.get(&key(net.trunc().addr()))
    }

    /// The value of the longest prefix that covers an address.
    pub fn lookup(&self, address: IpAddr) -> Option<&T> {
        let family = if address.is_ipv4() { &self.v4 } else { &self.v6 };
        let address = key(address);
        family.tables.iter().find_map(|(length, table)| table.get(&(address & family.mask(*length))))
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.v4.tables.clear();
        self.v6.tables.clear();
    }

    fn family_mut(&mut self, net: IpNet) -> &mut Family<T> {
        if matches!(net, IpNet::V4(_)) { &mut self.v4 } else { &mut self.v6 }
    }
}

impl<T> Family<T> {
    /// The bits of an address that a prefix of `length` fixes.
    fn mask(&self, length: u8) -> u128 {
        u128::MAX.checked_shl(u32::from(self.bits - length)).unwrap_or(0)
    }

    fn insert(&mut self, length: u8, prefix: u128, value: T) -> Option<T> {
        let at = self.tables.partition_point(|(longer, _)| *longer > length);
        if self.tables.get(at).is_none_or(|(found, _)| *found != length) {
            self.tables.insert(at, (length, HashMap::new()));
        }
        self.tables[at].1.insert(prefix, value)
    }

    fn remove(&mut self, length: u8, prefix: u128) -> Option<T> {
        let at = self.tables.iter().position(|(found, _)| *found == length)?;
        let removed = self.tables[at].1.remove(&prefix);
        if self.tables[at].1.is_empty() {
            self.tables.remove(at);
        }
        removed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn net(text: &str) -> IpNet {
        text.parse().expect("a prefix")
    }

    #[test]
    fn the_longest_prefix_wins() {
        let mut router = Router::new();
        for (prefix, value) in [("0.0.0.0/0", 0), ("10.0.0.0/8", 8), ("10.1.0.0/16", 16), ("::/0", 60)] {
            router.insert(net(prefix), value);
        }
        let lookup =
            |router: &Router<i32>, text: &str| router.lookup(text.parse().expect("an address")).copied();
        assert_eq!(lookup(&router, "10.1.2.3"), Some(16));
        assert_eq!(lookup(&router, "10.2.2.3"), Some(8));
        assert_eq!(lookup(&router, "11.2.2.3"), Some(0));
        assert_eq!(lookup(&router, "fd00::1"), Some(60));
        assert_eq!(router.remove(net("10.1.0.0/16")), Some(16));
        assert_eq!(lookup(&router, "10.1.2.3"), Some(8));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_linear_search(
            prefixes in proptest::collection::vec((any::<bool>(), any::<u8>(), 0u8..=128), 0..40),
            removed in proptest::collection::vec(any::<prop::sample::Index>(), 0..10),
            probes in proptest::collection::vec((any::<bool>(), any::<u8>()), 1..20),
        ) {
            // Few distinct addresses, so that prefixes cover one another.
            let address = |v4: bool, seed: u8| -> IpAddr {
                if v4 { [10, seed & 3, seed >> 6, seed].into() } else { [0xfd00, 0, 0, 0, 0, 0, u16::from(seed & 3), u16::from(seed)].into() }
            };
            let mut router = Router::new();
            let mut list: Vec<(IpNet, usize)> = Vec::new();
            for (value, (v4, seed, length)) in prefixes.into_iter().enumerate() {
                let net = IpNet::new(address(v4, seed), if v4 { length % 33 } else { length }).expect("in range").trunc();
                router.insert(net, value);
                list.retain(|(known, _)| *known != net);
                list.push((net, value));
            }
            for index in removed {
                if list.is_empty() { break; }
                let (net, value) = list.swap_remove(index.index(list.len()));
                prop_assert_eq!(router.remove(net), Some(value));
            }
            for (v4, seed) in probes {
                let probe = address(v4, seed);
                let best = list.iter().filter(|(net, _)| net.contains(&probe)).max_by_key(|(net, _)| net.prefix_len());
                prop_assert_eq!(router.lookup(probe), best.map(|(_, value)| value));
            }
        }
    }
}
