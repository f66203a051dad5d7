//! A file by its path, which nothing here can hold: it is only that no symbolic link at its end is followed.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

/// A folder, as long as its path leads to it.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// Notes the folder at a path.
    ///
    /// # Errors
    /// What stat(2) says; ENOTDIR where it is none.
    pub fn open(path: &Path) -> io::Result<Self> {
        if fs::metadata(path)?.is_dir() { Ok(Self(path.to_owned())) } else { Err(Errno::ENOTDIR.into()) }
    }

    /// Opens it to be read, as for a lock.
    ///
    /// # Errors
    /// What open(2) says.
    pub fn read(&self) -> io::Result<File> {
        File::open(&self.0)
    }

    /// Notes what is in it under a name.
    ///
    /// # Errors
    /// What lstat(2) says.
    pub fn pin(&self, name: &OsStr) -> io::Result<Pinned> {
        let path = self.0.join(name);
        fs::symlink_metadata(&path).map(|_| Pinned(path))
    }

    /// Removes a file from it.
    ///
    /// # Errors
    /// What unlink(2) says.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        fs::remove_file(self.0.join(name))
    }
}

/// A file, as long as its path leads to it.
#[derive(Debug)]
pub struct Pinned(PathBuf);

impl Pinned {
    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.0.clone()
    }

    /// What it is.
    ///
    /// # Errors
    /// What lstat(2) says.
    pub fn metadata(&self) -> io::Result<Metadata> {
        fs::symlink_metadata(&self.0)
    }

    /// Gives it to a user, a group, or both.
    ///
    /// # Errors
    /// What lchown(2) says.
    pub fn give(&self, user: Option<u32>, group: Option<u32>) -> io::Result<()> {
        let (user, group) = (user.map(Uid::from_raw), group.map(Gid::from_raw));
        Ok(fchownat(AT_FDCWD, &self.0, user, group, AtFlags::AT_SYMLINK_NOFOLLOW)?)
    }

    /// Sets its permissions, as chmod(1) has them in octal.
    ///
    /// # Errors
    /// What fchmodat(2) says; EINVAL for more than nine bits.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        let mode = u16::try_from(mode).ok().and_then(Mode::from_bits).ok_or(Errno::EINVAL)?;
        Ok(fchmodat(AT_FDCWD, &self.0, mode, FchmodatFlags::NoFollowSymlink)?)
    }
}
