//! Links and addresses, by rtnetlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::neighbour_table::{
    NeighbourTableAttribute, NeighbourTableMessage, NeighbourTableParameter,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::ipv6;
use super::netlink::{Netlink, gone_is_fine, is_absent, is_no_family};

/// A link as the kernel has it.
pub(crate) struct Link {
    /// Its name now.
    pub(crate) name: String,
    /// Whether it is a TUN or TAP device.
    pub(crate) tun: bool,
}

/// The link with this index, if there is one.
pub(crate) fn find(netlink: &mut Netlink, index: u32) -> io::Result<Option<Link>> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    let answer = match netlink.query(RouteNetlinkMessage::GetLink(message), 0) {
        Err(error) if is_absent(&error) => return Ok(None),
        other => other?,
    };
    let Some(RouteNetlinkMessage::NewLink(link)) = answer.into_iter().next() else { return Ok(None) };
    let (mut name, mut tun) = (String::new(), false);
    for attribute in link.attributes {
        match attribute {
            LinkAttribute::IfName(found) => name = found,
            LinkAttribute::LinkInfo(infos) => tun = infos.contains(&LinkInfo::Kind(InfoKind::Tun)),
            _ => {}
        }
    }
    Ok(Some(Link { name, tun }))
}

/// Renames a link, which is down. `EEXIST` when another has the name.
pub(crate) fn rename(netlink: &mut Netlink, index: u32, name: &str) -> io::Result<()> {
    change(netlink, index, vec![LinkAttribute::IfName(name.to_owned())], LinkFlags::empty())
}

/// Sets the MTU, in bytes.
pub(crate) fn set_mtu(netlink: &mut Netlink, index: u32, mtu: u32) -> io::Result<()> {
    change(netlink, index, vec![LinkAttribute::Mtu(mtu)], LinkFlags::empty())
}

/// Sets how many packets wait in the link's queue until somebody reads them; later ones are dropped.
pub(crate) fn set_queue_length(netlink: &mut Netlink, index: u32, packets: u32) -> io::Result<()> {
    change(netlink, index, vec![LinkAttribute::TxQueueLen(packets)], LinkFlags::empty())
}

/// Sets the link's own address.
pub(crate) fn set_mac(netlink: &mut Netlink, index: u32, mac: MacAddress) -> io::Result<()> {
    change(netlink, index, vec![LinkAttribute::Address(mac.0.to_vec())], LinkFlags::empty())
}

/// Sets the link up.
pub(crate) fn set_up(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    change(netlink, index, Vec::new(), LinkFlags::Up)
}

/// Keeps the kernel from giving the link an IPv6 address by itself. To be called before the link
/// is set up. A machine, or an MTU, without IPv6 is no error.
pub(crate) fn forbid_autoconfiguration(netlink: &mut Netlink, index: u32, name: &str) -> io::Result<()> {
    // Router advertisements: nobody routes on a TUN; where /proc/sys is read-only the address mode
    // below is enough, since without a link-local address none is asked for.
    for (key, value) in [("accept_ra", "0"), ("autoconf", "0")] {
        let _ = ipv6::write_setting(name, key, value);
    }
    let mode = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
    let attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(mode)])];
    match change(netlink, index, attributes, LinkFlags::empty()) {
        Err(error) if is_no_family(&error) => Ok(()),
        other => other,
    }
}

/// Switches IPv6 neighbour unreachability detection (RFC 4861, 7.3) off: a neighbour stays reachable for
/// days, and one that was not spoken to for long is used for days before it is asked after. The kernel has no
/// switch, and no probes at all (`ucast_solicit` 0) would make it give up each neighbour instead of keep it.
/// Asked by netlink, as `/proc/sys` may be read-only. `ENOENT` where the link has no IPv6.
pub(crate) fn forbid_unreachability_detection(netlink: &mut Netlink, index: u32) -> io::Result<()> {
    // In milliseconds, between 5.8 and 17 days in the end, as the kernel adds a random part. The most that
    // fits in its counters, whatever their step, is 24 days.
    const LONG: u64 = 1_000_000_000;
    let mut message = NeighbourTableMessage::default();
    message.header.family = AddressFamily::Inet6;
    message.attributes.push(NeighbourTableAttribute::Name("ndisc_cache".to_owned()));
    message.attributes.push(NeighbourTableAttribute::Parms(vec![
        NeighbourTableParameter::Ifindex(index),
        NeighbourTableParameter::BaseReachableTime(LONG),
        NeighbourTableParameter::DelayProbeTime(LONG),
    ]));
    netlink.request(RouteNetlinkMessage::SetNeighbourTable(message), 0)
}

