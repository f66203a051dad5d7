//! The tunnel's routing tables.
//!
//! An included route is `dev TUN`; an excluded one is `throw`, which ends the look-up in this
//! table and lets the machine's own decide.

use std::collections::{BTreeMap, HashSet};
use std::io;

use hypertap_wire::command::MIN_MTU_IPV6;
use ipnet::IpNet;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::links::{self, family_of, unspecified};
use super::netlink::{Netlink, gone_is_fine, is_absent, is_no_family};
use super::rules::{FAMILIES, PROTOCOL};
use crate::privileged::{MachineError, RouteChange, RouteKind};

/// Where a tunnel's routes are: its table, its link's index and its link's name.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The table's number.
    pub(crate) table: u32,
    /// The link's index.
    pub(crate) index: u32,
    /// The link's name, for messages.
    pub(crate) name: &'a str,
}

#[derive(Clone, Copy)]
enum Step {
    Add(IpNet, RouteKind),
    Remove(IpNet, RouteKind),
}

/// Makes a change whole, or takes back the part of it that was made.
pub(crate) fn apply(netlink: &mut Netlink, place: Place, change: &RouteChange) -> Result<(), MachineError> {
    let steps: Vec<Step> = change
        .remove
        .iter()
        .map(|&(net, kind)| Step::Remove(net, kind))
        .chain(change.add.iter().map(|&(net, kind)| Step::Add(net, kind)))
        .collect();
    let outcomes = netlink
        .pipeline(steps.iter().map(|step| step.request(place)))
        .map_err(|error| MachineError::of(format!("change the routes of {}", place.name), error))?;

    let mut failed = None;
    let mut done = Vec::with_capacity(steps.len());
    for (step, outcome) in steps.iter().zip(outcomes) {
        match outcome {
            None => done.push(*step),
            // A route that the kernel dropped by itself (its link went down) needs no removal,
            // and is not put back.
            Some(error) if step.is_removal() && is_absent(&error) => {}
            Some(error) => failed = failed.or(Some((*step, error))),
        }
    }
    let Some((step, error)) = failed else { return Ok(()) };
    let undo = done.iter().rev().map(|step| step.inverse().request(place));
    match netlink.pipeline(undo) {
        Ok(outcomes) => {
            for error in outcomes.into_iter().flatten() {
                tracing::warn!(%error, link = place.name, "a route could not be put back as it was");
            }
        }
        Err(error) => tracing::warn!(%error, link = place.name, "routes could not be put back as they were"),
    }
    Err(step.refused(netlink, place, error))
}

/// Adds those of `wanted` that are not there, and says how many were added.
pub(crate) fn restore(
    netlink: &mut Netlink,
    place: Place,
    wanted: &BTreeMap<IpNet, RouteKind>,
) -> Result<usize, MachineError> {
    let failed = |error| MachineError::of(format!("put the routes of {} back", place.name), error);
    let there: HashSet<_> = dump(netlink, place.table)
        .map_err(failed)?
        .iter()
        .filter_map(|route| kind_of(route, place))
        .collect();
    let missing: Vec<Step> = wanted
        .iter()
        .filter(|(net, kind)| !there.contains(&(**net, **kind)))
        .map(|(net, kind)| Step::Add(*net, *kind))
        .collect();
    let outcomes = netlink.pipeline(missing.iter().map(|step| step.request(place))).map_err(failed)?;
    let refused = missing.iter().zip(outcomes).find_map(|(step, outcome)| Some((step, outcome?)));
    match refused {
        Some((step, error)) => Err(step.refused(netlink, place, error)),
        None => Ok(missing.len()),
    }
}

/// What a route of the table is to us, if it is one that a [`RouteChange`] makes.
fn kind_of(route: &RouteMessage, place: Place) -> Option<(IpNet, RouteKind)> {
    let kind = match route.header.kind {
        RouteType::Throw => RouteKind::Excluded,
        RouteType::Unicast if route.attributes.contains(&RouteAttribute::Oif(place.index)) => {
            RouteKind::Included
        }
        _ => return None,
    };
    let destination = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(address)) => Some((*address).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(address)) => Some((*address).into()),
        _ => None,
    });
    let address = destination.unwrap_or_else(|| unspecified(route.header.address_family));
    Some((IpNet::new(address, route.header.destination_prefix_length).ok()?, kind))
}

/// As [`add_defaults`], for the family or families whose default is not there; how many those were.
pub(crate) fn restore_defaults(netlink: &mut Netlink, place: Place) -> io::Result<usize> {
    let there: Vec<_> = dump(netlink, place.table)?
        .iter()
        .filter(|route| route.header.destination_prefix_length == 0)
        .map(|route| route.header.address_family)
        .collect();
    let missing = FAMILIES.into_iter().filter(|family| !there.contains(family));
    let mut added = 0;
    for family in missing {
        added += usize::from(add_default(netlink, place, family)?);
    }
    Ok(added)
}

/// Sends everything that is looked up in `place.table` into the link. Where the link cannot carry
/// IPv6 (an MTU below 1280, or IPv6 switched off), IPv6 becomes unreachable instead: nothing that
/// should go into the tunnel may leave another way.
pub(crate) fn add_defaults(netlink: &mut Netlink, place: Place) -> io::Result<()> {
    FAMILIES.into_iter().try_for_each(|family| add_default(netlink, place, family).map(drop))
}

