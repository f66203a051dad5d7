//! A file held by a descriptor that can do nothing but name it (`O_PATH`, open(2)).

use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nix::fcntl::{AtFlags, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, fchownat};

/// A file, whatever its path leads to later.
#[derive(Debug)]
pub struct Pinned(File);

impl Pinned {
    /// Holds what is at a path; a symbolic link there is itself held.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Self(File::from(open(path, flags, Mode::empty())?)))
    }

    /// What it is.
    ///
    /// # Errors
    /// What stat(2) says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    /// Gives it to a user, a group, or both.
    ///
    /// # Errors
    /// What chown(2) says.
    pub fn give(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(&self.0, "", user, group, AtFlags::AT_EMPTY_PATH)?)
    }

    /// Sets its permissions, as chmod(1) has them in octal.
    ///
    /// # Errors
    /// What chmod(2) says.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        // A descriptor of this kind is no fchmod(2)'s.
        fs::set_permissions(format!("/proc/self/fd/{}", self.0.as_raw_fd()), Permissions::from_mode(mode))
    }
}
