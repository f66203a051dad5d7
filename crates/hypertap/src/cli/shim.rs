//! `hypertap shim -- PROGRAM`: a program that opens `/dev/net/tun`, without rights.

use std::ffi::OsString;
use std::io;
use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, anyhow};
use clap::Args;
use hypertap_client::Address;
use hypertap_platform::shim;
use hypertap_wire::ethernet::MacAddress;
use ipnet::IpNet;

use super::status::ROOT_STATE_DIR;
use super::tap::{Place, mac_address, place_of};
use crate::exit::Failure;
use crate::log;
use crate::shim::device::{Settings, VirtualDevice};
use crate::shim::tunnel::TunnelSettings;

/// The name of the tap server's socket in a state directory, where nothing else is said.
const TAP_SOCKET: &str = "tap";

const EXAMPLES: &str = "\
Examples:
  hypertap tap --listen=/tmp/lan,framing=le16 --keep --max-clients=8 --no-host
  hypertap shim --tap=/tmp/lan -- openvpn --dev tap0 --remote 192.0.2.1 --secret key
  hypertap shim --tap=/tmp/lan -- qemu-system-x86_64 -netdev tap,id=n,script=no,downscript=no -device e1000,netdev=n
  hypertap shim -- socat TUN:10.7.0.1/24,iff-up UDP:192.0.2.1:5555";

/// Run a program that opens /dev/net/tun, without rights
///
/// A TAP that the program asks for is a port of a running `hypertap tap`, a TUN is the tunnel of a running
/// `hypertap tunnel`. The program, and what it starts, may be any, statically linked ones too; it runs
/// unchanged and gets no rights. Ends when the program and all that it started have ended, with its code.
#[derive(Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct ShimArgs {
    /// The tap server of a TAP: a path, a port at 127.0.0.1, or ADDR:PORT; it frames by le16
    /// [default: `tap` in the state directory]
    #[arg(long, value_name = "WHERE", env = "HYPERTAP_TAP", value_parser = place_of, help_heading = "TAP")]
    pub tap: Option<Place>,

    /// When the tap server ends, wait for another; without this the program reads the end
    #[arg(long, help_heading = "TAP")]
    pub reconnect: bool,

    /// The address of the program's TAP [default: a random one]
    #[arg(long, value_name = "XX:XX:XX:XX:XX:XX", value_parser = mac_address, help_heading = "TAP")]
    pub mac_address: Option<MacAddress>,

    /// The daemon of a TUN: the path of its socket, or ADDR:PORT [default: the one that is running]
    #[arg(long, value_name = "ADDRESS", env = "HYPERTAP_TUNNEL", value_parser = daemon, help_heading = "TUN")]
    pub tunnel: Option<Address>,

    /// The machine's address on the tunnel [default: the one that the program gives its interface]
    #[arg(long, value_name = "A.B.C.D", help_heading = "TUN")]
    pub address: Option<Ipv4Addr>,

    /// Send this network into the tunnel; may be repeated
    #[arg(long, value_name = "NET", help_heading = "TUN")]
    pub route: Vec<IpNet>,

    /// The MTU of the server's end in bytes; longer packets of the program are dropped
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(68..=65507))]
    pub mtu: u16,

    /// The program and its arguments
    #[arg(required = true, last = true, value_name = "PROGRAM")]
    pub command: Vec<OsString>,
}

fn daemon(text: &str) -> Result<Address, String> {
    match text.parse() {
        Ok(address) => Ok(Address::Tcp(address)),
        Err(_) if text.starts_with('/') => Ok(Address::Unix(text.into())),
        Err(_) => Err("wanted an absolute path, or an IP address and a port".to_owned()),
    }
}

/// Runs the program and exits as it does.
///
/// # Errors
/// When it cannot be started.
pub fn run(args: &ShimArgs) -> Result<(), Failure> {
    let settings = Settings {
        tap: args.tap.clone().unwrap_or_else(|| Place::Unix(default_socket())),
        tunnel: TunnelSettings {
            daemon: args.tunnel.clone(),
            ipv4: args.address,
            routes: args.route.clone(),
        },
        reconnect: args.reconnect,
        mac: args.mac_address,
        mtu: args.mtu,
    };
    let name = args.command[0].to_string_lossy().into_owned();
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    let (program, listener) = shim::spawn(&mut command).map_err(|error| match error.kind() {
        io::ErrorKind::ResourceBusy => anyhow!(
            "another program answers for system calls that are made in here (`hypertap shim` and `hypertap \
             bypass` do, by seccomp's user notification), and Linux allows one at a time: run this outside of that"
        ),
        _ => anyhow!(error).context(format!("cannot start {name}")),
    })?;
    let served = shim::serve(listener, Box::new(VirtualDevice::new(settings)))
        .with_context(|| format!("cannot serve {name}"))?;
    let status = program.wait().with_context(|| format!("cannot wait for {name}"))?;
    // It ends with the last process, and sends what they wrote.
    let _ = served.join();
    log::flush();
    std::process::exit(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
}

/// Where the tap server is expected: in this user's own state directory, else in root's.
fn default_socket() -> PathBuf {
    let own = hypertap_platform::default_state_dir().join(TAP_SOCKET);
    if own.exists() { own } else { Path::new(ROOT_STATE_DIR).join(TAP_SOCKET) }
}
