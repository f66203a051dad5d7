//! The machine's own resolver: having it ask a node for the node's names, and it alone for those.
//!
//! Where systemd-resolved runs it is told so, for the node's link; it forgets a link that goes away, so
//! nothing is left when the process is killed. Elsewhere the machine's owner configures what there is.

use std::net::SocketAddrV4;

#[cfg(target_os = "linux")]
pub use crate::linux::resolved::{ask_node, ask_node_no_more, wait_for_resolver};
#[cfg(target_os = "macos")]
pub use crate::macos::resolver::{ask_node, ask_node_no_more, wait_for_resolver};

/// Who answers for which names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeNames {
    /// The node's interface: its index.
    pub index: u32,
    /// The node's interface: its name.
    pub interface: String,
    /// Where the node's DNS server is.
    pub server: SocketAddrV4,
    /// Whether it is at port 53 of that address too, for what can be told no port.
    pub is_at_53: bool,
    /// The zones that it answers for.
    pub zones: Vec<String>,
}
