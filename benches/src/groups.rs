//! The groups of measurements, and how a group is run: pairs, alternating.

use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::conditions;
use crate::idle;
use crate::load::{Load, Way};
use crate::nodes::Transport;
use crate::path::{Plane, Route};
use crate::process;
use crate::services;
use crate::summary::{Row, Wanted};
use crate::tap_idle;
use crate::workshop::Workshop;

/// One group of rows.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Pairs of measurements unless the user says otherwise.
    pairs: u32,
    subject: Subject,
}

/// What a group is about.
enum Subject {
    /// Loads on a path, each with what is wanted of it.
    Path(Plane, &'static [(Load, Wanted)]),
    /// What the tunnel costs when idle.
    Idle,
    /// What the tap door costs when idle.
    TapIdle,
    /// What goes through services over a transport.
    Services(Transport),
    /// What idle connections to services cost.
    ServicesMemory,
}

/// Both ways each, and the same wanted of all.
const fn throughput(wanted: Wanted) -> [(Load, Wanted); 6] {
    [
        (Load::Tcp(Way::ToProgram), wanted),
        (Load::Tcp(Way::ToMachine), wanted),
        (Load::Packets(64, Way::ToProgram), wanted),
        (Load::Packets(64, Way::ToMachine), wanted),
        (Load::Packets(1400, Way::ToProgram), wanted),
        (Load::Packets(1400, Way::ToMachine), wanted),
    ]
}

/// The same with a round trip, whose cost is wanted by itself.
const fn frames(stream: Wanted, packets: Wanted) -> [(Load, Wanted); 7] {
    [
        (Load::Tcp(Way::ToProgram), stream),
        (Load::Tcp(Way::ToMachine), stream),
        (Load::Packets(64, Way::ToProgram), packets),
        (Load::Packets(64, Way::ToMachine), packets),
        (Load::Packets(1400, Way::ToProgram), packets),
        (Load::Packets(1400, Way::ToMachine), packets),
        (Load::RoundTrip, Wanted::Excess(20.0)),
    ]
}

/// All groups, in the order of the table.
pub(crate) const GROUPS: [Group; 13] = [
    Group {
        name: "udp",
        about: "UDP data plane, the program one packet a call",
        pairs: 5,
        subject: Subject::Path(Plane::Udp, &throughput(Wanted::Ratio(0.9))),
    },
    Group {
        name: "udp-gso",
        about: "UDP data plane, the program with GSO, GRO and a TUN with virtio-net header",
        pairs: 5,
        subject: Subject::Path(Plane::UdpOffload, &throughput(Wanted::Ratio(0.85))),
    },
    Group {
        name: "stream",
        about: "framed Unix stream, many packets a write",
        pairs: 5,
        subject: Subject::Path(Plane::Stream, &throughput(Wanted::Ratio(0.95))),
    },
    Group {
        name: "seqpacket",
        about: "Unix SOCK_SEQPACKET, sendmmsg and recvmmsg",
        pairs: 5,
        subject: Subject::Path(Plane::Seqpacket, &throughput(Wanted::Ratio(0.95))),
    },
    Group {
        name: "fd",
        about: "the TUN descriptor from hypertap, or opened by the program itself",
        pairs: 9,
        subject: Subject::Path(Plane::Descriptor, &throughput(Wanted::WithinSpread)),
    },
    Group {
        name: "idle",
        about: "memory, wake-ups, command round trip, time to start",
        pairs: 5,
        subject: Subject::Idle,
    },
    Group {
        name: "tap",
        about: "Ethernet between the host and a client on a framed Unix stream",
        pairs: 5,
        subject: Subject::Path(Plane::Tap, &frames(Wanted::Ratio(1.1), Wanted::Ratio(1.0))),
    },
    Group {
        name: "switch",
        about: "Ethernet between two clients on framed Unix streams, held against vde_switch",
        pairs: 5,
        subject: Subject::Path(Plane::Switch, &frames(Wanted::Ratio(2.0), Wanted::Ratio(1.0))),
    },
    Group {
        name: "switch-datagram",
        about: "Ethernet between two clients with a frame a datagram, held against vde_switch",
        pairs: 5,
        subject: Subject::Path(Plane::SwitchDatagram, &frames(Wanted::Ratio(1.0), Wanted::Ratio(1.0))),
    },
    Group {
        name: "tap-idle",
        about: "memory and wake-ups with 32 clients that say nothing",
        pairs: 5,
        subject: Subject::TapIdle,
    },
    Group {
        name: "services",
        about: "services between two nodes on TCP with TLS, held against a stock libp2p stream",
        pairs: 5,
        subject: Subject::Services(Transport::Tcp),
    },
    Group {
        name: "services-quic",
        about: "the same on QUIC",
        pairs: 5,
        subject: Subject::Services(Transport::Quic),
    },
    Group {
        name: "services-memory",
        about: "memory of idle connections to services, each of which has moved 4 MiB",
        pairs: 1,
        subject: Subject::ServicesMemory,
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
    let (plane, loads) = match group.subject {
        Subject::Path(plane, loads) => (plane, loads),
        Subject::Idle => return idle::measure(shop, reps, effort.quiet),
        Subject::TapIdle => return tap_idle::measure(shop, reps, effort.quiet),
        Subject::Services(transport) => return services::measure(transport, shop, reps, effort),
        Subject::ServicesMemory => return services::measure_memory(shop, reps, effort.quiet),
    };
    let row = |(load, wanted): &(Load, Wanted)| {
        (*load, Row::new(format!("{}: {}", group.name, load.name()), load.unit(), *wanted))
    };
    let mut rows: Vec<(Load, Row)> = loads.iter().map(row).collect();
    for pair in 0..reps {
        eprintln!("{}: pair {} of {reps}", group.name, pair + 1);
        one_pair(plane, shop, &mut rows, pair % 2 == 1, effort)?;
    }
    let rows = rows.into_iter().map(|(_, row)| row).collect();
    Ok(rows)
}

/// Both paths anew, then each load on one and right after on the other.
fn one_pair(
    plane: Plane,
    shop: &Workshop,
    rows: &mut [(Load, Row)],
    ours_first: bool,
    effort: Effort,
) -> Result<()> {
    let mut reference = Route::reference(plane, shop).context("the reference")?;
    let ours = shop.hypertap.is_some().then(|| Route::ours(plane, shop).context("hypertap"));
    let mut ours = ours.transpose()?;
    for (load, row) in rows {
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
