//! IPv4 addresses for services, for programs that speak no IPv6. They are given out on this machine
//! alone and mean nothing to any other.
//!
//! Who asks for a service's address gets the one that it had before. A new one is the next that was
//! never given. When all are, or as many as are allowed, one is given again: of those that no connection
//! ever used the one that was not asked for for longest, else the one that was not used for longest. An
//! address that a program may still have is not given again: then there is none. So who asks for one name
//! after the other, of a peer where every name is there, takes nobody's address away.
//!
//! What is to outlive the process is a [`LocalIpv4State`], to be kept when [`LocalIpv4::revision`] has
//! changed. The time is what has passed since the process began.

use std::collections::{BTreeMap, HashMap};
use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_wire::label::Label;
use hypertap_wire::service_address::{NodeId, ServiceId};
use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

/// How many addresses are given out unless told otherwise.
pub const DEFAULT_LIMIT: usize = 65_536;
/// How long an address may be kept by who asked for it, in seconds.
pub const TTL: u32 = 60;

/// For how long an address that no connection used is not given to another.
const KEPT_UNUSED: Duration = Duration::from_secs(2 * TTL as u64);
/// The same for one that connections use: programs keep addresses longer than they may.
const KEPT_USED: Duration = Duration::from_secs(3600);

/// The service that an address stands for. Two names of one node may give one id, so the name is part
/// of it when it is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LocalService {
    /// The service's node.
    pub node: NodeId,
    /// The service's id.
    pub service: ServiceId,
    /// The service's name, when it is known.
    pub name: Option<Label>,
}

/// Which address stands for which service, and since when it was not used.
#[derive(Clone, Debug)]
pub struct LocalIpv4 {
    net: Ipv4Net,
    limit: usize,
    by_service: BTreeMap<LocalService, Given>,
    by_address: HashMap<Ipv4Addr, LocalService>,
    /// In the order in which they are given again.
    by_use: BTreeMap<Use, Ipv4Addr>,
    /// Counts uses.
    uses: u64,
    /// All addresses before this one are given.
    next: u32,
    revision: u64,
}

#[derive(Clone, Copy, Debug)]
struct Given {
    address: Ipv4Addr,
    /// Its key in `by_use`.
    last: Use,
    /// When it was last asked for or used.
    at: Duration,
}

/// How an address was last used: by none but who asked for it, or by connections; and how many uses
/// there had been before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Use {
    is_by_connections: bool,
    count: u64,
}

impl Given {
    fn is_kept(&self, now: Duration) -> bool {
        let kept = if self.last.is_by_connections { KEPT_USED } else { KEPT_UNUSED };
        now.saturating_sub(self.at) < kept
    }
}

/// What outlives the process: which address stands for which service, in the order in which they are
/// given again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LocalIpv4State(Vec<StateEntry>);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StateEntry {
    address: Ipv4Addr,
    node: [u8; 4],
    service: [u8; 2],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<Label>,
    /// Whether connections used it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    used: bool,
}

impl LocalIpv4 {
    /// At most `limit` addresses of a network, none of which is given. Its first and last address, the
    /// network's own and the broadcast address, never are.
    pub fn new(net: Ipv4Net, limit: usize) -> Self {
        let hosts = 1_usize.checked_shl(u32::from(32 - net.prefix_len())).unwrap_or(usize::MAX);
        Self {
            net,
            limit: limit.min(hosts.saturating_sub(2)),
            by_service: BTreeMap::new(),
            by_address: HashMap::new(),
            by_use: BTreeMap::new(),
            uses: 0,
            next: net.network().to_bits().saturating_add(1),
            revision: 0,
        }
    }

    /// As [`LocalIpv4::new`], with what was given before. What is not of the network, is there twice or
    /// is more than the limit is left out, what is given again first before the rest. The time is 0.
    pub fn restore(net: Ipv4Net, limit: usize, state: LocalIpv4State) -> Self {
        let mut restored = Self::new(net, limit);
        let surplus = state.0.len().saturating_sub(restored.limit);
        for entry in state.0.into_iter().skip(surplus) {
            let StateEntry { address, node, service, name, used } = entry;
            let key = LocalService { node: NodeId(node), service: ServiceId(service), name };
            let is_taken =
                restored.by_address.contains_key(&address) || restored.by_service.contains_key(&key);
            if restored.is_usable(address) && !is_taken {
                restored.give(key, address, used, Duration::ZERO);
            }
        }
        restored.revision = 0;
        restored
    }

