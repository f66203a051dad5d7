//! Debian's packages of services, unpacked for a test and never installed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the unpacked packages, which are fetched once into the folder `name` of `target`. To be
/// called outside, where there is a network, with `CARGO_TARGET_TMPDIR`.
#[track_caller]
pub fn unpacked(target: &str, name: &str, packages: &[&str]) -> PathBuf {
    let folder = Path::new(target).join(name);
    fs::create_dir_all(&folder).expect("the target folder is ours");
    // Several tests may want them at once, so the folder is locked, and the root there whole or not at all.
    let script = r#"[ -e root ] || { rm -rf *.deb unpacking && apt-get download "$@" && mkdir unpacking \
                    && for deb in *.deb; do dpkg -x "$deb" unpacking || exit; done && mv unpacking root; }"#;
    let mut command = Command::new("flock");
    command.args(["lock", "sh", "-c", script, "sh"]).args(packages).current_dir(&folder);
    let output = command.output().expect("util-linux is installed");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cannot fetch Debian's {}: {said}", packages.join(" "));
    folder.join("root")
}
