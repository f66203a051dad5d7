//! Files of Unix sockets that we listen on: made, found dead, removed, and never another's.
//!
//! A socket file says nothing of its owner: nobody listens on one that was left behind, and nobody does yet
//! on one between bind(2) and listen(2). So whoever makes or judges one holds the lock of its folder.

use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hypertap_platform::pinned::Pinned;
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

/// How long another may hold a folder's lock before we go on without: everybody who can read the folder may,
/// and for ever.
const PATIENCE: Duration = Duration::from_millis(500);

/// The file of a socket that we listen on; dropping this removes it, unless another's is there by then.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    identity: Option<Identity>,
}

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // After dropping rights it may not be ours to remove; the helper does it then.
        let _ = remove_if_same(&self.path, self.identity);
    }
}

/// What tells a socket's file from a later one at the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, where the file system knows: an inode's number may be used again.
    made: Option<SystemTime>,
}

impl Identity {
    /// That of the socket at a path, if one is there.
    pub fn of(path: &Path) -> Option<Self> {
        Self::of_socket(&fs::symlink_metadata(path).ok()?)
    }

    fn of_socket(file: &Metadata) -> Option<Self> {
        let identity = Self { device: file.dev(), inode: file.ino(), made: file.created().ok() };
        file.file_type().is_socket().then_some(identity)
    }
}

/// Removes a socket's file if it is still the one that it was.
///
/// # Errors
/// Of unlink(2).
pub fn remove_if_same(path: &Path, before: Option<Identity>) -> io::Result<()> {
    let _alone = lock(path);
    if before.is_some() && Identity::of(path) == before { fs::remove_file(path) } else { Ok(()) }
}

/// Removes those of a folder's sockets that nobody listens on, as far as they are ours to remove.
pub fn remove_dead(paths: &[PathBuf]) {
    let _alone = paths.first().and_then(|path| lock(path));
    for path in paths {
        if is_dead(path).unwrap_or(false) {
            let _ = fs::remove_file(path);
        }
    }
}

/// Why a path cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum NotBound {
    /// Something else is there.
    #[error("is there already and is no socket")]
    Other,
    /// Another listens there.
    #[error("is in use by another program")]
    Live,
    /// A socket that we may not connect to, or one that nobody listens on and that we may not remove.
    #[error("is there already and belongs to somebody else")]
    Foreign,
    /// The file cannot be given to whom it is to be.
    #[error("cannot be given to {whom}: {source}")]
    NotGiven {
        /// To whom, by number.
        whom: Whom,
        /// What the machine says.
        source: io::Error,
    },
    /// Somebody has put something else in the place of the file.
    #[error("is no longer the socket that was made there")]
    Replaced,
    /// What the machine says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// To whom a file is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Group(gid) => write!(f, "group {gid}"),
        }
    }
}

/// Who may use a socket's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The bits of chmod(2).
    pub mode: u32,
    /// Whose it is, unless that of who makes it.
    pub owner: Option<u32>,
    /// Its group likewise.
    pub group: Option<u32>,
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream, which listens.
    Stream,
    /// Datagrams.
    Datagram,
}

/// Makes a socket at a path, with a file that was never open to anybody but those of `access`. A stale
/// socket's file is replaced. To be called while the process has one thread.
///
/// # Errors
/// Why it cannot be had; no file is left then.
pub fn bind_for(path: &Path, kind: Kind, access: &Access) -> Result<(OwnedFd, SocketFile), NotBound> {
    let _alone = lock(path);
    make_room(path)?;
    let before = umask(Mode::from_bits_truncate(0o777));
    let bound = match kind {
        Kind::Stream => UnixListener::bind(path).map(OwnedFd::from),
        Kind::Datagram => UnixDatagram::bind(path).map(OwnedFd::from),
    };
    umask(before);
    let socket = bound?;
    match hand_over(path, access) {
        Ok(identity) => Ok((socket, SocketFile { path: path.to_owned(), identity: Some(identity) })),
        Err(NotBound::Replaced) => Err(NotBound::Replaced),
        Err(error) => {
            let _ = fs::remove_file(path);
            Err(error)
        }
    }
}

