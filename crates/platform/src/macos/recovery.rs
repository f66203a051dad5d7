//! What dead processes left: not looked for, because nothing is written down. Never run.
//!
//! The utun and the routes into it go with the process. Excluded routes stay; a reboot, or setting
//! their interface down, removes them.

use std::path::{Path, PathBuf};

use crate::privileged::{Footprint, MachineError};
use crate::recovery::Recovered;

/// Finds nothing, ever.
///
/// # Errors
/// None.
pub async fn recover(_state_dir: &Path) -> Result<Vec<Recovered>, MachineError> {
    Ok(Vec::new())
}

/// Nothing is ever told from others' things by its footprint.
pub fn is_left(_footprint: Footprint) -> bool {
    false
}

/// Where sockets and state are kept when nobody says: `/var/run/hypertap` for root, else
/// `$XDG_RUNTIME_DIR/hypertap`, else `/tmp/hypertap-UID`. Nothing is made or looked at.
pub fn default_state_dir() -> PathBuf {
    let uid = crate::process::effective_uid();
    if uid == 0 {
        return "/var/run/hypertap".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => Path::new(&directory).join("hypertap"),
        None => format!("/tmp/hypertap-{uid}").into(),
    }
}
