//! The conditions of a run, without which its figures mean nothing.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::{Value, json};

use crate::load::CONGESTION_CONTROL;
use crate::process;
use crate::reference;
use crate::workshop::Workshop;

const COMPILERS: [&str; 9] =
    ["rustc", "clippy-driver", "cc1", "cc1plus", "ld", "ld.lld", "rust-lld", "lto1", "collect2"];

/// Name and value of each condition, in the order of the report.
pub(crate) struct Conditions(Vec<(&'static str, String)>);

impl Conditions {
    pub(crate) fn read(shop: &Workshop) -> Self {
        let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
        let cpu = format!("{}, {cores} cores", cpu_model());
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let binary = shop.hypertap.as_deref().map_or("not measured".to_owned(), binary);
        Self(vec![
            ("date", said("date", &["--utc", "+%Y-%m-%d %H:%M UTC"])),
            ("commit", commit()),
            ("hypertap", binary),
            ("kernel", release.trim().to_owned()),
            ("cpu", cpu),
            ("congestion control", CONGESTION_CONTROL.to_owned()),
            ("compiler of the reference", format!("{}, -O3 -march=native", reference::compiler())),
            ("iperf3", said("iperf3", &["--version"])),
        ])
    }

    pub(crate) fn markdown(&self) -> String {
        let lines: Vec<String> = self.0.iter().map(|(name, value)| format!("- {name}: {value}\n")).collect();
        lines.concat() + "\n"
    }

    pub(crate) fn json(&self) -> Value {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
    }
}

/// Whether a compiler runs anywhere on this machine: its cores are then not ours alone.
pub(crate) fn compiler_runs() -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return false };
    let name = |entry: fs::DirEntry| fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
    processes.flatten().map(name).any(|name| COMPILERS.contains(&name.trim()))
}

/// Waits until no compiler runs, at most so long.
pub(crate) fn wait_for_quiet(most: Duration) -> Result<()> {
    let end = Instant::now() + most;
    while Instant::now() < end && compiler_runs() {
        process::rest(Duration::from_millis(500))?;
    }
    Ok(())
}

/// Its path from the repository's root, and a warning: figures of an unoptimized build say nothing.
fn binary(file: &Path) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("/"));
    let release = file.components().any(|part| part.as_os_str() == "release");
    let note = if release { "" } else { " (not a release build)" };
    format!("{}{note}", file.strip_prefix(root).unwrap_or(file).display())
}

fn cpu_model() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model =
        info.lines().find(|line| line.starts_with("model name")).and_then(|line| line.split_once(": "));
    model.map_or("unknown", |(_, name)| name).to_owned()
}

fn commit() -> String {
    let here = env!("CARGO_MANIFEST_DIR");
    let commit = said("git", &["-C", here, "rev-parse", "--short=12", "HEAD"]);
    if commit.is_empty() {
        return "unknown".to_owned();
    }
    let changed = !said("git", &["-C", here, "status", "--porcelain"]).is_empty();
    if changed { format!("{commit}, with changes") } else { commit }
}

/// The first line that a command writes, empty when it cannot be run.
fn said(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or_default().to_owned()
}