/// Gives the socket's file that we have just made at a path to whom it is to be, and opens it to them. Whatever is
/// at the path by then is looked at first, and only what was looked at is changed.
fn hand_over(path: &Path, access: &Access) -> Result<Identity, NotBound> {
    let pinned = match Pinned::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotBound::Replaced),
        pinned => pinned?,
    };
    let file = pinned.metadata()?;
    let is_ours = file.uid() == geteuid().as_raw() && file.nlink() == 1;
    let identity = Identity::of_socket(&file).filter(|_| is_ours).ok_or(NotBound::Replaced)?;
    // The group first: the file may not be ours afterwards.
    if let Some(group) = access.group {
        let not_given = |source| NotBound::NotGiven { whom: Whom::Group(group), source };
        pinned.give(None, Some(group)).map_err(not_given)?;
    }
    if let Some(owner) = access.owner {
        let not_given = |source| NotBound::NotGiven { whom: Whom::User(owner), source };
        pinned.give(Some(owner), None).map_err(not_given)?;
    }
    pinned.set_mode(access.mode)?;
    Ok(identity)
}

/// Listens on the first of `paths` that nobody listens on, with a file that everybody may connect to. A
/// stale socket's file is replaced.
///
/// # Errors
/// Which of them cannot be had, and why: the last, where others listen on all.
pub fn bind(paths: &[PathBuf]) -> Result<(UnixListener, SocketFile), (PathBuf, NotBound)> {
    let mut refused = (PathBuf::new(), NotBound::Io(ErrorKind::NotFound.into()));
    for path in paths {
        let _alone = lock(path);
        match bind_alone(path) {
            Ok(listener) => {
                return Ok((listener, SocketFile { path: path.clone(), identity: Identity::of(path) }));
            }
            Err(error @ (NotBound::Live | NotBound::Foreign)) => refused = (path.clone(), error),
            Err(error) => return Err((path.clone(), error)),
        }
    }
    Err(refused)
}

/// Removes a stale socket's file.
fn make_room(path: &Path) -> Result<(), NotBound> {
    match fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => Err(NotBound::Other),
        Ok(_) if is_dead(path)? => match fs::remove_file(path) {
            // Whose folder it is may be: it is sticky.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(NotBound::Foreign),
            removed => Ok(removed?),
        },
        Ok(_) => Err(NotBound::Live),
        Err(_) => Ok(()),
    }
}

