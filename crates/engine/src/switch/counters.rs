//! What a switch counts at each port.

use std::fmt;

use super::Forward;

/// Why a frame goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropCause {
    /// It came by a port that is not there (any more).
    NoSuchPort,
    /// It is shorter than an Ethernet header.
    TooShort,
    /// Its source is a group's address or zero.
    BadSource,
    /// Its source is the address of this machine's own interface, and it came by another port.
    HostAddress,
    /// It is to a neighbour only: 01:80:c2:00:00:00 to 0f.
    Reserved,
    /// Its destination is at the port it came by.
    SamePort,
    /// Its port has had too much flooded.
    Storm,
    /// It is one of many copies: there is a loop.
    Loop,
}

impl DropCause {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::NoSuchPort,
        Self::TooShort,
        Self::BadSource,
        Self::HostAddress,
        Self::Reserved,
        Self::SamePort,
        Self::Storm,
        Self::Loop,
    ];

    /// A name for counters and logs, in `snake_case`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSuchPort => "no_such_port",
            Self::TooShort => "too_short",
            Self::BadSource => "bad_source",
            Self::HostAddress => "host_address",
            Self::Reserved => "reserved",
            Self::SamePort => "same_port",
            Self::Storm => "storm",
            Self::Loop => "loop",
        }
    }
}

impl fmt::Display for DropCause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// Counts of frames that came in by one port.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    /// Went to one other port.
    pub forwarded: u64,
    /// Went to all other ports.
    pub flooded: u64,
    /// Had a source that was learned here and was known nowhere.
    pub learned: u64,
    /// Had a source that was learned here and was known at another port.
    pub moved: u64,
    /// Had a source that was not learned for want of room.
    pub unlearned: u64,
    dropped: [u64; DropCause::ALL.len()],
}

impl PortCounters {
    /// Were dropped, by cause.
    pub fn dropped(&self, cause: DropCause) -> u64 {
        self.dropped[cause as usize]
    }

    pub(super) fn count(&mut self, forward: Forward) {
        match forward {
            Forward::To(_) => self.forwarded += 1,
            Forward::Flood => self.flooded += 1,
            Forward::Drop(cause) => self.dropped[cause as usize] += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_counted_at_its_place() {
        let mut counters = PortCounters::default();
        for cause in DropCause::ALL {
            counters.count(Forward::Drop(cause));
            assert_eq!(counters.dropped(cause), 1, "{cause}");
        }
        assert_eq!(counters.forwarded + counters.flooded, 0);
    }
}
