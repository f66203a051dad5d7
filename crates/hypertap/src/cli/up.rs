//! `hypertap up`: a services node.

use std::path::PathBuf;

use clap::Args;
use hypertap_platform::default_state_dir;

use super::config::ConfigPlace;
use crate::exit::Failure;
use crate::node;

/// Run a services node: use peers' services by address, and serve this node's
///
/// Makes the interface, connects to the peers of the configuration, and runs in the foreground until SIGTERM or
/// SIGINT ends it; the interface goes with it. SIGHUP has it read the configuration anew, as `hypertap reload` does.
/// Needs `CAP_NET_ADMIN`.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    #[command(flatten)]
    place: ConfigPlace,

    /// Where the control socket is kept [default: /run/hypertap as root]
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  sudo hypertap up
  sudo hypertap up --config ./node.json --interface hs1";

/// Runs the node.
///
/// # Errors
/// What is wrong with the configuration, what could not be had, or what ended the node.
pub fn run(args: &UpArgs) -> Result<(), Failure> {
    let state_dir = args.state_dir.clone().unwrap_or_else(default_state_dir);
    node::run(&args.place.path(), args.place.interface(), &state_dir)
}
