//! `hypertap doctor`: what this machine allows, and how to mend what is missing.

use std::fs;
use std::io::ErrorKind;
use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use clap::Args;
use hypertap_platform::default_state_dir;
use hypertap_platform::leftovers::leftovers;
use hypertap_platform::process::is_root;
use hypertap_platform::rights::{Driver, pkexec_path, rights};
use serde_json::{Value, json};

use super::status::ROOT_STATE_DIR;
use crate::exit::{Exit, Failure};
use crate::output::{Output, has_colours};

/// Say what this machine allows and how to mend what is missing
///
/// Exits 0 when a tunnel can be started here and now, 3 when a right or the driver is missing, and
/// 4 when a port is taken.
#[derive(Args, Clone, Debug)]
pub struct DoctorArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// How a thing stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// As it should be.
    Good,
    /// Not needed for the tunnel, but something else lacks it.
    Note,
    /// The tunnel cannot start; the process exits with this.
    Bad(Exit),
}

/// One thing that was looked at.
#[derive(Clone, Debug)]
struct Finding {
    thing: &'static str,
    state: State,
    says: String,
    remedy: Option<String>,
}

impl Finding {
    fn good(thing: &'static str, says: impl Into<String>) -> Self {
        Self { thing, state: State::Good, says: says.into(), remedy: None }
    }

    fn lacking(
        thing: &'static str,
        state: State,
        says: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { thing, state, says: says.into(), remedy: Some(remedy.into()) }
    }
}

/// Looks and prints.
///
/// # Errors
/// What keeps a tunnel from starting, as the exit code.
pub fn run(args: &DoctorArgs) -> Result<(), Failure> {
    let findings = [
        driver(),
        capability(),
        polkit(),
        namespaces(),
        resolver(),
        tcp_port("command port", 5500),
        udp_port("data port", 5501),
        journal(),
    ];
    let mut out = Output::standard();
    if args.json {
        let list: Vec<Value> = findings.iter().map(to_json).collect();
        out.json(&list)?;
    } else {
        for finding in &findings {
            print(&mut out, finding);
        }
    }
    out.finish()?;
    let worst = findings.iter().find_map(|finding| match finding.state {
        State::Bad(exit) => Some((exit, finding.thing)),
        State::Good | State::Note => None,
    });
    match worst {
        None => Ok(()),
        Some((exit, thing)) => {
            Err(Failure::new(exit, anyhow::anyhow!("a tunnel cannot start here: see {thing} above")))
        }
    }
}

fn to_json(finding: &Finding) -> Value {
    let state = match finding.state {
        State::Good => "good",
        State::Note => "note",
        State::Bad(_) => "bad",
    };
    json!({"thing": finding.thing, "state": state, "says": finding.says, "remedy": finding.remedy})
}

fn print(out: &mut Output, finding: &Finding) {
    let (sign, colour) = match finding.state {
        State::Good => ("ok  ", 32),
        State::Note => ("note", 33),
        State::Bad(_) => ("BAD ", 31),
    };
    let sign = if has_colours(&std::io::stdout()) {
        format!("\x1b[{colour}m{sign}\x1b[0m")
    } else {
        sign.to_owned()
    };
    out.line(format_args!("{sign}  {:<13} {}", finding.thing, finding.says));
    if let Some(remedy) = &finding.remedy {
        out.line(format_args!("      {:<13} → {remedy}", ""));
    }
}

fn driver() -> Finding {
    let thing = "TUN driver";
    match rights().driver {
        Driver::Ready => Finding::good(thing, "/dev/net/tun can be opened"),
        Driver::Missing(errno) => Finding::lacking(
            thing,
            State::Bad(Exit::Right),
            format!("/dev/net/tun: {errno}"),
            "load the driver: `sudo modprobe tun`; in a container, pass the device in (`--device /dev/net/tun`)",
        ),
        Driver::Refused(errno) => Finding::lacking(
            thing,
            State::Bad(Exit::Right),
            format!("/dev/net/tun: {errno}"),
            "run as root, or open the device to users as most distributions do: `sudo chmod 0666 /dev/net/tun`",
        ),
    }
}

fn capability() -> Finding {
    let thing = "right";
    if rights().net_admin {
        return Finding::good(thing, "this process may configure the network (CAP_NET_ADMIN)");
    }
    let remedy = if pkexec_path().is_some() {
        "`sudo hypertap tunnel`, or run `hypertap tunnel` and send loadConfig, which asks through polkit"
    } else {
        "`sudo hypertap tunnel`, or `sudo hypertap install` for a service"
    };
    Finding::lacking(thing, State::Bad(Exit::Right), "this process may not configure the network", remedy)
}

