//! Datagram guests are not served here: a datagram's sender cannot be known, so that nobody could be answered
//! safely.

use std::convert::Infallible;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hypertap_wire::batch::Batch;

use crate::guest_socket::{GuestName, NoAnswer, Sender, Sent};

/// A bound socket that guests send to. There is none.
pub struct GuestSocket(Infallible);

impl GuestSocket {
    /// Says that this is not possible.
    ///
    /// # Errors
    /// Always.
    pub fn new(_: OwnedFd, _: usize) -> io::Result<Self> {
        Err(io::Error::new(
            ErrorKind::Unsupported,
            "guests that send datagrams are not served on macOS: use a stream (--framing=qemu)",
        ))
    }

    /// Receives.
    ///
    /// # Errors
    /// None.
    pub fn recv(&mut self) -> io::Result<()> {
        match self.0 {}
    }

    /// What was received.
    pub fn received(&mut self) -> (&mut Batch, &[Sender]) {
        match self.0 {}
    }

    /// How many datagrams were too long.
    pub fn cut(&self) -> u64 {
        match self.0 {}
    }
}

impl AsFd for GuestSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self.0 {}
    }
}

/// Where a guest's frames go. There is none.
#[derive(Debug)]
pub struct Answer(Infallible);

impl Answer {
    /// Says that this is not possible.
    ///
    /// # Errors
    /// Always.
    pub fn open(_: &GuestName, _: Option<u32>) -> Result<Self, NoAnswer> {
        Err(NoAnswer::UnknownSender)
    }

    /// Whether the guest is still the same.
    pub fn is_current(&self, _: &GuestName) -> bool {
        match self.0 {}
    }

    /// What to wait on.
    pub fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match self.0 {}
    }

    /// Whether much was not read yet.
    pub fn is_crowded(&self, _: BorrowedFd<'_>) -> bool {
        match self.0 {}
    }

    /// Sends.
    pub fn send<'a>(&self, _: BorrowedFd<'_>, _: impl IntoIterator<Item = &'a [u8]>) -> Sent {
        match self.0 {}
    }
}
