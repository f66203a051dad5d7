//! A node's interface: a TUN whose routes stand in the machine's own table.
//!
//! Addresses and routes are the interface's, and it is its descriptor's: all of it goes when the
//! process does, whatever ends it, so nothing is written down. The routes lead to addresses that
//! nobody else has, so there is nothing of the machine's that they could hide.

use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteMetric, RouteScope, RouteType,
};

use super::links::{self, family_of};
use super::netlink::{Netlink, is_absent};
use super::rules::PROTOCOL;
use super::{ipv6, tun};
use crate::node_link::{NodeLinkSpec, NodeRoutes};
use crate::privileged::{MachineError, Offload, TunSpec};

/// Packets that wait in the interface until the node reads them. Where thousands of connections send at
/// once, as their timers make them, most of it would be lost in the kernel's own 500, again and again. As segments
/// they may be 64 KiB each, 256 MiB in all while the node is stopped; what connections send is theirs anyway.
const QUEUE_LENGTH: u32 = 4096;

/// A node's interface, and the socket through which its routes are changed.
pub struct NodeLink {
    netlink: Netlink,
    name: String,
    index: u32,
    addresses: [IpAddr; 2],
    routes: NodeRoutes,
}

impl NodeLink {
    /// Makes the interface with its addresses and routes, in the calling thread's network namespace, and
    /// sets it up: whole or not at all. It goes when the descriptor, a non-blocking queue with a virtio-net
    /// header before each packet, is closed.
    ///
    /// # Errors
    /// [`MachineError::NameTaken`], or what the kernel refused, which without its rights is all of it.
    pub fn open(spec: &NodeLinkSpec, routes: &NodeRoutes) -> Result<(Self, OwnedFd), MachineError> {
        let mut netlink =
            Netlink::open().map_err(|error| MachineError::of("open a netlink socket", error))?;
        let made = tun::create(&mut netlink, &tun_spec(spec))?;
        let mut link = Self {
            netlink,
            name: made.name,
            index: made.index,
            addresses: [spec.ipv4.into(), spec.ipv6.into()],
            routes: NodeRoutes::new(),
        };
        let queue = made.queues.into_iter().next();
        let furnished = match queue {
            // Without it each packet has no header, and would be misread.
            _ if made.offload == Offload::None => Err(MachineError::Failed {
                doing: "create a TUN interface".to_owned(),
                reason: "this kernel does not hand over segments (TUNSETOFFLOAD)".to_owned(),
            }),
            Some(queue) => link.furnish(spec, routes).map(|()| queue),
            None => unreachable!("a TUN has at least one queue"),
        };
        match furnished {
            Ok(queue) => Ok((link, queue)),
            Err(error) => {
                // It goes by itself, but later where another thread's child has a copy of the descriptor.
                let _ = links::delete_tun(&mut link.netlink, link.index, Some(&link.name));
                Err(error)
            }
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its interface index.
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Changes the routes into the interface to these, all of it or nothing.
    ///
    /// # Errors
    /// The first route that the kernel refused.
    pub fn set_routes(&mut self, routes: &NodeRoutes) -> Result<(), MachineError> {
        let differs = |of: &NodeRoutes, than: &NodeRoutes| -> Vec<(IpNet, Option<u32>)> {
            of.iter().filter(|(net, mtu)| than.get(net) != Some(mtu)).map(|(net, mtu)| (*net, *mtu)).collect()
        };
        let (old, new) = (differs(&self.routes, routes), differs(routes, &self.routes));
        let steps: Vec<_> =
            old.iter().map(|route| (*route, false)).chain(new.iter().map(|route| (*route, true))).collect();
        let mut done = Vec::with_capacity(steps.len());
        for (route, add) in steps {
            match self.change(route, add) {
                Ok(()) => done.push((route, add)),
                Err(error) if !add && is_absent(&error) => {}
                Err(error) => {
                    for (route, add) in done.into_iter().rev() {
                        if let Err(error) = self.change(route, !add) {
                            tracing::warn!(%error, net = %route.0, "a route could not be put back as it was");
                        }
                    }
                    let doing = format!("route {} into {}", route.0, self.name);
                    return Err(MachineError::of(doing, error));
                }
            }
        }
        self.routes.clone_from(routes);
        Ok(())
    }

    /// Puts back what the kernel took from the interface when somebody set it down.
    ///
    /// # Errors
    /// The first address or route that the kernel refused; the others are there.
    pub fn restore(&mut self) -> Result<(), MachineError> {
        let mut outcome = Ok(());
        let mut note = |what: String, done: io::Result<()>| match done {
            Err(error) if error.raw_os_error() != Some(libc::EEXIST) && outcome.is_ok() => {
                outcome = Err(MachineError::of(what, error));
            }
            _ => {}
        };
        for address in self.addresses {
            let added = links::add_address(&mut self.netlink, self.index, address);
            note(format!("give {} the address {address} again", self.name), added);
        }
        let routes: Vec<_> = self.routes.iter().map(|(net, mtu)| (*net, *mtu)).collect();
        for route in routes {
            let added = self.change(route, true);
            note(format!("route {} into {} again", route.0, self.name), added);
        }
        outcome
    }

    fn furnish(&mut self, spec: &NodeLinkSpec, routes: &NodeRoutes) -> Result<(), MachineError> {
        let (netlink, index, name) = (&mut self.netlink, self.index, self.name.clone());
        let of = |doing: String| move |error: io::Error| MachineError::of(doing, error);
        if let Some(reason) = ipv6::is_off() {
            return Err(MachineError::Failed {
                doing: format!("use IPv6 on {name}"),
                reason: reason.to_owned(),
            });
        }
        ipv6::allow(&name);
        links::set_mtu(netlink, index, spec.mtu).map_err(of(format!("set MTU {} on {name}", spec.mtu)))?;
        links::set_queue_length(netlink, index, QUEUE_LENGTH)
            .map_err(of(format!("set the queue length {QUEUE_LENGTH} on {name}")))?;
        links::forbid_autoconfiguration(netlink, index, &name)
            .map_err(of(format!("keep {name} without other addresses")))?;
        for address in self.addresses {
            links::add_address(netlink, index, address)
                .map_err(of(format!("give {name} the address {address}")))?;
        }
        links::set_up(netlink, index).map_err(of(format!("set up interface {name}")))?;
        self.set_routes(routes)
    }

    fn change(&mut self, (net, mtu): (IpNet, Option<u32>), add: bool) -> io::Result<()> {
        let route = route(net, mtu, self.index);
        if add {
            self.netlink.request(RouteNetlinkMessage::NewRoute(route), NLM_F_CREATE | NLM_F_EXCL)
        } else {
            self.netlink.request(RouteNetlinkMessage::DelRoute(route), 0)
        }
    }
}

fn tun_spec(spec: &NodeLinkSpec) -> TunSpec {
    TunSpec {
        name: Some(spec.name.clone()),
        ipv4: spec.ipv4,
        ipv6: Some(spec.ipv6),
        mtu: spec.mtu,
        queues: 1,
        offload: true,
        bypass_mark: 0,
    }
}

fn route(net: IpNet, mtu: Option<u32>, index: u32) -> RouteMessage {
    let mut route = RouteMessage::default();
    route.header.address_family = family_of(net.addr());
    route.header.destination_prefix_length = net.prefix_len();
    route.header.table = RouteHeader::RT_TABLE_MAIN;
    route.header.protocol = PROTOCOL;
    route.header.scope = if net.addr().is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    route.header.kind = RouteType::Unicast;
    let destination = match net.addr() {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    route.attributes.push(RouteAttribute::Destination(destination));
    route.attributes.push(RouteAttribute::Oif(index));
    if let Some(mtu) = mtu {
        route.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
    }
    route
}
