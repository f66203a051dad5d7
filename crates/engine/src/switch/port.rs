//! The ports of a switch, in slots that are used again under new ids.

use std::collections::VecDeque;
use std::time::Duration;

use super::counters::PortCounters;
use super::echoes::{self, Remembered};
use super::{FloodLimit, RateLimit};

/// A port: its slot, and how often the slot was used before. An id comes back only after its slot has been
/// used 65,536 times.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortId(u32);

impl PortId {
    fn new(slot: u16, generation: u16) -> Self {
        Self(u32::from(generation) << 16 | u32::from(slot))
    }

    /// The port's slot, a small number that no other port has at the same time: an index for the caller's
    /// own list of ports.
    pub fn slot(self) -> usize {
        (self.0 & 0xffff) as usize
    }

    fn generation(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// What a switch knows of one port.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) counters: PortCounters,
    /// How much it may have flooded.
    pub(super) flooding: Option<RateLimit>,
    /// How many stations are learned here.
    pub(super) stations: usize,
    /// The frames it had flooded lately, the oldest first.
    pub(super) remembered: VecDeque<Remembered>,
    /// How many echoes it may send.
    pub(super) echoes: RateLimit,
    /// How many frames were dropped here since the last word on it, and when that was.
    pub(super) looped: u64,
    pub(super) told_at: Option<Duration>,
}

impl Port {
    pub(super) fn new(flood_limit: Option<FloodLimit>) -> Self {
        Self {
            counters: PortCounters::default(),
            flooding: flood_limit.map(|limit| RateLimit::new(limit.frames_per_second, limit.burst)),
            stations: 0,
            remembered: VecDeque::new(),
            echoes: echoes::allowance(),
            looped: 0,
            told_at: None,
        }
    }
}

/// The ports by id.
#[derive(Debug, Default)]
pub(super) struct Ports {
    slots: Vec<(u16, Option<Port>)>,
    free: Vec<u16>,
}

impl Ports {
    pub(super) fn insert(&mut self, port: Port) -> Option<PortId> {
        let slot = if let Some(slot) = self.free.pop() {
            slot
        } else {
            let slot = u16::try_from(self.slots.len()).ok().filter(|slot| *slot != u16::MAX)?;
            self.slots.push((0, None));
            slot
        };
        let (generation, place) = &mut self.slots[usize::from(slot)];
        *place = Some(port);
        Some(PortId::new(slot, *generation))
    }

    pub(super) fn remove(&mut self, id: PortId) -> Option<Port> {
        let (generation, place) = self.slots.get_mut(id.slot())?;
        if *generation != id.generation() {
            return None;
        }
        let port = place.take()?;
        *generation = generation.wrapping_add(1);
        self.free.push((id.0 & 0xffff) as u16);
        Some(port)
    }

    pub(super) fn get(&self, id: PortId) -> Option<&Port> {
        let (generation, port) = self.slots.get(id.slot())?;
        port.as_ref().filter(|_| *generation == id.generation())
    }

    pub(super) fn get_mut(&mut self, id: PortId) -> Option<&mut Port> {
        let (generation, port) = self.slots.get_mut(id.slot())?;
        port.as_mut().filter(|_| *generation == id.generation())
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PortId> + '_ {
        let used = self.slots.iter().zip(0..).filter(|((_, port), _)| port.is_some());
        used.map(|((generation, _), slot)| PortId::new(slot, *generation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_used_again_under_another_id() {
        let mut ports = Ports::default();
        let first = ports.insert(Port::new(None)).expect("room");
        ports.remove(first).expect("there");
        let second = ports.insert(Port::new(None)).expect("room");
        assert_eq!(first.slot(), second.slot());
        assert_ne!(first, second);
        assert!(ports.get(first).is_none() && ports.remove(first).is_none());
        assert_eq!(ports.ids().collect::<Vec<_>>(), [second]);
    }

    #[test]
    fn there_is_a_last_port() {
        let mut ports = Ports::default();
        let added = std::iter::from_fn(|| ports.insert(Port::new(None))).count();
        assert_eq!(added, 65_535);
    }
}
