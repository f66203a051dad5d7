//! `hypertap tap`: an Ethernet interface for a program that opens a socket.

mod address;
mod place;

use std::ffi::OsString;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;

use anyhow::Context;
use clap::{Args, Parser};
use hypertap_platform::inherited;
use hypertap_wire::command::{INTERFACE_NAME, is_interface_name};
use hypertap_wire::ethernet::MacAddress;

use self::address::{ipv4, ipv6, name_server};
use self::place::listen;
pub use self::place::{FramingName, Listen, Place};
pub(super) use self::{address::mac_address, place::place_of};
use super::EXIT_CODES;
use crate::exit::{Exit, Failure};
use crate::log::{self, LogOptions};
use crate::tap;

/// What goes over the sockets, shown below the options.
const PROTOCOL: &str = r"Framing (what the socket carries):
  unframed  bare Ethernet frames, nothing between them; the default without --keep
  le16      each frame after its length, 16 bits, low byte first; --use-framed-protocol
  qemu      each frame after its length, 32 bits, high byte first: QEMU's -netdev stream and socket
  datagram  a Unix datagram a frame: QEMU's -netdev dgram, vfkit
  auto      found out by the first frame of each client; the default with --keep

Examples:
  sudo hypertap tap --listen=/tmp/dolphin-tap --use-framed-protocol --ip-address=192.168.0.5
  sudo hypertap tap --listen=/tmp/lan --keep --max-clients=8 --user=nobody
  hypertap tap --listen=/tmp/lan --keep --max-clients=8 --no-host
  sudo hypertap tap --framing=qemu -- qemu-system-x86_64 -netdev socket,id=n,fd={fd} -device e1000,netdev=n

SIGUSR1 writes a report of all ports to the log.";

fn after_help() -> String {
    format!("{PROTOCOL}\n\n{EXIT_CODES}")
}

const ABOUT: &str = "Give a program an Ethernet interface through a socket";
const LONG_ABOUT: &str = "\
Give a program an Ethernet interface through a socket

Waits for a client, makes a TAP interface when one connects, and carries Ethernet frames both ways until \
the client goes; then the interface is removed and the program ends. What tapserver's clients need: \
emulators (Dolphin's \"Broadband Adapter (tapserver)\"), QEMU, and whatever opens a socket.";

/// What it is run with.
#[derive(Args, Clone, Debug)]
#[command(about = ABOUT, long_about = LONG_ABOUT, after_help = after_help(), arg_required_else_help = true)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub struct TapArgs {
    /// Where clients connect: an absolute path, a port at 127.0.0.1, or ADDR:PORT, where ADDR may be a name; may be repeated
    #[arg(long, value_name = "WHERE[,framing=F]", value_parser = listen, help_heading = "Sockets")]
    pub listen: Vec<Listen>,

    /// Serve this inherited descriptor (0: standard input): a connected socket, or one that listens; may be repeated
    #[arg(long, value_name = "N", value_parser = passed, help_heading = "Sockets")]
    pub fd: Vec<RawFd>,

    /// How frames stand in what clients send and get
    #[arg(long, value_enum, value_name = "F", help_heading = "Sockets")]
    pub framing: Option<FramingName>,

    /// The same as --framing=le16
    #[arg(long, conflicts_with = "framing", help_heading = "Sockets")]
    pub use_framed_protocol: bool,

    /// Serve one client after another; the interface stays until the end
    #[arg(long, help_heading = "Sockets")]
    pub keep: bool,

    /// Serve so many clients at once, as ports of one learning switch
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024), help_heading = "Sockets")]
    pub max_clients: u16,

    /// Who may use the socket's file, as chmod(1) has it in octal
    #[arg(long, value_name = "MODE", default_value = "0600", value_parser = mode, help_heading = "Sockets")]
    pub socket_mode: u32,

    /// Whose the socket's file is, by name or number [default: who started this, also by sudo]
    #[arg(long, value_name = "USER", help_heading = "Sockets")]
    pub socket_owner: Option<String>,

    /// The group of the socket's file, by name or number
    #[arg(long, value_name = "GROUP", help_heading = "Sockets")]
    pub socket_group: Option<String>,

    /// The interface's name [default: the first free of tap0, tap1, …]
    #[arg(long, value_parser = interface_name, help_heading = "Interface")]
    pub name: Option<String>,

    /// The interface is called tapN
    #[arg(long, value_name = "N", conflicts_with = "name", help_heading = "Interface")]
    pub network_device_number: Option<u16>,

    /// The host's address on the interface [default: one of its own for each path]
    #[arg(long, value_name = "XX:XX:XX:XX:XX:XX", value_parser = mac_address, help_heading = "Interface")]
    pub mac_address: Option<MacAddress>,

    /// The host's IPv4 address, and how long the network's prefix is; 24 unless it says so
    #[arg(long, value_name = "A.B.C.D[/P]", default_value = "172.30.0.1/24", value_parser = ipv4, help_heading = "Interface")]
    pub ip_address: (Ipv4Addr, u8),

    /// The host's IPv6 address, and how long the network's prefix is; 64 unless it says so
    #[arg(long, value_name = "ADDR[/P]", value_parser = ipv6, help_heading = "Interface")]
    pub ip6_address: Option<(Ipv6Addr, u8)>,

    /// The interface's MTU in bytes; below 1280 it carries no IPv6
    #[arg(long, value_name = "BYTES", default_value_t = 1500, value_parser = clap::value_parser!(u32).range(68..=65521), help_heading = "Interface")]
    pub mtu: u32,

    /// The metric of the route to the interface's network
    #[arg(long, value_name = "N", default_value_t = 0, help_heading = "Interface")]
    pub metric: u32,

    /// No neighbour unreachability detection of IPv6
    #[arg(long, help_heading = "Interface")]
    pub disable_nud: bool,

    /// Take addresses and routes that IPv6 routers announce
    #[arg(long, help_heading = "Interface")]
    pub enable_router_advertisements: bool,

    /// No interface at all: clients reach each other only, and no right is needed
    #[arg(long, help_heading = "Interface")]
    pub no_host: bool,

    /// Do not use the kernel's segmentation and checksum offload
    #[arg(long, help_heading = "Interface")]
    pub no_offload: bool,

    /// Clients are modems: messages are PPP in HDLC form, each after its length in 16 bits
    #[arg(long, conflicts_with = "no_host", help_heading = "Modem")]
    pub modem: bool,

    /// The address that the modem's guest gets [default: the next after the host's]
    #[arg(long, value_name = "A.B.C.D", help_heading = "Modem")]
    pub guest_address: Option<Ipv4Addr>,

    /// A name server that the guest is told, once or twice [default: the host]
    #[arg(long, value_name = "A.B.C.D", value_parser = name_server, help_heading = "Modem")]
    pub dns: Vec<Ipv4Addr>,

    /// The guest has to log in: its name, and a file whose first line is the password
    #[arg(long, value_name = "NAME:FILE", help_heading = "Modem")]
    pub pap: Option<String>,

    /// Print the interface's name on standard output once it is there and has its addresses
    #[arg(long, conflicts_with_all = ["no_host", "show_data", "show_size_warnings"], help_heading = "Interface")]
    pub print_name: bool,

    /// Print every frame on standard output, in a form that text2pcap reads
    #[arg(long, help_heading = "Looking")]
    pub show_data: bool,

    /// Print every frame whose length the unframed protocol would get wrong
    #[arg(long, help_heading = "Looking")]
    pub show_size_warnings: bool,

    /// Drop all rights but this user's for good; a small helper process keeps those that are needed
    #[arg(long, value_name = "NAME", help_heading = "Rights")]
    pub user: Option<String>,

    /// Without meaning here: there is no second device
    #[arg(long, value_name = "N", help_heading = "Accepted and ignored")]
    pub io_device_number: Option<String>,

    /// Without meaning here: ifconfig is not needed
    #[arg(long, value_name = "C", help_heading = "Accepted and ignored")]
    pub ifconfig_command: Option<OsString>,

    /// A program to start as a client; {fd} in its arguments is the number of its socket
    #[arg(last = true, value_name = "CMD")]
    pub command: Vec<OsString>,
}

