//! poll(2) over a list, and a socket pair. Never run.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::poller::{Ready, Watch};

/// Watches descriptors.
#[derive(Debug, Default)]
pub struct Poller {
    watched: Vec<libc::pollfd>,
    tokens: Vec<u64>,
}

impl Poller {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// None.
    pub fn new() -> io::Result<Self> {
        Ok(Self::default())
    }

    fn place(&self, descriptor: RawFd) -> Option<usize> {
        self.watched.iter().position(|watched| watched.fd == descriptor)
    }

    /// Watches a descriptor.
    ///
    /// # Errors
    /// None.
    pub fn add(&mut self, descriptor: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        let events = match watch {
            Watch::End => 0,
            Watch::Readable => libc::POLLIN,
            Watch::Both => libc::POLLIN | libc::POLLOUT,
        };
        self.watched.push(libc::pollfd { fd: descriptor.as_raw_fd(), events, revents: 0 });
        self.tokens.push(token);
        Ok(())
    }

    /// Watches it for something else from now on.
    ///
    /// # Errors
    /// None.
    pub fn change(&mut self, descriptor: BorrowedFd<'_>, token: u64, watch: Watch) -> io::Result<()> {
        self.remove(descriptor);
        self.add(descriptor, token, watch)
    }

    /// Watches it no more.
    pub fn remove(&mut self, descriptor: BorrowedFd<'_>) {
        if let Some(place) = self.place(descriptor.as_raw_fd()) {
            self.watched.swap_remove(place);
            self.tokens.swap_remove(place);
        }
    }

    /// Waits until something happens or the time is over, and puts what happened in `ready`. A time is rounded
    /// up to milliseconds.
    ///
    /// # Errors
    /// What poll(2) says. A signal ends the wait with nothing.
    pub fn wait(&mut self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let timeout =
            timeout.map_or(-1, |time| i32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX));
        let count = libc::nfds_t::try_from(self.watched.len()).unwrap_or(libc::nfds_t::MAX);
        // SAFETY: the pointer and the count are those of one vector, which poll(2) only reads and marks.
        if unsafe { libc::poll(self.watched.as_mut_ptr(), count, timeout) } < 0 {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::Interrupted { Ok(()) } else { Err(error) };
        }
        ready.extend(self.watched.iter().zip(&self.tokens).filter(|(one, _)| one.revents != 0).map(
            |(one, token)| Ready {
                token: *token,
                readable: one.revents & !libc::POLLOUT != 0,
                writable: one.revents & libc::POLLOUT != 0,
            },
        ));
        Ok(())
    }
}

/// What a waker rings.
#[derive(Debug)]
pub(crate) struct Bell {
    read: UnixStream,
    write: UnixStream,
}

impl Bell {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        read.set_nonblocking(true)?;
        write.set_nonblocking(true)?;
        Ok(Self { read, write })
    }

    pub(crate) fn ring(&self) {
        // Where there is no room for the byte, it rings already.
        let _ = (&self.write).write(&[1]);
    }

    pub(crate) fn clear(&self) {
        while matches!((&self.read).read(&mut [0; 64]), Ok(64)) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
