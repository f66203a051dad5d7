//! Ending a thread that waits for packets, at once and without timers.

use std::array;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

#[cfg(target_os = "linux")]
use crate::linux::event::Event;
#[cfg(target_os = "macos")]
use crate::macos::event::Event;

/// How many descriptors can be waited for at once.
const MAX_WAITED: usize = 4;

/// Tells any number of threads to end; clones share the signal.
#[derive(Clone, Debug)]
pub struct Stop(Arc<Signal>);

#[derive(Debug)]
struct Signal {
    set: AtomicBool,
    event: Event,
}

/// What is waited for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Something to read, an end, or an error.
    Readable,
    /// Room to write, or an error.
    Writable,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wake {
    /// The stop was set.
    Stopped,
    /// The time was over.
    TimedOut,
    /// Something happened on the descriptors of these places, a bit each.
    Ready(u8),
}

impl Wake {
    /// Whether something happened on the descriptor at `place`.
    pub fn is_ready(self, place: usize) -> bool {
        matches!(self, Self::Ready(places) if places & (1 << place) != 0)
    }
}

impl Stop {
    /// A stop that is not set.
    ///
    /// # Errors
    /// What the kernel says, in practice when there are no descriptors left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Signal { set: AtomicBool::new(false), event: Event::new()? })))
    }

    /// Sets it, for good.
    pub fn set(&self) {
        self.0.set.store(true, Ordering::Release);
        self.0.event.set();
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Waits until something happens on one of `descriptors` (at most four), the stop is set, or
    /// the time is over. A signal does not end the wait, but starts its time anew.
    ///
    /// # Errors
    /// What poll(2) says.
    ///
    /// # Panics
    /// With more than four descriptors.
    pub fn wait(
        &self,
        descriptors: &[(BorrowedFd<'_>, Interest)],
        timeout: Option<Duration>,
    ) -> io::Result<Wake> {
        assert!(descriptors.len() <= MAX_WAITED, "at most four descriptors are waited for");
        let event = self.0.event.as_fd();
        let mut polled: [PollFd<'_>; MAX_WAITED + 1] = array::from_fn(|at| match descriptors.get(at) {
            Some((descriptor, Interest::Readable)) => PollFd::new(*descriptor, PollFlags::POLLIN),
            Some((descriptor, Interest::Writable)) => PollFd::new(*descriptor, PollFlags::POLLOUT),
            None => PollFd::new(event, PollFlags::POLLIN),
        });
        let polled = &mut polled[..=descriptors.len()];
        let timeout =
            timeout.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX));
        loop {
            match poll(polled, timeout) {
                Ok(0) => return Ok(Wake::TimedOut),
                Ok(_) if self.is_set() => return Ok(Wake::Stopped),
                Ok(_) => {
                    let ready = polled.iter().take(descriptors.len()).enumerate();
                    let ready = ready.filter(|(_, one)| one.any().unwrap_or(true));
                    return Ok(Wake::Ready(ready.fold(0, |places, (place, _)| places | 1 << place)));
                }
                Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::thread;

    use super::*;

    #[test]
    fn a_set_stop_ends_the_wait_of_every_thread() {
        let stop = Stop::new().unwrap();
        let threads: Vec<_> = (0..3)
            .map(|_| {
                let stop = stop.clone();
                thread::spawn(move || stop.wait(&[], None).unwrap())
            })
            .collect();
        stop.set();
        for thread in threads {
            assert_eq!(thread.join().unwrap(), Wake::Stopped);
        }
    }

    #[test]
    fn a_wait_tells_which_descriptor_is_ready() {
        let stop = Stop::new().unwrap();
        let (quiet, _quiet_end) = UnixStream::pair().unwrap();
        let (busy, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        let wake =
            stop.wait(&[(quiet.as_fd(), Interest::Readable), (busy.as_fd(), Interest::Readable)], None);
        let wake = wake.unwrap();
        assert!(!wake.is_ready(0) && wake.is_ready(1));
    }

    #[test]
    fn a_wait_ends_with_its_time() {
        let (quiet, _end) = UnixStream::pair().unwrap();
        let interests = [(quiet.as_fd(), Interest::Readable)];
        let wake = Stop::new().unwrap().wait(&interests, Some(Duration::from_millis(1))).unwrap();
        assert_eq!(wake, Wake::TimedOut);
    }
}
