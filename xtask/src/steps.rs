//! The steps of `cargo xtask test`.

use anyhow::{Context, Result, bail};

use crate::left_out::LeftOut;
use crate::process::{cargo, command, files_under, output, root, run, target_dir};
use crate::tools::{ensure_cargo_tool, ensure_target};
use crate::{borders, fuzz, generated, packages};

/// One thing that CI checks.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    /// Not part of a quick run.
    pub(crate) is_slow: bool,
    pub(crate) run: fn(&mut LeftOut) -> Result<()>,
}

impl Step {
    const fn quick(name: &'static str, what: &'static str, run: fn(&mut LeftOut) -> Result<()>) -> Self {
        Self { name, what, is_slow: false, run }
    }

    const fn slow(name: &'static str, what: &'static str, run: fn(&mut LeftOut) -> Result<()>) -> Self {
        Self { name, what, is_slow: true, run }
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
    Step::quick("unit", "tests of the crates", |_| unit()),
    Step::quick("build", "the binary", |_| run(cargo().args(["build", "--package", "hypertap"]))),
    Step::quick("system", "the real binary on the real kernel", |_| system()),
    Step::quick("python", "the Python client's tests", |_| python()),
    Step::quick("java", "the Java client's tests, warnings are errors", |_| java()),
    Step::quick("docs", "the generated man pages and completions are current", |_| generated::check()),
    Step::slow("fuzz", "a minute of made-up input for every parser", fuzz::run_all),
    Step::slow("demo", "the release build shows the main job", |_| {
        run(cargo().args(["run", "--release", "--", "demo"]))
    }),
];

fn format() -> Result<()> {
    run(cargo().args(["fmt", "--all", "--check"]))?;
    run(cargo().args(["fmt", "--check", "--manifest-path", "fuzz/Cargo.toml"]))
}

fn clippy() -> Result<()> {
    run(cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

/// Clippy type-checks without a linker for the target. The tests, which are for Linux, are left out.
fn macos(left_out: &mut LeftOut) -> Result<()> {
    const TARGET: &str = "aarch64-apple-darwin";
    if !ensure_target(TARGET, left_out)? {
        return Ok(());
    }
    run(cargo().args(["clippy", "--package", "hypertap", "--target", TARGET, "--", "--deny", "warnings"]))
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

fn unit() -> Result<()> {
    let crates = ["--workspace", "--exclude", "hypertap-tests"];
    if output(cargo().args(["nextest", "--version"])).is_err() {
        return run(cargo().arg("test").args(crates));
    }
    run(cargo().args(["nextest", "run"]).args(crates))?;
    run(cargo().args(["test", "--doc"]).args(crates))
}

fn system() -> Result<()> {
    // Left out of plain `cargo test`, because they fetch packages.
    for test in ["resolved", "session"] {
        run(cargo().args(["test", "--package", "hypertap-platform", "--test", test, "--", "--ignored"]))?;
    }
    run(cargo().args(["test", "--package", "hypertap-tests"]))
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