/// `false` where the machine has no IPv6.
fn add_default(netlink: &mut Netlink, place: Place, family: AddressFamily) -> io::Result<bool> {
    let everything = IpNet::new_assert(unspecified(family), 0);
    let mut add = |kind, index| {
        let message = route(everything, kind, place.table, index);
        netlink.request(RouteNetlinkMessage::NewRoute(message), NLM_F_CREATE | NLM_F_EXCL)
    };
    let mut added = add(RouteType::Unicast, Some(place.index));
    if family == AddressFamily::Inet6 {
        added = added.or_else(|_| add(RouteType::Unreachable, None));
    }
    match added {
        Err(error) if family == AddressFamily::Inet6 && is_no_family(&error) => Ok(false),
        other => other.map(|()| true),
    }
}

/// Removes our routes from a table, and says how many there were.
pub(crate) fn flush(netlink: &mut Netlink, table: u32) -> io::Result<usize> {
    let mut routes = dump(netlink, table)?;
    routes.retain(|route| route.header.protocol == PROTOCOL);
    let count = routes.len();
    let requests = routes.into_iter().map(|route| (RouteNetlinkMessage::DelRoute(deletion(route)), 0));
    for outcome in netlink.pipeline(requests)? {
        gone_is_fine(outcome.map_or(Ok(()), Err))?;
    }
    Ok(count)
}

/// Whether a table has no route, of whomever.
pub(crate) fn is_empty(netlink: &mut Netlink, table: u32) -> io::Result<bool> {
    Ok(dump(netlink, table)?.is_empty())
}

impl Step {
    fn is_removal(self) -> bool {
        matches!(self, Self::Remove(..))
    }

    fn inverse(self) -> Self {
        match self {
            Self::Add(net, kind) => Self::Remove(net, kind),
            Self::Remove(net, kind) => Self::Add(net, kind),
        }
    }

    fn request(self, place: Place) -> (RouteNetlinkMessage, u16) {
        let message = |net, kind| match kind {
            RouteKind::Included => route(net, RouteType::Unicast, place.table, Some(place.index)),
            RouteKind::Excluded => route(net, RouteType::Throw, place.table, None),
        };
        match self {
            Self::Add(net, kind) => {
                (RouteNetlinkMessage::NewRoute(message(net, kind)), NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::Remove(net, kind) => (RouteNetlinkMessage::DelRoute(message(net, kind)), 0),
        }
    }

    /// The error for what the kernel refused.
    fn refused(self, netlink: &mut Netlink, place: Place, error: io::Error) -> MachineError {
        let doing = self.to_text(place);
        let is_six = matches!(self, Self::Add(IpNet::V6(_), RouteKind::Included));
        let no_device = is_six && error.raw_os_error() == Some(libc::ENODEV);
        // To IPv6 a link with too small an MTU is none.
        if no_device && links::find(netlink, place.index).is_ok_and(|link| link.is_some()) {
            let reason = format!(
                "its MTU is too small for IPv6, which needs {MIN_MTU_IPV6} bytes; stop the tunnel and start it \
                 with \"mtu\":{MIN_MTU_IPV6} or more, or leave IPv6 routes out"
            );
            return MachineError::Failed { doing, reason };
        }
        MachineError::of(doing, error)
    }

    fn to_text(self, place: Place) -> String {
        let (verb, net, kind) = match self {
            Self::Add(net, kind) => ("add", net, kind),
            Self::Remove(net, kind) => ("remove", net, kind),
        };
        match kind {
            RouteKind::Included => format!("{verb} route {net} dev {}", place.name),
            RouteKind::Excluded => format!("{verb} route {net} around {}", place.name),
        }
    }
}

fn route(net: IpNet, kind: RouteType, table: u32, index: Option<u32>) -> RouteMessage {
    let mut message = RouteMessage::default();
    let net = net.trunc();
    message.header.address_family = family_of(net.addr());
    message.header.destination_prefix_length = net.prefix_len();
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.header.protocol = PROTOCOL;
    message.header.scope = if index.is_some() { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = kind;
    message.attributes.push(RouteAttribute::Table(table));
    if net.prefix_len() > 0 {
        message.attributes.push(RouteAttribute::Destination(net.addr().into()));
    }
    message.attributes.extend(index.map(RouteAttribute::Oif));
    message
}

/// The least that names a route to the kernel.
fn deletion(found: RouteMessage) -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header = found.header;
    message.header.table = RouteHeader::RT_TABLE_UNSPEC;
    message.header.flags = RouteFlags::empty();
    message.attributes = found.attributes;
    message.attributes.retain(|attribute| {
        matches!(
            attribute,
            RouteAttribute::Table(_)
                | RouteAttribute::Destination(RouteAddress::Inet(_) | RouteAddress::Inet6(_))
                | RouteAttribute::Priority(_)
        )
    });
    message
}

/// The routes of a table, of both families.
fn dump(netlink: &mut Netlink, table: u32) -> io::Result<Vec<RouteMessage>> {
    let mut routes = Vec::new();
    for family in FAMILIES {
        let mut message = RouteMessage::default();
        message.header.address_family = family;
        message.attributes.push(RouteAttribute::Table(table));
        let found = match netlink.dump(&RouteNetlinkMessage::GetRoute(message)) {
            // A table in which nothing was ever put does not exist.
            Err(error) if is_absent(&error) || is_no_family(&error) => continue,
            other => other?,
        };
        routes.extend(found.into_iter().filter_map(|message| match message {
            // An old kernel sends every table.
            RouteNetlinkMessage::NewRoute(route)
                if route.attributes.contains(&RouteAttribute::Table(table)) =>
            {
                Some(route)
            }
            _ => None,
        }));
    }
    Ok(routes)
}
