//! What goes through a service between two nodes, held against streams of a stock libp2p node on the same wire.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::conditions;
use crate::groups::Effort;
use crate::idle::{SETTLE, resident};
use crate::nodes::{ECHO_PORT, Nodes, Transport};
use crate::pinned::Pinned;
use crate::process;
use crate::summary::{Row, Wanted};
use crate::workshop::Workshop;

/// Connections that are open and say nothing.
const IDLE: u32 = 10_000;
/// Programs that connect at the same time.
const AT_ONCE: u32 = 16;
/// What each of the connections has moved whose memory is measured, in KiB.
const MOVED: u64 = 4096;

/// The rows of the group for one transport.
pub(crate) fn measure(transport: Transport, shop: &Workshop, reps: u32, effort: Effort) -> Result<Vec<Row>> {
    let name = |what: &str| format!("{}: {what}", transport.group());
    let mut rows = [
        Row::new(name("resident memory of a node with one peer"), "MiB", Wanted::Below(40.0)),
        Row::new(name("TCP stream"), "Gbit/s", Wanted::Ratio(0.7)),
        Row::new(name("8 TCP streams, beside one"), "Gbit/s", Wanted::Ratio(0.85)),
        Row::new(name("64 bytes there and back on one core"), "µs", Wanted::Excess(60.0)),
        Row::new(name("connections a second, 16 at once"), "", Wanted::AtLeast(3400.0)),
        Row::new(
            format!("{}: TCP stream with {IDLE} idle connections, beside none", transport.group()),
            "Gbit/s",
            Wanted::Ratio(0.9),
        ),
    ];
    for rep in 1..=reps {
        eprintln!("{}: pair {rep} of {reps}", transport.group());
        conditions::wait_for_quiet(effort.quiet)?;
        let mut noisy = conditions::compiler_runs();
        let mut nodes = Nodes::start(shop, transport)?;
        let samples = pair(&mut nodes, rep % 2 == 0, effort.secs);
        let samples = samples.or_else(|error| nodes.alive().and(Err(error)))?;
        noisy |= conditions::compiler_runs();
        for (row, (reference, ours)) in rows.iter_mut().zip(samples) {
            row.reference.extend(reference);
            row.ours.push(ours);
            row.noisy += u32::from(noisy);
        }
    }
    Ok(rows.into())
}

/// A sample of the reference, where there is one, and of ours for each row.
fn pair(nodes: &mut Nodes, ours_first: bool, secs: u32) -> Result<[(Option<f64>, f64); 6]> {
    process::rest(SETTLE)?;
    let memory = resident(nodes.near_pid())?;
    let stream = both(ours_first, || nodes.raw_stream(secs), || nodes.tcp(secs, 1))?;
    let eight = nodes.tcp(secs, 8)?;
    let trip = {
        let _pinned = Pinned::on_one_core(nodes.pids())?;
        both(ours_first, || trip(nodes, &nodes.raw, secs), || trip(nodes, &nodes.echo(), secs))?
    };
    let opens = both(ours_first, || opens(nodes, &nodes.raw, secs), || opens(nodes, &nodes.echo(), secs))?;
    let _held = nodes.hold(IDLE, 0, 0)?;
    let beside = nodes.tcp(secs, 1)?;
    Ok([
        (None, memory),
        (Some(stream.0), stream.1),
        (Some(stream.1), eight),
        (Some(trip.0), trip.1),
        (Some(opens.0), opens.1),
        (Some(stream.1), beside),
    ])
}

/// The memory that idle connections take after a life.
pub(crate) fn measure_memory(shop: &Workshop, reps: u32, quiet: Duration) -> Result<Vec<Row>> {
    let row = |which| {
        let name = format!("{IDLE} idle connections that have moved 4 MiB: memory for each, {which} node");
        Row::new(name, "KiB", Wanted::Below(16.0))
    };
    let mut rows = [row("near"), row("far")];
    for rep in 1..=reps {
        eprintln!("services-memory: {rep} of {reps}");
        conditions::wait_for_quiet(quiet)?;
        let mut nodes = Nodes::start(shop, Transport::Tcp)?;
        process::rest(SETTLE)?;
        let before = [resident(nodes.near_pid())?, resident(nodes.far_pid())?];
        let held = nodes.hold(IDLE, MOVED, IDLE)?;
        process::rest(SETTLE)?;
        let after = [resident(nodes.near_pid())?, resident(nodes.far_pid())?];
        nodes.alive()?;
        drop(held);
        for (row, (before, after)) in rows.iter_mut().zip(before.into_iter().zip(after)) {
            row.ours.push((after - before) * 1024.0 / f64::from(IDLE));
        }
    }
    Ok(rows.into())
}

fn both(
    ours_first: bool,
    reference: impl FnOnce() -> Result<f64>,
    ours: impl FnOnce() -> Result<f64>,
) -> Result<(f64, f64)> {
    if ours_first {
        let ours = ours()?;
        Ok((reference()?, ours))
    } else {
        Ok((reference()?, ours()?))
    }
}

fn trip(nodes: &Nodes, to: &str, secs: u32) -> Result<f64> {
    let report = nodes.ends(&["ping", to, &secs.to_string()], secs)?;
    report.get("median_us").and_then(Value::as_f64).context("nothing came back")
}

fn opens(nodes: &Nodes, to: &str, secs: u32) -> Result<f64> {
    let report = nodes.ends(&["open", to, &secs.to_string(), &AT_ONCE.to_string()], secs)?;
    let failed = report.get("failed").and_then(Value::as_u64).context("no count of failures")?;
    if failed > 0 && to.contains(&format!(":{ECHO_PORT}")) {
        bail!("{failed} connections failed");
    }
    report.get("a_second").and_then(Value::as_f64).context("no count")
}
