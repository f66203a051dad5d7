//! The demo, inside its namespaces.
//!
//! Three parties, as in real use: the daemon is this program, started as a process of its own; the
//! *program* is a thread that talks to it with the client library and answers what comes out of the
//! tunnel; the *machine* is this thread, which sends ordinary traffic with ordinary sockets.

mod daemon;
#[cfg(feature = "services")]
pub mod far;
mod lan;
mod machine;
mod program;
mod report;
#[cfg(feature = "services")]
mod services;
mod station;

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use hypertap_client::blocking::Tunnel;
use hypertap_client::{Address, Start};
use hypertap_platform::namespace::tun_usable;

use self::daemon::Daemon;
use self::program::Program;
use self::report::Report;
use crate::exit::Failure;

/// The tunnel's own address.
const TUNNEL: [u8; 4] = [10, 0, 85, 1];
/// What the program pretends to be: every address of 10.86.0.0/16.
const NETWORK: &str = "10.86.0.0/16";
/// One of them.
const HOST: [u8; 4] = [10, 86, 0, 7];
/// A resolver that is far away, and never asked for real.
const RESOLVER: [u8; 4] = [9, 9, 9, 9];

/// How long an answer may take before the step has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where the tunnel's daemon keeps its files.
const STATE: &str = "/run/hypertap";

/// Runs every step and prints what came of it.
///
/// # Errors
/// The first step that did not do what it should.
pub fn run(seconds: u64, json: bool) -> Result<(), Failure> {
    let (mut report, time) = (Report::new(json), Duration::from_secs(seconds));
    report.title("hypertap demo: a network interface for a program, over ordinary sockets");
    report.part("tap: stations on one Ethernet, each at the end of a socket");
    lan::show(&mut report, time)?;
    report.part("tunnel: a TUN interface, by a line of JSON");
    tunnel(&mut report, time)?;
    // Where there is no device the tunnel has said so.
    #[cfg(feature = "services")]
    if tun_usable().is_ok() {
        report.part("services: names and addresses between two machines");
        services::show(&mut report, time)?;
    }
    report.finish()
}

fn tunnel(report: &mut Report, time: Duration) -> anyhow::Result<()> {
    let daemon = report.step("daemon", "a daemon starts on a machine of its own", || {
        let daemon = Daemon::start(&["tunnel", "--state-dir", STATE])?;
        Ok((daemon, format!("listens on 127.0.0.1:5500 and {STATE}/control.sock")))
    })?;
    let mut tunnel = report.step("client", "a program connects, as any client does", || {
        let tunnel = Tunnel::connect(Address::default()).context("the daemon does not answer")?;
        Ok((tunnel, "127.0.0.1:5500, one JSON object a line".to_owned()))
    })?;
    if let Err(closed) = tun_usable() {
        report.step(
            "status",
            r#"{"cmd":"status"}, and then start, which is refused and says why"#,
            || {
                let status = tunnel.status()?;
                match tunnel.start(&Start::new(TUNNEL.into())) {
                    Ok(_) => bail!("a tunnel started without the device"),
                    Err(refusal) => Ok(((), format!("{}; {refusal}", status.name()))),
                }
            },
        )?;
        report.missing(&format!("Here the demo ends: {closed}."));
        drop(tunnel);
        return daemon.ends();
    }
    let socket = report.step("start", r#"{"cmd":"start","myIPv4Address":"10.0.85.1"}"#, || {
        let socket = tunnel.start(&Start::new(TUNNEL.into()))?;
        let note = format!("interface {} is up", tunnel.name()?);
        Ok((socket, note))
    })?;
    let program = Program::start(socket)?;
    steps(report, &mut tunnel, &program)?;
    measure(report, &program, time)?;
    report.step("end", "the program goes, and the tunnel with it", || {
        program.stop();
        drop(tunnel);
        daemon.ends()?;
        machine::is_clean()?;
        Ok(((), "interface, rules and routes are gone".to_owned()))
    })
}

fn steps(report: &mut Report, tunnel: &mut Tunnel, program: &Program) -> anyhow::Result<()> {
    report.step("route", "10.86.0.0/16 is sent into the tunnel", || {
        tunnel.add_included(&[NETWORK.parse()?])?;
        Ok(((), "the machine's own tables are untouched".to_owned()))
    })?;
    report.step("ping", "the machine pings 10.86.0.7, the program answers", || {
        let times = machine::ping(HOST, 10)?;
        let median = times[times.len() / 2].as_micros();
        ensure!(program.pings() >= 10, "the program saw {} pings of 10", program.pings());
        Ok(((), format!("10 of 10 answered, median {median} µs")))
    })?;
    report.step("exclude", "10.86.0.0/24 is kept out of it again", || {
        tunnel.add_excluded(&["10.86.0.0/24".parse()?])?;
        ensure!(machine::is_unreachable(HOST)?, "10.86.0.7 still goes into the tunnel");
        tunnel.remove_excluded(&["10.86.0.0/24".parse()?])?;
        machine::ping(HOST, 1)?;
        Ok(((), "unreachable while excluded, answered after".to_owned()))
    })?;
    report.step("dns", "every DNS query is captured", || {
        tunnel.turn_on_dns()?;
        let address = machine::resolve(RESOLVER, "hypertap.example")?;
        tunnel.turn_off_dns()?;
        let asked = program.questions().pop().unwrap_or_default();
        ensure!(asked == "hypertap.example", "the program saw a question for {asked:?}");
        Ok(((), format!("a query to 9.9.9.9 reached the program, which answered {asked} = {address}")))
    })
}

fn measure(report: &mut Report, program: &Program, time: Duration) -> anyhow::Result<()> {
    let bar = report.bar("measuring packets a second, there and back", time);
    let rate = machine::echo(HOST, time, |done| bar.set_position(done))?;
    bar.finish_and_clear();
    report.done(
        "speed",
        "64-byte packets, to the program and back, 64 in flight",
        &format!("{} packets a second ({} echoed, {} lost)", rate.per_second(), rate.returned, rate.lost()),
    );
    ensure!(rate.returned > 0, "no packet came back (the program echoed {})", program.echoes());
    Ok(())
}