/// The same under the name that tapserver's users know.
#[derive(Debug, Parser)]
#[command(
    name = "tapserver", version, about = ABOUT, long_about = LONG_ABOUT,
    after_help = after_help(), max_term_width = 100
)]
pub struct TapServer {
    #[command(flatten)]
    pub log: LogOptions,

    #[command(flatten)]
    pub tap: TapArgs,
}

/// Standard output and standard error are for us to write to.
fn passed(text: &str) -> Result<RawFd, String> {
    let number = text.parse().ok().filter(|number| *number == 0 || *number > 2);
    number.ok_or_else(|| "wanted the number of a socket that was passed: 0, or 3 and above".to_owned())
}

fn interface_name(text: &str) -> Result<String, String> {
    if is_interface_name(text) { Ok(text.to_owned()) } else { Err(format!("wanted {INTERFACE_NAME}")) }
}

fn mode(text: &str) -> Result<u32, String> {
    let is_octal = !text.is_empty() && text.len() < 6 && text.bytes().all(|byte| byte.is_ascii_digit());
    let mode = u32::from_str_radix(text, 8).ok().filter(|mode| is_octal && *mode <= 0o777);
    mode.ok_or_else(|| "wanted an octal number up to 0777, as in 0660".to_owned())
}

/// Runs the server until its clients have gone or a signal ends it.
///
/// # Errors
/// Start-up problems, and what went wrong since, each with its exit code.
pub fn run(args: &TapArgs) -> Result<(), Failure> {
    // Before anything of ours is open: what is not there shall not be found to be one of those.
    let mut passed = Vec::with_capacity(args.fd.len());
    for (at, number) in args.fd.iter().enumerate() {
        if args.fd[..at].contains(number) {
            return Err(Failure::new(Exit::Usage, anyhow::anyhow!("--fd {number} is there twice")));
        }
        let taken = inherited::take(*number)
            .with_context(|| format!("--fd {number}"))
            .map_err(|error| Failure::new(Exit::Usage, error))?;
        passed.push((*number, taken));
    }
    let settings = tap::settings::Settings::new(args)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Other, error))?;
    let prepared = {
        let _inside = runtime.enter();
        runtime.block_on(tap::startup::prepare(settings, passed))?
    };
    // Rights are dropped, so there may be threads.
    log::go_on_in_background();
    runtime.block_on(tap::run(prepared))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_passed_socket_is_neither_of_those_that_are_written_to() {
        assert_eq!(["0", "3", "70"].map(passed), [Ok(0), Ok(3), Ok(70)]);
        for text in ["1", "2", "-1", "x", ""] {
            assert!(passed(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_mode_is_octal_and_within_what_chmod_takes() {
        assert_eq!(["0600", "660", "0777", "0"].map(mode), [Ok(0o600), Ok(0o660), Ok(0o777), Ok(0)]);
        for text in ["", "8", "01000", "rw", "+600", "0o600"] {
            assert!(mode(text).is_err(), "{text}");
        }
    }
}
