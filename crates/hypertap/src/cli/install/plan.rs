//! What an installation does, step by step, decided before the first step.
//!
//! The manifest is written before the first thing that it lists, and once more at the end. Whichever
//! step an installation dies after, `uninstall` removes all of it, and `install` goes on with it.

use std::fmt;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use super::files::{self, Root};
use super::manifest::{InstalledFile, MANIFEST, Manifest, fingerprint};
use super::parts::Part;
use super::system;
use crate::exit::{Exit, Failure};

/// A change to the machine.
#[derive(Clone, Debug)]
pub enum Step {
    /// Make a directory.
    Directory(PathBuf),
    /// Write the manifest.
    Save(Manifest),
    /// Write a file.
    Write(Part),
    /// Remove a file that an earlier version had.
    Remove(PathBuf),
    /// Make the group.
    Group,
}

/// An installation that nothing is in the way of.
#[derive(Debug)]
pub struct Plan {
    /// What is to be done, in order.
    pub steps: Vec<Step>,
    /// The files that stay as somebody has edited them.
    pub kept: Vec<Kept>,
    /// Whether something is installed already.
    pub is_upgrade: bool,
    /// Whether any file will be another than the one that is there.
    pub has_changes: bool,
}

/// A file that stays as somebody has edited it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    path: PathBuf,
    /// Whether this version has no such file any more.
    is_dropped: bool,
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let remedy = if self.is_dropped {
            ", and this version has none; remove it if nothing needs it"
        } else {
            "; to have this version's, move it away and install again"
        };
        write!(f, "{}: it was edited here{remedy}", self.path.display())
    }
}

impl Plan {
    /// Plans to install `parts`, and the group if `with_group`.
    ///
    /// # Errors
    /// [`Exit::Taken`] when a file is in the way; when an earlier manifest cannot be read.
    pub fn new(root: &Root, parts: Vec<Part>, with_group: bool) -> Result<Self, Failure> {
        let earlier = Manifest::load(root)?;
        let is_upgrade = earlier.is_some();
        let earlier = earlier.unwrap_or_default();
        let listed = |part: &Part| InstalledFile {
            path: part.path.clone(),
            fingerprints: vec![fingerprint(&part.content)],
        };
        let mut after = Manifest {
            files: parts.iter().map(listed).collect(),
            directories: earlier.directories.clone(),
            group: earlier.group.clone(),
        };
        if with_group && !system::has_group() {
            after.group = Some(system::GROUP.to_owned());
        }
        // A directory that two files need is made once; to make it again is no error.
        let own = root.missing_above(Path::new(MANIFEST));
        let others: Vec<PathBuf> = parts.iter().flat_map(|part| root.missing_above(&part.path)).collect();
        for directory in own.iter().chain(&others) {
            if !after.directories.contains(directory) {
                after.directories.push(directory.clone());
            }
        }
        let (mut kept, mut writes, mut has_changes) = (Vec::new(), Vec::new(), false);
        for part in parts {
            if stays(root, &part, &earlier)? {
                kept.push(Kept { path: root.path(&part.path), is_dropped: false });
            } else {
                has_changes |= there(&root.path(&part.path))?.as_ref() != Some(&part.content);
                writes.push(Step::Write(part));
            }
        }
        let (removed, stay) = dropped(root, &earlier, &after)?;
        kept.extend(stay.iter().map(|file| Kept { path: root.path(&file.path), is_dropped: true }));
        after.files.extend(stay);
        let mut steps: Vec<Step> = own.into_iter().map(Step::Directory).collect();
        steps.push(Step::Save(merged(&earlier, &after)));
        steps.extend(others.into_iter().map(Step::Directory));
        steps.extend(writes);
        steps.extend(after.group.is_some().then_some(Step::Group));
        steps.extend(removed.into_iter().map(|file| Step::Remove(file.path)));
        steps.push(Step::Save(after));
        Ok(Self { steps, kept, is_upgrade, has_changes })
    }
}

/// Whether a file that is there stays, for somebody has edited it.
fn stays(root: &Root, part: &Part, earlier: &Manifest) -> Result<bool, Failure> {
    let path = root.path(&part.path);
    if fs::symlink_metadata(&path).is_err() {
        return Ok(false);
    }
    let Some(listed) = earlier.file(&part.path) else {
        let text = anyhow!("{} is there already and not ours; move it away and try again", path.display());
        return Err(Failure::new(Exit::Taken, text));
    };
    let is_edited = |there: Vec<u8>| !listed.is_ours(&there) && there != part.content;
    Ok(part.editable && there(&path)?.is_some_and(is_edited))
}

/// The files that an earlier version had and this one lacks: first those to remove, then those that stay,
/// and stay listed, for somebody has edited them.
fn dropped(
    root: &Root,
    earlier: &Manifest,
    after: &Manifest,
) -> Result<(Vec<InstalledFile>, Vec<InstalledFile>), Failure> {
    let (mut removed, mut stay) = (Vec::new(), Vec::new());
    for file in earlier.files.iter().filter(|file| after.file(&file.path).is_none()) {
        let is_edited = there(&root.path(&file.path))?.is_some_and(|content| !file.is_ours(&content));
        if is_edited { &mut stay } else { &mut removed }.push(file.clone());
    }
    Ok((removed, stay))
}

