//! Logs: on standard error, for a person on a terminal or one JSON object a line.

use std::io::IsTerminal;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For a person; coloured on a terminal
    Human,
    /// One JSON object a line
    Json,
}

/// The options of every command that logs.
#[derive(Args, Clone, Debug)]
pub struct LogOptions {
    /// How log lines are written
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Human, help_heading = "Logging")]
    pub log_format: LogFormat,

    /// What is logged: error, warn, info, debug or trace, or a filter like `hypertap::tunnel=debug`
    #[arg(
        long,
        global = true,
        value_name = "LEVEL",
        env = "HYPERTAP_LOG",
        default_value = "info",
        help_heading = "Logging"
    )]
    pub log: String,
}

/// Starts logging.
///
/// # Errors
/// When the filter cannot be read.
pub fn init(options: &LogOptions) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.log).map_err(|error| {
        anyhow::anyhow!("--log {:?}: {error}; use a level such as info or debug", options.log)
    })?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match options.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Human => {
            let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            log.with_target(false).with_ansi(colour).init();
        }
    }
    Ok(())
}
