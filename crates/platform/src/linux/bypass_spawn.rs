//! Starting a program under the filter that asks about its internet sockets.

use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

use libc::{BPF_JEQ, BPF_JGE, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO, SECCOMP_RET_USER_NOTIF, sock_filter};

use super::seccomp_filter::{self, ARCHITECTURE, X32, answer, jump, load, low_half, number};

/// Starts `command` under the filter and returns it with the filter's listener, for
/// [`crate::bypass::serve`]. Until that serves, the program waits in its first `socket(2)`.
///
/// The program gets `no_new_privs` where we lack `CAP_SYS_ADMIN`, so that set-uid programs below it
/// gain nothing; seccomp(2) asks for one of the two. `command` is for one start only.
///
/// # Errors
/// What starting the program said; `EBUSY` when this process is under such a filter already (one
/// program may have a single listener), `EINVAL` when the kernel knows none.
pub fn spawn(command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    seccomp_filter::spawn(command, filter())
}

/// Which calls are asked about.
fn filter() -> Vec<sock_filter> {
    vec![
        load(mem::offset_of!(libc::seccomp_data, arch)),
        jump(BPF_JEQ, ARCHITECTURE, 0, 8), // else ENOSYS
        load(mem::offset_of!(libc::seccomp_data, nr)),
        jump(BPF_JGE, X32, 6, 0),                              // ENOSYS
        jump(BPF_JEQ, number(libc::SYS_io_uring_setup), 5, 0), // ENOSYS
        jump(BPF_JEQ, number(libc::SYS_socket), 0, 3),         // else ALLOW
        load(low_half(0)),                                     // domain
        jump(BPF_JEQ, libc::AF_INET.cast_unsigned(), 3, 0),    // USER_NOTIF
        jump(BPF_JEQ, libc::AF_INET6.cast_unsigned(), 2, 0),   // USER_NOTIF
        answer(SECCOMP_RET_ALLOW),
        answer(SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
        answer(SECCOMP_RET_USER_NOTIF),
    ]
}
