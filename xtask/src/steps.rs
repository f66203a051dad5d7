//! The steps of `cargo xtask test`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::left_out::LeftOut;
use crate::process::{cargo, command, files_under, output, root, run, target_dir};
use crate::rights::{Network, cargo_as_root, cargo_with_device, is_root};
use crate::tools::{ensure_cargo_tool, ensure_target};
use crate::{borders, fuzz, generated, packages};

/// One thing that CI checks.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Not part of a quick run.
    pub(crate) is_slow: bool,
    /// What hangs is killed then. Several times what a slow machine needs that has built nothing yet.
    pub(crate) limit: Duration,
    pub(crate) run: fn(&mut LeftOut) -> Result<()>,
}

impl Step {
    const fn quick(name: &'static str, what: &'static str, run: fn(&mut LeftOut) -> Result<()>) -> Self {
        Self { name, what, is_slow: false, limit: Duration::from_secs(20 * 60), run }
    }

    const fn slow(name: &'static str, what: &'static str, run: fn(&mut LeftOut) -> Result<()>) -> Self {
        Self { name, what, is_slow: true, limit: Duration::from_secs(40 * 60), run }
    }
}

/// In the order in which they run: cheap ones that often fail first.
pub(crate) const STEPS: &[Step] = &[
    Step::quick("packages", "the programs that the tests need", |_| packages::run()),
    Step::quick("format", "the sources are formatted", |_| format()),
    Step::quick("clippy", "no lint has anything to say", |_| clippy()),
    Step::quick("borders", "the crates keep to their borders", borders::run),
    Step::quick("macos", "the binary type-checks for macOS, where nothing is run", macos),
    Step::slow("deny", "licences, bans, sources and advisories of what we depend on", deny),
    Step::quick("unit", "tests of the crates", unit),
    Step::quick(
        "build",
        "what the system tests run: the binary, the library for C, the client's examples",
        |_| {
            run(cargo().args(["build", "--package", "hypertap", "--package", "hypertap-capi"]))?;
            run(cargo().args(["build", "--package", "hypertap-client", "--examples"]))
        },
    ),
    Step::quick("system", "the real binary on the real kernel", system),
    Step::quick("python", "the Python client's tests", |_| python()),
    Step::quick("java", "the Java client's tests, warnings are errors", |_| java()),
    Step::quick("docs", "the generated man pages and completions are current", |_| generated::check()),
    Step::slow("fuzz", "a minute of made-up input for every parser", fuzz::run_all),
    Step::slow("demo", "the release build shows the main job", |_| {
        cargo_with_device(&["run", "--release", "--", "demo"])
    }),
];

fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}

fn clippy() -> Result<()> {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

/// Clippy type-checks without a linker for the target. The tests, which are for Linux, are left out, and so is
/// the services door, as there is no C compiler for the target either.
fn macos(left_out: &mut LeftOut) -> Result<()> {
    const TARGET: &str = "aarch64-apple-darwin";
    if !ensure_target(TARGET, left_out)? {
        return Ok(());
    }
    let what = ["clippy", "--package", "hypertap", "--no-default-features", "--target", TARGET];
    run(cargo().args(what).args(["--", "--deny", "warnings"]))
}

fn deny(left_out: &mut LeftOut) -> Result<()> {
    if !ensure_cargo_tool("cargo-deny", left_out)? {
        return Ok(());
    }
    run(cargo().args(["deny", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]))?;
    if output(cargo().args(["deny", "fetch", "db"])).is_err() {
        left_out.unreachable("advisories: their database cannot be fetched from here");
        return Ok(());
    }
    run(cargo().args(["deny", "check", "--disable-fetch", "advisories"]))
}

/// Tests, by a part of their names, that make what only the machine's root can.
const MACHINES_ROOT: &[&str] = &[
    // A control group, for a real logind.
    "with_logind::",
    // Nodes of devices.
    "what_makes_a_tun_unusable_is_told_apart",
    "a_device_that_cannot_be_opened_is_told_in_the_greeting",
    "load_config_that_is_granted_is_approved_and_everything_works",
];

/// The words with which a run of tests ends: for an ordinary user, what is left out.
///
/// # Errors
/// In CI, for an ordinary user.
fn skipped(left_out: &mut LeftOut) -> Result<Vec<&'static str>> {
    if is_root() {
        return Ok(Vec::new());
    }
    left_out.missing("tests of what only the machine's root makes: control groups and nodes of devices")?;
    Ok(std::iter::once("--").chain(MACHINES_ROOT.iter().flat_map(|test| ["--skip", test])).collect())
}

fn unit(left_out: &mut LeftOut) -> Result<()> {
    let crates = ["--workspace", "--exclude", "hypertap-tests"];
    let chosen = [&crates[..], &skipped(left_out)?].concat();
    let as_root = |words: &[&str], rest: &[&str]| cargo_as_root(&[words, rest].concat(), Network::Own);
    if output(cargo().args(["nextest", "--version"])).is_err() {
        // Where they run there may be nothing to fetch from.
        run(cargo().args(["test", "--no-run"]).args(crates))?;
        return as_root(&["test"], &chosen);
    }
    run(cargo().args(["nextest", "run", "--no-run"]).args(crates))?;
    as_root(&["nextest", "run"], &chosen)?;
    as_root(&["test", "--doc"], &crates)
}

fn system(left_out: &mut LeftOut) -> Result<()> {
    let as_root = |words: &[&str]| cargo_as_root(&[&["test"], words].concat(), Network::Machines);
    let skipped = skipped(left_out)?;
    // Left out of plain `cargo test`, because they fetch packages.
    let fetching = |test| as_root(&["--package", "hypertap-platform", "--test", test, "--", "--ignored"]);
    fetching("resolved")?;
    if is_root() {
        fetching("session")?;
    }
    as_root(&[&["--package", "hypertap-tests"], &skipped[..]].concat())
}

fn python() -> Result<()> {
    let tests = "clients/python/tests";
    if files_under(&root().join(tests), "py")?.is_empty() {
        bail!("{tests} has no tests");
    }
    run(command("python3").args(["-m", "unittest", "discover", "-s", tests]))
}

fn java() -> Result<()> {
    let sources = files_under(&root().join("clients/java"), "java")?;
    if sources.is_empty() {
        bail!("clients/java has no sources");
    }
    let classes = target_dir().join("java");
    if classes.exists() {
        // A class whose source is gone would still be found.
        std::fs::remove_dir_all(&classes).with_context(|| format!("cannot empty {}", classes.display()))?;
    }
    run(command("javac").args(["-Xlint:all", "-Werror", "-d"]).arg(&classes).args(sources))?;
    run(command("java")
        .args(["-enableassertions", "-classpath"])
        .arg(&classes)
        .arg("dev.hypertap.test.AllTests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_ordinary_user_leaves_out_is_there() {
        let folders = ["tests", "crates/platform/tests"];
        let files = folders.map(|folder| files_under(&root().join(folder), "rs").expect("a folder"));
        let texts: Vec<_> =
            files.iter().flatten().map(|file| std::fs::read_to_string(file).expect("a source")).collect();
        for part in MACHINES_ROOT {
            let item =
                part.strip_suffix("::").map_or(format!("fn {part}("), |module| format!("mod {module} {{"));
            assert!(texts.iter().any(|text| text.contains(&item)), "{item}");
        }
    }
}
