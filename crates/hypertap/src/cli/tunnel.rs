//! `hypertap tunnel`: a TUN interface for a program that speaks JSON lines.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::net::SocketAddr as UnixAddress;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use clap::{Args, ValueEnum};
use hypertap_platform::activation;
use hypertap_platform::user::User;
use hypertap_wire::command::{INTERFACE_NAME, MAX_MTU, MIN_MTU, is_interface_name};

use crate::exit::{Exit, Failure};
use crate::log;
use crate::tunnel::{self, startup::DATA_SOCKET};

/// What the command plane says and does, shown below the options.
const PROTOCOL: &str = r#"Protocol:
  connect to 127.0.0.1:5500 and send one JSON object a line; {"cmd":"help"} lists all commands
  {"cmd":"start","myIPv4Address":"5.5.5.5"}           makes the interface
  {"cmd":"addIncludedRoutes","routes":["10.0.0.0/8"]} sends routes into it
  {"cmd":"turnOnDNS"}                                 captures every DNS query
  packets out of the machine arrive on UDP 127.0.0.1:5502, packets into it go to 127.0.0.1:5501
  the interface goes when the connection ends

Examples:
  sudo hypertap tunnel
  sudo hypertap tunnel --user nobody --on-disconnect=stop
  hypertap tunnel --command 127.0.0.1:6500 --data 127.0.0.1:6501 --receive-port 6502"#;

/// What happens to tunnel and process when the owning client's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OnDisconnect {
    /// The tunnel is taken down and the process ends
    Exit,
    /// The tunnel is taken down and the next client is waited for
    Stop,
    /// The tunnel stays up and the next client takes it over
    Keep,
}

/// Give a program a TUN interface through two sockets
///
/// Listens for one client that sends commands (JSON lines over TCP or a Unix socket), makes a TUN
/// interface when it says so, and carries raw IP packets between the interface and the client.
#[derive(Args, Clone, Debug)]
#[command(after_help = PROTOCOL)]
pub struct TunnelArgs {
    /// Where commands are taken over TCP; only from programs of this machine, whatever the address
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5500", value_parser = address, help_heading = "Sockets")]
    pub command: SocketAddr,

    /// Where packets from the program arrive over UDP, and where those to it come from; a loopback address
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:5501", value_parser = address, help_heading = "Sockets")]
    pub data: SocketAddr,

    /// The UDP port, at the same address, that packets for the program are sent to; another than --data's
    #[arg(long, value_name = "PORT", default_value_t = 5502, value_parser = clap::value_parser!(u16).range(1..), help_heading = "Sockets")]
    pub receive_port: u16,

    /// The Unix socket that takes commands too [default: control.sock in the state directory]
    #[arg(long, value_name = "PATH", conflicts_with = "no_control", help_heading = "Sockets")]
    pub control: Option<PathBuf>,

    /// No Unix socket
    #[arg(long, help_heading = "Sockets")]
    pub no_control: bool,

    /// The interface's name, unless `start` says one [default: the first free of hypertap0, hypertap1, …]
    #[arg(long, value_parser = interface_name, help_heading = "Interface")]
    pub name: Option<String>,

    /// The interface's MTU in bytes, unless `start` says one; below 1280 it carries IPv4 only
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(i64::from(MIN_MTU)..=i64::from(MAX_MTU)), help_heading = "Interface")]
    pub mtu: u32,

    /// How many queues the interface has, each served by threads of its own
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Interface")]
    pub queues: u16,

    /// Do not use the kernel's segmentation and checksum offload
    #[arg(long, help_heading = "Interface")]
    pub no_offload: bool,

    /// Take the interface over if another hypertap has it
    #[arg(long, help_heading = "Interface")]
    pub replace: bool,

    /// What the end of the client's connection does
    #[arg(long, value_enum, default_value_t = OnDisconnect::Exit, help_heading = "Policy")]
    pub on_disconnect: OnDisconnect,

    /// Sockets with this mark are let past the tunnel's rules (a number, 0x… for hexadecimal)
    #[arg(long, value_name = "MARK", default_value = "0x6879", value_parser = mark, help_heading = "Policy")]
    pub bypass_mark: u32,

    /// Drop all rights but this user's for good; a small helper process keeps those that are needed
    #[arg(long, value_name = "NAME", help_heading = "Policy")]
    pub user: Option<String>,

    /// Members of this group may connect too, besides root and the user who started the program
    #[arg(long, value_name = "NAME", help_heading = "Policy")]
    pub group: Option<String>,

    /// Where the journal and the sockets are kept [default: /run/hypertap as root]
    #[arg(long, value_name = "DIR", help_heading = "Policy")]
    pub state_dir: Option<PathBuf>,
}

