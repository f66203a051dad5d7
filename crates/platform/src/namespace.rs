//! Programs in a machine of their own: new namespaces, as root and as an ordinary user.
//!
//! The demo and every system test run their nodes this way, so nothing that they do reaches the
//! machine's own network or files.

use std::path::PathBuf;

use crate::Errno;
use crate::rights::{Driver, driver, net_admin};

#[cfg(target_os = "linux")]
pub use crate::linux::namespace::{bind, enter_new, network_number};
#[cfg(target_os = "macos")]
pub use crate::macos::namespace::{bind, enter_new, network_number};

/// Which namespaces a program gets (namespaces(7)), and what is different inside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "four kinds of namespace, each there or not")]
pub struct Spaces {
    /// A user namespace in which the caller is root. Who is not root gets one in any case, because
    /// the other namespaces take a capability to make.
    pub user: bool,
    /// A network namespace, with `lo` up and nothing else.
    pub net: bool,
    /// A mount namespace, from which no mount gets out. Made in any case when [`Self::tmpfs`],
    /// [`Self::binds`] or [`Self::pid`] ask for mounts.
    pub mount: bool,
    /// A process namespace, whose first process the program is: all that it started ends with it, and
    /// it ends when its parent does. `/proc` shows this namespace.
    pub pid: bool,
    /// Folders that are empty file systems in memory inside, as `/run`.
    pub tmpfs: Vec<PathBuf>,
    /// Files or folders (first) that are seen in another place (second) inside.
    pub binds: Vec<(PathBuf, PathBuf)>,
}

impl Spaces {
    /// A network of its own and an empty `/run`: what a node of hypertap needs.
    pub fn node() -> Self {
        Self { net: true, mount: true, tmpfs: vec![PathBuf::from("/run")], ..Self::default() }
    }
}

/// Why this process can make no TUN interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TunUnusable {
    /// There is no driver.
    #[error("the TUN driver is not available: /dev/net/tun: {0} (try `modprobe tun` as root)")]
    Missing(Errno),
    /// The device node is closed to this user; being root in a user namespace does not open it.
    #[error(
        "/dev/net/tun: {0}: the device is closed to ordinary users on this machine (`chmod 0666 /dev/net/tun` as root opens it, as most distributions do)"
    )]
    Closed(Errno),
    /// The right is missing in this network namespace.
    #[error("the process may not change this network: it needs CAP_NET_ADMIN")]
    NoRight,
}

/// Whether this process can make a TUN interface where it is. For use inside the namespaces: root
/// in a user namespace may still not open a device node that only the machine's root may.
///
/// # Errors
/// [`TunUnusable`].
pub fn tun_usable() -> Result<(), TunUnusable> {
    match driver() {
        Driver::Missing(errno) => Err(TunUnusable::Missing(errno)),
        Driver::Refused(errno) => Err(TunUnusable::Closed(errno)),
        Driver::Ready if !net_admin() => Err(TunUnusable::NoRight),
        Driver::Ready => Ok(()),
    }
}
