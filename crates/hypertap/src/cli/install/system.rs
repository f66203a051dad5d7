//! What is asked of the machine's own programs: systemd's units, and the group.

use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::anyhow;
use hypertap_platform::peer::{Allowed, NoGroup};

use crate::exit::{Exit, Failure};

/// The group whose members may connect.
pub const GROUP: &str = "hypertap";

/// Whether systemd runs this machine (`sd_booted(3)`).
pub fn has_systemd() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// Asks systemd; what it refuses is said, and what was installed or removed is so all the same.
pub fn systemctl(words: &[&str]) {
    match ask("systemctl", words) {
        Ok(answer) if answer.status.success() => {}
        outcome => tell_failure(&format!("systemctl {}", words.join(" ")), outcome),
    }
}

/// Whether systemd runs a unit.
pub fn is_active(unit: &str) -> bool {
    ask("systemctl", &["is-active", "--quiet", unit]).is_ok_and(|answer| answer.status.success())
}

/// Whether there is the group, in whatever database the machine has.
pub fn has_group() -> bool {
    !matches!(Allowed::new(0, Some(GROUP)), Err(NoGroup::Unknown(_)))
}

/// Makes the group, unless there is one.
///
/// # Errors
/// When it cannot be made.
pub fn make_group() -> Result<(), Failure> {
    if has_group() {
        return Ok(());
    }
    match ask("groupadd", &["--system", GROUP]) {
        Ok(answer) if answer.status.success() => Ok(()),
        outcome => {
            let how = describe(outcome);
            let text =
                anyhow!("cannot make the group {GROUP}: groupadd {how}; make it by hand and try again");
            Err(Failure::new(Exit::Other, text))
        }
    }
}

/// Removes the group, and says whether it was there. One that cannot be removed (it is a user's
/// first one now) stays, and that is said.
pub fn remove_group(name: &str) -> bool {
    if !has_group() {
        return false;
    }
    match ask("groupdel", &[name]) {
        Ok(answer) if answer.status.success() => true,
        outcome => {
            tell_failure(&format!("groupdel {name}"), outcome);
            false
        }
    }
}

/// Runs a program to its end. What it says is ours to tell: one that writes where nobody reads is killed.
fn ask(program: &str, words: &[&str]) -> io::Result<Output> {
    Command::new(program).args(words).stdin(Stdio::null()).output()
}

fn tell_failure(command: &str, outcome: io::Result<Output>) {
    tracing::warn!("`{command}` {}; run it by hand", describe(outcome));
}

fn describe(outcome: io::Result<Output>) -> String {
    match outcome {
        Ok(answer) => {
            let said = String::from_utf8_lossy(&answer.stderr);
            let said: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
            let status = answer.status;
            if said.is_empty() {
                format!("ended with {status}")
            } else {
                format!("ended with {status}, saying {:?}", said.join(" "))
            }
        }
        Err(error) => format!("cannot be run: {error}"),
    }
}
