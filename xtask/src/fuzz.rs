//! `cargo xtask fuzz`: made-up bytes for everything that parses untrusted ones.
//!
//! The targets are in fuzz/, a workspace of its own. Seeds in fuzz/corpus/TARGET are committed and
//! few; what a run finds beside them is kept in the target directory, so that the next run starts
//! from there and the repository stays as it is. libFuzzer's coverage is an unstable flag of the
//! compiler, which `RUSTC_BOOTSTRAP=1` lets the stable one take.

use std::fs;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::left_out::LeftOut;
use crate::process::{cargo, files_under, root, run as run_command, target_dir};
use crate::tools::ensure_cargo_tool;

#[derive(Args)]
pub(crate) struct Options {
    /// The target to run; all of them, as many at once as there are cores, when none is named
    target: Option<String>,

    /// How long each target runs
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    seconds: u32,
}

/// An input on which one call may take this long, in seconds, before it counts as a hang.
const TIMEOUT_SECONDS: u32 = 10;

/// How a target is built: with the address sanitizer where that links, else bare.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sanitizer {
    Address,
    None,
}

impl Sanitizer {
    fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::None => "none",
        }
    }
}

/// # Errors
/// A target found a crash, or cannot be built.
pub(crate) fn run(options: &Options, left_out: &mut LeftOut) -> Result<()> {
    let known = targets(&root())?;
    let chosen = match &options.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => bail!("no fuzz target is named {name}: the targets are {}", known.join(" ")),
    };
    if !ensure_cargo_tool("cargo-fuzz", left_out)? {
        return Ok(());
    }
    let sanitizer = build()?;
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    for some in chosen.chunks(at_once) {
        run_at_once(some, options.seconds, sanitizer)?;
    }
    Ok(())
}

/// Every target for a minute.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_all(left_out: &mut LeftOut) -> Result<()> {
    run(&Options { target: None, seconds: 60 }, left_out)
}

/// The names of the targets; every one has seeds.
fn targets(root: &Path) -> Result<Vec<String>> {
    let files = files_under(&root.join("fuzz/fuzz_targets"), "rs")?;
    let names: Vec<_> =
        files.iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
    if names.is_empty() {
        bail!("fuzz/fuzz_targets has no targets");
    }
    for name in &names {
        let seeds = root.join("fuzz/corpus").join(name);
        if fs::read_dir(&seeds).map_or(0, Iterator::count) == 0 {
            bail!("fuzz target {name} has no seeds in fuzz/corpus/{name}");
        }
    }
    Ok(names)
}

/// Builds all targets.
fn build() -> Result<Sanitizer> {
    let build =
        |sanitizer: Sanitizer| run_command(cargo_fuzz("build").args(["--sanitizer", sanitizer.name()]));
    match build(Sanitizer::Address) {
        Ok(()) => Ok(Sanitizer::Address),
        Err(error) => {
            println!("with the address sanitizer: {error:#}; trying without");
            build(Sanitizer::None).map(|()| Sanitizer::None)
        }
    }
}

/// Runs some targets beside each other: each has one thread.
fn run_at_once(targets: &[String], seconds: u32, sanitizer: Sanitizer) -> Result<()> {
    let one = |target: &str| run_target(target, seconds, sanitizer);
    let results: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = targets.iter().map(|target| scope.spawn(|| one(target))).collect();
        running
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|_| bail!("a fuzzing thread failed")))
            .collect()
    });
    results.into_iter().collect()
}

fn run_target(target: &str, seconds: u32, sanitizer: Sanitizer) -> Result<()> {
    let fuzz = root().join("fuzz");
    let found = target_dir().join("fuzz-corpus").join(target);
    fs::create_dir_all(&found).with_context(|| format!("cannot make {}", found.display()))?;
    let artifacts = fuzz.join("artifacts").join(target);
    let before = crashes(&artifacts);

    println!("\n--- {target}, {seconds} s, sanitizer: {}", sanitizer.name());
    let mut fuzzing = cargo_fuzz("run");
    fuzzing.args(["--sanitizer", sanitizer.name(), target]).arg(&found).arg(fuzz.join("corpus").join(target));
    fuzzing.args(["--", &format!("-max_total_time={seconds}"), &format!("-timeout={TIMEOUT_SECONDS}")]);
    let result = run_command(&mut fuzzing);

    for crash in crashes(&artifacts).iter().filter(|crash| !before.contains(crash)) {
        println!("crash: {}", crash.display());
        let again = format!("cargo fuzz run --sanitizer {} {target} {}", sanitizer.name(), crash.display());
        println!("reproduce it with: RUSTC_BOOTSTRAP=1 {again}");
        println!("once it is mended, keep the input as a seed in fuzz/corpus/{target}");
    }
    result.with_context(|| format!("fuzz target {target}"))
}

fn cargo_fuzz(subcommand: &str) -> Command {
    let mut command = cargo();
    command.args(["fuzz", subcommand]).env("RUSTC_BOOTSTRAP", "1");
    command
}

/// What libFuzzer has left in a directory of artifacts, if there is one.
fn crashes(artifacts: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(artifacts).into_iter().flatten();
    entries.filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_seeds_is_an_error() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let make = |path: &str| {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            fs::write(path, "x").expect("write");
        };
        assert!(targets(dir.path()).expect_err("no targets").to_string().contains("no targets"));

        make("fuzz/fuzz_targets/packet.rs");
        let error = targets(dir.path()).expect_err("no seeds");
        assert_eq!(error.to_string(), "fuzz target packet has no seeds in fuzz/corpus/packet");

        make("fuzz/corpus/packet/one");
        assert_eq!(targets(dir.path()).expect("targets"), ["packet"]);
    }
}
