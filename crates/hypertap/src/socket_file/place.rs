//! Where a socket's file is: a folder that is held, and a name in it.

use std::ffi::OsString;
use std::fs::{File, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use hypertap_platform::pinned::{Folder, Pinned};
use nix::fcntl::{Flock, FlockArg};
use nix::libc;
use socket2::{Domain, SockAddr, Socket, Type};

use super::NotBound;

/// How long another may hold a folder's lock before we go on without: everybody who can read the folder may,
/// and for ever.
const PATIENCE: Duration = Duration::from_millis(500);

/// What tells a socket's file from a later one at the same place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    device: u64,
    inode: u64,
    /// When it was made, where the file system knows: an inode's number may be used again.
    made: Option<SystemTime>,
}

impl Identity {
    /// That of a file, if it is a socket's.
    pub(super) fn of_socket(file: &Metadata) -> Option<Self> {
        let identity = Self { device: file.dev(), inode: file.ino(), made: file.created().ok() };
        file.file_type().is_socket().then_some(identity)
    }

    /// Its numbers, for another process.
    pub(super) fn number(&self) -> String {
        format!("{}:{}", self.device, self.inode)
    }
}

/// A folder and a name in it.
#[derive(Debug)]
pub(super) struct Place {
    folder: Folder,
    name: OsString,
}

impl Place {
    /// That of a path, whose folder is held from now on.
    ///
    /// # Errors
    /// What open(2) says of the folder; `InvalidInput` for a path that names no file.
    pub(super) fn of(path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(ErrorKind::InvalidInput)?.to_owned();
        let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
        Ok(Self { folder: Folder::open(folder)?, name })
    }

    /// Holds the file that is there.
    ///
    /// # Errors
    /// What open(2) says.
    pub(super) fn pin(&self) -> io::Result<Pinned> {
        self.folder.pin(&self.name)
    }

    /// The identity of the socket's file that is there, if one is.
    pub(super) fn identity(&self) -> Option<Identity> {
        Identity::of_socket(&self.pin().ok()?.metadata().ok()?)
    }

    /// The lock of the folder, unless somebody holds it for longer than any of us does.
    pub(super) fn lock(&self) -> Option<Flock<File>> {
        let mut folder = self.folder.read().ok()?;
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

    /// Removes what is there.
    ///
    /// # Errors
    /// Of unlink(2).
    pub(super) fn remove(&self) -> io::Result<()> {
        self.folder.remove(&self.name)
    }

    /// Removes a stale socket's file.
    ///
    /// # Errors
    /// What is there instead.
    pub(super) fn make_room(&self) -> Result<(), NotBound> {
        let Ok(file) = self.pin().and_then(|pinned| pinned.metadata()) else { return Ok(()) };
        if !file.file_type().is_socket() {
            return Err(NotBound::Other);
        }
        if !self.is_dead()? {
            return Err(NotBound::Live);
        }
        match self.remove() {
            // Whose folder it is may be: it is sticky.
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => Err(NotBound::Foreign),
            removed => Ok(removed?),
        }
    }

    /// Whether a socket's file is there that nobody has open, whichever kind of socket it was.
    ///
    /// # Errors
    /// [`NotBound::Foreign`] where we may not connect to it.
    pub(super) fn is_dead(&self) -> Result<bool, NotBound> {
        let Ok(pinned) = self.pin() else { return Ok(false) };
        if Identity::of_socket(&pinned.metadata()?).is_none() {
            return Ok(false);
        }
        // No connection is made, which would be a client to some: a stream's socket is found, and refuses to
        // be one of datagrams; that of datagrams sends nothing.
        let socket = Socket::new(Domain::UNIX, Type::DGRAM, None)?;
        socket.set_nonblocking(true)?;
        let connected = socket.connect(&SockAddr::unix(pinned.path())?);
        match connected.map_err(|error| error.kind()) {
            Err(ErrorKind::ConnectionRefused) => Ok(true),
            Err(ErrorKind::PermissionDenied) => Err(NotBound::Foreign),
            _ => Ok(false),
        }
    }
}
