//! How often a peer may do what costs it nothing.

use std::time::Duration;

/// A bucket that `burst` fit in, and that fills by `per_second`.
#[derive(Debug)]
pub(super) struct Rate {
    burst: u32,
    per_second: u32,
    left: u32,
    filled: Duration,
}

impl Rate {
    pub(super) fn new(burst: u32, per_second: u32) -> Self {
        Self { burst, per_second, left: burst, filled: Duration::ZERO }
    }

    /// Whether it may be done once more.
    pub(super) fn allows(&mut self, now: Duration) -> bool {
        let since = now.saturating_sub(self.filled);
        let more = since.as_millis().saturating_mul(self.per_second.into()) / 1000;
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            self.left = self.left.saturating_add(more).min(self.burst);
            self.filled = now;
        }
        let is_allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_allowed_once_and_then_so_many_a_second() {
        let mut rate = Rate::new(5, 10);
        let mut allowed = |now| (0..100).take_while(|_| rate.allows(Duration::from_millis(now))).count();
        assert_eq!([allowed(0), allowed(0), allowed(99), allowed(200), allowed(60_000)], [5, 0, 0, 2, 5]);
    }
}
