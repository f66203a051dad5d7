//! How the thread waits for its ports: asleep, or awake while what comes next will be there at once.
//!
//! A core that sleeps takes tens of microseconds to go on, in a virtual machine above all: as long as a window of
//! packets takes from one end of a path to the other. So while waits are short the thread looks again and
//! again instead, and lets whoever else wants the core have it. Ports that are silent cost nothing: a wait that took
//! longer puts it to sleep the next time.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use hypertap_platform::poller::{Poller, Ready};

/// What is a short wait, and so about the longest that the thread stays awake for nothing.
const SHORT: Duration = Duration::from_micros(100);
/// For how long it sleeps whenever it waits, once somebody else has had the core for longer than that.
const MODEST: Duration = Duration::from_secs(1);

/// How long the last waits were.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    was_short: bool,
    modest_until: Option<Instant>,
}

impl Waiting {
    /// Waits until something happened at the ports, which then stands in `ready`, or the time is over.
    ///
    /// # Errors
    /// The poller's.
    pub(super) fn wait(
        &mut self,
        poller: &mut Poller,
        ready: &mut Vec<Ready>,
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        let began = Instant::now();
        if self.was_short && self.modest_until.is_none_or(|until| until <= began) {
            let mut now = began;
            while now < began + SHORT {
                poller.wait(ready, Some(Duration::ZERO))?;
                if !ready.is_empty() {
                    return Ok(());
                }
                thread::yield_now();
                now = Instant::now();
            }
            if now >= began + 3 * SHORT {
                self.modest_until = Some(now + MODEST);
            }
        }
        poller.wait(ready, timeout)?;
        self.was_short = began.elapsed() < SHORT;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use hypertap_platform::poller::{Waker, Watch};

    use super::*;

    #[test]
    fn the_thread_stays_awake_after_a_short_wait_and_sleeps_after_a_long_one() {
        let (mut poller, waker) = (Poller::new().unwrap(), Waker::new().unwrap());
        poller.add(waker.as_fd(), 7, Watch::Readable).unwrap();
        let (mut waiting, mut ready) = (Waiting::default(), Vec::new());
        waker.wake();
        // One is short as soon as nobody else has the core.
        while !waiting.was_short {
            waiting.wait(&mut poller, &mut ready, None).unwrap();
            assert_eq!(ready.len(), 1);
        }
        waker.clear();
        waiting.was_short = true;
        waiting.wait(&mut poller, &mut ready, Some(2 * SHORT)).unwrap();
        assert!(ready.is_empty() && !waiting.was_short);
    }
}
