//! The command line: what `hypertap --help` shows.

pub mod bypass;
pub mod config;
pub mod demo;
pub mod dns;
pub mod doctor;
pub mod generate;
pub mod helper;
pub mod init;
pub mod install;
pub mod keygen;
#[cfg(feature = "services")]
pub mod node;
pub mod peer;
pub mod recover;
#[cfg(feature = "services")]
pub mod reload;
#[cfg(feature = "services")]
pub mod services;
pub mod shim;
pub mod status;
pub mod tap;
pub mod tunnel;
#[cfg(feature = "services")]
pub mod up;

use std::env;
use std::ffi::OsString;
use std::path::Path;

use anyhow::anyhow;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use crate::exit::{Exit, Failure};
use crate::log::{self, LogOptions};
use crate::output;

pub(crate) const EXIT_CODES: &str = "\
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
/// A program connects to a socket and reads and writes packets or frames, without rights of its own
/// and without native code. `tunnel` gives it a TUN interface (raw IP packets, asked for by a line of
/// JSON), `tap` an Ethernet interface (frames), `shim` runs one that wants to open /dev/net/tun itself.
///
/// Try it: `hypertap demo`. See what this machine allows: `hypertap doctor`. Run it for real:
/// `sudo hypertap tunnel`, `sudo hypertap tap --listen=/tmp/lan`.
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
    Tap(tap::TapArgs),
    Status(status::StatusArgs),
    Bypass(bypass::BypassArgs),
    Shim(shim::ShimArgs),
    #[cfg(feature = "services")]
    Up(up::UpArgs),
    #[cfg(feature = "services")]
    Services(services::ServicesArgs),
    #[cfg(feature = "services")]
    Reload(reload::ReloadArgs),
    Init(init::InitArgs),
    Peer(peer::PeerArgs),
    Dns(dns::DnsArgs),
    Config(config::ConfigArgs),
    Keygen(keygen::KeygenArgs),
    Demo(demo::DemoArgs),
    Doctor(doctor::DoctorArgs),
    Install(install::InstallArgs),
    Uninstall(install::UninstallArgs),
    Recover(recover::RecoverArgs),
    Helper(helper::HelperArgs),
    #[command(hide = true)]
    Generate(generate::GenerateArgs),
}

/// The name under which this program is the tap door and nothing else.
const TAPSERVER: &str = "tapserver";

/// The name that this program was called by, of the two that it answers to.
pub fn name() -> &'static str {
    let called = env::args_os().next();
    let called = called.as_ref().and_then(|word| Path::new(word).file_name());
    if called.is_some_and(|name| name == TAPSERVER) { TAPSERVER } else { "hypertap" }
}

/// Whether the first of the words that is a command is the tap door's.
fn names_tap(words: &[OsString]) -> bool {
    let cli = Cli::command();
    words.iter().skip(1).find(|word| cli.find_subcommand(word).is_some()).is_some_and(|word| word == "tap")
}

/// Reads the command line.
///
/// # Errors
/// What the program ends with instead: nothing after `--help`, or what is wrong. It ends at once where clap
/// says so itself.
pub fn parse() -> Result<Cli, Result<(), Failure>> {
    let words: Vec<OsString> = env::args_os().collect();
    let is_tapserver = name() == TAPSERVER;
    if is_tapserver && words.len() == 1 {
        log::complain(tap::TapServer::command().render_long_help());
        std::process::exit(Exit::Usage as i32);
    }
    let is_tap = is_tapserver || names_tap(&words);
    let parsed = if is_tapserver {
        let server = tap::TapServer::try_parse_from(words);
        server.map(|server| Cli { log: server.log, command: Command::Tap(server.tap) })
    } else {
        Cli::try_parse_from(words)
    };
    parsed.map_err(|error| match error.kind() {
        // They too are errors to clap.
        _ if !error.use_stderr() => output::said(error.print()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => error.exit(),
        _ if is_tap => Err(Failure::new(Exit::Usage, anyhow!(sentence(&error)))),
        _ => error.exit(),
    })
}

/// What clap says is wrong, and its first tip, without the usage after them.
fn sentence(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let said = first.split_whitespace().collect::<Vec<_>>().join(" ");
    match text.lines().map(str::trim).find(|line| line.starts_with("tip: ")) {
        Some(tip) => format!("{said}; {tip}"),
        None => said,
    }
}

/// Does what the command line says.
///
/// # Errors
/// What ends the program, with its exit code.
pub fn run(cli: Cli) -> Result<(), Failure> {
    match cli.command {
        Command::Tunnel(args) => tunnel::run(&args),
        Command::Tap(args) => tap::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Bypass(args) => bypass::run(&args),
        Command::Shim(args) => shim::run(&args),
        #[cfg(feature = "services")]
        Command::Up(args) => up::run(&args),
        #[cfg(feature = "services")]
        Command::Services(args) => services::run(&args),
        #[cfg(feature = "services")]
        Command::Reload(args) => reload::run(&args),
        Command::Init(args) => init::run(&args),
        Command::Peer(args) => peer::run(&args),
        Command::Dns(args) => dns::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Keygen(args) => keygen::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Doctor(args) => doctor::run(&args),
        Command::Install(args) => install::install(&args),
        Command::Uninstall(args) => install::uninstall(&args),
        Command::Recover(args) => recover::run(&args),
        Command::Helper(args) => helper::run(&args),
        Command::Generate(args) => generate::run(&args),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_one_sentence_with_a_tip_where_there_is_one() {
        let said = |words: &[&str]| sentence(&Cli::try_parse_from(words).expect_err("it is wrong"));
        let text = said(&["hypertap", "tap", "--listn=/x"]);
        assert_eq!(text, "unexpected argument '--listn' found; tip: a similar argument exists: '--listen'");
        let text = said(&["hypertap", "tap", "--mtu=x"]);
        assert_eq!(text, "invalid value 'x' for '--mtu <BYTES>': invalid digit found in string");
    }

    #[test]
    fn the_tap_door_is_named_by_its_command_alone() {
        let names = |words: &[&str]| names_tap(&words.iter().map(OsString::from).collect::<Vec<_>>());
        assert!(names(&["hypertap", "tap", "--keep"]) && names(&["hypertap", "--log", "debug", "tap"]));
        assert!(!names(&["hypertap", "shim", "--", "tap"]) && !names(&["tap", "tunnel", "--name", "tap"]));
    }
}
