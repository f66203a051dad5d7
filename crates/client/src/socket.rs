//! A stream socket that does not block, and the descriptors that ride on it.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, SendAncillaryBuffer, SendAncillaryMessage, recvmsg, sendmsg,
};

use crate::Address;
use crate::system::{RECEIVE, SEND, close_on_exec};

/// How many descriptors one message may bring: the daemon sends one.
const MAX_DESCRIPTORS: usize = 4;

/// A connected stream socket that does not block.
#[derive(Debug)]
pub(crate) struct Socket {
    descriptor: OwnedFd,
    is_unix: bool,
}

impl Socket {
    /// Connects.
    ///
    /// # Errors
    /// Of connect(2); `TimedOut`.
    pub(crate) fn connect(address: &Address, timeout: Duration) -> io::Result<Self> {
        match address {
            Address::Tcp(address) => Self::tcp(TcpStream::connect_timeout(address, timeout)?),
            Address::Unix(path) => Self::unix(UnixStream::connect(path)?),
        }
    }

    /// Takes a TCP connection.
    ///
    /// # Errors
    /// Of setsockopt(2).
    pub(crate) fn tcp(stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self { descriptor: stream.into(), is_unix: false })
    }

    /// Takes a Unix connection.
    ///
    /// # Errors
    /// Of fcntl(2).
    pub(crate) fn unix(stream: UnixStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        Ok(Self { descriptor: stream.into(), is_unix: true })
    }

    /// The descriptor.
    pub(crate) fn into_descriptor(self) -> OwnedFd {
        self.descriptor
    }

    /// Whether it can carry descriptors.
    pub(crate) fn carries_descriptors(&self) -> bool {
        self.is_unix
    }

    /// Reads what is there; 0 is the end. Descriptors that came along are added to `descriptors`.
    ///
    /// # Errors
    /// Of recvmsg(2); `WouldBlock` when nothing is there.
    pub(crate) fn read(&self, bytes: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_DESCRIPTORS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(&self.descriptor, &mut [IoSliceMut::new(bytes)], &mut control, RECEIVE)?;
        let known = descriptors.len();
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(received) = part {
                descriptors.extend(received);
            }
        }
        close_on_exec(descriptors.get(known..).unwrap_or_default())?;
        Ok(message.bytes)
    }

    /// Writes what there is room for, with `descriptor` riding on the first byte.
    ///
    /// # Errors
    /// Of sendmsg(2); `WouldBlock` when there is no room, nothing sent then.
    pub(crate) fn write(&self, bytes: &[u8], descriptor: Option<BorrowedFd<'_>>) -> io::Result<usize> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !descriptor.as_slice().is_empty()
            && !control.push(SendAncillaryMessage::ScmRights(descriptor.as_slice()))
        {
            return Err(io::Error::other("no space for a descriptor"));
        }
        Ok(sendmsg(&self.descriptor, &[IoSlice::new(bytes)], &mut control, SEND)?)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.descriptor.as_raw_fd()
    }
}

/// Registers what owns a descriptor with the runtime.
///
/// # Errors
/// Of `epoll_ctl(2)`.
#[cfg(feature = "async")]
pub(crate) fn watch<T: AsRawFd>(owner: T) -> io::Result<tokio::io::unix::AsyncFd<T>> {
    #[allow(deprecated, reason = "its successor is unsafe; all owners here hold one descriptor for life")]
    tokio::io::unix::AsyncFd::new(owner)
}

/// The end of a wait: a moment, or never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// That long from now; `None`, and what a clock cannot hold, is never.
    pub(crate) fn after(timeout: Option<Duration>) -> Self {
        Self(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// Whether it has come.
    pub(crate) fn is_past(self) -> bool {
        self.left() == Some(Duration::ZERO)
    }

    fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// Waits until a descriptor can be read, or with `writable` written, or has failed. Returns
/// whether so, or the deadline came first.
///
/// # Errors
/// Of ppoll(2).
pub(crate) fn wait(descriptor: BorrowedFd<'_>, interest: PollFlags, deadline: Deadline) -> io::Result<bool> {
    loop {
        let left = deadline.left();
        // More seconds than a timespec holds is as good as for ever.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let mut set = [PollFd::from_borrowed_fd(descriptor, interest)];
        match poll(&mut set, timeout.as_ref()).map_err(io::Error::from) {
            Ok(ready) => return Ok(ready > 0),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
