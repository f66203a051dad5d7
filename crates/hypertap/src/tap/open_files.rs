//! The limit of open files (getrlimit(2), `RLIMIT_NOFILE`).
//!
//! Most programs are started with room for 1024, as a descriptor above that is no select(2)'s, and may have many
//! times that if they ask. This one has no such call. What it starts has the limit that it was itself started with.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a client takes: its connection, and once more to see whether it has gone.
const CLIENT: u64 = 2;
/// What a socket that listens takes: itself, its folder, and itself for the fabric.
const DOOR: u64 = 3;
/// All else, with some to spare.
const OTHERS: u64 = 64;

/// Raises the limit to what so many clients and sockets take, as far as it may be.
pub fn make_room(clients: usize, doors: usize) {
    let wanted = CLIENT * clients as u64 + DOOR * doors as u64 + OTHERS;
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => {
            tracing::warn!(%error, "cannot ask for the limit of open files");
            return;
        }
    };
    if soft >= wanted {
        return;
    }
    let raised = wanted.min(hard);
    let limit = match setrlimit(Resource::RLIMIT_NOFILE, raised, hard) {
        Ok(()) => raised,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            soft
        }
    };
    if limit < wanted {
        tracing::warn!(
            limit,
            wanted,
            "--max-clients {clients} takes more open files than there may be: not all will be served; raise the \
             hard limit (ulimit -Hn, or LimitNOFILE= of systemd)"
        );
    }
}
