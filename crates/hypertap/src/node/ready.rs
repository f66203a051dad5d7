//! Which of the shard's flows have something to do.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};

use futures::task::AtomicWaker;

/// The flows whose far ends have something to do, by their keys, and who is to be woken for them.
#[derive(Debug)]
pub struct Ready<K> {
    flows: Mutex<Vec<K>>,
    shard: AtomicWaker,
}

impl<K> Default for Ready<K> {
    fn default() -> Self {
        Self { flows: Mutex::default(), shard: AtomicWaker::new() }
    }
}

impl<K> Ready<K> {
    /// Whom to wake from now on.
    pub fn register(&self, waker: &Waker) {
        self.shard.register(waker);
    }

    /// Moves the flows that were woken since the last time to the end of `flows`.
    pub fn take(&self, flows: &mut Vec<K>) {
        flows.append(&mut self.flows.lock().unwrap_or_else(PoisonError::into_inner));
    }
}

/// Wakes one flow.
#[derive(Debug)]
pub struct Alarm<K> {
    bell: Arc<Bell<K>>,
    waker: Waker,
}

impl<K: Copy + Send + Sync + 'static> Alarm<K> {
    /// Of the flow of this key.
    pub fn new(key: K, ready: &Arc<Ready<K>>) -> Self {
        let bell = Arc::new(Bell { key, is_queued: AtomicBool::new(false), ready: Arc::clone(ready) });
        Self { waker: Waker::from(Arc::clone(&bell)), bell }
    }

    /// Has the flow looked after soon.
    pub fn ring(&self) {
        self.waker.wake_by_ref();
    }

    /// The flow is being looked after: whoever wakes it from here on means something new.
    pub fn answer(&self) -> Waker {
        self.bell.is_queued.store(false, Ordering::Release);
        self.waker.clone()
    }
}

#[derive(Debug)]
struct Bell<K> {
    key: K,
    is_queued: AtomicBool,
    ready: Arc<Ready<K>>,
}

impl<K: Copy + Send + Sync> Wake for Bell<K> {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.ready.flows.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
            self.ready.shard.wake();
        }
    }
}
