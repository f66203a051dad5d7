//! A file by its path, which nothing here can hold: it is only that no symbolic link is followed.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::unistd::{Gid, Uid, fchownat};

/// A file, as long as its path leads to it.
#[derive(Debug)]
pub struct Pinned(PathBuf);

impl Pinned {
    /// Notes what is at a path.
    ///
    /// # Errors
    /// What lstat(2) says.
    pub fn open(path: &Path) -> io::Result<Self> {
        fs::symlink_metadata(path).map(|_| Self(path.to_owned()))
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
        let mode = u16::try_from(mode).ok().and_then(Mode::from_bits).ok_or(nix::errno::Errno::EINVAL)?;
        Ok(fchmodat(AT_FDCWD, &self.0, mode, FchmodatFlags::NoFollowSymlink)?)
    }
}
