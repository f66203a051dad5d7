//! epoll(7), level-triggered, and eventfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::poller::{Ready, Watch};

/// How many descriptors one wait tells of; the others come first the next time.
const EVENTS: usize = 64;

/// Watches descriptors.
#[derive(Debug)]
pub struct Poller {
    epoll: Epoll,
    events: [EpollEvent; EVENTS],
}

fn flags(watch: Watch) -> EpollFlags {
    match watch {
        Watch::End => EpollFlags::empty(),
        Watch::Readable => EpollFlags::EPOLLIN,
        Watch::Both => EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT,
    }
}

impl Poller {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// What `epoll_create(2)` says.
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            events: [EpollEvent::empty(); EVENTS],
        })
    }

    /// Watches a descriptor.
    ///
    /// # Errors
    /// What `epoll_ctl(2)` says: EPERM for a file that never makes anybody wait.
    pub fn add(&mut self, descriptor: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        Ok(self.epoll.add(descriptor, EpollEvent::new(flags(watch), token))?)
    }

    /// Watches it for something else from now on.
    ///
    /// # Errors
    /// As for [`Self::add`].
    pub fn change(&mut self, descriptor: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        Ok(self.epoll.modify(descriptor, &mut EpollEvent::new(flags(watch), token))?)
    }

    /// Watches it no more. Needed before it is closed: another process may have it too.
    pub fn remove(&mut self, descriptor: BorrowedFd<'_>) {
        let _ = self.epoll.delete(descriptor);
    }

    /// Waits until something happens or the time is over, and puts what happened in `ready`. A time is rounded
    /// up to milliseconds.
    ///
    /// # Errors
    /// What `epoll_wait(2)` says. A signal ends the wait with nothing.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout = timeout.map_or(EpollTimeout::NONE, |time| {
            i32::try_from(time.as_nanos().div_ceil(1_000_000))
                .ok()
                .and_then(|milliseconds| EpollTimeout::try_from(milliseconds).ok())
                .unwrap_or(EpollTimeout::MAX)
        });
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Err(Errno::EINTR) => 0,
            result => result?,
        };
        ready.extend(self.events.iter().take(count).map(|event| {
            let flags = event.events();
            Ready {
                token: event.data(),
                readable: flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
                writable: flags.contains(EpollFlags::EPOLLOUT),
            }
        }));
        Ok(())
    }
}

/// What a waker rings.
#[derive(Debug)]
pub(crate) struct Bell(EventFd);

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?))
    }

    pub(crate) fn ring(&self) {
        // Where the counter would overflow, it rings already.
        let _ = self.0.write(1);
    }

    pub(crate) fn clear(&self) {
        let _ = self.0.read();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
