//! Programs that open `/dev/net/tun` and are served without it: `hypertap shim -- PROGRAM`.
//!
//! [`spawn`] starts the program under a seccomp filter that stops each call that could open the TUN
//! device, each ioctl(2) with a request for such a device or for an interface, and each write(2) of
//! nothing; everything else runs at full speed. [`serve`] answers: the device is a [`Device`] of the caller's, its descriptors are
//! ends of socket pairs ([`ends`]), and what does not concern it goes on in the kernel. Neither asks for
//! a right, so any user can run any program this way, a static one too, with all that it starts.
//!
//! What is asked about:
//!
//! - open(2) and openat(2) for reading and writing, as a TUN device is of no use otherwise, and openat2(2),
//!   whose flags the filter does not see. The name is read from the program's memory.
//! - ioctl(2) with `TUN*` and with `SIOCADDRT` to `SIOCSIFMAP`, whatever the descriptor is: only its
//!   number is in the call, and `/proc` says what is behind it.
//! - write(2) of 0 bytes, by whose error some programs tell whether a TUN device is up, while such a message
//!   over a socket would be nothing.
//!
//! One thread answers for all programs below the shim. What takes time, as connecting does, is done on another,
//! and answered when it is done ([`Reply::Later`]); the others do not wait for it.
//!
//! The name could be changed by another thread of the program between our look and the kernel's, where
//! the call goes on. That gives the program nothing that it had not without us: this is a service to
//! it, and no jail.
//!
//! Calls of a foreign architecture (32-bit, x32) and those made by an io_uring are not seen; such a
//! program gets what the kernel says to it. Needs Linux 5.14, and ptrace(2)'s right over the program,
//! which Yama's `ptrace_scope` leaves to us up to 1, as we stay its ancestor.

use std::io;
use std::os::fd::OwnedFd;

#[cfg(target_os = "linux")]
pub use crate::linux::shim::{ends, serve};
#[cfg(target_os = "linux")]
pub use crate::linux::shim_program::{Program, spawn};
#[cfg(target_os = "macos")]
pub use crate::macos::shim::{Program, ends, serve, spawn};

/// A TUN device, as the program sees it.
pub trait Device: Send {
    /// The program opens it, with `O_NONBLOCK` or without: the descriptor for it; without one the call goes
    /// on in the kernel.
    ///
    /// # Errors
    /// Are the program's, by their number.
    fn open(&mut self, caller: &dyn Caller, nonblocking: bool) -> io::Result<Option<OwnedFd>>;

    /// The program makes an ioctl(2) with `request`, on a descriptor of whatever kind.
    ///
    /// # Errors
    /// Are the program's, by their number.
    fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply>;

    /// The program writes 0 bytes to a descriptor of whatever kind.
    ///
    /// # Errors
    /// Are the program's, by their number.
    fn write_nothing(&mut self, caller: &dyn Caller) -> io::Result<Reply>;
}

/// What takes time, until the number that a call returns is known. Its errors are the program's.
pub type Work = Box<dyn FnOnce(&dyn Caller) -> io::Result<i32> + Send>;

/// What becomes of an ioctl(2), or a write of nothing.
pub enum Reply {
    /// It goes on in the kernel.
    Continue,
    /// It returns this number.
    Value(i32),
    /// It returns the number that this yields, which other calls do not wait for.
    Later(Work),
}

/// Who makes a call.
pub trait Caller {
    /// The user by whom the kernel judges what it does with files (`fsuid`), as we number users.
    ///
    /// # Errors
    /// When it is gone.
    fn user(&self) -> io::Result<u32>;

    /// The inode of the descriptor that a call is about, if that is a socket.
    fn socket(&self) -> Option<u64>;

    /// Fills `bytes` from the program's memory.
    ///
    /// # Errors
    /// `EFAULT` when there is no such memory; `EPERM` when we may not look.
    fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()>;

    /// Writes into the program's memory.
    ///
    /// # Errors
    /// The same.
    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()>;
}

/// A pair of sockets that carries a packet a message, either way, and tells its end.
#[derive(Debug)]
pub struct Ends {
    /// The end that we keep. It blocks.
    pub ours: OwnedFd,
    /// The end for the program.
    pub program: OwnedFd,
    /// By this number `/proc` calls the program's end.
    pub inode: u64,
}
