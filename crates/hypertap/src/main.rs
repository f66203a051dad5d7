//! hypertap: a network interface for any program, over ordinary sockets.

mod cli;
mod demo;
mod exit;
mod log;
mod plane;
mod tunnel;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    hypertap_platform::process::keep_memory_small();
    let cli = cli::Cli::parse();
    let outcome =
        log::init(&cli.log).map_err(|error| Failure::new(Exit::Usage, error)).and_then(|()| cli::run(cli));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
