//! The command line: what `hypertap --help` shows.

pub mod bypass;
pub mod demo;
pub mod doctor;
pub mod generate;
pub mod helper;
pub mod install;
pub mod recover;
pub mod status;
pub mod tunnel;

use clap::{Parser, Subcommand};

use crate::exit::Failure;
use crate::log::LogOptions;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  anything without a code of its own
  2  the command line or the configuration is wrong
  3  a right or the TUN driver is missing
  4  an address, a port or a path is taken
  5  the interface's name is taken
  6  a peer broke the protocol";

/// A network interface for any program, over ordinary sockets.
///
/// A program connects to a socket, sends a line of JSON, and has a TUN interface: it reads and
/// writes raw IP packets without rights of its own and without native code.
///
/// Try it: `hypertap demo`. See what this machine allows: `hypertap doctor`. Run it for real:
/// `sudo hypertap tunnel`.
#[derive(Debug, Parser)]
#[command(name = "hypertap", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Cli {
    #[command(flatten)]
    pub log: LogOptions,

    #[command(subcommand)]
    pub command: Command,
}

/// What can be done.
#[derive(Debug, Subcommand)]
pub enum Command {
    Tunnel(tunnel::TunnelArgs),
    Status(status::StatusArgs),
    Bypass(bypass::BypassArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Recover(recover::RecoverArgs),
    Helper(helper::HelperArgs),
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// Does what the command line says.
///
/// # Errors
/// What ends the program, with its exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Tunnel(args) => tunnel::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Bypass(args) => bypass::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Install(args) => install::install(&args),
        Command::Uninstall(args) => install::uninstall(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Helper(args) => helper::run(&args),
        Command::Generate(args) => generate::run(&args),
    }
}
