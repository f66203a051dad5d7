//! How many streams each peer has open here.
//!
//! Each stands for a task, and most for a descriptor, so that one peer could take them all from the
//! others. Past its bound a peer's new streams are told that this node is busy; past twice that, which only
//! one that does not listen reaches, they are reset unread.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hypertap_wire::peer_id::PeerId;

/// Who has how many streams open.
#[derive(Debug)]
pub struct Guests {
    per_peer: usize,
    open: Arc<Mutex<HashMap<PeerId, usize>>>,
}

/// A stream that is counted until this is dropped.
#[derive(Debug)]
pub struct Guest {
    peer: PeerId,
    open: Arc<Mutex<HashMap<PeerId, usize>>>,
    is_too_many: bool,
}

impl Guests {
    /// Nobody yet; a peer may have so many streams open at once.
    pub fn new(per_peer: usize) -> Self {
        Self { per_peer, open: Arc::default() }
    }

    /// Counts a stream of a peer's. `None` when it is to be reset.
    pub fn enter(&self, peer: PeerId) -> Option<Guest> {
        let mut open = lock(&self.open);
        let count = open.entry(peer).or_default();
        if *count >= self.per_peer.saturating_mul(2) {
            return None;
        }
        *count += 1;
        Some(Guest { peer, open: Arc::clone(&self.open), is_too_many: *count > self.per_peer })
    }
}

impl Guest {
    /// Whether it is past the peer's bound, and to be told so.
    pub fn is_too_many(&self) -> bool {
        self.is_too_many
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = lock(&self.open).entry(self.peer) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

fn lock(open: &Mutex<HashMap<PeerId, usize>>) -> MutexGuard<'_, HashMap<PeerId, usize>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_past_its_bound_takes_nothing_from_others() {
        let [one, other] = [1, 2].map(|number| PeerId::from_ed25519(&[number; 32]));
        let guests = Guests::new(2);
        let enter = |peer| guests.enter(peer).map(|guest| (guest.is_too_many(), guest));
        let all: Vec<_> = (0..5).map(|_| enter(one)).collect();
        let said: Vec<_> =
            all.iter().map(|guest| guest.as_ref().map(|(is_too_many, _)| *is_too_many)).collect();
        assert_eq!(said, [Some(false), Some(false), Some(true), Some(true), None]);
        assert!(!enter(other).expect("it has none").0);
        drop(all);
        assert!(lock(&guests.open).is_empty(), "nobody is kept who has left");
        assert!(!enter(one).expect("it has left").0);
    }
}
