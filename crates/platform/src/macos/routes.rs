//! The tunnel's routes, by messages on a routing socket (route(4)). Never run.
//!
//! macOS has one table, which is the machine's own, so the routes stand in it. An included route leads
//! into the utun. All addresses at once are two halves, which are longer than the machine's default
//! route and so need not replace it. An excluded route leads to the machine's gateway as it is when the
//! route is added, or nowhere where there is none. Where the machine has a route of exactly that
//! network already, an excluded one needs none of ours, and an included one cannot be.
//!
//! A route is deleted by its network: one that somebody put in the place of ours goes with it.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;
use route_manager::{Route, RouteKind as Way, RouteManager};

use crate::privileged::{MachineError, RouteChange, RouteKind};

/// The routes of one tunnel.
pub(crate) struct Routes {
    manager: RouteManager,
    index: u32,
    name: String,
    held: BTreeMap<IpNet, Held>,
}

#[derive(Clone)]
struct Held {
    kind: RouteKind,
    /// What stands in the machine's table for it.
    ours: Vec<Route>,
}

/// One thing that was done to the machine's table, and can be taken back.
enum Done {
    Added(Route),
    Removed(Route),
}

impl Routes {
    /// None yet, into the interface of that index and name.
    pub(crate) fn new(index: u32, name: &str) -> io::Result<Self> {
        Ok(Self { manager: RouteManager::new()?, index, name: name.to_owned(), held: BTreeMap::new() })
    }

    /// Makes a change whole or not at all.
    pub(crate) fn apply(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        let (mut held, mut done) = (self.held.clone(), Vec::new());
        let outcome = self.try_apply(change, &mut held, &mut done);
        match outcome {
            Ok(()) => self.held = held,
            Err(_) => self.take_back(done),
        }
        outcome
    }

    fn try_apply(
        &mut self,
        change: &RouteChange,
        held: &mut BTreeMap<IpNet, Held>,
        done: &mut Vec<Done>,
    ) -> Result<(), MachineError> {
        for (net, kind) in &change.remove {
            let Some(found) = held.remove(&net.trunc()) else { continue };
            for route in found.ours {
                let removed = delete(&mut self.manager, &route);
                removed.map_err(|error| MachineError::of(self.to_text("remove", *net, *kind), error))?;
                done.push(Done::Removed(route));
            }
        }
        let gateways = if change.add.iter().any(|(_, kind)| *kind == RouteKind::Excluded) {
            self.manager.list().map_err(|error| MachineError::of("list the machine's routes", error))?
        } else {
            Vec::new()
        };
        for (net, kind) in &change.add {
            let net = net.trunc();
            let mut ours = Vec::new();
            for route in self.routes_for(net, *kind, &gateways) {
                match self.manager.add(&route) {
                    Ok(()) => {
                        done.push(Done::Added(route.clone()));
                        ours.push(route);
                    }
                    // The machine's own leads elsewhere than into the tunnel, which is what was asked for.
                    Err(error) if *kind == RouteKind::Excluded && is_there(&error) => {}
                    Err(error) => return Err(MachineError::of(self.to_text("add", net, *kind), error)),
                }
            }
            held.insert(net, Held { kind: *kind, ours });
        }
        Ok(())
    }

    fn take_back(&mut self, done: Vec<Done>) {
        for step in done.into_iter().rev() {
            let (taken_back, route) = match step {
                Done::Added(route) => (delete(&mut self.manager, &route), route),
                Done::Removed(route) => (self.manager.add(&route), route),
            };
            if let Err(error) = taken_back {
                tracing::warn!(%error, %route, "cannot take a route change back");
            }
        }
    }

    /// Puts back what is missing, and leads excluded routes to the gateway as it is now. Says how many
    /// routes were put in; what fails does not keep the rest from being tried.
    pub(crate) fn restore(&mut self) -> Result<usize, MachineError> {
        let list = self.manager.list();
        let list = list.map_err(|error| MachineError::of("list the machine's routes", error))?;
        let (mut added, mut failed) = (0, None);
        let mut held = std::mem::take(&mut self.held);
        for (net, Held { kind, ours }) in &mut held {
            let wanted = self.routes_for(*net, *kind, &list);
            for old in ours.iter().filter(|old| !wanted.contains(old)) {
                // Gone already, if the interface of the old gateway is.
                let _ = delete(&mut self.manager, old);
            }
            let kept: Vec<_> = ours.iter().filter(|route| wanted.contains(route)).cloned().collect();
            let missing = wanted.iter().filter(|route| !list.iter().any(|found| is_same(found, route)));
            *ours = kept;
            for route in missing {
                match self.manager.add(route) {
                    Ok(()) => {
                        added += 1;
                        if !ours.contains(route) {
                            ours.push(route.clone());
                        }
                    }
                    Err(error) if *kind == RouteKind::Excluded && is_there(&error) => {}
                    Err(error) => {
                        failed =
                            failed.or(Some(MachineError::of(self.to_text("put back", *net, *kind), error)));
                    }
                }
            }
        }
        self.held = held;
        failed.map_or(Ok(added), Err)
    }

