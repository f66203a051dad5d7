//! What a tunnel put on the machine, written down before it is put there.
//!
//! `STATE_DIR/journal/<pid>-<n>.json` is one tunnel. Its owner holds a lock (flock(2)) on the file
//! for as long as it lives, so a file that can be locked, and whose process is not there any more,
//! is a dead owner's, and what it names may be undone. The file also says in which network namespace and since
//! which start of the machine that is true; numbers mean nothing elsewhere.
//!
//! The directory may be in a place where others write (`/tmp`), and this code may be root: each
//! component of ours is opened without following links and must belong to us, with nobody else
//! allowed to write in it.

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, UnlinkatFlags, fsync, unlinkat};
use serde::{Deserialize, Serialize};

use super::rules::Slot;

/// An entry is a few hundred bytes; what is larger is not ours.
const LARGEST: u64 = 64 * 1024;
const PATIENCE: Duration = Duration::from_secs(5);

/// Where the journal is kept when nobody says: `/run/hypertap` for root, else
/// `$XDG_RUNTIME_DIR/hypertap`, else `/tmp/hypertap-UID`. Nothing is made or looked at.
pub fn default_state_dir() -> PathBuf {
    let uid = Uid::effective();
    if uid.is_root() {
        return "/run/hypertap".into();
    }
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|directory| !directory.is_empty()) {
        Some(directory) => Path::new(&directory).join("hypertap"),
        None => format!("/tmp/hypertap-{uid}").into(),
    }
}

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
        let started = start_time(pid).ok_or_else(|| io::Error::other("cannot read /proc/self/stat"))?;
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

/// A journal: the directory `STATE_DIR/journal`.
pub(crate) struct Journal {
    directory: OwnedFd,
    path: PathBuf,
}

