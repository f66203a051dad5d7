//! A descriptor that becomes readable for good: a socket pair with a byte in it. Never run.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// Readable once it is set.
#[derive(Debug)]
pub(crate) struct Event {
    read: UnixStream,
    write: UnixStream,
}

impl Event {
    pub(crate) fn new() -> io::Result<Self> {
        let (read, write) = UnixStream::pair()?;
        write.set_nonblocking(true)?;
        Ok(Self { read, write })
    }

    /// Sets it. Never blocks.
    pub(crate) fn set(&self) {
        // Nobody reads the byte; a second one changes nothing, and has room for very long.
        let _ = (&self.write).write(&[1]);
    }
}

impl AsFd for Event {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }
}
