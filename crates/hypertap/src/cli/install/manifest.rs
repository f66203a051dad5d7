//! The list of what `hypertap install` put on the machine.
//!
//! It is on the disk before the first thing that it lists, and until the last of them has gone, so
//! that `uninstall` finds everything whatever interrupted an installation. Its paths are relative to
//! the root that was installed below: a tree that was made with `--root` and then moved to `/` is
//! uninstalled as if it had been installed there.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, anyhow};
use serde::{Deserialize, Serialize};

use super::files::{self, Root};
use crate::exit::Failure;

/// Where the list is, below the root.
pub const MANIFEST: &str = "var/lib/hypertap/manifest.json";

/// What was put on the machine, or is about to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Files that we wrote.
    pub files: Vec<InstalledFile>,
    /// Directories that we made, outermost first.
    pub directories: Vec<PathBuf>,
    /// The group that we made.
    pub group: Option<String>,
}

/// A file that we wrote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstalledFile {
    /// Its path below the root.
    pub path: PathBuf,
    /// [`fingerprint`]s of what we may have written there: two while one version replaces another.
    pub fingerprints: Vec<String>,
}

impl InstalledFile {
    /// Whether `content` is something that we wrote, and not somebody's edit of it.
    pub fn is_ours(&self, content: &[u8]) -> bool {
        self.fingerprints.contains(&fingerprint(content))
    }
}

impl Manifest {
    /// Reads the list below `root`; `None` where nothing is installed.
    ///
    /// # Errors
    /// When it cannot be read, or is not what we wrote.
    pub fn load(root: &Root) -> Result<Option<Self>, Failure> {
        let path = root.path(MANIFEST);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(files::refused(&path, "read", error)),
        };
        let damaged =
            || format!("{} is damaged; remove what it lists, and then itself, by hand", path.display());
        let manifest: Self = serde_json::from_slice(&text).with_context(damaged)?;
        let mut paths = manifest.files.iter().map(|file| &file.path).chain(&manifest.directories);
        if let Some(strange) = paths.find(|path| !is_below_root(path)) {
            return Err(anyhow!("{} is no path below the root", strange.display()).context(damaged()).into());
        }
        Ok(Some(manifest))
    }

    /// Writes the list below `root`, in the place of any earlier one.
    ///
    /// # Errors
    /// When it cannot be written; an earlier list is as it was then.
    pub fn save(&self, root: &Root) -> Result<(), Failure> {
        let text = serde_json::to_vec_pretty(self).context("the manifest")?;
        files::write(&root.path(MANIFEST), &text, 0o644)
    }

    /// The file of that path, if it is listed.
    pub fn file(&self, path: &Path) -> Option<&InstalledFile> {
        self.files.iter().find(|file| file.path == path)
    }
}

/// Tells one content from another: FNV-1a, 64 bits, in hexadecimal. An accident does not make two
/// texts alike; who would do it on purpose may write to the manifest too.
pub fn fingerprint(content: &[u8]) -> String {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = content.iter().fold(OFFSET_BASIS, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME));
    format!("{hash:016x}")
}

/// Whether a path leads down only.
fn is_below_root(path: &Path) -> bool {
    let mut components = path.components().peekable();
    components.peek().is_some() && components.all(|part| matches!(part, Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join(MANIFEST).parent().expect("a parent")).expect("ours");
        let root = Root::existing(folder.path()).expect("it is there");
        (folder, root)
    }

    #[test]
    fn a_fingerprint_is_that_of_fnv_1a() {
        // Values of draft-eastlake-fnv, for 64 bits.
        assert_eq!(fingerprint(b""), "cbf29ce484222325");
        assert_eq!(fingerprint(b"a"), "af63dc4c8601ec8c");
        assert_eq!(fingerprint(b"foobar"), "85944171f73967e8");
    }

    #[test]
    fn what_was_saved_is_loaded_and_where_nothing_was_there_is_none() {
        let (_folder, root) = root();
        assert_eq!(Manifest::load(&root).expect("no error"), None);
        let file = InstalledFile { path: "usr/x".into(), fingerprints: vec![fingerprint(b"x")] };
        let manifest =
            Manifest { files: vec![file], directories: vec!["usr".into()], group: Some("g".to_owned()) };
        manifest.save(&root).expect("written");
        assert_eq!(Manifest::load(&root).expect("no error"), Some(manifest));
    }

    #[test]
    fn a_list_that_leads_out_of_the_root_is_damaged() {
        let (_folder, root) = root();
        for path in ["/etc/passwd", "../x", "usr/../../x", "", "."] {
            let file = InstalledFile { path: path.into(), fingerprints: Vec::new() };
            Manifest { files: vec![file], ..Manifest::default() }.save(&root).expect("written");
            let failure = Manifest::load(&root).expect_err(path);
            assert!(format!("{:#}", failure.error).contains("damaged"), "{path}");
        }
    }
}