    /// Removes all of them; the first failure is the result, the rest is still tried.
    pub(crate) fn remove_all(&mut self) -> Result<(), MachineError> {
        let mut outcome = Ok(());
        for (net, Held { kind, ours }) in std::mem::take(&mut self.held) {
            for route in ours {
                if let Err(error) = delete(&mut self.manager, &route) {
                    let text = self.to_text("remove", net, kind);
                    outcome = outcome.and(Err(MachineError::of(text, error)));
                }
            }
        }
        outcome
    }

    /// What stands in the machine's table for a route of the tunnel.
    fn routes_for(&self, net: IpNet, kind: RouteKind, list: &[Route]) -> Vec<Route> {
        let plain = |net: IpNet| Route::new(net.addr(), net.prefix_len());
        match kind {
            RouteKind::Included if net.prefix_len() > 0 => vec![plain(net).with_if_index(self.index)],
            RouteKind::Included => {
                let halves = net.subnets(1).into_iter().flatten();
                halves.map(|half| plain(half).with_if_index(self.index)).collect()
            }
            // The machine's default route is not touched as it is.
            RouteKind::Excluded if net.prefix_len() == 0 => Vec::new(),
            RouteKind::Excluded => match default_route(list, net.addr().is_ipv4(), Some(self.index)) {
                None => vec![plain(net).with_kind(Way::Unreachable)],
                Some(way) => match (way.gateway(), way.if_index()) {
                    (Some(gateway), index) => vec![plain(net).with_gateway(scoped(gateway, index))],
                    (None, Some(index)) => vec![plain(net).with_if_index(index)],
                    (None, None) => vec![plain(net).with_kind(Way::Unreachable)],
                },
            },
        }
    }

    fn to_text(&self, verb: &str, net: IpNet, kind: RouteKind) -> String {
        match kind {
            RouteKind::Included => format!("{verb} route {net} into {}", self.name),
            RouteKind::Excluded => format!("{verb} route {net} around {}", self.name),
        }
    }
}

/// The machine's default route of a family, other than into `tunnel`.
pub(crate) fn default_route(list: &[Route], ipv4: bool, tunnel: Option<u32>) -> Option<&Route> {
    list.iter().find(|route| {
        let destination = route.destination();
        destination.is_ipv4() == ipv4
            && destination.is_unspecified()
            && route.prefix() == 0
            && route.kind() == Way::Unicast
            // A route of one interface's own sockets only.
            && !route.if_scope()
            && (tunnel.is_none() || route.if_index() != tunnel)
    })
}

/// A link-local gateway with the interface in its second 16 bits, as the kernel wants it in a message.
fn scoped(gateway: IpAddr, index: Option<u32>) -> IpAddr {
    match (gateway, index.and_then(|index| u16::try_from(index).ok())) {
        (IpAddr::V6(address), Some(index)) if address.is_unicast_link_local() => {
            let mut segments = address.segments();
            segments[1] = index;
            Ipv6Addr::from(segments).into()
        }
        _ => gateway,
    }
}

/// Whether a route of the machine's table is the one that we would add.
fn is_same(found: &Route, wanted: &Route) -> bool {
    let index = wanted.if_index().is_none() || found.if_index() == wanted.if_index();
    let gateway = wanted.gateway().is_none_or(|gateway| {
        found.gateway().map(|found_at| scoped(found_at, found.if_index())) == Some(gateway)
    });
    (found.destination(), found.prefix(), found.kind())
        == (wanted.destination(), wanted.prefix(), wanted.kind())
        && index
        && gateway
}

/// Deletes a route. One that is gone, or whose interface is, is no error.
fn delete(manager: &mut RouteManager, route: &Route) -> io::Result<()> {
    match manager.delete(route) {
        Err(error) if matches!(error.raw_os_error(), Some(libc::ESRCH | libc::ENXIO | libc::ENODEV)) => {
            Ok(())
        }
        other => other,
    }
}

fn is_there(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EEXIST)
}
