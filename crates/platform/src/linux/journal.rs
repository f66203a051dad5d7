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

mod entry;
#[cfg(test)]
mod tests;

use std::fs::{DirBuilder, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use self::entry::start_time;
pub(crate) use self::entry::{Entry, LinkId, Namespace};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{Uid, UnlinkatFlags, fsync, unlinkat};

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

/// A journal: the directory `STATE_DIR/journal`.
pub(crate) struct Journal {
    directory: OwnedFd,
    path: PathBuf,
    /// The directory that it is in.
    state_dir: PathBuf,
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
    /// A live owner's; it stays. `None` where it is none of this version's.
    Live(Option<Entry>),
    /// Nobody knows: it could not be read, or it is no page and could not be moved aside.
    Unclear(io::Error),
}

impl Journal {
    /// Opens the journal under `state_dir`, making both directories where they are missing.
    pub(crate) fn open(state_dir: &Path) -> io::Result<Self> {
        let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
        let made = DirBuilder::new().recursive(true).mode(mode).create(state_dir);
        made.map_err(named("make", state_dir))?;
        let parent = open_directory(AT_FDCWD, state_dir, state_dir)?;
        let path = state_dir.join("journal");
        match nix::sys::stat::mkdirat(&parent, "journal", Mode::S_IRWXU) {
            Err(Errno::EEXIST) | Ok(()) => {}
            Err(error) => return Err(named("make", &path)(error.into())),
        }
        let directory = open_directory(&parent, Path::new("journal"), &path)?;
        Ok(Self { directory, path, state_dir: state_dir.to_owned() })
    }

    /// Makes the directories anew where somebody removed them under us.
    pub(crate) fn renew(&mut self) -> io::Result<()> {
        let removed = File::from(self.directory.try_clone()?).metadata()?.nlink() == 0;
        if removed {
            tracing::warn!(path = %self.path.display(), "somebody removed the journal; making it anew");
            *self = Self::open(&self.state_dir)?;
        }
        Ok(())
    }

    /// Takes the journal's lock, which nobody holds for longer than some milliseconds, unless it is
    /// stopped in them: an error after 5 s.
    pub(crate) async fn lock(&self) -> io::Result<Guard> {
        let flags = OFlag::O_CREAT | OFlag::O_RDWR;
        let mut file = self.open_file("lock", flags)?;
        let end = Instant::now() + PATIENCE;
        loop {
            match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Ok(Guard(lock)),
                Err((_, Errno::EWOULDBLOCK)) if Instant::now() > end => {
                    let path = self.path.join("lock");
                    let text = format!(
                        "another process has held the lock {0} for {PATIENCE:?}; see who (`fuser {0}`), \
                         continue or end it, and try again",
                        path.display()
                    );
                    return Err(io::Error::new(io::ErrorKind::TimedOut, text));
                }
                Err((again, Errno::EWOULDBLOCK | Errno::EINTR)) => file = again,
                Err((_, error)) => return Err(self.named("lock", "lock")(error.into())),
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Starts a page under a name that is free. The page is written by [`Self::write`].
    pub(crate) fn new_page(&self, _guard: &Guard, entry: Entry) -> Page {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("{}-{number}.json", entry.pid);
            let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK;
            if !matches!(self.try_open(&name, flags), Ok(_) | Err(Errno::ELOOP)) {
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
        let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        let mut file = locked.map_err(|(_, error)| self.named("lock", &temporary)(error.into()))?;
        let mut text = serde_json::to_vec_pretty(&page.entry)?;
        text.push(b'\n');
        let written = file.write_all(&text).and_then(|()| file.sync_all());
        written.map_err(self.named("write", &temporary))?;
        let put = renameat(&self.directory, temporary.as_str(), &self.directory, page.name.as_str());
        let put = put.and_then(|()| fsync(&self.directory));
        put.map_err(|error| self.named("write", &page.name)(error.into()))?;
        page.lock = Some(file);
        Ok(())
    }

    /// Takes the page out of the journal. One that is not there is no error.
    pub(crate) fn remove(&self, page: &Page) -> io::Result<()> {
        match unlinkat(&self.directory, page.name.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(error) => Err(self.named("remove", &page.name)(error.into())),
        }
    }

    /// Reads every page; what is none is moved aside, with a warning.
    pub(crate) fn pages(&self, _guard: &Guard) -> io::Result<Vec<Found>> {
        let mut pages = Vec::new();
        let list = std::fs::read_dir(format!("/proc/self/fd/{}", self.directory.as_raw_fd()));
        for item in list.map_err(named("list", &self.path))? {
            let Ok(name) = item.map_err(named("list", &self.path))?.file_name().into_string() else {
                continue;
            };
            self.remove_orphan(&name);
            if Path::new(&name).extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            pages.extend(self.find(&name));
        }
        Ok(pages)
    }

    /// What is under a name; `None` when nothing is any more, or it was moved aside.
    fn find(&self, name: &str) -> Option<Found> {
        let why = match self.open_page(name).and_then(|file| self.read(name, file)) {
            Ok(found) => return Some(found),
            Err(error) => error,
        };
        let outcome = match why.raw_os_error() {
            Some(libc::ENOENT) => Ok(()),
            // Our own lack of something says nothing about the page.
            Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EIO) => {
                Err(self.named("read", name)(why))
            }
            _ => self.set_aside(name, &why),
        };
        outcome.err().map(Found::Unclear)
    }

    fn open_page(&self, name: &str) -> io::Result<File> {
        Ok(self.try_open(name, OFlag::O_RDONLY | OFlag::O_NONBLOCK)?)
    }

    /// Reads a page that was opened. `ENOENT` when it is gone meanwhile.
    fn read(&self, name: &str, file: File) -> io::Result<Found> {
        let metadata = file.metadata()?;
        if !metadata.is_file() || metadata.uid() != Uid::effective().as_raw() {
            return Err(io::Error::other("not a file of ours"));
        }
        let lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((file, Errno::EWOULDBLOCK)) => return Ok(Found::Live(parse(&file).ok())),
            Err((_, error)) => return Err(error.into()),
        };
        // Between opening and locking, a live owner may have written the page anew.
        let again = self.open_page(name)?;
        if again.metadata()?.ino() != metadata.ino() {
            return Ok(Found::Live(parse(&again).ok()));
        }
        let entry = parse(&lock)?;
        if entry.has_live_process() && !entry.is_of_another_boot()? {
            return Ok(Found::Live(Some(entry)));
        }
        Ok(Found::Dead(Page { name: name.to_owned(), entry, lock: Some(lock) }))
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
        match renameat(&self.directory, name, &self.directory, aside.as_str()) {
            Ok(()) => {}
            // Its owner removed it meanwhile.
            Err(Errno::ENOENT) => return Ok(()),
            Err(error) => return Err(self.named("move aside", name)(error.into())),
        }
        tracing::warn!(
            file = %self.path.join(&aside).display(), error = %why,
            "moved a journal file aside that is none; look at `ip rule` and remove what is left by hand",
        );
        Ok(())
    }

    fn open_file(&self, name: &str, flags: OFlag) -> io::Result<File> {
        self.try_open(name, flags).map_err(|error| self.named("open", name)(error.into()))
    }

    fn try_open(&self, name: &str, flags: OFlag) -> nix::Result<File> {
        let flags = flags | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
        openat(&self.directory, name, flags, Mode::S_IRUSR | Mode::S_IWUSR).map(File::from)
    }

    /// What happened to a file of the journal, as a sentence.
    fn named<'a>(&self, doing: &'a str, name: &str) -> impl FnOnce(io::Error) -> io::Error + use<'a> {
        named(doing, &self.path.join(name))
    }
}

fn parse(file: &File) -> io::Result<Entry> {
    let mut text = String::new();
    file.take(LARGEST).read_to_string(&mut text)?;
    Ok(serde_json::from_str(&text)?)
}

/// What happened to a file, as a sentence: an errno alone does not tell to which.
fn named<'a>(doing: &'a str, path: &Path) -> impl FnOnce(io::Error) -> io::Error + use<'a> {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("cannot {doing} {path}: {error}"))
}

/// Opens a directory of ours, which is no link, and in which nobody else may write. `path` is what a
/// person calls it.
fn open_directory(parent: impl AsFd, name: &Path, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_RDONLY;
    let directory = openat(parent, name, flags, Mode::empty());
    let directory = directory.map_err(|error| named("open the directory", path)(error.into()))?;
    let metadata = File::from(directory.try_clone()?).metadata()?;
    if metadata.uid() != Uid::effective().as_raw() || metadata.mode() & 0o022 != 0 {
        let text = format!(
            "{} belongs to another user, or others may write in it; remove it, or choose another place with --state-dir",
            path.display()
        );
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, text));
    }
    Ok(directory)
}
