//! Clients that are turned away or cannot be taken, told sparingly: who spins on connecting shall not fill the log.

use std::time::Duration;

use tokio::time::Instant;

/// How long nothing more is said after a line.
const QUIET: Duration = Duration::from_secs(5);

/// Those that were turned away.
#[derive(Debug, Default)]
pub struct Refusals {
    told: Option<Instant>,
    since: u64,
}

impl Refusals {
    /// Counts one, and says how many there were since the last time it said so, where it is time to.
    pub fn count(&mut self, now: Instant) -> Option<u64> {
        self.since += 1;
        if self.told.is_some_and(|told| now.duration_since(told) < QUIET) {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_at_once_and_the_others_together() {
        let mut refusals = Refusals::default();
        let begin = Instant::now();
        assert_eq!(refusals.count(begin), Some(1));
        for _ in 0..3 {
            assert_eq!(refusals.count(begin + QUIET / 2), None);
        }
        assert_eq!(refusals.count(begin + QUIET), Some(4));
    }
}
