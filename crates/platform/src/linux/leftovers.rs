//! Looks into the journal of [`super::journal`] without changing anything: no file is made, moved or
//! removed, and what is no entry is passed over.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;

use super::journal::{Entry, Namespace};
use super::netlink::Netlink;
use crate::leftovers::Leftover;

/// An entry is a few hundred bytes; what is larger is none.
const LARGEST: u64 = 64 * 1024;
/// Who changes the journal is done in some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);

/// Lists the tunnels of dead processes that [`crate::recover`] would undo in this network namespace, as
/// written down under `state_dir`. Needs no right but to read the journal, which is its owner's alone.
///
/// # Errors
/// What keeps the journal from being read.
pub fn leftovers(state_dir: &Path) -> io::Result<Vec<Leftover>> {
    let directory = state_dir.join("journal");
    let files = match fs::read_dir(&directory) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        files => files?,
    };
    let here = Namespace::current(Netlink::open()?.namespace_cookie())?;
    let _guard = share_lock(&directory.join("lock"))?;
    let mut left = Vec::new();
    for file in files {
        let path = file?.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        match dead(&path) {
            Ok(Some(entry)) if entry.namespace.is(&here) => {
                left.push(Leftover { pid: entry.pid, link: entry.link.map(|link| link.name) });
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(path = %path.display(), %error, "not an entry of the journal"),
        }
    }
    left.sort_by_key(|leftover| leftover.pid);
    Ok(left)
}

/// Waits until nobody changes the journal, and keeps it that way. `None` where nobody ever has.
fn share_lock(path: &Path) -> io::Result<Option<Flock<File>>> {
    let mut file = match open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let end = Instant::now() + PATIENCE;
    loop {
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(lock) => return Ok(Some(lock)),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() > end => {
                let text = format!("another process holds the lock {}", path.display());
                return Err(io::Error::new(ErrorKind::TimedOut, text));
            }
            Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => file = again,
            Err((_, error)) => return Err(error.into()),
        }
        sleep(Duration::from_millis(1));
    }
}

/// Reads an entry of this start of the machine; `None` when its owner lives.
fn dead(path: &Path) -> io::Result<Option<Entry>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
        return Err(io::Error::other("not a file of ours"));
    }
    let lock = match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(None),
        Err((_, error)) => return Err(error.into()),
    };
    let mut text = String::new();
    (&*lock).take(LARGEST).read_to_string(&mut text)?;
    let entry: Entry = serde_json::from_str(&text)?;
    // A start of the machine takes everything off it.
    Ok((!entry.has_live_process() && !entry.is_of_another_boot()?).then_some(entry))
}

fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}