fn polkit() -> Finding {
    match pkexec_path() {
        Some(path) => Finding::good("polkit", format!("{} asks for rights", path.display())),
        None => Finding::lacking(
            "polkit",
            State::Note,
            "no pkexec: loadConfig cannot ask a person for the right",
            "install polkit (Debian: pkexec), or run hypertap as root",
        ),
    }
}

fn namespaces() -> Finding {
    let thing = "namespaces";
    let limit = |path: &str| fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<u64>().ok());
    let closed = [
        ("/proc/sys/user/max_user_namespaces", "user.max_user_namespaces"),
        ("/proc/sys/kernel/unprivileged_userns_clone", "kernel.unprivileged_userns_clone"),
    ]
    .into_iter()
    .find(|(path, _)| limit(path) == Some(0));
    match closed {
        None if Path::new("/proc/self/ns/user").exists() => {
            Finding::good(thing, "an ordinary user can have a network namespace (hypertap demo)")
        }
        None => {
            Finding::lacking(thing, State::Note, "the kernel has no user namespaces", "run the demo as root")
        }
        Some((_, name)) => Finding::lacking(
            thing,
            State::Note,
            format!("{name} is 0: an ordinary user cannot run the demo"),
            format!("`sudo sysctl -w {name}=1`, or run the demo as root"),
        ),
    }
}

fn resolver() -> Finding {
    let stub = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers: Vec<&str> =
        stub.lines().filter_map(|line| line.strip_prefix("nameserver")).map(str::trim).collect();
    let resolved = Path::new("/run/systemd/resolve").exists();
    let says = match (resolved, servers.is_empty()) {
        (true, _) => "systemd-resolved runs; turnOnDNS points it at the tunnel too".to_owned(),
        (false, true) => {
            "no nameserver in /etc/resolv.conf; captured queries are those sent to port 53".to_owned()
        }
        (false, false) => format!("queries to {} are captured by rule", servers.join(", ")),
    };
    Finding::good("resolver", says)
}

fn tcp_port(thing: &'static str, port: u16) -> Finding {
    port_finding(thing, "TCP", port, "--command", TcpListener::bind(("127.0.0.1", port)).map(drop))
}

fn udp_port(thing: &'static str, port: u16) -> Finding {
    port_finding(thing, "UDP", port, "--data", UdpSocket::bind(("127.0.0.1", port)).map(drop))
}

fn port_finding(
    thing: &'static str,
    protocol: &str,
    port: u16,
    option: &str,
    bound: std::io::Result<()>,
) -> Finding {
    match bound {
        Ok(()) => Finding::good(thing, format!("{protocol} 127.0.0.1:{port} is free")),
        Err(error) if error.kind() == ErrorKind::AddrInUse => Finding::lacking(
            thing,
            State::Bad(Exit::Taken),
            format!("{protocol} 127.0.0.1:{port} is in use (`hypertap status` shows whether by a hypertap)"),
            format!("end the program that has it, or choose another with {option}"),
        ),
        Err(error) => Finding::lacking(
            thing,
            State::Bad(Exit::Other),
            format!("{protocol} 127.0.0.1:{port}: {error}"),
            "bring the loopback interface up: `sudo ip link set lo up`",
        ),
    }
}

fn journal() -> Finding {
    let thing = "journal";
    let state_dir = default_state_dir();
    let kept = format!("kept in {}", state_dir.display());
    match leftovers(&state_dir) {
        Err(error) => Finding::lacking(
            thing,
            State::Note,
            format!("{kept}, and cannot be read: {error}"),
            "see whose it is, and who has it open (`sudo ls -la`, `sudo fuser`)",
        ),
        Ok(left) if !left.is_empty() => {
            let left: Vec<String> = left.iter().map(ToString::to_string).collect();
            let says = format!("tunnels were killed and are not undone yet: {}", left.join(", "));
            let remedy = if is_root() {
                "`sudo hypertap recover`; the next `sudo hypertap tunnel` undoes them too"
            } else {
                "`hypertap recover`, as this user and with CAP_NET_ADMIN"
            };
            Finding::lacking(thing, State::Note, says, remedy)
        }
        // Root's journal is nobody else's to read.
        Ok(_) if !is_root() && Path::new(ROOT_STATE_DIR).join("journal").exists() => Finding::good(
            thing,
            format!("{kept}; see root's, in {ROOT_STATE_DIR}, with `sudo hypertap doctor`"),
        ),
        Ok(_) => Finding::good(thing, format!("{kept}; nothing is left of killed tunnels")),
    }
}
