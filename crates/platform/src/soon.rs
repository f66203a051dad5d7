//! Waiting in unit tests.

use std::thread;
use std::time::{Duration, Instant};

/// Whether a condition comes to hold. What a test has closed may be open for a moment more, in a program that
/// another test is just starting.
pub(crate) fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > end {
            return false;
        }
        thread::sleep(Duration::from_millis(2));
    }
    true
}
