//! Which addresses go into the tunnel.
//!
//! A prefix is included, excluded, or not there; the latest word on it holds. Which one decides about
//! an address is the business of the kernel's table that mirrors this one: there the longest does.
//! A change is first planned, then done to the kernel's table, and only then entered here, so
//! that a refused change leaves no trace.

use std::collections::BTreeMap;

use hypertap_wire::route::{RouteChange, RouteKind};
use ipnet::IpNet;

/// The included and excluded prefixes of one tunnel.
#[derive(Clone, Debug, Default)]
pub struct RouteTable {
    routes: BTreeMap<IpNet, RouteKind>,
}

impl RouteTable {
    /// A table without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// What adding `nets` would change. A prefix that is there as the other kind is replaced;
    /// one that is there already, or named twice, changes nothing.
    pub fn plan_add(&self, kind: RouteKind, nets: &[IpNet]) -> RouteChange {
        let mut change = RouteChange::default();
        for net in unique(nets) {
            match self.routes.get(&net) {
                Some(known) if *known == kind => continue,
                Some(other) => change.remove.push((net, *other)),
                None => {}
            }
            change.add.push((net, kind));
        }
        change
    }

    /// What removing `nets` would change. One that is not there, or is of the other kind, changes
    /// nothing.
    pub fn plan_remove(&self, kind: RouteKind, nets: &[IpNet]) -> RouteChange {
        let there = |net: &IpNet| self.routes.get(net) == Some(&kind);
        RouteChange {
            remove: unique(nets).into_iter().filter(there).map(|net| (net, kind)).collect(),
            add: Vec::new(),
        }
    }

    /// Enters a change that has been done.
    pub fn apply(&mut self, change: &RouteChange) {
        for (net, _) in &change.remove {
            self.routes.remove(net);
        }
        for (net, kind) in &change.add {
            self.routes.insert(*net, *kind);
        }
    }

    /// The prefixes of one kind, in order.
    pub fn of_kind(&self, kind: RouteKind) -> impl Iterator<Item = IpNet> + '_ {
        self.routes.iter().filter(move |(_, known)| **known == kind).map(|(net, _)| *net)
    }
}

/// Each prefix once, in order of first mention.
fn unique(nets: &[IpNet]) -> Vec<IpNet> {
    let mut seen = std::collections::HashSet::with_capacity(nets.len());
    nets.iter().map(IpNet::trunc).filter(|net| seen.insert(*net)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use RouteKind::{Excluded, Included};

    fn nets(texts: &[&str]) -> Vec<IpNet> {
        texts.iter().map(|text| text.parse().expect("a prefix")).collect()
    }

    fn add(table: &mut RouteTable, kind: RouteKind, texts: &[&str]) -> RouteChange {
        let change = table.plan_add(kind, &nets(texts));
        table.apply(&change);
        change
    }

    #[test]
    fn what_is_there_changes_nothing() {
        let mut table = RouteTable::new();
        add(&mut table, Included, &["10.0.0.0/8"]);
        assert!(table.plan_add(Included, &nets(&["10.0.0.0/8"])).is_empty());
        assert!(table.plan_remove(Included, &nets(&["11.0.0.0/8"])).is_empty());
        assert!(table.plan_remove(Excluded, &nets(&["10.0.0.0/8"])).is_empty());
    }

    #[test]
    fn an_equal_route_of_the_other_kind_is_replaced() {
        let mut table = RouteTable::new();
        add(&mut table, Included, &["10.0.0.0/8"]);
        let change = add(&mut table, Excluded, &["10.0.0.0/8"]);
        let net: IpNet = "10.0.0.0/8".parse().expect("a prefix");
        assert_eq!(change, RouteChange { remove: vec![(net, Included)], add: vec![(net, Excluded)] });
        assert_eq!(table.of_kind(Included).count(), 0);
    }

    #[test]
    fn a_prefix_named_twice_is_one_change() {
        let table = RouteTable::new();
        assert_eq!(table.plan_add(Included, &nets(&["10.0.0.0/8", "10.1.0.0/8"])).add.len(), 1);
    }
}
