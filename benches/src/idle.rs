//! What hypertap costs when nothing happens, and how soon it answers when something does.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::conditions;
use crate::daemon::{Commands, Daemon};
use crate::namespace::Namespace;
use crate::path::NEAR;
use crate::process;
use crate::summary::{Row, Wanted, median};
use crate::workshop::Workshop;

const STARTS: usize = 5;
const COMMANDS: usize = 1000;
/// The kernel says its last about a new interface (multicast reports) in this time.
pub(crate) const SETTLE: Duration = Duration::from_secs(3);
/// How long wake-ups are counted.
pub(crate) const QUIET: Duration = Duration::from_secs(5);

/// The rows of this group, one sample for each of `reps` daemons.
pub(crate) fn measure(shop: &Workshop, reps: u32, quiet: Duration) -> Result<Vec<Row>> {
    let row = |name: &str, unit, wanted| Row::new(name.to_owned(), unit, wanted);
    let mut rows = [
        row("start until the device is up", "ms", Wanted::Below(50.0)),
        row("command round trip (status)", "µs", Wanted::Below(200.0)),
        row("resident memory, tunnel up", "MiB", Wanted::Below(10.0)),
        row("wake-ups in 5 s without traffic", "", Wanted::AtMost(0.0)),
    ];
    if shop.hypertap.is_none() {
        return Ok(Vec::new());
    }
    fill("idle", &mut rows, reps, quiet, || sample(shop))?;
    Ok(rows.into())
}

/// Puts `reps` samples into the rows of a group that is measured without a reference.
pub(crate) fn fill<const N: usize>(
    group: &str,
    rows: &mut [Row; N],
    reps: u32,
    quiet: Duration,
    mut sample: impl FnMut() -> Result<[f64; N]>,
) -> Result<()> {
    for rep in 1..=reps {
        eprintln!("{group}: {rep} of {reps}");
        conditions::wait_for_quiet(quiet)?;
        let mut noisy = conditions::compiler_runs();
        let samples = sample()?;
        noisy |= conditions::compiler_runs();
        for (row, sample) in rows.iter_mut().zip(samples) {
            row.ours.push(sample);
            row.noisy += u32::from(noisy);
        }
    }
    Ok(())
}

fn sample(shop: &Workshop) -> Result<[f64; 4]> {
    let namespace = Namespace::create()?;
    let mut daemon = Daemon::start(shop, &namespace)?;
    let pid = daemon.pid();
    let commands = daemon.connect(&namespace)?;
    let up = starts(commands, &namespace)?;
    let trip = round_trip(commands)?;
    process::rest(SETTLE)?;
    let (memory, before) = (resident(pid)?, wake_ups(pid)?);
    process::rest(QUIET)?;
    Ok([up, trip, memory, count(wake_ups(pid)?.saturating_sub(before))])
}

/// Median milliseconds from writing `start` to `tunnelStarted`, the device then being up; leaves the tunnel up.
fn starts(commands: &mut Commands, namespace: &Namespace) -> Result<f64> {
    let mut times = Vec::new();
    for round in 0..STARTS {
        if round > 0 {
            commands.ask(&json!({"cmd": "stop"}))?;
            commands.event("tunnelStopped")?;
        }
        let begin = Instant::now();
        commands.ask(&json!({"cmd": "start", "myIPv4Address": NEAR}))?;
        commands.event("tunnelStarted")?;
        times.push(begin.elapsed().as_secs_f64() * 1e3);
        let name = commands.ask(&json!({"cmd": "getName"}))?;
        let name = name.get("name").and_then(Value::as_str).context("getName gives no name")?;
        if namespace.ip(&["-oneline", "address", "show", "dev", name, "up"])?.find(NEAR).is_none() {
            bail!("tunnelStarted was sent before {name} was up with {NEAR}");
        }
    }
    median(&times).context("no start was timed")
}

/// Median microseconds of `status`.
fn round_trip(commands: &mut Commands) -> Result<f64> {
    let mut times = Vec::with_capacity(COMMANDS);
    for _ in 0..COMMANDS {
        let begin = Instant::now();
        commands.ask(&json!({"cmd": "status"}))?;
        times.push(begin.elapsed().as_secs_f64() * 1e6);
    }
    median(&times).context("no command was timed")
}

/// Resident memory in MiB, pages shared with other programs included.
pub(crate) fn resident(pid: Pid) -> Result<f64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).context("hypertap has ended")?;
    Ok(count(field(&status, "VmRSS:")?) / 1024.0)
}

/// How often all its threads together have waited so far.
pub(crate) fn wake_ups(pid: Pid) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(format!("/proc/{pid}/task")).context("hypertap has ended")? {
        sum += field(&fs::read_to_string(thread?.path().join("status"))?, "voluntary_ctxt_switches:")?;
    }
    Ok(sum)
}

fn field(status: &str, name: &str) -> Result<u64> {
    let value = status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next());
    Ok(value.with_context(|| format!("no {name} in a status file"))?.parse()?)
}

#[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
fn count(value: u64) -> f64 {
    value as f64
}
