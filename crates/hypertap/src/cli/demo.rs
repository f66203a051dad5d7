//! `hypertap demo`: the main job, for real, with nothing to set up.

use std::io::ErrorKind;
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_platform::namespace::{Spaces, enter_new};

use crate::demo;
use crate::exit::{Exit, Failure};

/// Show the main job for real, on a network of its own that goes with it
///
/// Needs no rights, no configuration and no network: everything happens in namespaces that the demo
/// makes and that end with it. Three stations find each other on one Ethernet, each at the end of a
/// socket. Then a daemon starts, a program connects to it with two sockets and gets a network
/// interface, answers pings, adds and removes routes, and captures a DNS query. Packets a second are
/// measured on both. Last, two machines with a wire between them use each other's services by name.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How long to measure, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub seconds: u64,

    /// Print the results as JSON
    #[arg(long)]
    pub json: bool,

    /// Set by the demo itself: we are in its namespaces
    #[arg(long, hide = true)]
    pub inside: bool,

    /// Set by the demo itself: we are its far machine
    #[cfg(feature = "services")]
    #[arg(long, hide = true)]
    pub far: bool,
}

/// Runs the demo: first outside, which only makes the namespaces, then inside.
///
/// # Errors
/// When a step does not work here.
pub fn run(args: &DemoArgs) -> Result<(), Failure> {
    #[cfg(feature = "services")]
    if args.far {
        return Ok(demo::far::run()?);
    }
    if args.inside {
        return demo::run(args.seconds, args.json);
    }
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    let mut command = Command::new(program);
    command.args(["demo", "--inside", "--seconds", &args.seconds.to_string()]);
    if args.json {
        command.arg("--json");
    }
    let spaces = Spaces { pid: true, ..Spaces::node() };
    let status = enter_new(&mut command, &spaces).and_then(|()| command.status()).map_err(|error| {
        if error.kind() == ErrorKind::Unsupported {
            return Failure::new(Exit::Right, anyhow!("the demo does not run on this system: {error}"));
        }
        let remedy =
            "`hypertap doctor` says whether user namespaces are closed here; as root the demo needs none";
        Failure::new(Exit::Right, anyhow!("cannot make namespaces for the demo: {error}; {remedy}"))
    })?;
    match status.code() {
        Some(0) => Ok(()),
        // It has said why.
        Some(code @ 1..=6) => std::process::exit(code),
        _ => Err(anyhow!("the demo did not come to its end: {status}").into()),
    }
}
