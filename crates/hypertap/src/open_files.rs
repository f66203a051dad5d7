//! The limit of open files (getrlimit(2), `RLIMIT_NOFILE`).
//!
//! Most programs are started with room for 1024, as a descriptor above that is no select(2)'s, and may have many
//! times that if they ask. This one has no such call. What it starts has the limit that it was itself started with.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit to `wanted`, or as far as it may be. Returns what it is then, where the system says so.
pub fn raise(wanted: u64) -> Option<u64> {
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "cannot ask for the limit of open files");
            return None;
        }
    };
    if soft >= wanted {
        return Some(soft);
    }
    let raised = wanted.min(hard);
    match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => Some(raised),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            Some(soft)
        }
    }
}
