//! `hypertap bypass -- CMD`: a program whose sockets go past the tunnel.

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_client::blocking::Tunnel;
use hypertap_client::{Address, Error};
use serde_json::Map;

use super::status::sockets;
use crate::exit::{Exit, Failure};

/// Run a program whose sockets go past the tunnel
///
/// The daemon marks each internet socket that the program, and what it starts, makes. A program
/// that answers captured DNS queries asks a real resolver this way. Needs no rights.
#[derive(Args, Clone, Debug)]
#[command(after_help = "Example:\n  hypertap bypass -- dig @9.9.9.9 example.org")]
pub struct BypassArgs {
    /// The daemon's Unix socket [default: the one that is running]
    #[arg(long, value_name = "PATH")]
    pub control: Option<PathBuf>,

    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// Runs the program and exits as it does.
///
/// # Errors
/// When no daemon takes it on, or it cannot be started.
pub fn run(args: &BypassArgs) -> Result<(), Failure> {
    let mut tunnel = connect(args.control.as_deref())?;
    let name = args.command[0].to_string_lossy().into_owned();
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    let (mut child, listener) =
        hypertap_platform::bypass::spawn(&mut command).with_context(|| format!("cannot start {name}"))?;
    let served = tunnel.request_with_descriptor("bypass", Map::new(), listener.as_fd());
    // From here on the daemon holds the listener; the program waits in its first socket(2) until then.
    drop(listener);
    if let Err(error) = served {
        let _ = child.kill();
        let _ = child.wait();
        return Err(anyhow::Error::from(error).context("the daemon does not take the program on").into());
    }
    drop(tunnel);
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    std::process::exit(code);
}

fn connect(control: Option<&Path>) -> Result<Tunnel, Failure> {
    let paths = control.map_or_else(|| sockets(None), |path| vec![path.to_owned()]);
    let mut refused = None;
    for path in paths {
        match Tunnel::connect(Address::Unix(path.clone())) {
            Ok(tunnel) => return Ok(tunnel),
            Err(error @ Error::Refused { .. }) => refused = Some((path, error)),
            Err(error) => tracing::debug!(path = %path.display(), %error, "no daemon there"),
        }
    }
    Err(if let Some((path, error)) = refused {
        let text = format!("the daemon at {} does not let this user in", path.display());
        Failure::new(Exit::Right, anyhow::Error::from(error).context(text))
    } else {
        let remedy = "start one with `sudo hypertap tunnel`, or name its socket with --control";
        Failure::new(Exit::Other, anyhow!("no hypertap daemon answers; {remedy}"))
    })
}