    /// What is to outlive the process.
    pub fn state(&self) -> LocalIpv4State {
        let entry = |address: &Ipv4Addr, used| {
            let LocalService { node, service, name } = self.by_address.get(address)?.clone();
            Some(StateEntry { address: *address, node: node.0, service: service.0, name, used })
        };
        let entries = self.by_use.iter().filter_map(|(last, address)| entry(address, last.is_by_connections));
        LocalIpv4State(entries.collect())
    }

    /// Changes whenever an address is given.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// How many addresses are given.
    pub fn len(&self) -> usize {
        self.by_address.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_address.is_empty()
    }

    /// The address that stands for a service, for who asks. `None` when the network has none, none is
    /// allowed, or all are given and none may be taken.
    pub fn allocate(&mut self, service: &LocalService, now: Duration) -> Option<Ipv4Addr> {
        if let Some(given) = self.by_service.get(service) {
            let (address, is_used) = (given.address, given.last.is_by_connections);
            self.note(address, is_used, now);
            return Some(address);
        }
        let address = if self.len() < self.limit { self.next_free() } else { None };
        let address = match address {
            Some(address) => address,
            None => self.take(now)?,
        };
        self.give(service.clone(), address, false, now);
        Some(address)
    }

    /// The service that an address stands for.
    pub fn service(&self, address: Ipv4Addr) -> Option<&LocalService> {
        self.by_address.get(&address)
    }

    /// The address that stands for a service, if one does.
    pub fn address(&self, service: &LocalService) -> Option<Ipv4Addr> {
        self.by_service.get(service).map(|given| given.address)
    }

    /// The name of a service as it was asked for, if it has an address.
    pub fn name_of(&self, node: NodeId, service: ServiceId) -> Option<&Label> {
        let first = LocalService { node, service, name: None };
        let (found, _) = self.by_service.range(first..).find(|(found, _)| found.name.is_some())?;
        (found.node == node && found.service == service).then_some(found.name.as_ref())?
    }

    /// Says that a connection uses an address, so that others are given again before it.
    pub fn touch(&mut self, address: Ipv4Addr, now: Duration) {
        self.note(address, true, now);
    }

    fn note(&mut self, address: Ipv4Addr, is_by_connections: bool, now: Duration) {
        let Some(given) = self.by_address.get(&address).and_then(|service| self.by_service.get_mut(service))
        else {
            return;
        };
        self.by_use.remove(&given.last);
        *given = Given { address, last: Use { is_by_connections, count: self.uses }, at: now };
        self.by_use.insert(given.last, address);
        self.uses += 1;
    }

    fn give(&mut self, service: LocalService, address: Ipv4Addr, is_by_connections: bool, now: Duration) {
        let last = Use { is_by_connections, count: self.uses };
        self.by_service.insert(service.clone(), Given { address, last, at: now });
        self.by_address.insert(address, service);
        self.by_use.insert(last, address);
        self.uses += 1;
        self.revision += 1;
    }

    /// Takes an address from the service that has it. The first of the unused and the first of the used are
    /// those that are kept no longer before all others of their kind.
    fn take(&mut self, now: Duration) -> Option<Ipv4Addr> {
        let first_used = Use { is_by_connections: true, count: 0 };
        let firsts = [self.by_use.iter().next(), self.by_use.range(first_used..).next()];
        let (last, address) = firsts.into_iter().flatten().find_map(|(last, address)| {
            let given = self.by_service.get(self.by_address.get(address)?)?;
            (!given.is_kept(now)).then_some((*last, *address))
        })?;
        self.by_use.remove(&last);
        if let Some(service) = self.by_address.remove(&address) {
            self.by_service.remove(&service);
        }
        Some(address)
    }

    fn next_free(&mut self) -> Option<Ipv4Addr> {
        loop {
            let address = Ipv4Addr::from_bits(self.next);
            if !self.is_usable(address) {
                return None;
            }
            self.next = self.next.saturating_add(1);
            if !self.by_address.contains_key(&address) {
                return Some(address);
            }
        }
    }

    fn is_usable(&self, address: Ipv4Addr) -> bool {
        self.net.contains(&address) && address != self.net.network() && address != self.net.broadcast()
    }
}

#[cfg(test)]
mod tests;
