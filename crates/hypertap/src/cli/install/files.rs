//! Files below the root: where they are, how they are written whole or not at all, and whether this
//! process may remove them.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, faccessat};

use crate::exit::{Exit, Failure};

/// The directory that stands for `/`.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

impl Root {
    /// This machine's own.
    pub fn machine() -> Self {
        Self(PathBuf::from("/"))
    }

    /// A directory that is there, however it is written.
    ///
    /// # Errors
    /// [`Exit::Usage`] when it is none.
    pub fn existing(directory: &Path) -> Result<Self, Failure> {
        let absolute = fs::canonicalize(directory).map_err(|error| {
            let text = format!("--root {}", directory.display());
            Failure::new(Exit::Usage, anyhow::Error::from(error).context(text))
        })?;
        Ok(Self(absolute))
    }

    /// As [`Self::existing`], but made if it is not there.
    ///
    /// # Errors
    /// When it is none and cannot be made.
    pub fn made(directory: &Path) -> Result<Self, Failure> {
        fs::create_dir_all(directory).map_err(|error| refused(directory, "made", error))?;
        Self::existing(directory)
    }

    /// Whether this is the running machine's.
    pub fn is_machine(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where `relative` is.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.0.join(relative)
    }

    /// The directories above `relative` that are not there, outermost first.
    pub fn missing_above(&self, relative: &Path) -> Vec<PathBuf> {
        let above = relative.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
        let mut missing: Vec<PathBuf> =
            above.take_while(|parent| !self.path(parent).exists()).map(Path::to_owned).collect();
        missing.reverse();
        missing
    }
}

/// Writes a file in the place of any that is there: the old one or the new one is seen, nothing between.
///
/// # Errors
/// When it cannot be written; what was there is as it was then.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Failure> {
    let new = unfinished(path);
    let written = (|| {
        let _ = fs::remove_file(&new);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&new)?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        sync_directory(path)
    })();
    written.map_err(|error| {
        let _ = fs::remove_file(&new);
        refused(path, "written", error)
    })
}

/// Where a file is until it is whole.
pub fn unfinished(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.hypertap-new"))
}

/// Has the names in a file's directory survive a loss of power.
fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| fs::File::open(directory)?.sync_all())
}

/// Makes a directory, unless it is there.
///
/// # Errors
/// What the system said.
pub fn make_directory(path: &Path) -> Result<(), Failure> {
    match fs::create_dir(path) {
        // Whatever the administrator's umask: the service's user has to get through.
        Ok(()) => fs::set_permissions(path, Permissions::from_mode(0o755)),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .map_err(|error| refused(path, "made", error))
}

/// Removes a file, with what an interrupted [`write()`] left beside it, and says whether it was there.
///
/// # Errors
/// What the system said.
pub fn remove(path: &Path) -> Result<bool, Failure> {
    let gone = |path: &Path| match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(false),
        Err(error) => Err(refused(path, "removed", error)),
    };
    gone(&unfinished(path))?;
    gone(path)
}

/// Whether this process may remove `path`, or it is not there.
///
/// # Errors
/// [`Exit::Right`] with what to do.
pub fn may_remove(path: &Path) -> Result<(), Failure> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == ErrorKind::NotFound) {
        return Ok(());
    }
    let directory = path.parent().context("a file is in a directory")?;
    let needed = AccessFlags::W_OK | AccessFlags::X_OK;
    faccessat(AT_FDCWD, directory, needed, AtFlags::AT_EACCESS)
        .map_err(|errno| refused(path, "removed", io::Error::from(errno)))
}

/// The sentence for a file that something cannot be done to; `done` as in "written".
pub fn refused(path: &Path, done: &str, error: io::Error) -> Failure {
    let remedy = if done == "removed" { "uninstall" } else { "install" };
    if error.kind() == ErrorKind::PermissionDenied {
        let text = anyhow!("{} cannot be {done}: {error}; run `sudo hypertap {remedy}`", path.display());
        return Failure::new(Exit::Right, text);
    }
    let text = format!("{} cannot be {done}", path.display());
    Failure::new(Exit::Other, anyhow::Error::from(error).context(text))
}
