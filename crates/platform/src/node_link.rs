//! The interface of a node of the services door.
//!
//! It has the node's two addresses, and routes to what its mesh serves. Nothing of it outlives its
//! descriptor.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;

use ipnet::IpNet;
use tokio::io::unix::AsyncFd;

#[cfg(target_os = "linux")]
pub use crate::linux::node_link::NodeLink;
#[cfg(target_os = "macos")]
pub use crate::macos::node_link::NodeLink;

/// The networks that lead into the interface, each with its MTU in bytes where that is not the
/// interface's.
pub type NodeRoutes = BTreeMap<IpNet, Option<u32>>;

/// What [`NodeLink::open`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLinkSpec {
    /// Its exact name.
    pub name: String,
    /// The node's IPv4 address, set as a /32.
    pub ipv4: Ipv4Addr,
    /// The node's IPv6 address, set as a /128.
    pub ipv6: Ipv6Addr,
    /// MTU in bytes.
    pub mtu: u32,
}

/// Lets the runtime that this is called in wait for a descriptor, which must be non-blocking.
///
/// # Errors
/// Of `epoll_ctl(2)`.
pub fn watch(descriptor: OwnedFd) -> io::Result<AsyncFd<File>> {
    // SAFETY: a `File` keeps the one descriptor that it has until it is dropped.
    Ok(unsafe { AsyncFd::register(File::from(descriptor)) }?)
}
