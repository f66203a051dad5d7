//! Veth pairs, by rtnetlink.

use std::io;
use std::net::Ipv4Addr;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoData, InfoKind, InfoVeth, LinkAttribute, LinkInfo, LinkMessage};

use super::links;
use super::netlink::Netlink;

/// Makes a pair of interfaces with the same name: one in the calling thread's network namespace, one in that of
/// the process.
///
/// # Errors
/// What the kernel refused: the name is taken, the process is gone, or a right is missing.
pub fn lay(name: &str, process: u32) -> io::Result<()> {
    let mut there = LinkMessage::default();
    there.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::NetNsPid(process)];
    let mut here = LinkMessage::default();
    let pair = vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(there)))];
    here.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::LinkInfo(pair)];
    Netlink::open()?.request(RouteNetlinkMessage::NewLink(here), NLM_F_CREATE | NLM_F_EXCL)
}

/// Gives an interface of the calling thread's namespace an address in a network of `prefix` bits, and sets it up.
///
/// # Errors
/// There is none of this name, or what the kernel refused.
pub fn give_address(name: &str, address: Ipv4Addr, prefix: u8) -> io::Result<()> {
    let index = nix::net::if_::if_nametoindex(name)?;
    let mut netlink = Netlink::open()?;
    links::add_connected(&mut netlink, index, address.into(), prefix, 0)?;
    links::set_up(&mut netlink, index)
}
