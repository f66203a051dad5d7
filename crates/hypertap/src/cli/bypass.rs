//! `hypertap bypass -- CMD`: a program whose sockets go past the tunnel.

use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{self, Path, PathBuf};
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
/// The daemon marks each TCP, UDP and ping socket that the program, and what it starts, makes. A
/// program that answers captured DNS queries asks a real resolver this way. Needs no rights. Raw
/// sockets, and those of other protocols, are not marked: what they send goes where the tunnel's
/// routes say.
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

/// In the program's environment: the daemon whose sockets it gets, by the path of its Unix socket.
const DAEMON: &str = "HYPERTAP_BYPASS";

/// Runs the program and exits as it does.
///
/// # Errors
/// When no daemon takes it on, or it cannot be started.
pub fn run(args: &BypassArgs) -> Result<(), Failure> {
    let (path, mut tunnel) = connect(args.control.as_deref())?;
    let path = path::absolute(path).context("cannot tell the current folder")?;
    let name = args.command[0].to_string_lossy().into_owned();
    let mut command = command(args);
    let (mut child, listener) = match hypertap_platform::bypass::spawn(command.env(DAEMON, &path)) {
        Ok(started) => started,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return Err(run_inside(args, &path).into());
        }
        Err(error) => return Err(anyhow!(error).context(format!("cannot start {name}")).into()),
    };
    let served = tunnel.request_with_descriptor("bypass", Map::new(), listener.as_fd());
    // From here on the daemon holds the listener; the program waits in its first socket(2) until then.
    drop(listener);
    if let Err(error) = served {
        let _ = child.kill();
        let _ = child.wait();
        return Err(anyhow!(error).context("the daemon does not take the program on").into());
    }
    drop(tunnel);
    let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    std::process::exit(code);
}

fn command(args: &BypassArgs) -> Command {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    command
}

/// Becomes the program, where somebody answers for this process's system calls already: a second
/// cannot. That is well if it is the same daemon, since all that is below is let past with us.
fn run_inside(args: &BypassArgs, daemon: &Path) -> anyhow::Error {
    match env::var_os(DAEMON) {
        Some(outer) if outer == daemon => {
            anyhow!(command(args).exec()).context(format!("cannot start {}", args.command[0].display()))
        }
        Some(outer) => anyhow!(
            "this is inside `hypertap bypass` of the daemon at {}, and Linux allows one at a time: for the \
             daemon at {} run it outside of that",
            outer.display(),
            daemon.display()
        ),
        None => anyhow!(
            "another program answers for system calls that are made in here (seccomp's user notification), \
             and Linux allows one at a time: run `hypertap bypass` outside of that"
        ),
    }
}

fn connect(control: Option<&Path>) -> Result<(PathBuf, Tunnel), Failure> {
    let paths = control.map_or_else(|| sockets(None), |path| vec![path.to_owned()]);
    let mut refused = None;
    for path in paths {
        match Tunnel::connect(Address::Unix(path.clone())) {
            Ok(tunnel) => return Ok((path, tunnel)),
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
