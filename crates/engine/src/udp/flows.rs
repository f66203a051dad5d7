//! Flows, by their addresses and by how long they have been idle.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

/// The two ends of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// The service's address, and the port that was asked for.
    pub local: SocketAddr,
    /// The program's end.
    pub remote: SocketAddr,
}

/// How many flows there may be, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowLimits {
    /// The most flows.
    pub flows: usize,
    /// How long a flow may be idle.
    pub idle: Duration,
    /// How long one must have been idle to give way to a new one when there are as many as there may be.
    pub yields_after: Duration,
}

/// Flows with what belongs to them. Each change costs the logarithm of how many there are.
#[derive(Debug)]
pub struct Flows<T> {
    limits: FlowLimits,
    by_key: HashMap<FlowKey, (Duration, T)>,
    /// When each was last active.
    by_age: BTreeSet<(Duration, FlowKey)>,
}

impl<T> Flows<T> {
    /// None yet.
    pub fn new(limits: FlowLimits) -> Self {
        Self { limits, by_key: HashMap::new(), by_age: BTreeSet::new() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// A flow.
    pub fn get_mut(&mut self, key: &FlowKey) -> Option<&mut T> {
        self.by_key.get_mut(key).map(|(_, flow)| flow)
    }

    /// A datagram went one way or the other.
    pub fn touch(&mut self, now: Duration, key: &FlowKey) {
        if let Some((active, _)) = self.by_key.get_mut(key)
            && *active != now
        {
            self.by_age.remove(&(*active, *key));
            self.by_age.insert((now, *key));
            *active = now;
        }
    }

    /// Whether there is room for one more, for which the one that is idle for longest may have had to go:
    /// that one is returned.
    ///
    /// # Errors
    /// There is none.
    pub fn make_room(&mut self, now: Duration) -> Result<Option<T>, Full> {
        if self.by_key.len() < self.limits.flows {
            return Ok(None);
        }
        self.take_idle(now, self.limits.yields_after).map(Some).ok_or(Full)
    }

    /// Enters a flow, whose room [`Self::make_room`] made, and yields the one that it replaces.
    pub fn insert(&mut self, now: Duration, key: FlowKey, flow: T) -> Option<T> {
        let replaced = self.remove(&key);
        self.by_key.insert(key, (now, flow));
        self.by_age.insert((now, key));
        replaced
    }

    /// Takes a flow out.
    pub fn remove(&mut self, key: &FlowKey) -> Option<T> {
        let (active, flow) = self.by_key.remove(key)?;
        self.by_age.remove(&(active, *key));
        Some(flow)
    }

    /// Takes out a flow that has been idle for too long.
    pub fn expire(&mut self, now: Duration) -> Option<T> {
        self.take_idle(now, self.limits.idle)
    }

    /// When to call [`Self::expire`], on the clock that `now` is on.
    pub fn timeout(&self) -> Option<Duration> {
        self.by_age.first().map(|(active, _)| *active + self.limits.idle)
    }

    fn take_idle(&mut self, now: Duration, idle: Duration) -> Option<T> {
        let (active, key) = *self.by_age.first()?;
        if now < active + idle { None } else { self.remove(&key) }
    }
}

/// There are as many flows as there may be, and all are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are as many flows as there may be")]
pub struct Full;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: FlowLimits =
        FlowLimits { flows: 3, idle: Duration::from_secs(60), yields_after: Duration::from_secs(5) };

    fn key(number: u16) -> FlowKey {
        FlowKey {
            local: SocketAddr::from(([10, 0, 0, 1], 53)),
            remote: SocketAddr::from(([10, 0, 0, 2], number)),
        }
    }

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_flow_ends_when_it_was_idle_for_its_time_and_not_before() {
        let mut flows = Flows::new(LIMITS);
        flows.insert(at(0), key(1), 1);
        flows.insert(at(10), key(2), 2);
        flows.touch(at(30), &key(1));
        assert_eq!(flows.timeout(), Some(at(70)));
        assert_eq!(flows.expire(at(69)), None);
        assert_eq!(flows.expire(at(70)), Some(2));
        assert_eq!(flows.expire(at(89)), None);
        assert_eq!(flows.expire(at(90)), Some(1));
        assert_eq!((flows.timeout(), flows.is_empty()), (None, true));
    }

    #[test]
    fn the_newest_finds_no_room_unless_another_is_idle() {
        let mut flows = Flows::new(LIMITS);
        for number in 1..=3 {
            assert_eq!(flows.make_room(at(0)), Ok(None));
            flows.insert(at(0), key(number), number);
        }
        flows.touch(at(1), &key(1));
        assert_eq!(flows.make_room(at(4)), Err(Full));
        assert_eq!(flows.make_room(at(5)), Ok(Some(2)));
        assert_eq!(flows.get_mut(&key(2)), None);
    }

    #[test]
    fn a_flow_that_is_replaced_counts_once() {
        let mut flows = Flows::new(LIMITS);
        flows.insert(at(0), key(1), 1);
        assert_eq!(flows.insert(at(7), key(1), 2), Some(1));
        assert_eq!((flows.len(), flows.timeout()), (1, Some(at(67))));
    }

    proptest! {
        #[test]
        fn both_orders_hold_the_same_flows(steps in prop::collection::vec((0..4_u8, 0..6_u16), 0..200)) {
            let mut flows = Flows::new(LIMITS);
            for (now, (what, number)) in (0..).map(at).zip(steps) {
                match what {
                    0 => if flows.make_room(now).is_ok() { flows.insert(now, key(number), number); },
                    1 => flows.touch(now, &key(number)),
                    2 => drop(flows.remove(&key(number))),
                    _ => drop(flows.expire(now)),
                }
                prop_assert!(flows.len() <= LIMITS.flows);
                prop_assert_eq!(flows.len(), flows.by_age.len());
                for (active, key) in &flows.by_age {
                    prop_assert_eq!(flows.by_key.get(key).map(|(active, _)| active), Some(active));
                }
            }
        }
    }
}