/// Held while slots are chosen, and while a dead owner's are undone.
pub(crate) struct Guard(#[allow(dead_code, reason = "held for its lock")] Flock<File>);

/// An entry in the journal, locked while it is there.
pub(crate) struct Page {
    name: String,
    /// What is to be written next.
    pub(crate) entry: Entry,
    lock: Option<Flock<File>>,
}

/// What [`Journal::pages`] finds.
pub(crate) enum Found {
    /// A dead owner's.
    Dead(Page),
    /// A live owner's; it stays.
    Live,
}

impl Journal {
    /// Opens the journal under `state_dir`, making both directories where they are missing.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
        DirBuilder::new().recursive(true).mode(mode).create(state_dir)?;
        let parent = open_directory(AT_FDCWD, state_dir)?;
        let path = state_dir.join("journal");
        match nix::sys::stat::mkdirat(&parent, "journal", Mode::S_IRWXU) {
            Err(Errno::EEXIST) | Ok(()) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { directory: open_directory(&parent, Path::new("journal"))?, path })
    }

    /// Takes the journal's lock, which nobody holds for longer than some milliseconds, unless it is
    /// stopped in them: `ETIMEDOUT` after 5 s.
    pub(crate) fn lock(&self) -> io::Result<Guard> {
        let flags = OFlag::O_CREAT | OFlag::O_RDWR;
        let mut file = self.open_file("lock", flags)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Guard(lock)),
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() > end => {
                    return Err(Errno::ETIMEDOUT.into());
                }
                Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => file = again,
                Err((_, error)) => return Err(error.into()),
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts a page under a name that is free. The page is written by [`Self::write`].
    pub(crate) fn new_page(&self, _guard: &Guard, entry: Entry) -> Page {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}.json", entry.pid);
            if !matches!(self.open_file(&name, OFlag::O_RDONLY), Ok(_) | Err(Errno::ELOOP)) {
                return Page { name, entry, lock: None };
            }
        }
    }

    /// Puts the page on the disk as it is now: whole, or as it was before.
    pub(crate) fn write(&self, page: &mut Page) -> io::Result<()> {
        let temporary = format!(".{}.tmp", page.name);
        let _ = unlinkat(&self.directory, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
        let flags = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDWR;
        let file = self.open_file(&temporary, flags)?;
        let mut file = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, error)| error)?;
        let mut text = serde_json::to_vec_pretty(&page.entry)?;
        text.push(b'\n');
        file.write_all(&text)?;
        file.sync_all()?;
        renameat(&self.directory, temporary.as_str(), &self.directory, page.name.as_str())?;
        fsync(&self.directory)?;
        page.lock = Some(file);
        Ok(())
    }

    /// Takes the page out of the journal. One that is not there is no error.
    pub(crate) fn remove(&self, page: &Page) -> io::Result<()> {
        match unlinkat(&self.directory, page.name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads every page; what is none is moved aside, with a warning.
    pub(crate) fn pages(&self, _guard: &Guard) -> io::Result<Vec<Found>> {
        let mut pages = Vec::new();
        for item in std::fs::read_dir(format!("/proc/self/fd/{}", self.directory.as_raw_fd()))? {
            let Ok(name) = item?.file_name().into_string() else { continue };
            self.remove_orphan(&name);
            if Path::new(&name).extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match self.read(&name) {
                Ok(found) => pages.extend(found),
                Err(error) => self.set_aside(&name, &error)?,
            }
        }
        Ok(pages)
    }

    /// Reads a page; `None` when it is gone meanwhile.
    fn read(&self, name: &str) -> io::Result<Option<Found>> {
        let file = match self.open_file(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK) {
            Err(Errno::ENOENT) => return Ok(None),
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
            return Err(io::Error::other("not a file of ours"));
        }
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => return Ok(Some(Found::Live)),
            Err((_, error)) => return Err(error.into()),
        };
        // Between opening and locking, a live owner may have written the page anew.
        let again = self.open_file(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?.metadata()?;
        if again.ino() != metadata.ino() {
            return Ok(Some(Found::Live));
        }
        let mut text = String::new();
        (&*lock).take(LARGEST).read_to_string(&mut text)?;
        let entry: Entry = serde_json::from_str(&text)?;
        if entry.has_live_process() && !entry.is_of_another_boot()? {
            return Ok(Some(Found::Live));
        }
        Ok(Some(Found::Dead(Page { name: name.to_owned(), entry, lock: Some(lock) })))
    }

    /// Removes a file that a process which is gone was about to put in place of its page.
    fn remove_orphan(&self, name: &str) {
        let Some((pid, _)) = name.strip_prefix('.').and_then(|name| name.split_once('-')) else { return };
        if pid.parse().is_ok_and(|pid| start_time(pid).is_none()) {
            let _ = unlinkat(&self.directory, name, UnlinkatFlags::NoRemoveDir);
        }
    }

    fn set_aside(&self, name: &str, why: &io::Error) -> io::Result<()> {
        let aside = format!("{name}.bad");
        renameat(&self.directory, name, &self.directory, aside.as_str())?;
        tracing::warn!(
            file = %self.path.join(&aside).display(), error = %why,
            "moved a journal file aside that is none; look at `ip rule` and remove what is left by hand",
        );
        Ok(())
    }

    fn open_file(&self, name: &str, flags: OFlag) -> nix::Result<File> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
    }
}

/// Opens a directory of ours, which is no link, and in which nobody else may write.
fn open_directory(parent: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let directory = openat(parent, path, flags, Mode::empty())?;
    let metadata = File::from(directory.try_clone()?).metadata()?;
    if metadata.uid() != Uid::effective().as_raw() || metadata.mode() & 0o022 != 0 {
        let text = format!("{} belongs to another user, or others may write in it", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(directory)
}

fn boot_id() -> io::Result<String> {
    Ok(std::fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// When a process started; `None` when there is none of that id, or it is a zombie.
fn start_time(pid: u32) -> Option<u64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is the command in parentheses, which may itself hold parentheses.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}
