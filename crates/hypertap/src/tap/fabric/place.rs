//! How many clients and guests there may be.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// More than a switch has ports.
const MAX_PLACES: usize = 1 << 16;

/// Places for clients and guests together. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    all: usize,
}

/// One place, free again when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Places {
    /// So many places, all free.
    pub(crate) fn new(all: usize) -> Self {
        let all = all.clamp(1, MAX_PLACES);
        Self { free: Arc::new(Semaphore::new(all)), all }
    }

    /// A place, if one is free.
    pub(crate) fn take(&self) -> Option<Place> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Place { _permit: permit })
    }

    /// How many there are, free or not.
    pub(crate) fn all(&self) -> usize {
        self.all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_dropped() {
        let places = Places::new(1);
        let place = places.take().unwrap();
        assert!(places.take().is_none());
        drop(place);
        assert!(places.take().is_some());
    }
}
