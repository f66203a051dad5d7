//! The groups of measurements, and how a group is run: pairs, alternating.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::conditions;
use crate::idle;
use crate::load::LOADS;
use crate::path::{Plane, Route};
use crate::process;
use crate::summary::{Row, Wanted};
use crate::workshop::Workshop;

/// One group: a data plane, or what hypertap costs when idle.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Pairs of measurements unless the user says otherwise.
    pairs: u32,
    plane: Option<Plane>,
    wanted: Wanted,
}

/// All groups, in the order of the table.
pub(crate) const GROUPS: [Group; 6] = [
    Group {
        name: "udp",
        about: "UDP data plane, the program one packet a call",
        pairs: 5,
        plane: Some(Plane::Udp),
        wanted: Wanted::Ratio(0.9),
    },
    Group {
        name: "udp-gso",
        about: "UDP data plane, the program with GSO, GRO and a TUN with virtio-net header",
        pairs: 5,
        plane: Some(Plane::UdpOffload),
        wanted: Wanted::Ratio(0.85),
    },
    Group {
        name: "stream",
        about: "framed Unix stream, many packets a write",
        pairs: 5,
        plane: Some(Plane::Stream),
        wanted: Wanted::Ratio(0.95),
    },
    Group {
        name: "seqpacket",
        about: "Unix SOCK_SEQPACKET, sendmmsg and recvmmsg",
        pairs: 5,
        plane: Some(Plane::Seqpacket),
        wanted: Wanted::Ratio(0.95),
    },
    Group {
        name: "fd",
        about: "the TUN descriptor from hypertap, or opened by the program itself",
        pairs: 9,
        plane: Some(Plane::Descriptor),
        wanted: Wanted::WithinSpread,
    },
    Group {
        name: "idle",
        about: "memory, wake-ups, command round trip, time to start",
        pairs: 5,
        plane: None,
        wanted: Wanted::AtMost(0.0),
    },
];

/// The groups of these names, in the table's order; all when there is none.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Group>> {
    if let Some(unknown) = names.iter().find(|name| GROUPS.iter().all(|group| group.name != name.as_str())) {
        bail!("no group is called {unknown}: bench --list names them");
    }
    let wanted = |group: &&Group| names.is_empty() || names.iter().any(|name| name == group.name);
    Ok(GROUPS.iter().filter(wanted).collect())
}

/// How long, and how often.
#[derive(Clone, Copy)]
pub(crate) struct Effort {
    /// Pairs; the group's own number when none is given.
    pub(crate) reps: Option<u32>,
    /// Seconds that each load runs.
    pub(crate) secs: u32,
    /// How long to wait for compilers to end before each load.
    pub(crate) quiet: Duration,
}

/// Measures a group; its rows.
pub(crate) fn measure(group: &Group, shop: &Workshop, effort: Effort) -> Result<Vec<Row>> {
    let reps = effort.reps.unwrap_or(group.pairs);
    let Some(plane) = group.plane else { return idle::measure(shop, reps, effort.quiet) };
    let row = |load: &crate::load::Load| {
        Row::new(format!("{}: {}", group.name, load.name()), load.unit(), group.wanted)
    };
    let mut rows: Vec<Row> = LOADS.iter().map(row).collect();
    for pair in 0..reps {
        eprintln!("{}: pair {} of {reps}", group.name, pair + 1);
        one_pair(plane, shop, &mut rows, pair % 2 == 1, effort)?;
    }
    Ok(rows)
}

/// Both paths anew, then each load on one and right after on the other.
fn one_pair(plane: Plane, shop: &Workshop, rows: &mut [Row], ours_first: bool, effort: Effort) -> Result<()> {
    let mut reference = Route::reference(plane, shop).context("the reference")?;
    let ours = shop.hypertap.is_some().then(|| Route::ours(plane, shop).context("hypertap"));
    let mut ours = ours.transpose()?;
    for (load, row) in LOADS.iter().zip(rows) {
        process::check()?;
        conditions::wait_for_quiet(effort.quiet)?;
        let mut noisy = conditions::compiler_runs();
        let mut early = None;
        if let Some(ours) = ours.as_mut().filter(|_| ours_first) {
            early = Some(load.run(shop, ours, effort.secs).context("hypertap")?);
        }
        let sample = load.run(shop, &mut reference, effort.secs).context("the reference")?;
        if let Some(ours) = &mut ours {
            let late = || load.run(shop, ours, effort.secs).context("hypertap");
            row.ours.push(early.map_or_else(late, Ok)?);
        }
        row.reference.push(sample);
        noisy |= conditions::compiler_runs();
        row.noisy += u32::from(noisy);
    }
    Ok(())
}
