//! Tools that cargo and rustup can fetch, fetched only when they are absent.

use std::time::Instant;

use anyhow::Result;

use crate::left_out::LeftOut;
use crate::process::{cargo, command, is_on_path, output, run};

/// Makes a cargo subcommand available: `cargo-deny`, `cargo-fuzz`. True when it is there.
///
/// # Errors
/// It cannot be installed, in CI.
pub(crate) fn ensure_cargo_tool(name: &str, left_out: &mut LeftOut) -> Result<bool> {
    if is_installed(name) {
        return Ok(true);
    }
    let start = Instant::now();
    // Its own profile and lock file: neither ours may change what is built.
    let installed = run(cargo().args(["install", "--locked", name]));
    println!("installing {name} took {:.0} s", start.elapsed().as_secs_f64());
    match installed {
        Ok(()) => Ok(true),
        Err(error) => {
            left_out.missing(format!("{name}: it is not installed and cannot be: {error:#}"))?;
            Ok(false)
        }
    }
}

/// Makes a compilation target available. True when it is there.
///
/// # Errors
/// It cannot be installed, in CI.
pub(crate) fn ensure_target(triple: &str, left_out: &mut LeftOut) -> Result<bool> {
    let installed = || {
        let listed = output(command("rustup").args(["target", "list", "--installed"]));
        listed.is_ok_and(|list| list.lines().any(|line| line.trim() == triple))
    };
    if installed() || (run(command("rustup").args(["target", "add", triple])).is_ok() && installed()) {
        return Ok(true);
    }
    left_out
        .missing(format!("the build for {triple}: the target is not installed and rustup cannot add it"))?;
    Ok(false)
}

fn is_installed(name: &str) -> bool {
    let subcommand = name.strip_prefix("cargo-").expect("a cargo subcommand's program starts with cargo-");
    is_on_path(name) && output(cargo().args([subcommand, "--version"])).is_ok()
}
