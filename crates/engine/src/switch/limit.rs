//! A token bucket that is one time: when the tokens would be all back (GCRA, ITU-T I.371).

use std::time::Duration;

/// So many at once and so many a second.
#[derive(Clone, Debug)]
pub(super) struct RateLimit {
    interval: Duration,
    tolerance: Duration,
    full_at: Duration,
}

impl RateLimit {
    /// At least one at once and one a second.
    pub(super) fn new(per_second: u32, burst: u32) -> Self {
        let interval = Duration::from_secs(1) / per_second.max(1);
        Self { interval, tolerance: interval.saturating_mul(burst.max(1) - 1), full_at: Duration::ZERO }
    }

    /// Whether nothing is left at `now`.
    pub(super) fn is_spent(&self, now: Duration) -> bool {
        self.full_at.saturating_sub(now) > self.tolerance
    }

    /// Takes one, which has to be there.
    pub(super) fn take(&mut self, now: Duration) {
        self.full_at = self.full_at.max(now).saturating_add(self.interval);
    }

    /// Takes one if there is one.
    pub(super) fn try_take(&mut self, now: Duration) -> bool {
        let there = !self.is_spent(now);
        if there {
            self.take(now);
        }
        there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limit: &mut RateLimit, now: Duration) -> usize {
        std::iter::from_fn(|| limit.try_take(now).then_some(())).take(1000).count()
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut limit = RateLimit::new(100, 5);
        let start = Duration::from_secs(9);
        assert_eq!(taken(&mut limit, start), 5);
        assert_eq!(taken(&mut limit, start + Duration::from_millis(20)), 2);
        assert_eq!(taken(&mut limit, start + Duration::from_secs(60)), 5);
    }

    #[test]
    fn a_limit_of_nothing_is_one() {
        assert_eq!(taken(&mut RateLimit::new(0, 0), Duration::ZERO), 1);
    }
}
