//! The numbers that a tunnel uses.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::privileged::Footprint;

const SLOTS: u32 = 200;
const FIRST_TABLE: u32 = 26_880;
const FIRST_PRIORITY: u32 = 20_000;
const PRIORITIES: u32 = 10;

/// A tunnel's share of the machine's routing tables and rule priorities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Numbers", into = "Numbers")]
pub(crate) struct Slot(u32);

/// A slot as it is written down: the numbers that an administrator sees.
#[derive(Serialize, Deserialize)]
struct Numbers {
    routes_table: u32,
    dns_table: u32,
    first_priority: u32,
}

impl From<Slot> for Numbers {
    fn from(slot: Slot) -> Self {
        Self {
            routes_table: slot.routes_table(),
            dns_table: slot.dns_table(),
            first_priority: slot.priority(0),
        }
    }
}

impl TryFrom<Numbers> for Slot {
    type Error = &'static str;

    fn try_from(numbers: Numbers) -> Result<Self, Self::Error> {
        Slot::all()
            .find(|slot| {
                slot.routes_table() == numbers.routes_table
                    && slot.dns_table() == numbers.dns_table
                    && slot.priority(0) == numbers.first_priority
            })
            .ok_or("not the tables and priorities of a slot of ours")
    }
}

impl Slot {
    /// Every slot there is.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..SLOTS).map(Self)
    }

    /// The table of included and excluded routes.
    pub(crate) fn routes_table(self) -> u32 {
        FIRST_TABLE + 2 * self.0
    }

    /// The table of captured DNS queries.
    pub(crate) fn dns_table(self) -> u32 {
        FIRST_TABLE + 2 * self.0 + 1
    }

    /// How announcements about its rules and routes are known, changed through that rtnetlink port.
    pub(crate) fn footprint(self, port: u32) -> Footprint {
        Footprint { table: self.routes_table(), priority: self.priority(0), port }
    }

    /// The priority of its rule with this number.
    pub(super) fn priority(self, which: u32) -> u32 {
        FIRST_PRIORITY + PRIORITIES * self.0 + which
    }

    /// All of its priorities.
    pub(super) fn priorities(self) -> RangeInclusive<u32> {
        priorities_of(self.footprint(0))
    }
}

/// Both tables of a slot.
pub(crate) fn tables_of(footprint: Footprint) -> RangeInclusive<u32> {
    footprint.table..=footprint.table.saturating_add(1)
}

/// All priorities of a slot.
pub(crate) fn priorities_of(footprint: Footprint) -> RangeInclusive<u32> {
    footprint.priority..=footprint.priority.saturating_add(PRIORITIES - 1)
}