/// What a file holds, if it is there.
fn there(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(files::refused(path, "read", error)),
    }
}

/// What is listed while one version replaces another: the things of both.
fn merged(earlier: &Manifest, after: &Manifest) -> Manifest {
    let mut both = after.clone();
    for file in &earlier.files {
        match both.files.iter_mut().find(|now| now.path == file.path) {
            Some(now) => {
                now.fingerprints.extend(file.fingerprints.iter().cloned());
                now.fingerprints.dedup();
            }
            None => both.files.push(file.clone()),
        }
    }
    both
}

impl Step {
    /// Does it.
    ///
    /// # Errors
    /// What kept it from being done, naming the thing.
    pub fn run(&self, root: &Root) -> Result<(), Failure> {
        match self {
            Self::Directory(path) => files::make_directory(&root.path(path)),
            Self::Save(manifest) => manifest.save(root),
            Self::Write(part) => files::write(&root.path(&part.path), &part.content, part.mode),
            Self::Remove(path) => files::remove(&root.path(path)).map(drop),
            Self::Group => system::make_group(),
        }
    }

    /// The file that it writes, if it does.
    pub fn written(&self, root: &Root) -> Option<PathBuf> {
        if let Self::Write(part) = self { Some(root.path(&part.path)) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::removal::{Removal, Remover};
    use super::*;

    /// The files of a version, one of them only there in the first.
    fn version(number: u8) -> Vec<Part> {
        let part =
            |path: &str, editable| Part { path: path.into(), content: vec![number], mode: 0o644, editable };
        let mut parts = vec![part("etc/unit", true), part("usr/local/bin/program", false)];
        parts.extend((number == 1).then(|| part("etc/dropped/unit", true)));
        parts
    }

    fn furnished() -> (tempfile::TempDir, Root) {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("var/lib")).expect("ours");
        let root = Root::existing(folder.path()).expect("it is there");
        (folder, root)
    }

    fn install(root: &Root, number: u8, steps: usize) -> Plan {
        let plan = Plan::new(root, version(number), false).expect("nothing is in the way");
        for step in plan.steps.iter().take(steps) {
            step.run(root).expect("done");
        }
        plan
    }

    fn uninstall(root: &Root) {
        Removal::plan(root.clone()).expect("may").carry_out(Remover::CommandLine).expect("done");
    }

    /// Every path below a folder.
    fn below(folder: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut all: Vec<PathBuf> =
            entries.flat_map(|path| [vec![path.clone()], below(&path)].concat()).collect();
        all.sort();
        all
    }

    #[test]
    fn uninstall_removes_all_of_an_installation_that_died_after_any_step() {
        let (folder, root) = furnished();
        let before = below(folder.path());
        let mut steps = 0;
        loop {
            let all = install(&root, 1, steps).steps.len();
            uninstall(&root);
            assert_eq!(below(folder.path()), before, "after {steps} of {all} steps");
            if steps == all {
                break;
            }
            steps += 1;
        }
        assert!(steps > 5);
    }

    #[test]
    fn an_upgrade_that_died_after_any_step_is_taken_up_again_and_nothing_passes_for_edited() {
        for steps in 0..20 {
            let (folder, root) = furnished();
            let before = below(folder.path());
            install(&root, 1, usize::MAX);
            install(&root, 2, steps);
            let again = install(&root, 2, usize::MAX);
            assert!(again.kept.is_empty(), "after {steps} steps: {:?}", again.kept);
            assert_eq!(fs::read(root.path("etc/unit")).expect("there"), [2]);
            assert!(!root.path("etc/dropped").join("unit").exists());
            let manifest = Manifest::load(&root).expect("readable").expect("there");
            assert!(manifest.files.iter().all(|file| file.fingerprints.len() == 1), "{manifest:?}");
            uninstall(&root);
            assert_eq!(below(folder.path()), before, "after {steps} steps");
        }
    }

    #[test]
    fn an_edited_file_is_kept_and_a_program_in_its_place_replaced() {
        let (_folder, root) = furnished();
        install(&root, 1, usize::MAX);
        for path in ["etc/unit", "usr/local/bin/program"] {
            fs::write(root.path(path), "edited").expect("ours");
        }
        for _ in 0..2 {
            let plan = install(&root, 2, usize::MAX);
            assert_eq!(plan.kept, [Kept { path: root.path("etc/unit"), is_dropped: false }]);
        }
        assert_eq!(fs::read(root.path("etc/unit")).expect("there"), b"edited");
        assert_eq!(fs::read(root.path("usr/local/bin/program")).expect("there"), [2]);
    }

    #[test]
    fn an_edited_file_that_a_later_version_drops_is_kept_and_still_listed() {
        let (folder, root) = furnished();
        let before = below(folder.path());
        install(&root, 1, usize::MAX);
        let dropped = root.path("etc/dropped/unit");
        fs::write(&dropped, "edited").expect("ours");
        for _ in 0..2 {
            let plan = install(&root, 2, usize::MAX);
            assert_eq!(plan.kept, [Kept { path: dropped.clone(), is_dropped: true }]);
            assert_eq!(fs::read(&dropped).expect("there"), b"edited");
        }
        uninstall(&root);
        assert_eq!(below(folder.path()), before);
    }
}
