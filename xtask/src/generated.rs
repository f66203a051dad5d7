//! `cargo xtask gen`: the man pages and shell completions under packaging/, made by the binary
//! itself from its command line, and kept in the repository so that a package needs no build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::process::{cargo, root, run as run_command, target_dir};

/// What `hypertap generate WHAT DIR` can make; each has a directory of its own in packaging/.
const KINDS: &[&str] = &["man", "completions"];

#[derive(Args)]
pub(crate) struct Options {
    /// Change nothing; fail when what is committed differs
    #[arg(long)]
    check: bool,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    if options.check { check() } else { write() }
}

/// # Errors
/// What is committed is not what the binary makes.
pub(crate) fn check() -> Result<()> {
    let mut differing = Vec::new();
    for kind in KINDS {
        let committed = files_in(&root().join("packaging").join(kind))?;
        differing.extend(differences(kind, &committed, &make(kind)?));
    }
    for line in &differing {
        println!("{line}");
    }
    if !differing.is_empty() {
        bail!(
            "{} generated files are not current: run `cargo xtask gen` and commit packaging/",
            differing.len()
        );
    }
    println!("packaging/man and packaging/completions are current");
    Ok(())
}

fn write() -> Result<()> {
    for kind in KINDS {
        let made = make(kind)?;
        let dir = root().join("packaging").join(kind);
        let stale: Vec<_> = files_in(&dir)?.into_keys().filter(|name| !made.contains_key(name)).collect();
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        for name in stale {
            fs::remove_file(dir.join(&name)).with_context(|| format!("cannot remove {name}"))?;
        }
        for (name, bytes) in &made {
            fs::write(dir.join(name), bytes).with_context(|| format!("cannot write {name}"))?;
        }
        println!("packaging/{kind}: {} files", made.len());
    }
    Ok(())
}

/// Files by name.
type Files = BTreeMap<String, Vec<u8>>;

/// Has the binary make one kind.
fn make(kind: &str) -> Result<Files> {
    let dir = target_dir().join("generated").join(kind);
    if dir.exists() {
        fs::remove_dir_all(&dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
    run_command(cargo().args(["run", "--quiet", "--package", "hypertap", "--", "generate", kind]).arg(&dir))?;
    let made = files_in(&dir)?;
    if made.is_empty() {
        bail!("`hypertap generate {kind}` made no file");
    }
    Ok(made)
}

/// The files right in `dir`; none where there is no such directory.
fn files_in(dir: &Path) -> Result<Files> {
    let mut files = Files::new();
    if !dir.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        files.insert(name, bytes);
    }
    Ok(files)
}

/// A line for each file that is not the same in both.
fn differences(kind: &str, committed: &Files, made: &Files) -> Vec<String> {
    let missing = made.keys().filter(|name| !committed.contains_key(*name)).map(|name| (name, "is missing"));
    let others = committed.iter().filter_map(|(name, bytes)| match made.get(name) {
        None => Some((name, "is no longer made")),
        Some(now) if now != bytes => Some((name, "is not current")),
        Some(_) => None,
    });
    missing.chain(others).map(|(name, how)| format!("packaging/{kind}/{name} {how}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(files: &[(&str, &str)]) -> Files {
        files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect()
    }

    #[test]
    fn the_same_files_have_no_differences() {
        let same = files(&[("hypertap.1", "page")]);
        assert_eq!(differences("man", &same, &same), Vec::<String>::new());
    }

    #[test]
    fn a_missing_a_stale_and_a_changed_file_are_each_named() {
        let committed = files(&[("old.1", "page"), ("same.1", "page"), ("changed.1", "before")]);
        let made = files(&[("new.1", "page"), ("same.1", "page"), ("changed.1", "after")]);
        let wanted = [
            "packaging/man/new.1 is missing",
            "packaging/man/changed.1 is not current",
            "packaging/man/old.1 is no longer made",
        ];
        assert_eq!(differences("man", &committed, &made), wanted);
    }

    #[test]
    fn a_directory_that_is_not_there_has_no_files() {
        assert_eq!(files_in(Path::new("/no/such/directory")).expect("no error"), Files::new());
    }
}
