//! Where this machine would send a packet.

use std::io;
use std::net::IpAddr;

/// Whether the kernel would send a packet to `address` out through the link of this index: a packet of
/// this process, now, without a mark, and neither TCP nor UDP. An address of the machine itself leads
/// nowhere, whatever link has it, and so does one without a route. Needs no right; takes microseconds.
///
/// # Errors
/// What keeps the kernel from being asked.
#[cfg(target_os = "linux")]
pub fn leads_to(address: IpAddr, index: u32) -> io::Result<bool> {
    use netlink_packet_route::RouteNetlinkMessage;
    use netlink_packet_route::route::{RouteAttribute, RouteMessage, RouteType};

    use crate::linux::links::family_of;
    use crate::linux::netlink::Netlink;

    let mut question = RouteMessage::default();
    question.header.address_family = family_of(address);
    question.header.destination_prefix_length = if address.is_ipv4() { 32 } else { 128 };
    question.attributes.push(RouteAttribute::Destination(address.into()));
    let answer = match Netlink::open()?.query(RouteNetlinkMessage::GetRoute(question), 0) {
        // The errors of route types and of no route at all (fib_props in the kernel's fib_semantics.c).
        Err(error) if is_no_way(&error) => return Ok(false),
        answer => answer?,
    };
    Ok(answer.into_iter().any(|answer| match answer {
        RouteNetlinkMessage::NewRoute(route) => {
            route.header.kind != RouteType::Local && route.attributes.contains(&RouteAttribute::Oif(index))
        }
        _ => false,
    }))
}

#[cfg(target_os = "linux")]
fn is_no_way(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH | libc::EACCES | libc::EINVAL | libc::EAFNOSUPPORT)
    )
}

/// Not asked of this system.
///
/// # Errors
/// Always.
#[cfg(target_os = "macos")]
pub fn leads_to(_: IpAddr, _: u32) -> io::Result<bool> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "not done on macOS"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use nix::net::if_::if_nametoindex;

    use super::*;

    #[test]
    fn the_machines_own_addresses_lead_out_through_no_link() {
        let loopback = if_nametoindex("lo").expect("there is one");
        for address in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            assert!(!leads_to(address, loopback).expect("the kernel can be asked"), "{address}");
        }
    }
}
