//! Who may use the plane.
//!
//! The kernel is asked who owns the other end of a loopback socket; that costs a system call or
//! two, so an answer is kept for a second, and for much less when it was no.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long a yes holds.
const YES_HOLDS: Duration = Duration::from_secs(1);
/// How long a no holds: short, for a program may open its socket right after.
const NO_HOLDS: Duration = Duration::from_millis(1);
/// How many answers are kept.
const MAX_ANSWERS: usize = 1024;

/// What the guard says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Its owner may use the tunnel.
    Allowed,
    /// Its owner may not.
    NotPermitted,
    /// There is no such socket.
    Absent,
}

/// Decides who may use the plane. The plane asks from its data threads, which wait for the answer.
pub(crate) trait PeerGuard: Send + Sync {
    /// Whether packets from the socket at `address` may be injected, and the machine's go there.
    fn may_use(&self, address: SocketAddr) -> Verdict;

    /// Whether a process of this user may connect to a Unix data plane.
    fn may_connect(&self, uid: u32) -> bool;
}

/// A guard's answers about addresses, remembered.
pub(crate) struct Answers {
    guard: Arc<dyn PeerGuard>,
    known: HashMap<SocketAddr, (Verdict, Instant)>,
}

impl Answers {
    pub(crate) fn new(guard: Arc<dyn PeerGuard>) -> Self {
        Self { guard, known: HashMap::new() }
    }

    /// The guard's answer about `address`, not older at `now` than it may be.
    pub(crate) fn verdict(&mut self, address: SocketAddr, now: Instant) -> Verdict {
        if let Some((verdict, asked)) = self.known.get(&address) {
            let holds = if *verdict == Verdict::Allowed { YES_HOLDS } else { NO_HOLDS };
            if now.saturating_duration_since(*asked) < holds {
                return *verdict;
            }
        }
        if self.known.len() >= MAX_ANSWERS {
            self.known.clear();
        }
        let verdict = self.guard.may_use(address);
        self.known.insert(address, (verdict, now));
        verdict
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct EvenPorts(AtomicUsize);

    impl PeerGuard for EvenPorts {
        fn may_use(&self, address: SocketAddr) -> Verdict {
            self.0.fetch_add(1, Ordering::Relaxed);
            if address.port().is_multiple_of(2) { Verdict::Allowed } else { Verdict::NotPermitted }
        }
        fn may_connect(&self, _: u32) -> bool {
            false
        }
    }

    #[test]
    fn a_yes_holds_for_a_second_and_a_no_for_less() {
        let guard = Arc::new(EvenPorts::default());
        let mut answers = Answers::new(guard.clone());
        let (even, odd) = (SocketAddr::from(([127, 0, 0, 1], 2)), SocketAddr::from(([127, 0, 0, 1], 3)));
        let start = Instant::now();
        for (address, holds) in [(even, YES_HOLDS), (odd, NO_HOLDS)] {
            let moment = Duration::from_nanos(1);
            let asked = [Duration::ZERO, holds.saturating_sub(moment), holds, holds + moment].map(|after| {
                answers.verdict(address, start + after);
                guard.0.swap(0, Ordering::Relaxed)
            });
            assert_eq!(asked, [1, 0, 1, 0], "{address}");
        }
    }

    #[test]
    fn no_more_answers_are_kept_than_there_is_room() {
        let mut answers = Answers::new(Arc::new(EvenPorts::default()));
        let now = Instant::now();
        for port in 0..5000 {
            answers.verdict(SocketAddr::from(([127, 0, 0, 1], port)), now);
            assert!(answers.known.len() <= MAX_ANSWERS);
        }
    }
}
