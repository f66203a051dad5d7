//! Looking at files where their file system may never answer, as one of a dead server does.
//!
//! One thread answers for all programs below the shim, so it lets another look, and does not wait long. Who
//! hangs is left behind, with a new one in its place, as long as there are few of them; then nothing is
//! looked at until one comes back.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

/// How long one look may take.
const TIME: Duration = Duration::from_secs(1);
/// How many threads may look or hang at once.
const MOST: usize = 4;

/// Threads that look whether something is so at a `Place`.
pub(super) struct Look<Place> {
    is_so: fn(Place) -> bool,
    /// What looks next, and where its answer comes from.
    next: Option<(SyncSender<Place>, Receiver<bool>)>,
    /// Each thread holds a copy.
    threads: Arc<()>,
}

impl<Place: Send + 'static> Look<Place> {
    pub(super) fn new(is_so: fn(Place) -> bool) -> Self {
        Self { is_so, next: None, threads: Arc::new(()) }
    }

    /// Whether it is so at `place`; not, when that cannot be told in time.
    pub(super) fn at(&mut self, place: Place) -> bool {
        let Some((questions, answers)) = self.next.take().or_else(|| self.start()) else { return false };
        if questions.send(place).is_err() {
            return false;
        }
        let Ok(answer) = answers.recv_timeout(TIME) else {
            tracing::warn!("a file system does not answer; files there are taken for no TUN device");
            return false;
        };
        self.next = Some((questions, answers));
        answer
    }

    fn start(&self) -> Option<(SyncSender<Place>, Receiver<bool>)> {
        if Arc::strong_count(&self.threads) > MOST {
            return None;
        }
        let (questions, asked) = sync_channel::<Place>(1);
        let (answer, answers) = sync_channel(1);
        let (is_so, counted) = (self.is_so, Arc::clone(&self.threads));
        let looking = move || {
            let _counted = counted;
            // Whoever left it behind does not listen any more, and asks nothing either.
            while let Ok(place) = asked.recv() {
                let _ = answer.send(is_so(place));
            }
        };
        thread::Builder::new().name("shim look".to_owned()).spawn(looking).ok()?;
        Some((questions, answers))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn what_hangs_stops_nobody_else_for_long() {
        // A place that answers when its other end says so, if ever.
        let mut look = Look::new(|place: Receiver<bool>| place.recv().unwrap_or(false));
        let ready = |answer| {
            let (say, place) = sync_channel(1);
            say.send(answer).expect("it is there");
            place
        };
        assert!(look.at(ready(true)) && !look.at(ready(false)));
        let mut hanging = Vec::new();
        for number in 1..=MOST {
            let (say, place) = sync_channel(1);
            hanging.push(say);
            assert!(!look.at(place));
            assert_eq!(look.at(ready(true)), number < MOST, "{number} hang");
        }
        let before = Instant::now();
        assert!(!look.at(ready(true)), "too many hang");
        assert!(before.elapsed() < TIME);
        drop(hanging);
        while !look.at(ready(true)) {
            assert!(before.elapsed() < 20 * TIME, "they are back");
            thread::yield_now();
        }
    }
}
