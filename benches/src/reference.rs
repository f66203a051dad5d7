//! The programs beside hypertap: compiles those in C, of `reference/`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/reference");
const FLAGS: [&str; 5] = ["-O3", "-march=native", "-pthread", "-Wall", "-Wextra"];

const BRIDGE: [&str; 6] = ["bridge.c", "endpoint.c", "hypertap.c", "vde.c", "offload.c", "batch.c"];

/// Where the compiled programs are.
#[derive(Default)]
pub(crate) struct Programs {
    /// Copies packets between two endpoints: the reference, and the other end of ours.
    pub(crate) bridge: String,
    /// Sends and counts UDP packets with a bounded number in flight, and times round trips.
    pub(crate) window: String,
    /// Both ends of streams through services, and stock libp2p nodes; built with this program.
    pub(crate) stream_ends: String,
}

/// Compiles both into `dir`.
pub(crate) fn compile(dir: &Path) -> Result<Programs> {
    let own = std::env::current_exe().context("find this program")?;
    Ok(Programs {
        bridge: program(dir, "bridge", &BRIDGE)?,
        window: program(dir, "window", &["window.c"])?,
        stream_ends: own.with_file_name("stream_ends").display().to_string(),
    })
}

/// The compiler's first line about itself.
pub(crate) fn compiler() -> String {
    let version =
        Command::new("gcc").arg("--version").output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&version).lines().next().unwrap_or("unknown").to_owned()
}

fn program(dir: &Path, name: &str, files: &[&str]) -> Result<String> {
    let out: PathBuf = dir.join(name);
    let sources = files.iter().map(|file| Path::new(SOURCES).join(file));
    let mut gcc = Command::new("gcc");
    gcc.args(FLAGS).arg("-o").arg(&out).args(sources);
    let output = gcc.output().context("run gcc: is it installed?")?;
    if !output.status.success() {
        bail!("gcc cannot compile {name}:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    out.into_os_string().into_string().ok().context("the path of the target directory is not UTF-8")
}
