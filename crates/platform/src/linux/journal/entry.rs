//! One tunnel's entry in the journal: whose it is, and what was put on the machine.

use std::io;
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::linux::rules::Slot;

/// A tunnel's entry.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Entry {
    /// The owner's process id.
    pub(crate) pid: u32,
    /// When it started, in clock ticks since the machine did (field 22 of `/proc/PID/stat`).
    pub(crate) started: u64,
    /// `/proc/sys/kernel/random/boot_id`.
    pub(crate) boot: String,
    /// The network namespace it is in.
    pub(crate) namespace: Namespace,
    /// The interface, once it is there.
    pub(crate) link: Option<LinkId>,
    /// The tables and priorities, before they are used.
    pub(crate) slot: Option<Slot>,
    /// Whether systemd-resolved was, or is about to be, told to use the interface.
    pub(crate) resolver: bool,
}

/// A network namespace's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Namespace {
    /// Device of `/proc/self/ns/net`.
    pub(crate) device: u64,
    /// Inode of `/proc/self/ns/net`; given to another namespace when this one is gone.
    pub(crate) inode: u64,
    /// `SO_NETNS_COOKIE`, never given again; `None` before Linux 5.14.
    pub(crate) cookie: Option<u64>,
}

/// An interface.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct LinkId {
    /// Its name when it was made.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
}

impl Namespace {
    /// The calling thread's.
    pub(crate) fn current(cookie: Option<u64>) -> io::Result<Self> {
        let metadata = std::fs::metadata("/proc/thread-self/ns/net")?;
        Ok(Self { device: metadata.dev(), inode: metadata.ino(), cookie })
    }

    /// Whether an entry of `self` speaks of the namespace `here`.
    pub(crate) fn is(&self, here: &Self) -> bool {
        self.has_inode_of(here) && (self.cookie == here.cookie)
    }

    /// Whether `self` cannot be there any more, as seen from `here`: its inode is another's now.
    pub(crate) fn is_over(&self, here: &Self) -> bool {
        self.has_inode_of(here)
            && matches!((self.cookie, here.cookie), (Some(then), Some(now)) if then != now)
    }

    fn has_inode_of(&self, here: &Self) -> bool {
        (self.device, self.inode) == (here.device, here.inode)
    }
}

impl Entry {
    /// An empty entry of this process.
    pub(crate) fn new(namespace: Namespace) -> io::Result<Self> {
        let pid = std::process::id();
        let unreadable =
            || io::Error::other(format!("/proc/{pid}/stat does not say when this process started"));
        let started = start_time(pid).ok_or_else(unreadable)?;
        Ok(Self { pid, started, boot: boot_id()?, namespace, link: None, slot: None, resolver: false })
    }

    /// Whether the process that wrote it is there still.
    pub(crate) fn has_live_process(&self) -> bool {
        start_time(self.pid) == Some(self.started)
    }

    /// Whether the machine was started anew since.
    pub(crate) fn is_of_another_boot(&self) -> io::Result<bool> {
        Ok(boot_id()? != self.boot)
    }
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started; `None` when there is none of that id, or it is a zombie.
pub(super) fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, which may itself hold parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
