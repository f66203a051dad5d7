//! What is asked of the machine's own programs: systemd's units, and the group.

use std::path::Path;
use std::process::{Command, ExitStatus};

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
    match Command::new("systemctl").args(words).status() {
        Ok(status) if status.success() => {}
        outcome => tell_failure(&format!("systemctl {}", words.join(" ")), outcome),
    }
}

/// Whether systemd runs a unit.
pub fn is_active(unit: &str) -> bool {
    let asked = Command::new("systemctl").args(["is-active", "--quiet", unit]).status();
    asked.is_ok_and(|status| status.success())
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
    match Command::new("groupadd").args(["--system", GROUP]).status() {
        Ok(status) if status.success() => Ok(()),
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
    match Command::new("groupdel").arg(name).status() {
        Ok(status) if status.success() => true,
        outcome => {
            tell_failure(&format!("groupdel {name}"), outcome);
            false
        }
    }
}

fn tell_failure(command: &str, outcome: std::io::Result<ExitStatus>) {
    tracing::warn!("`{command}` {}; run it by hand", describe(outcome));
}

fn describe(outcome: std::io::Result<ExitStatus>) -> String {
    match outcome {
        Ok(status) => format!("ended with {status}"),
        Err(error) => format!("cannot be run: {error}"),
    }
}
