//! Files and folders held by descriptors that can do nothing but name them (`O_PATH`, open(2)).

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AtFlags, OFlag, open, openat};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, unlinkat};

/// A folder, whatever its path leads to later.
#[derive(Debug)]
pub struct Folder(File);

impl Folder {
    /// Holds the folder at a path.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(Self(File::from(open(path, flags, Mode::empty())?)))
    }

    /// Opens it to be read, as for a lock.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn read(&self) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        Ok(File::from(openat(&self.0, ".", flags, Mode::empty())?))
    }

    /// Holds what is in it under a name; a symbolic link there is itself held.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn pin(&self, name: &OsStr) -> io::Result<Pinned> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Ok(Pinned(File::from(openat(&self.0, name, flags, Mode::empty())?)))
    }

    /// Removes a file from it.
    ///
    /// # Errors
    /// What unlink(2) says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }
}

/// A file, whatever its path leads to later.
#[derive(Debug)]
pub struct Pinned(File);

impl Pinned {
    /// A path to it and no other, as long as this is there.
    pub fn path(&self) -> PathBuf {
        // A descriptor of this kind is no fchmod(2)'s, nor can it be connected to.
        format!("/proc/self/fd/{}", self.0.as_raw_fd()).into()
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
        fs::set_permissions(self.path(), Permissions::from_mode(mode))
    }
}
