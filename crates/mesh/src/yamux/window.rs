//! The window of a stream: how many bytes its peer may send.
//!
//! There is no clock of round trips in Yamux but pings, which we do not send. So a window grows while it
//! is used up faster than the longest round trip that is to be served at full speed, and the reader keeps
//! up: then nothing but the window can be what holds the sender back, and a large one costs no memory. A
//! reader that does not keep up keeps its window small.

use std::time::Duration;

use hypertap_wire::yamux::INITIAL_WINDOW;

/// The round trip up to which a window grows.
const ROUND_TRIP: Duration = Duration::from_millis(200);
/// A stream that takes longer for half its window does not need it.
const SLOW: Duration = Duration::from_secs(10);

/// What windows may still grow by, of all streams of a connection together.
#[derive(Debug)]
pub(super) struct Budget {
    pub(super) stream_window: u32,
    pub(super) left: u32,
}

#[derive(Debug)]
pub(super) struct ReceiveWindow {
    /// How large it is when nothing is on its way or unread.
    size: u32,
    /// What the peer may still send.
    credit: u32,
    /// When it was last enlarged, or the stream begun.
    updated: Duration,
}

impl ReceiveWindow {
    pub(super) fn new(now: Duration) -> Self {
        Self { size: INITIAL_WINDOW, credit: INITIAL_WINDOW, updated: now }
    }

    /// The peer uses `length` of it.
    ///
    /// # Errors
    /// There is not as much.
    pub(super) fn spend(&mut self, length: u32) -> Result<(), u32> {
        self.credit = self.credit.checked_sub(length).ok_or(self.credit)?;
        Ok(())
    }

    /// What to grant the peer, when half of the window is to be had again. `unread` is what it holds.
    pub(super) fn grant(&mut self, unread: u32, now: Duration, budget: &mut Budget) -> Option<u32> {
        let used = self.credit.saturating_add(unread);
        if self.size.saturating_sub(used) < self.size / 2 {
            return None;
        }
        let took = now.saturating_sub(self.updated);
        if took < ROUND_TRIP && unread < self.size / 4 {
            // Half of what is left at most, so that those who come later find something too.
            let more = self.size.min(budget.stream_window.saturating_sub(self.size)).min(budget.left / 2);
            self.size += more;
            budget.left -= more;
        } else if took > SLOW && self.size > INITIAL_WINDOW {
            let less = (self.size / 2).min(self.size - INITIAL_WINDOW);
            self.size -= less;
            budget.left += less;
        }
        self.updated = now;
        let grant = self.size.saturating_sub(used);
        self.credit += grant;
        (grant > 0).then_some(grant)
    }

    /// Gives back what it grew by.
    pub(super) fn release(&self, budget: &mut Budget) {
        budget.left += self.size - INITIAL_WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u32 = 1 << 20;

    fn budget() -> Budget {
        Budget { stream_window: 16 * MIB, left: 128 * MIB }
    }

    /// Uses a window up and reads it all, `rounds` times.
    fn use_up(window: &mut ReceiveWindow, budget: &mut Budget, rounds: u32, each: Duration) {
        let mut now = window.updated;
        for _ in 0..rounds {
            let half = window.credit / 2 + 1;
            window.spend(half).expect("within the window");
            now += each;
            window.grant(0, now, budget);
        }
    }

    #[test]
    fn a_window_that_is_used_up_fast_grows_to_its_bound_and_gives_back() {
        let (mut window, mut budget) = (ReceiveWindow::new(Duration::ZERO), budget());
        use_up(&mut window, &mut budget, 20, Duration::from_millis(150));
        assert_eq!(window.credit, 16 * MIB);
        window.release(&mut budget);
        assert_eq!(budget.left, 128 * MIB);
    }

    #[test]
    fn a_window_that_is_used_slowly_stays_and_shrinks_again() {
        let (mut window, mut budget) = (ReceiveWindow::new(Duration::ZERO), budget());
        use_up(&mut window, &mut budget, 20, Duration::from_secs(1));
        assert_eq!(window.credit, INITIAL_WINDOW);
        use_up(&mut window, &mut budget, 2, Duration::ZERO);
        assert_eq!(window.credit, 4 * INITIAL_WINDOW);
        use_up(&mut window, &mut budget, 9, Duration::from_secs(60));
        assert_eq!((window.size, budget.left), (INITIAL_WINDOW, 128 * MIB));
    }

    #[test]
    fn a_reader_that_falls_behind_does_not_enlarge_its_window() {
        let (mut window, mut budget) = (ReceiveWindow::new(Duration::ZERO), budget());
        window.spend(INITIAL_WINDOW).expect("the whole window");
        assert_eq!(window.grant(INITIAL_WINDOW / 2 + 1, Duration::ZERO, &mut budget), None);
        assert_eq!(window.grant(INITIAL_WINDOW / 2, Duration::ZERO, &mut budget), Some(INITIAL_WINDOW / 2));
        assert_eq!(budget.left, 128 * MIB);
    }

    #[test]
    fn windows_together_grow_no_more_than_the_connection_allows() {
        let mut budget = Budget { stream_window: 16 * MIB, left: 3 * MIB };
        let mut windows: Vec<_> = (0..10).map(|_| ReceiveWindow::new(Duration::ZERO)).collect();
        for window in &mut windows {
            use_up(window, &mut budget, 20, Duration::ZERO);
        }
        let grown: u32 = windows.iter().map(|window| window.size - INITIAL_WINDOW).sum();
        assert_eq!(grown + budget.left, 3 * MIB);
        assert!(windows.iter().all(|window| window.size >= INITIAL_WINDOW));
    }

    #[test]
    fn more_than_the_window_cannot_be_spent() {
        let mut window = ReceiveWindow::new(Duration::ZERO);
        assert_eq!(window.spend(INITIAL_WINDOW + 1), Err(INITIAL_WINDOW));
        assert_eq!(window.spend(INITIAL_WINDOW), Ok(()));
        assert_eq!(window.spend(1), Err(0));
    }
}
