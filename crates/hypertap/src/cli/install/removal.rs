//! Taking what was installed off the machine: first whether that can be done, then doing it.
//!
//! The two are apart because a daemon that is told to uninstall answers between them, while it can
//! still refuse.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use super::files::{self, Root};
use super::manifest::{MANIFEST, Manifest};
use super::{state, system};
use crate::exit::Failure;

/// The units that are installed.
const UNITS: [&str; 2] = ["hypertap.socket", "hypertap.service"];
/// Of nodes: the unit that is installed, and what may run of it.
const NODES: (&str, &str) = ("hypertap-node@.service", "hypertap-node@*.service");

/// Who removes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remover {
    /// The command line: the service is stopped first, and its end waited for.
    CommandLine,
    /// A daemon, which may itself be the service: to wait for the service's end would be to wait for
    /// its own.
    Daemon,
}

/// A removal that this process may carry out.
#[derive(Debug)]
pub struct Removal {
    root: Root,
    manifest: Option<Manifest>,
}

/// A thing that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Removed {
    /// A file.
    File {
        /// Where it was.
        path: PathBuf,
        /// Whether somebody had edited it.
        edited: bool,
    },
    /// The group.
    Group(String),
}

impl fmt::Display for Removed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, edited: false } => write!(f, "{}", path.display()),
            Self::File { path, edited: true } => write!(f, "{}, which was edited here", path.display()),
            Self::Group(name) => write!(f, "group {name}"),
        }
    }
}

impl Removal {
    /// Looks what is installed below `root`, and whether this process may remove it. Changes nothing.
    ///
    /// # Errors
    /// [`crate::exit::Exit::Right`] when it may not; when the manifest cannot be read.
    pub fn plan(root: Root) -> Result<Self, Failure> {
        let manifest = Manifest::load(&root)?;
        if let Some(manifest) = &manifest {
            let files = manifest.files.iter().map(|file| root.path(&file.path));
            for path in files.chain([root.path(MANIFEST)]) {
                files::may_remove(&path)?;
            }
        }
        Ok(Self { root, manifest })
    }

    /// Removes what the manifest lists, and the manifest last.
    ///
    /// # Errors
    /// The first thing that cannot be removed; the manifest is there still then.
    pub fn carry_out(self, by: Remover) -> Result<Vec<Removed>, Failure> {
        let Some(manifest) = self.manifest else { return remove(&self.root, &Manifest::default()) };
        let has_systemd = self.root.is_machine() && system::has_systemd();
        let is_ours = |unit: &str| has_systemd && manifest.files.iter().any(|file| file.path.ends_with(unit));
        let units: Vec<&str> = UNITS.into_iter().filter(|unit| is_ours(unit)).collect();
        if is_ours(NODES.0) {
            // A daemon that uninstalls is none of them, so it may wait for their ends.
            system::systemctl(&["stop", NODES.1]);
            system::systemctl(&["disable", NODES.0]);
        }
        if !units.is_empty() {
            let disable: &[&str] = match by {
                Remover::CommandLine => &["disable", "--now"],
                Remover::Daemon => &["disable"],
            };
            system::systemctl(&[disable, &units].concat());
        }
        let removed = remove(&self.root, &manifest)?;
        if self.root.is_machine() {
            state::remove_unless_used();
        }
        if !units.is_empty() {
            match by {
                Remover::CommandLine => system::systemctl(&["daemon-reload"]),
                // systemd still knows what the units said, and forgets it once they have stopped: before
                // that it removes the socket's file, because they said so.
                Remover::Daemon => system::systemctl(&[&["--no-block", "stop"], &units[..]].concat()),
            }
        }
        Ok(removed)
    }
}

fn remove(root: &Root, manifest: &Manifest) -> Result<Vec<Removed>, Failure> {
    let mut removed = Vec::new();
    for file in &manifest.files {
        let path = root.path(&file.path);
        let edited = fs::read(&path).is_ok_and(|content| !file.is_ours(&content));
        if files::remove(&path)? {
            removed.push(Removed::File { path, edited });
        }
    }
    if let Some(group) = manifest.group.as_ref().filter(|_| root.is_machine())
        && system::remove_group(group)
    {
        removed.push(Removed::Group(group.clone()));
    }
    // Twice: the manifest's own directory is empty only without it, and until then it lists the rest.
    remove_empty(root, manifest);
    files::remove(&root.path(MANIFEST))?;
    if let Some(directory) = root.path(MANIFEST).parent() {
        // An installation that was interrupted before it wrote the manifest has left it empty.
        let _ = fs::remove_dir(directory);
    }
    remove_empty(root, manifest);
    Ok(removed)
}

/// Removes the directories that we made, unless others have put something there since.
fn remove_empty(root: &Root, manifest: &Manifest) {
    for directory in manifest.directories.iter().rev() {
        let _ = fs::remove_dir(root.path(directory));
    }
}
