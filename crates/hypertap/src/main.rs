//! hypertap: a network interface for any program, over ordinary sockets.

// They panic where nobody listens; `output` does not.
#![deny(clippy::print_stdout, clippy::print_stderr)]

mod cli;
mod demo;
mod exit;
mod log;
mod output;
mod plane;
mod socket_file;
mod tunnel;

use std::process::ExitCode;

use clap::Parser;

use crate::exit::{Exit, Failure};

fn main() -> ExitCode {
    hypertap_platform::process::keep_memory_small();
    let outcome = match cli::Cli::try_parse() {
        Ok(cli) => {
            log::init(&cli.log).map_err(|error| Failure::new(Exit::Usage, error)).and_then(|()| cli::run(cli))
        }
        // `--help` and `--version` too are errors to clap.
        Err(error) if error.use_stderr() => error.exit(),
        Err(asked) => output::said(asked.print()),
    };
    let code = match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    };
    log::flush();
    code
}
