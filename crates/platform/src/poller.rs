//! Waiting for many descriptors at once, without timers while nobody wants one.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

#[cfg(target_os = "linux")]
use crate::linux::poller::Bell;
#[cfg(target_os = "linux")]
pub use crate::linux::poller::Poller;
#[cfg(target_os = "macos")]
use crate::macos::poller::Bell;
#[cfg(target_os = "macos")]
pub use crate::macos::poller::Poller;

/// What a [`Poller`] watches a descriptor for. Its end and its errors are told always.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Nothing else.
    End,
    /// Something to read.
    Readable,
    /// Something to read, and room to write.
    Both,
}

/// What happened on a descriptor that a [`Poller`] watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The number that it was added with.
    pub token: u64,
    /// Whether a read would not wait; an end and an error are read too.
    pub readable: bool,
    /// Whether a write would not wait.
    pub writable: bool,
}

/// Wakes a [`Poller`] from another thread; clones ring the same bell.
#[derive(Clone, Debug)]
pub struct Waker(Arc<Bell>);

impl Waker {
    /// A bell that has not rung. Add it to a poller as readable.
    ///
    /// # Errors
    /// What the kernel says, in practice when there are no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Bell::new()?)))
    }

    /// Rings. Never blocks; ringing twice is ringing once.
    pub fn wake(&self) {
        self.0.ring();
    }

    /// Ends the ringing. Whoever calls this looks afterwards at what he may have been woken for.
    pub fn clear(&self) {
        self.0.clear();
    }
}

impl AsFd for Waker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    const AT_ONCE: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn a_ready_descriptor_is_told_by_its_token_until_it_is_removed() {
        let (mut poller, mut ready) = (Poller::new().unwrap(), Vec::new());
        let (mut near, mut far) = UnixStream::pair().unwrap();
        poller.add(near.as_fd(), 7, Watch::Readable).unwrap();
        poller.wait(&mut ready, AT_ONCE).unwrap();
        assert_eq!(ready, []);
        far.write_all(b"x").unwrap();
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: true, writable: false }]);
        near.read_exact(&mut [0]).unwrap();
        poller.change(near.as_fd(), 7, Watch::Both).unwrap();
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready, [Ready { token: 7, readable: false, writable: true }]);
        poller.remove(near.as_fd());
        poller.wait(&mut ready, AT_ONCE).unwrap();
        assert_eq!(ready, []);
    }

    #[test]
    fn an_end_is_readable_even_when_nothing_else_is_watched_for() {
        let (mut poller, mut ready) = (Poller::new().unwrap(), Vec::new());
        let (near, mut far) = UnixStream::pair().unwrap();
        poller.add(near.as_fd(), 7, Watch::End).unwrap();
        far.write_all(b"x").unwrap();
        poller.wait(&mut ready, AT_ONCE).unwrap();
        assert_eq!(ready, []);
        drop(far);
        poller.wait(&mut ready, None).unwrap();
        assert!(ready.iter().all(|one| one.readable) && ready.len() == 1);
    }

    #[test]
    fn a_waker_rings_until_it_is_cleared() {
        let (mut poller, mut ready) = (Poller::new().unwrap(), Vec::new());
        let waker = Waker::new().unwrap();
        poller.add(waker.as_fd(), 1, Watch::Readable).unwrap();
        waker.wake();
        waker.clone().wake();
        poller.wait(&mut ready, None).unwrap();
        assert_eq!(ready.len(), 1);
        waker.clear();
        poller.wait(&mut ready, AT_ONCE).unwrap();
        assert_eq!(ready, []);
    }
}