fn bind_alone(path: &Path) -> Result<UnixListener, NotBound> {
    make_room(path)?;
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// Whether a socket's file is there that nobody has open, whichever kind of socket it was.
fn is_dead(path: &Path) -> Result<bool, NotBound> {
    if Identity::of(path).is_none() {
        return Ok(false);
    }
    // No connection is made, which would be a client to some: a stream's socket is found, and refuses to
    // be one of datagrams; that of datagrams sends nothing.
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
    socket.set_nonblocking(true)?;
    let connected = socket.connect(&socket2::SockAddr::unix(path)?);
    match connected.map_err(|error| error.kind()) {
        Err(ErrorKind::ConnectionRefused) => Ok(true),
        Err(ErrorKind::PermissionDenied) => Err(NotBound::Foreign),
        _ => Ok(false),
    }
}

/// The lock of the folder that a path is in, unless somebody holds it for longer than any of us does.
fn lock(path: &Path) -> Option<Flock<File>> {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let mut folder = File::open(folder).ok()?;
    let end = Instant::now() + PATIENCE;
    loop {
        match Flock::lock(folder, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err(_) if Instant::now() > end => return None,
            Err((back, _)) => folder = back,
        }
        thread::sleep(Duration::from_millis(2));
    }
}

#[cfg(test)]
mod tests {
    use nix::fcntl::AT_FDCWD;
    use nix::sys::stat::{UtimensatFlags, utimensat};
    use nix::sys::time::TimeSpec;

    use super::*;

    fn listen(paths: &[PathBuf]) -> (UnixListener, SocketFile) {
        bind(paths).expect("nobody is there")
    }

    #[test]
    fn the_file_goes_with_its_owner_but_not_once_it_is_anothers() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let (listener, file) = listen(std::slice::from_ref(&path));
        drop(listener);
        // Nobody listens any more, and another starts before the file is removed.
        let (_successor, theirs) = listen(std::slice::from_ref(&path));
        drop(file);
        assert!(path.exists(), "the successor's file was removed");
        drop(theirs);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_that_others_touch_is_the_same_still() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("control.sock");
        let (_listener, file) = listen(std::slice::from_ref(&path));
        let then = TimeSpec::new(1, 0);
        utimensat(AT_FDCWD, &path, &then, &then, UtimensatFlags::NoFollowSymlink).expect("it is ours");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn the_first_path_that_is_free_is_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let paths = ["control.sock", "control-5500.sock"].map(|name| folder.path().join(name));
        let (_first, file) = listen(&paths);
        assert_eq!(file.path(), paths[0]);
        let (_second, other) = listen(&paths);
        assert_eq!(other.path(), paths[1]);
        assert!(matches!(bind(&paths), Err((path, NotBound::Live)) if path == paths[1]));
        let file = folder.path().join("file");
        fs::write(&file, "").expect("ours");
        let refused = bind(&[file.clone(), paths[1].clone()]);
        assert!(
            matches!(refused, Err((path, NotBound::Other)) if path == file),
            "the one that is in the way is named"
        );
    }

    #[test]
    fn many_that_start_at_once_each_get_a_path_of_their_own() {
        let folder = tempfile::tempdir().expect("a folder");
        for round in 0..50 {
            let paths = |number: usize| {
                [format!("{round}.sock"), format!("{round}-{number}.sock")]
                    .map(|name| folder.path().join(name))
            };
            drop(UnixListener::bind(&paths(0)[0]).expect("one that was left"));
            let got: Vec<_> = thread::scope(|scope| {
                let starting: Vec<_> =
                    (0..4).map(|number| scope.spawn(move || listen(&paths(number)))).collect();
                starting.into_iter().map(|one| one.join().expect("it starts")).collect()
            });
            let first = got.iter().filter(|(_, file)| file.path() == paths(0)[0]).count();
            assert_eq!(first, 1, "round {round}");
            assert!(got.iter().all(|(_, file)| file.path().exists()));
        }
    }

    #[test]
    fn a_file_has_the_mode_that_was_asked_for_and_a_dead_one_of_either_kind_is_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("tap");
        for (kind, other) in [(Kind::Stream, Kind::Datagram), (Kind::Datagram, Kind::Stream)] {
            for mode in [0o600, 0o660, 0o222, 0] {
                let access = Access { mode, owner: None, group: None };
                let (socket, file) = bind_for(&path, kind, &access).expect("nobody is there");
                assert_eq!(fs::metadata(&path).expect("made").mode() & 0o777, mode);
                if nix::unistd::geteuid().is_root() {
                    for kind in [kind, other] {
                        assert!(matches!(bind_for(&path, kind, &access), Err(NotBound::Live)));
                    }
                }
                drop(socket);
                // As a SIGKILL leaves it.
                std::mem::forget(file);
            }
        }
        fs::remove_file(&path).expect("the last is there");
        fs::write(&path, "").expect("ours");
        let access = Access { mode: 0o600, owner: None, group: None };
        assert!(matches!(bind_for(&path, Kind::Stream, &access), Err(NotBound::Other)));
    }

    #[test]
    fn what_somebody_has_put_in_the_sockets_place_is_not_handed_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, theirs) = (folder.path().join("tap"), folder.path().join("theirs"));
        let mode = |path: &Path| fs::metadata(path).expect("it is there").mode() & 0o777;
        let access = Access { mode: 0o666, owner: None, group: None };
        let is_refused = || matches!(hand_over(&path, &access), Err(NotBound::Replaced));
        assert!(is_refused(), "nothing is there");
        fs::write(&theirs, "a secret").expect("ours");
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).expect("ours");
        std::os::unix::fs::symlink(&theirs, &path).expect("ours");
        assert!(is_refused(), "a symbolic link");
        fs::remove_file(&path).expect("ours");
        fs::hard_link(&theirs, &path).expect("ours");
        assert!(is_refused(), "another file");
        assert_eq!(mode(&theirs), 0o600);

        for file in [&path, &theirs] {
            fs::remove_file(file).expect("ours");
        }
        let _listener = UnixListener::bind(&theirs).expect("ours");
        fs::set_permissions(&theirs, fs::Permissions::from_mode(0o600)).expect("ours");
        fs::hard_link(&theirs, &path).expect("ours");
        assert!(is_refused(), "another socket");
        assert_eq!(mode(&theirs), 0o600);
        fs::remove_file(&theirs).expect("ours");
        assert_eq!(hand_over(&path, &access).ok(), Identity::of(&path));
        assert_eq!(mode(&path), 0o666);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_dead() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name| folder.path().join(name);
        let live = UnixListener::bind(path("live")).expect("ours");
        drop(UnixListener::bind(path("dead")).expect("ours"));
        fs::write(path("file"), "").expect("ours");
        remove_dead(&["live", "dead", "file"].map(path));
        for (name, stays) in [("live", true), ("dead", false), ("file", true)] {
            assert_eq!(path(name).exists(), stays, "{name}");
        }
        drop(live);
    }
}
