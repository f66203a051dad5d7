//! The latest events, for those who ask later.

use std::collections::VecDeque;
use std::time::{SystemTime, UNIX_EPOCH};

use hypertap_wire::event::Event;
use serde_json::{Value, json};

/// How many are kept.
const KEPT: usize = 64;

/// The latest events with their times.
#[derive(Debug, Default)]
pub struct History {
    events: VecDeque<(SystemTime, Event)>,
}

impl History {
    /// Enters an event.
    pub fn enter(&mut self, at: SystemTime, event: Event) {
        if self.events.len() == KEPT {
            self.events.pop_front();
        }
        self.events.push_back((at, event));
    }

    /// The events, oldest first: `at` in seconds since 1970, `event`, and `reason` where there is one.
    pub fn to_json(&self) -> Value {
        let entry = |(at, event): &(SystemTime, Event)| {
            let at = at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
            let mut entry = json!({"at": at, "event": event.name()});
            if let Some(reason) = event.reason() {
                entry["reason"] = reason.name().into();
            }
            entry
        };
        self.events.iter().map(entry).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::event::StopReason;

    #[test]
    fn the_oldest_go_first() {
        let mut history = History::default();
        for _ in 0..KEPT {
            history.enter(UNIX_EPOCH, Event::TunnelStarted);
        }
        history.enter(UNIX_EPOCH, Event::TunnelStopped(StopReason::TimedOut));
        let list = history.to_json();
        assert_eq!(list.as_array().map(Vec::len), Some(KEPT));
        assert_eq!(list[KEPT - 1]["reason"], "timedOut");
    }
}