/// Gives the link an address of a network that is connected to it, usable at once (no duplicate address
/// detection), and a route to the network with this metric, or the kernel's own where it is 0.
pub(crate) fn add_connected(
    netlink: &mut Netlink,
    index: u32,
    address: IpAddr,
    prefix: u8,
    metric: u32,
) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family_of(address);
    message.header.prefix_len = prefix;
    message.attributes.extend([AddressAttribute::Local(address), AddressAttribute::Address(address)]);
    match address {
        IpAddr::V4(address) if prefix < 31 => {
            let hosts = u32::MAX.checked_shr(prefix.into()).unwrap_or(0);
            message.attributes.push(AddressAttribute::Broadcast((address.to_bits() | hosts).into()));
        }
        IpAddr::V4(_) => {}
        IpAddr::V6(_) => message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad)),
    }
    if metric != 0 {
        message.attributes.push(AddressAttribute::RoutePriority(metric));
    }
    netlink.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives the link an address, with its longest prefix, usable at once (no duplicate address
/// detection: a TUN has no neighbours). It puts no route in the machine's main table.
pub(crate) fn add_address(netlink: &mut Netlink, index: u32, address: IpAddr) -> io::Result<()> {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.family = family_of(address);
    message.header.prefix_len = if address.is_ipv4() { 32 } else { 128 };
    let address_attributes = [AddressAttribute::Local(address), AddressAttribute::Address(address)];
    message.attributes.extend(address_attributes);
    if address.is_ipv6() {
        let flags = AddressFlags::Nodad | AddressFlags::Noprefixroute;
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    netlink.request(RouteNetlinkMessage::NewAddress(message), NLM_F_CREATE | NLM_F_EXCL)
}

/// Waits until packets to an IPv6 address of ours are taken. The kernel makes the route for that in the
/// background, after the link is up, and drops what comes before; under load that takes some
/// milliseconds. What is not there after half a second is not waited for.
pub(crate) async fn wait_for_delivery(netlink: &mut Netlink, address: Ipv6Addr) {
    let mut question = RouteMessage::default();
    question.header.address_family = AddressFamily::Inet6;
    question.header.destination_prefix_length = 128;
    question.attributes.push(RouteAttribute::Destination(RouteAddress::Inet6(address)));
    for _ in 0..500 {
        let answer = netlink.query(RouteNetlinkMessage::GetRoute(question.clone()), 0).unwrap_or_default();
        let is_local = |answer: &RouteNetlinkMessage| matches!(answer, RouteNetlinkMessage::NewRoute(route) if route.header.kind == RouteType::Local);
        if answer.iter().any(is_local) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Gives the link those of `addresses` that it lacks, and says how many those were.
pub(crate) fn restore_addresses(
    netlink: &mut Netlink,
    index: u32,
    addresses: impl Iterator<Item = IpAddr>,
) -> io::Result<usize> {
    let mut question = AddressMessage::default();
    question.header.index = index;
    let there: Vec<IpAddr> = netlink
        .dump(&RouteNetlinkMessage::GetAddress(question))?
        .into_iter()
        .filter_map(|answer| match answer {
            // An old kernel sends those of every link.
            RouteNetlinkMessage::NewAddress(address) if address.header.index == index => Some(address),
            _ => None,
        })
        .flat_map(|address| address.attributes)
        .filter_map(|attribute| match attribute {
            AddressAttribute::Local(address) | AddressAttribute::Address(address) => Some(address),
            _ => None,
        })
        .collect();
    let mut added = 0;
    for address in addresses.filter(|address| !there.contains(address)) {
        add_address(netlink, index, address)?;
        added += 1;
    }
    Ok(added)
}

/// The addresses of all links that other machines may reach, as far as the addresses themselves say: neither loopback nor
/// link-local, and none that is not ready or only for a time.
pub(crate) fn reachable_addresses(netlink: &mut Netlink) -> io::Result<Vec<IpAddr>> {
    let unfit = AddressFlags::Secondary
        | AddressFlags::Deprecated
        | AddressFlags::Tentative
        | AddressFlags::Dadfailed;
    let own = |address: AddressMessage| {
        let flags = address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Flags(flags) => Some(*flags),
            _ => None,
        });
        // A second IPv4 address of a network is as good as the first; that flag means "temporary" of IPv6 alone.
        let is_ipv4 = address.header.family == AddressFamily::Inet;
        let is_fit = address.header.scope == AddressScope::Universe
            && (is_ipv4 || !flags.unwrap_or(AddressFlags::empty()).intersects(unfit));
        // Of a link with a peer the other is the peer's.
        let local = address.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) => Some(*address),
            _ => None,
        });
        let address = local.or_else(|| {
            address.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Address(address) => Some(*address),
                _ => None,
            })
        });
        address.filter(|_| is_fit)
    };
    let answers = netlink.dump(&RouteNetlinkMessage::GetAddress(AddressMessage::default()))?;
    let addresses = answers.into_iter().filter_map(|answer| match answer {
        RouteNetlinkMessage::NewAddress(address) => own(address),
        _ => None,
    });
    Ok(addresses.collect())
}

/// Deletes the link with this index if it is a TUN device still, and says whether it did.
/// `name`, where given, must be its name too.
pub(crate) fn delete_tun(netlink: &mut Netlink, index: u32, name: Option<&str>) -> io::Result<bool> {
    match find(netlink, index)? {
        Some(link) if link.tun && name.is_none_or(|name| name == link.name) => {}
        _ => return Ok(false),
    }
    let mut message = LinkMessage::default();
    message.header.index = index;
    gone_is_fine(netlink.request(RouteNetlinkMessage::DelLink(message), 0)).map(|()| true)
}

/// The address family of an address.
pub(crate) fn family_of(address: IpAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 }
}

/// The address of all zeros of a family.
pub(crate) fn unspecified(family: AddressFamily) -> IpAddr {
    if family == AddressFamily::Inet { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

fn change(
    netlink: &mut Netlink,
    index: u32,
    attributes: Vec<LinkAttribute>,
    flags: LinkFlags,
) -> io::Result<()> {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.flags = flags;
    message.header.change_mask = flags;
    message.attributes = attributes;
    netlink.request(RouteNetlinkMessage::SetLink(message), 0)
}
