//! What went through a fabric, and what did not.

use std::collections::BTreeMap;

use hypertap_engine::switch::DropCause;
use serde::Serialize;

use super::Origin;

/// Why a frame went no further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
#[repr(usize)]
pub(crate) enum DropReason {
    /// The port that it was for reads too slowly, and its buffer was full.
    Slow,
    /// The port that it was for takes no more, and is about to go.
    Gone,
    /// An unframed client could not tell where it ends.
    Unsizable,
    /// Longer than the port's framing, or the interface's MTU, allows.
    TooLong,
    /// Shorter than an Ethernet header.
    Runt,
    /// The switch does not forward frames with such addresses.
    Refused,
    /// The port that it came by has had too much flooded.
    Storm,
    /// One of many copies: there is a loop.
    Loop,
    /// The host's interface did not take it, or did not hand it over whole.
    Interface,
    /// The guest's socket does not take it.
    Unsendable,
}

impl DropReason {
    const ALL: [Self; 10] = [
        Self::Slow,
        Self::Gone,
        Self::Unsizable,
        Self::TooLong,
        Self::Runt,
        Self::Refused,
        Self::Storm,
        Self::Loop,
        Self::Interface,
        Self::Unsendable,
    ];
}

impl From<DropCause> for DropReason {
    fn from(cause: DropCause) -> Self {
        match cause {
            DropCause::TooShort => Self::Runt,
            DropCause::Storm => Self::Storm,
            DropCause::Loop => Self::Loop,
            _ => Self::Refused,
        }
    }
}

/// What a port's thread counts.
#[derive(Clone, Debug, Default)]
pub(super) struct Counters {
    pub(super) frames_in: u64,
    pub(super) bytes_in: u64,
    pub(super) frames_out: u64,
    pub(super) bytes_out: u64,
    dropped: [u64; DropReason::ALL.len()],
}

impl Counters {
    pub(super) fn receive(&mut self, frames: u64, bytes: u64) {
        self.frames_in += frames;
        self.bytes_in += bytes;
    }

    pub(super) fn send(&mut self, frames: u64, bytes: u64) {
        self.frames_out += frames;
        self.bytes_out += bytes;
    }

    /// Counts frames as dropped that were counted as sent.
    pub(super) fn lose(&mut self, reason: DropReason, frames: u64, bytes: u64) {
        self.frames_out = self.frames_out.saturating_sub(frames);
        self.bytes_out = self.bytes_out.saturating_sub(bytes);
        self.drop(reason, frames);
    }

    pub(super) fn drop(&mut self, reason: DropReason, frames: u64) {
        self.dropped[reason as usize] += frames;
    }

    pub(super) fn dropped(&self) -> BTreeMap<DropReason, u64> {
        DropReason::ALL.into_iter().zip(self.dropped).filter(|(_, count)| *count > 0).collect()
    }
}

/// A fabric's counters.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// Every port that is there.
    pub(crate) ports: Vec<PortReport>,
    /// How many addresses the switch knows.
    pub(crate) addresses: usize,
    /// Datagrams of senders that are no guests: they cannot be answered, or there is no place.
    pub(crate) strangers: u64,
    /// Datagrams that were longer than a frame.
    pub(crate) cut: u64,
}

/// A port's counters.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PortReport {
    /// Whose it is.
    pub(crate) port: Origin,
    /// Frames that came in from it.
    pub(crate) frames_in: u64,
    /// Their bytes.
    pub(crate) bytes_in: u64,
    /// Frames that it was given.
    pub(crate) frames_out: u64,
    /// Their bytes.
    pub(crate) bytes_out: u64,
    /// Frames dropped on the way in or out, by reason; none is left out.
    pub(crate) dropped: BTreeMap<DropReason, u64>,
    /// Bytes that wait to be taken.
    pub(crate) queued: usize,
    /// The most that ever waited.
    pub(crate) queued_most: usize,
}
