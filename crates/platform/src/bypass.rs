//! Programs whose sockets go past the tunnel: `hypertap bypass -- CMD`.
//!
//! The tunnel's rules let sockets with the bypass mark out, but an ordinary program may not set
//! `SO_MARK`. So [`spawn`] starts it under a seccomp filter that stops each `socket(2)` for IPv4 and
//! IPv6 and asks whoever holds the filter's listener; [`serve`], in a process that has the right,
//! makes the socket, marks it, gives it to the program's user, and hands it over as the call's result.
//! The program and all that it starts see an ordinary socket (a file of `socket(2)`'s own making,
//! owned by their uid in `ss` and `sock_diag`).
//!
//! Only the arguments of `socket(2)` are looked at, which are numbers: there is no memory of the
//! program to be read, hence nothing to be changed between look and use. Marked are TCP, MPTCP, UDP,
//! UDP-Lite and, for who may have them, ping sockets; all else goes on in the kernel as if nobody had
//! asked, unmarked. Raw sockets do, since whether a program has the right to one is not to be seen; one
//! that has may set the mark itself (since Linux 5.17). So does a program that has moved to another
//! network namespace than the server's: a socket from here would reach the wrong network. Where it
//! cannot be seen which one a program is in, its sockets are errors.
//!
//! `io_uring_setup` answers `ENOSYS`, since a ring makes sockets unseen, and so does every call of a
//! foreign architecture (32-bit, x32), whose numbers the filter does not know.
//!
//! The listener keeps no process alive. When nobody holds it any more, `socket(2)` of the tree
//! answers `ENOSYS`: its programs lose the network rather than talk past the rules unmarked. Needs
//! Linux 5.14 for the hand-over in one step.

#[cfg(target_os = "linux")]
pub use crate::linux::bypass_serve::serve;
#[cfg(target_os = "linux")]
pub use crate::linux::bypass_spawn::spawn;
#[cfg(target_os = "macos")]
pub use crate::macos::bypass::{serve, spawn};
