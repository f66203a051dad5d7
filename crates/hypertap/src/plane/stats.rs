//! What went through a plane, and what did not.

use std::array;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use hypertap_wire::packet::{DropCause, Tally};
use serde::Serialize;

/// Counters of both directions, from one `start` to the next.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    /// Packets that the machine routed into the interface.
    pub(crate) to_program: Direction,
    /// Packets that the program sent.
    pub(crate) from_program: Direction,
}

/// Counters of one direction.
#[derive(Debug)]
pub(crate) struct Direction {
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: [AtomicU64; DropCause::ALL.len()],
}

impl Default for Direction {
    fn default() -> Self {
        Self {
            packets: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            dropped: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Direction {
    /// Adds what happened to a batch.
    pub(crate) fn add(&self, tally: &Tally) {
        // Each counter is exact by itself; no order between them is promised.
        for (counter, number) in [(&self.packets, tally.packets), (&self.bytes, tally.bytes)]
            .into_iter()
            .chain(self.dropped.iter().zip(tally.dropped))
            .filter(|(_, number)| *number > 0)
        {
            counter.fetch_add(number, Ordering::Relaxed);
        }
    }

    fn snapshot(&self) -> DirectionSnapshot {
        let dropped = DropCause::ALL.into_iter().zip(&self.dropped);
        DirectionSnapshot {
            packets: self.packets.load(Ordering::Relaxed),
            bytes: self.bytes.load(Ordering::Relaxed),
            dropped: dropped
                .map(|(cause, counter)| (cause, counter.load(Ordering::Relaxed)))
                .filter(|(_, number)| *number > 0)
                .collect(),
        }
    }
}

impl Stats {
    /// The counters as they are now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot { to_program: self.to_program.snapshot(), from_program: self.from_program.snapshot() }
    }
}

/// The counters at one moment, as `stats` shows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Snapshot {
    /// Packets that the machine routed into the interface.
    pub(crate) to_program: DirectionSnapshot,
    /// Packets that the program sent.
    pub(crate) from_program: DirectionSnapshot,
}

/// The counters of one direction at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DirectionSnapshot {
    /// Packets that were passed on.
    pub(crate) packets: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
    /// Packets that were dropped, by cause; causes that never came are not listed.
    pub(crate) dropped: BTreeMap<DropCause, u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_names_only_the_causes_that_came() {
        let stats = Stats::default();
        let mut tally = Tally::default();
        tally.pass(2, 300);
        tally.drop(DropCause::NoReceiver, 5);
        stats.to_program.add(&tally);
        stats.to_program.add(&tally);
        let json = serde_json::to_string(&stats.snapshot()).unwrap();
        let expected = r#"{"toProgram":{"packets":4,"bytes":600,"dropped":{"noReceiver":10}},"#;
        assert_eq!(json, format!(r#"{expected}"fromProgram":{{"packets":0,"bytes":0,"dropped":{{}}}}}}"#));
    }
}
