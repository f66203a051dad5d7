//! `cargo xtask borders`: proves the borders between the crates.
//!
//! Three proofs. The arrows: what `cargo metadata` says of who depends on whom ([`arrows`]). The
//! sources: what each file may name, by where it stands ([`source`]). And the build of the crates
//! without I/O for a machine that has none, wasm32.

mod arrows;
mod lexer;
mod paths;
mod source;
#[cfg(test)]
mod tree;

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::left_out::LeftOut;
use crate::process::{cargo, files_under, root, run as run_command};
use crate::tools::ensure_target;

/// Where our Rust is.
const SOURCES: &[&str] = &["benches", "crates", "fuzz", "tests", "xtask"];

/// A target with neither files nor sockets nor clock.
const BARE_TARGET: &str = "wasm32-unknown-unknown";

/// The crates that build for it.
const PURE_CRATES: &[&str] = &["hypertap-wire", "hypertap-engine"];

/// A border that something has crossed.
#[derive(Debug, PartialEq, Eq)]
struct Finding {
    /// A crate, or a file and line.
    place: String,
    what: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

pub(crate) fn run(left_out: &mut LeftOut) -> Result<()> {
    let root = root();
    let Checked { files, findings } = check(&root)?;
    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!("{} borders crossed", findings.len());
    }
    println!("{files} source files and the crates' arrows keep to the borders");
    if ensure_target(BARE_TARGET, left_out)? {
        let mut check = cargo();
        check.args(["check", "--target", BARE_TARGET]);
        for name in PURE_CRATES {
            check.args(["--package", name]);
        }
        run_command(&mut check)?;
    }
    Ok(())
}

struct Checked {
    files: usize,
    findings: Vec<Finding>,
}

fn check(root: &Path) -> Result<Checked> {
    let mut findings = arrows::findings(&arrows::metadata(root)?, root)?;
    let mut files = 0;
    for dir in SOURCES {
        for file in files_under(&root.join(dir), "rs")? {
            let path =
                file.strip_prefix(root).expect("listed below the root").to_string_lossy().replace('\\', "/");
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {path}"))?;
            findings.extend(source::findings(&path, &text));
            files += 1;
        }
    }
    Ok(Checked { files, findings })
}

#[cfg(test)]
mod tests {
    use super::tree::Tree;
    use super::*;

    #[test]
    fn a_good_tree_has_no_findings() {
        let tree = Tree::new().package("crates/wire", "hypertap-wire", "");
        let checked = check(tree.root()).expect("check");
        // The library of the crate and, made up with every tree, that of the tests.
        assert_eq!((checked.files, checked.findings), (2, vec![]));
    }

    #[test]
    fn every_directory_of_sources_is_read() {
        let tree = Tree::new()
            .package("crates/wire", "hypertap-wire", "")
            .file("crates/wire/src/deep/down.rs", "use std::fs;")
            .file("xtask/src/main.rs", "unsafe {}")
            .file("fuzz/fuzz_targets/packet.rs", "unsafe {}")
            .file("fuzz/target/generated.rs", "unsafe {}");
        let findings = check(tree.root()).expect("check").findings;
        let places: Vec<_> = findings.iter().map(|finding| finding.place.as_str()).collect();
        assert_eq!(
            places,
            ["crates/wire/src/deep/down.rs:1", "fuzz/fuzz_targets/packet.rs:1", "xtask/src/main.rs:1"]
        );
    }
}
