//! Debian's packages of services, unpacked for a test and never installed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the unpacked packages, which are fetched once into the folder `name` of `target`. To be
/// called outside, where there is a network, with `CARGO_TARGET_TMPDIR`.
#[track_caller]
pub fn unpacked(target: &str, name: &str, packages: &[&str]) -> PathBuf {
    let folder = Path::new(target).join(name);
    let script = include_str!("debian.sh");
    let mut command = Command::new("sh");
    command.args(["-c", script, "debian.sh"]).arg(&folder).args(packages);
    let output = command.output().expect("a shell is there");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot fetch Debian's {}: {said}", packages.join(" "));
    folder.join("root")
}
