//! How many open files a server takes.

use crate::open_files;

/// What a client takes: its connection, and once more to see whether it has gone.
const CLIENT: u64 = 2;
/// What a socket that listens takes: itself, its folder, and itself for the fabric.
const DOOR: u64 = 3;
/// All else, with some to spare.
const OTHERS: u64 = 64;

/// Raises the limit to what so many clients and sockets take, as far as it may be.
pub fn make_room(clients: usize, doors: usize) {
    let wanted = CLIENT * clients as u64 + DOOR * doors as u64 + OTHERS;
    if let Some(limit) = open_files::raise(wanted)
        && limit < wanted
    {
        tracing::warn!(
            limit,
            wanted,
            "--max-clients {clients} takes more open files than there may be: not all will be served; raise the \
             hard limit (ulimit -Hn, or LimitNOFILE= of systemd)"
        );
    }
}
