//! `hypertap config`: whether a node's configuration is good, and what it may say.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::tunnel::interface_name;
use crate::config;
use crate::exit::Failure;
use crate::output::Output;

/// Check the configuration of a services node, or print its schema
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    #[command(subcommand)]
    command: ConfigCommand,
}

/// What is done with it.
#[derive(Clone, Debug, Subcommand)]
enum ConfigCommand {
    Check(CheckArgs),
    /// Print the JSON schema of configurations, for editors
    Schema,
}

/// Say whether a configuration is good, and all that is wrong with it where it is not
///
/// Nothing is started or changed. Ends with 2 when a node would refuse it.
#[derive(Args, Clone, Debug)]
struct CheckArgs {
    /// The file; like --config
    #[arg(conflicts_with_all = ["config", "interface"])]
    file: Option<PathBuf>,

    #[command(flatten)]
    place: ConfigPlace,
}

/// Which configuration is meant.
#[derive(Args, Clone, Debug)]
pub struct ConfigPlace {
    /// The configuration [default: /etc/hypertap/INTERFACE.json]
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The interface that the configuration is for
    #[arg(short, long, value_name = "NAME", default_value = "hypertap", value_parser = interface_name)]
    interface: String,
}

impl ConfigPlace {
    /// The file.
    pub fn path(&self) -> PathBuf {
        self.config.clone().unwrap_or_else(|| config::default_path(&self.interface))
    }

    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }
}

/// Checks or prints.
///
/// # Errors
/// [`crate::exit::Exit::Usage`] with all the faults of the configuration.
pub fn run(args: &ConfigArgs) -> Result<(), Failure> {
    let mut out = Output::standard();
    match &args.command {
        ConfigCommand::Schema => out.json(&config::schema())?,
        ConfigCommand::Check(args) => {
            let path = args.file.clone().unwrap_or_else(|| args.place.path());
            let config = config::load(&path)?;
            out.line(format_args!(
                "{} is good: {}, {} peers, {} services",
                path.display(),
                config.private_key.peer_id(),
                config.peers.len(),
                config.services.len()
            ));
        }
    }
    out.finish()
}
