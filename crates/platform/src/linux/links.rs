//! Links and addresses, by rtnetlink.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

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
        let _ = write_ipv6_setting(name, key, value);
    }
    let mode = vec![AfSpecInet6::AddrGenMode(In6AddrGenMode::None)];
    let attributes = vec![LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(mode)])];
    match change(netlink, index, attributes, LinkFlags::empty()) {
        Err(error) if is_no_family(&error) => Ok(()),
        other => other,
    }
}

/// Lets the link carry IPv6 where the machine's default for new links is not to. Best effort:
/// what needs it says so when it fails.
pub(crate) fn allow_ipv6(name: &str) {
    let _ = write_ipv6_setting(name, "disable_ipv6", "0");
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

fn write_ipv6_setting(name: &str, key: &str, value: &str) -> io::Result<()> {
    std::fs::write(format!("/proc/sys/net/ipv6/conf/{name}/{key}"), value)
}
