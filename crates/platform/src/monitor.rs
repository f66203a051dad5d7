//! What happens to the machine's links behind our back.
//!
//! A [`LinkMonitor`] listens to the kernel's announcements (rtnetlink(7) multicast, which needs no
//! right) and keeps what it has heard, so that each event says what changed. When the kernel had to
//! drop announcements, the monitor asks for the whole state and reports the difference: a deletion is
//! never lost, it comes late.

#[cfg(target_os = "linux")]
pub use crate::linux::monitor::LinkMonitor;
#[cfg(target_os = "macos")]
pub use crate::macos::monitor::LinkMonitor;

/// Something that happened to a link or to the machine's way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link was set up, or appeared that way.
    Up {
        /// The interface index.
        index: u32,
    },
    /// The link was set down. Deleting a link that is up announces this first.
    Down {
        /// The interface index.
        index: u32,
    },
    /// The link was deleted, or moved to another network namespace.
    Deleted {
        /// The interface index.
        index: u32,
    },
    /// The link has another name.
    Renamed {
        /// The interface index.
        index: u32,
        /// What it is called now.
        name: String,
    },
    /// The main table's default route leads to another device, or there is none any more.
    DefaultRoute(Option<DefaultRoute>),
    /// Somebody else removed an address, rule or route of the tunnel that is watched
    /// ([`LinkMonitor::watch`]), or announcements that may have said so were dropped. Several removals
    /// that are heard of together are one event.
    Policy,
}

/// Where the main table's default route leads: IPv4's, else IPv6's; of several the one with the
/// lowest metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The index of the interface.
    pub index: u32,
}
