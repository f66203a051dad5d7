//! hypertap: a network interface for any program, over ordinary sockets.

// They panic where nobody listens; `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
#[cfg_attr(not(feature = "services"), allow(dead_code, unused_imports))]
mod config;
mod demo;
mod exit;
mod log;
#[cfg(feature = "services")]
mod node;
mod open_files;
mod output;
mod plane;
mod shim;
mod socket_file;
mod tap;
mod tunnel;

use std::process::ExitCode;

use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    hypertap_platform::process::keep_memory_small();
    let outcome = match cli::parse() {
        Ok(cli) => {
            log::init(&cli.log).map_err(|error| Failure::new(Exit::Usage, error)).and_then(|()| cli::run(cli))
        }
        Err(ended) => ended,
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    log::flush();
    code
}
