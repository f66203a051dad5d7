//! How the thread waits for its ports: asleep, or awake while so much comes that the next will be there at once.
//!
//! A core that sleeps takes tens of microseconds to go on, in a virtual machine above all: as long as a window of
//! packets takes from one end of a path to the other. So while frames come fast the thread looks again and again
//! instead, and lets whoever else wants the core have it. Where somebody does, a look takes as long as he likes; then
//! the thread sleeps whenever it waits for a hundred times as long, and so loses a hundredth of its time at most.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use hypertap_platform::poller::{Poller, Ready};

/// For how long the thread stays awake for nothing.
const AWAKE: Duration = Duration::from_micros(100);
/// How many frames in a [`SPAN`] are many.
const MANY: u32 = 32;
/// What frames are counted in, at least.
const SPAN: Duration = Duration::from_millis(1);
/// A look that took so much longer was somebody else's.
const LOSS: Duration = Duration::from_micros(200);
/// How many times as long as a loss the thread sleeps whenever it waits.
const REST: u32 = 100;

/// What the thread waited for of late.
#[derive(Debug)]
pub(super) struct Waiting {
    /// How many frames have come since then.
    frames: u32,
    since: Instant,
    /// Whether there were many before.
    is_busy: bool,
    rests_until: Instant,
}

impl Waiting {
    pub(super) fn new(now: Instant) -> Self {
        Self { frames: 0, since: now, is_busy: false, rests_until: now }
    }

    /// Waits until something happened at the ports, which then stands in `ready`, or the time is over. Since the last
    /// time so many `frames` have come.
    ///
    /// # Errors
    /// The poller's.
    pub(super) fn wait(
        &mut self,
        poller: &mut Poller,
        ready: &mut Vec<Ready>,
        timeout: Option<Duration>,
        frames: usize,
    ) -> io::Result<()> {
        let began = Instant::now();
        self.count(frames, began);
        if self.is_busy && self.rests_until <= began {
            let mut now = began;
            while now < began + AWAKE {
                poller.wait(ready, Some(Duration::ZERO))?;
                if !ready.is_empty() {
                    return Ok(());
                }
                thread::yield_now();
                now = Instant::now();
            }
            self.rest(began + AWAKE, now);
        }
        poller.wait(ready, timeout)
    }

    fn count(&mut self, frames: usize, now: Instant) {
        self.frames = self.frames.saturating_add(u32::try_from(frames).unwrap_or(u32::MAX));
        let span = now - self.since;
        if span >= SPAN {
            self.is_busy = SPAN.saturating_mul(self.frames) >= span.saturating_mul(MANY);
            (self.frames, self.since) = (0, now);
        }
    }

    /// Takes note of when the thread wanted to sleep, and when it could.
    fn rest(&mut self, wanted: Instant, now: Instant) {
        let lost = now.saturating_duration_since(wanted);
        if lost >= LOSS {
            self.rests_until = now + lost.saturating_mul(REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// How long a wait takes for which nothing happens, and which need not take any time.
    fn nothing(waiting: &mut Waiting) -> Duration {
        let (mut poller, began) = (Poller::new().unwrap(), Instant::now());
        waiting.wait(&mut poller, &mut Vec::new(), Some(Duration::ZERO), 0).unwrap();
        began.elapsed()
    }

    #[test]
    fn the_thread_stays_awake_for_a_while_when_it_is_busy_and_sleeps_otherwise() {
        let idle = || Waiting::new(Instant::now());
        let busy = || Waiting { is_busy: true, since: Instant::now() + SECOND, ..idle() };
        let resting = || Waiting { rests_until: Instant::now() + 60 * SECOND, ..busy() };
        assert!(nothing(&mut busy()) >= AWAKE);
        // Somebody else may have the core now and then.
        assert!((0..1000).any(|_| nothing(&mut idle()) < AWAKE));
        assert!((0..1000).any(|_| nothing(&mut resting()) < AWAKE));
    }

    #[test]
    fn busy_is_who_gets_many_frames_in_a_millisecond() {
        let now = Instant::now();
        let mut waiting = Waiting::new(now);
        waiting.count(1000, now);
        assert!(!waiting.is_busy, "who knows");
        waiting.count(0, now + SPAN);
        assert!(waiting.is_busy);
        waiting.count(63, now + 3 * SPAN);
        assert!(!waiting.is_busy);
        waiting.count(64, now + 5 * SPAN);
        assert!(waiting.is_busy);
        waiting.count(64, now + 10 * SECOND);
        assert!(!waiting.is_busy);
    }

    #[test]
    fn the_thread_sleeps_for_a_hundred_times_what_it_lost() {
        let now = Instant::now();
        let mut waiting = Waiting::new(now);
        waiting.rest(now, now + LOSS / 2);
        assert_eq!(waiting.rests_until, now);
        waiting.rest(now, now + 4 * LOSS);
        assert_eq!(waiting.rests_until, now + 404 * LOSS);
    }
}
