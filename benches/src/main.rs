//! `bench`: how fast hypertap is, beside a small C program that does the same job.
//!
//! A speed alone says little: two machines of the same kind differ by a factor of two, and the same machine by a fifth
//! from one minute to the next. So each figure is taken in pairs. The reference and ours are both set up in fresh
//! namespaces, each load runs on the one and right after on the other, the order changes from pair to pair, and what
//! counts is the median of the pairs' ratios. The C programs are in `reference/` and are compiled by each run.
//!
//! Needs root, Linux, gcc, iproute2, util-linux, iperf3, and vde2 for the switch. Everything happens in network
//! namespaces of its own; they and all processes are gone at the end, by Ctrl-C too.

mod conditions;
mod daemon;
mod groups;
mod idle;
mod load;
mod namespace;
mod nodes;
mod path;
mod pinned;
mod process;
mod reference;
mod report;
mod services;
mod summary;
mod tap;
mod tap_idle;
mod workshop;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;

/// Measures hypertap beside small C programs that do the same.
#[derive(Parser)]
#[command(name = "bench", version)]
struct Options {
    /// Groups to measure; all of them when none is named
    names: Vec<String>,
    /// Pairs of measurements a group [default: 5, fd: 9]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: Option<u32>,
    /// Whole seconds each load runs
    #[arg(long, value_name = "S", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=600))]
    secs: u32,
    /// Wait at most so long before each load until no compiler runs on this machine
    #[arg(long, value_name = "S", default_value_t = 0)]
    wait_quiet: u32,
    /// Also write conditions and every sample here
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Name the groups and end
    #[arg(long)]
    list: bool,
    /// Measure the C programs alone
    #[arg(long)]
    reference_only: bool,
    /// The binary to measure [default: target/release/hypertap, else target/debug/hypertap]
    #[arg(long, value_name = "FILE")]
    hypertap: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// True when everything that was asked for could be measured, whatever the verdicts.
fn run(options: &Options) -> Result<bool> {
    if options.list {
        for group in groups::GROUPS {
            println!("{:<17}{}", group.name, group.about);
        }
        return Ok(true);
    }
    let chosen = groups::choose(&options.names)?;
    if !nix::unistd::geteuid().is_root() {
        bail!("namespaces and TUN devices need root: run it with sudo");
    }
    process::end_on_signals()?;
    namespace::sweep();
    let workshop = workshop::Workshop::open(options.hypertap.clone(), options.reference_only)?;
    let conditions = conditions::Conditions::read(&workshop);
    print!("{}", conditions.markdown());

    let mut report = report::Report::new(conditions);
    let quiet = Duration::from_secs(options.wait_quiet.into());
    let effort = groups::Effort { reps: options.reps, secs: options.secs, quiet };
    for group in chosen {
        report.add(group.name, groups::measure(group, &workshop, effort));
        if process::check().is_err() {
            break; // what was measured is still worth a table
        }
    }
    print!("{}", report.markdown());
    if let Some(file) = &options.json {
        let text = serde_json::to_string_pretty(&report.json())?;
        std::fs::write(file, text + "\n").with_context(|| format!("write {}", file.display()))?;
    }
    Ok(report.complete())
}
