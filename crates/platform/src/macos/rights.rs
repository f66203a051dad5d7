//! What this process may do. Never run.

use crate::rights::Driver;

/// Always [`Driver::Ready`]: utun is part of the kernel.
pub fn driver() -> Driver {
    Driver::Ready
}

/// Whether this process is root's: macOS has no right for the network alone.
pub fn net_admin() -> bool {
    crate::process::is_root()
}
