//! Waiting for a condition, never for a while.

use std::thread;
use std::time::{Duration, Instant};

/// How long a thing that happens at once may take on a machine that is busy.
pub const TIME: Duration = Duration::from_secs(10);

/// How long the daemon gives a job that somebody else does (docs/tunnel.md, `timedOut`).
pub const JOB_TIME: Duration = Duration::from_secs(10);

/// How often a condition without an event is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// Waits until `condition` holds, for at most [`TIME`].
#[track_caller]
pub fn eventually(what: &str, condition: impl FnMut() -> bool) {
    eventually_within(TIME, what, condition);
}

/// Waits until `condition` holds, for at most `limit`.
#[track_caller]
pub fn eventually_within(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(holds_within(limit, condition), "not within {limit:?}: {what}");
}

/// Whether `condition` holds at some time within `limit`.
pub fn holds_within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(LOOK);
    }
}

/// Fails unless something that began at `begin`, and that nobody does, was given up by now: after
/// [`JOB_TIME`], and before as much again has passed, as it would where two such times are waited for.
#[track_caller]
pub fn assert_given_up_in_time(begin: Instant) {
    let took = begin.elapsed();
    assert!((JOB_TIME..2 * JOB_TIME).contains(&took), "it took {took:?}");
}

/// What is left until a deadline; `None` when it is over.
pub fn left(deadline: Instant) -> Option<Duration> {
    deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
}
