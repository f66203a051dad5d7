//! What is sent through a path: one TCP stream by iperf3, or UDP packets with at most 64 in flight, or one.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::namespace::Namespace;
use crate::path::{FAR, NEAR, Route};
use crate::pinned::Pinned;
use crate::process::{self, Process};
use crate::workshop::Workshop;

/// The port of `window sink`.
pub(crate) const SINK_PORT: u16 = 5400;
/// A packet that `window sink` answers: sequence number 0 of run 0.
pub(crate) const PROBE: [u8; 24] = [0; 24];

/// What every TCP stream is controlled by, whatever the machine prefers. iperf3 sets it on its own sockets: a
/// namespace's default could be another than the machine's only if the machine's own list were changed.
pub(crate) const CONGESTION_CONTROL: &str = "cubic";

pub(crate) const IPERF_PORT: u16 = 5201;

/// Which way the payload goes, seen from the near end's machine.
#[derive(Clone, Copy)]
pub(crate) enum Way {
    /// From the machine through the TUN to the program.
    ToProgram,
    /// From the program through the TUN to the machine.
    ToMachine,
}

/// A load, and so a row of the table.
#[derive(Clone, Copy)]
pub(crate) enum Load {
    /// One TCP stream, in Gbit/s.
    Tcp(Way),
    /// UDP packets of so many bytes, in thousands a second.
    Packets(u16, Way),
    /// One small UDP packet there and one back, all parts of the path on one core, in microseconds.
    RoundTrip,
}

impl Load {
    pub(crate) fn name(self) -> String {
        let (what, way) = match self {
            Load::Tcp(way) => ("TCP stream".to_owned(), way),
            Load::Packets(size, way) => (format!("{size}-byte packets"), way),
            Load::RoundTrip => return "round trip on one core".to_owned(),
        };
        match way {
            Way::ToProgram => format!("{what}, machine to program"),
            Way::ToMachine => format!("{what}, program to machine"),
        }
    }

    pub(crate) fn unit(self) -> &'static str {
        match self {
            Load::Tcp(_) => "Gbit/s",
            Load::Packets(..) => "k packets/s",
            Load::RoundTrip => "µs",
        }
    }

    /// Runs it for `secs` seconds; the result is in `unit()`.
    pub(crate) fn run(self, shop: &Workshop, route: &mut Route, secs: u32) -> Result<f64> {
        let result = match self {
            Load::Tcp(way) => tcp(shop, route, way, secs),
            Load::Packets(size, way) => packets(shop, route, size, way, secs),
            Load::RoundTrip => round_trip(shop, route, secs),
        };
        if result.is_err() {
            route.alive()?; // why it failed, rather than that it failed
        }
        result.with_context(|| self.name())
    }
}

/// Starts what answers the loads, and waits until it listens.
pub(crate) fn servers(shop: &Workshop, namespace: &Namespace) -> Result<[Process; 2]> {
    let port = IPERF_PORT.to_string();
    let iperf = Process::start(shop.dir(), namespace.name(), &["iperf3", "--server", "--port", &port])?;
    let port = SINK_PORT.to_string();
    let sink = Process::start(shop.dir(), namespace.name(), &[&shop.programs.window, "sink", &port])?;
    let mut started = [iperf, sink];
    let end = Instant::now() + Duration::from_secs(5);
    while !(namespace.inside(|| Ok(in_use("tcp6", IPERF_PORT) && in_use("udp", SINK_PORT)))?) {
        started.iter_mut().try_for_each(Process::alive)?;
        if Instant::now() > end {
            bail!("iperf3 and the packet sink do not listen after 5 s");
        }
        process::rest(Duration::from_millis(5))?;
    }
    Ok(started)
}

/// Whether a socket of this thread's namespace has the local port, by the kernel's table of `protocol`.
fn in_use(protocol: &str, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/thread-self/net/{protocol}")).unwrap_or_default();
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| line.split_whitespace().nth(1).is_some_and(|local| local.ends_with(&suffix)))
}

fn tcp(shop: &Workshop, route: &Route, way: Way, secs: u32) -> Result<f64> {
    let (port, time) = (IPERF_PORT.to_string(), secs.to_string());
    let mut words = vec!["iperf3", "--client", FAR, "--port", &port, "--time", &time, "--json"];
    words.extend(["--connect-timeout", "4000", "--congestion", CONGESTION_CONTROL]);
    if matches!(way, Way::ToMachine) {
        words.push("--reverse");
    }
    let report = answer(shop, &route.near, &words, secs)?;
    let used = report.pointer("/end/sender_tcp_congestion").and_then(Value::as_str).unwrap_or("another");
    if used != CONGESTION_CONTROL {
        bail!(
            "iperf3 used {used} and not {CONGESTION_CONTROL}: `modprobe tcp_{CONGESTION_CONTROL}` may help"
        );
    }
    let bits = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
    Ok(bits.context("iperf3 reports no rate")? / 1e9)
}

fn packets(shop: &Workshop, route: &Route, size: u16, way: Way, secs: u32) -> Result<f64> {
    let (port, size, time) = (SINK_PORT.to_string(), size.to_string(), secs.to_string());
    let (from, to) = match way {
        Way::ToProgram => (&route.near, FAR),
        Way::ToMachine => (&route.far, NEAR),
    };
    let report = answer(shop, from, &[&shop.programs.window, "send", to, &port, &size, &time], secs)?;
    let rate = report.get("packets_per_second").and_then(Value::as_f64).filter(|rate| *rate > 0.0);
    Ok(rate.context("no packet arrived")? / 1e3)
}

fn round_trip(shop: &Workshop, route: &Route, secs: u32) -> Result<f64> {
    let _pinned = Pinned::on_one_core(route.pids())?;
    let (port, time) = (SINK_PORT.to_string(), secs.to_string());
    let report = answer(shop, &route.near, &[&shop.programs.window, "ping", FAR, &port, &time], secs)?;
    report.get("median_us").and_then(Value::as_f64).context("no packet came back")
}

fn answer(shop: &Workshop, namespace: &Namespace, words: &[&str], secs: u32) -> Result<Value> {
    answer_in(shop.dir(), namespace, words, secs)
}

/// Runs a program that writes JSON, in a namespace, for about `secs` seconds; output also goes to files in `dir`.
pub(crate) fn answer_in(dir: &Path, namespace: &Namespace, words: &[&str], secs: u32) -> Result<Value> {
    let said =
        Process::start(dir, namespace.name(), words)?.finish(Duration::from_secs(u64::from(secs) + 15))?;
    serde_json::from_str(&said).with_context(|| format!("{} wrote no JSON", words[0]))
}
