//! `hypertap up`: a services node.

use clap::Args;

use super::config::ConfigPlace;
use crate::exit::Failure;
use crate::{config, log, node};

/// Run a services node: use peers' services by address, and serve this node's
///
/// Makes the interface, connects to the peers of the configuration, and runs in the foreground until SIGTERM,
/// SIGINT or SIGHUP ends it; the interface goes with it. Needs CAP_NET_ADMIN.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    #[command(flatten)]
    place: ConfigPlace,
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
    let config = config::load(&args.place.path())?;
    log::go_on_in_background();
    node::run(&config, args.place.interface())
}