fn address(text: &str) -> Result<SocketAddr, String> {
    let wanted =
        "wanted an IP address and a port, as in 127.0.0.1:5500 or [::1]:5500; names are not looked up";
    text.parse().map_err(|_| wanted.to_owned())
}

/// An interface's name on the command line.
pub fn interface_name(text: &str) -> Result<String, String> {
    if is_interface_name(text) { Ok(text.to_owned()) } else { Err(format!("wanted {INTERFACE_NAME}")) }
}

fn mark(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(hex) => u32::from_str_radix(hex, 16),
        None => text.parse(),
    };
    match parsed {
        Ok(0) => Err("0 is the mark of every socket that has none; choose another number".to_owned()),
        Ok(mark) => Ok(mark),
        Err(error) => Err(format!("{error}; wanted a number from 1 to 4294967295, or 0x… in hexadecimal")),
    }
}

/// Refuses what would fail half-way, while nothing has been done.
fn check(args: &TunnelArgs) -> Result<(), Failure> {
    let usage = |text: String| Err(Failure::new(Exit::Usage, anyhow!(text)));
    if let Some(name) = &args.user
        && User::by_name(name).is_ok_and(|user| user.uid() == 0)
    {
        return usage(format!(
            "--user {name}: that is root itself, who keeps every right; name an ordinary user"
        ));
    }
    if let Some(path) = &args.control
        && !fits_a_socket(path)
    {
        let path = path.display();
        return usage(format!("--control {path}: a socket's path cannot be that long; choose a shorter one"));
    }
    let state_dir = args.state_dir.clone().unwrap_or_else(hypertap_platform::default_state_dir);
    let state = state_dir.display();
    // Each instance has a directory of its own in there.
    if !fits_a_socket(&state_dir.join(format!("instance-{}", std::process::id())).join(DATA_SOCKET)) {
        return usage(format!(
            "{state}: with such a long path no socket can be in there; choose a shorter one with --state-dir"
        ));
    }
    // The nearest of the paths above it that there is.
    let there = state_dir.ancestors().find(|path| fs::symlink_metadata(path).is_ok());
    if let Some(there) = there.filter(|there| !there.is_dir()) {
        let there = there.display();
        let text = format!("{state} cannot be the state directory, for {there} is no directory");
        return Err(Failure::new(Exit::Taken, anyhow!("{text}; choose another with --state-dir")));
    }
    Ok(())
}

/// Whether a socket can have that path (unix(7): `sun_path`).
fn fits_a_socket(path: &Path) -> bool {
    UnixAddress::from_pathname(path).is_ok()
}

/// Runs the tunnel until its client, a command or a signal ends it.
///
/// # Errors
/// Start-up problems, each with its exit code.
pub fn run(args: &TunnelArgs) -> Result<(), Failure> {
    // Before anything of ours is open: what is not there shall not be found to be one of those.
    let activated = activation::take().context("sockets from the service manager");
    let activated = activated.map_err(|error| Failure::new(Exit::Usage, error))?;
    check(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, error))?;
    let prepared = {
        let _inside = runtime.enter();
        runtime.block_on(tunnel::startup::prepare(args, activated))?
    };
    // Rights are dropped, so there may be threads.
    log::go_on_in_background();
    runtime.block_on(tunnel::run(prepared))
}
