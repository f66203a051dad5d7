//! What this process may do to the machine's network, and whom it could ask for more.

use std::env;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::Errno;

#[cfg(target_os = "linux")]
pub use crate::linux::rights::{driver, net_admin};
#[cfg(target_os = "macos")]
pub use crate::macos::rights::{driver, net_admin};

/// Whether the TUN driver can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// Its device can be opened.
    Ready,
    /// It is not there: no device node, or no driver behind it.
    Missing(Errno),
    /// It is there, and this process may not open it.
    Refused(Errno),
}

/// What this process may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The TUN driver.
    pub driver: Driver,
    /// Whether links, routes and rules of this network namespace may be changed.
    pub net_admin: bool,
}

impl Rights {
    /// Whether a tunnel can be made.
    pub fn suffice(self) -> bool {
        self.driver == Driver::Ready && self.net_admin
    }
}

/// Looks at what this process may do now. Tries it out, since neither a capability's bit nor a
/// device node's mode tells: the bit counts in the user namespace that owns the network namespace,
/// and a control group may close the node.
pub fn rights() -> Rights {
    Rights { driver: driver(), net_admin: net_admin() }
}

/// Where pkexec is, the program that asks the person for more rights; `None` without one.
pub fn pkexec_path() -> Option<PathBuf> {
    let standard = env::split_paths("/usr/bin:/usr/local/bin:/bin").map(|folder| folder.join("pkexec"));
    let named =
        env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    standard
        .chain(named.into_iter().filter(|folder| folder.is_absolute()).map(|folder| folder.join("pkexec")))
        .find(|path| {
            path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
        })
}

/// Whether there is a desktop on which a window could be shown: `DISPLAY` or `WAYLAND_DISPLAY` is set.
pub fn desktop_session() -> bool {
    ["WAYLAND_DISPLAY", "DISPLAY"].iter().any(|name| env::var_os(name).is_some_and(|value| !value.is_empty()))
}
