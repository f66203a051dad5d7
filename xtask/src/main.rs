//! The project's own commands: `cargo xtask --help`.
//!
//! `cargo xtask test` is what CI runs, the same on every machine. The rest are its parts that are
//! worth calling alone.

mod bench;
mod borders;
mod fuzz;
mod generated;
mod left_out;
mod packages;
mod process;
mod process_tree;
mod rights;
mod steps;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "hypertap's own commands")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run everything that CI runs, in order, and stop at the first failure
    Test(test::Options),
    /// Prove the borders between the crates: who depends on whom, and what each may use
    Borders,
    /// Fuzz the parsers of untrusted bytes
    Fuzz(fuzz::Options),
    /// Write the man pages and shell completions under packaging/
    Gen(generated::Options),
    /// Build the release binary and run the benchmarks
    Bench(bench::Options),
}

fn main() -> ExitCode {
    let mut left_out = left_out::LeftOut::for_this_run();
    let result = match Cli::parse().command {
        Command::Test(options) => return test::run(&options, left_out),
        Command::Borders => borders::run(&mut left_out),
        Command::Fuzz(options) => fuzz::run(&options, &mut left_out),
        Command::Gen(options) => generated::run(&options),
        Command::Bench(options) => bench::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
