//! `cargo xtask bench`: the benchmarks, against a release build of the binary.

use anyhow::Result;
use clap::Args;

use crate::process::{cargo, run as run_command};

#[derive(Args)]
pub(crate) struct Options {
    /// Benchmarks to run, and options of theirs; all of them when none is named
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    names: Vec<String>,
}

pub(crate) fn run(options: &Options) -> Result<()> {
    run_command(cargo().args(["build", "--release", "--package", "hypertap"]))?;
    run_command(cargo().args(["build", "--release", "--package", "hypertap-bench"]))?;
    run_command(cargo().args(["run", "--release", "--package", "hypertap-bench", "--"]).args(&options.names))
}
