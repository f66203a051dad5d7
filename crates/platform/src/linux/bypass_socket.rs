//! The sockets that a bypassing program asks for, made here.
//!
//! Each kind is one that everybody may have, but for ping's, which a program may have by one of its
//! groups. Raw sockets are none of these: whether a program has `CAP_NET_RAW` over our network
//! namespace, and not just over a user namespace of its own, is not to be seen without rights over it.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::panic;
use std::thread;

use super::bypass_asker::{ping_group, take_on};
use super::seccomp_filter::{ARCHITECTURE, number};

/// `IPPROTO_MPTCP`, which the kernel names since 5.6.
const MPTCP: i32 = 262;

/// The arguments of a socket(2).
#[derive(Clone, Copy)]
pub(super) struct Call {
    domain: i32,
    pub(super) kind: i32,
    protocol: i32,
}

impl Call {
    /// One that everybody may make.
    pub(super) const UDP: Self = Self { domain: libc::AF_INET, kind: libc::SOCK_DGRAM, protocol: 0 };

    /// One that is for us: for TCP, UDP or ping, of both internet protocols.
    pub(super) fn of(data: &libc::seccomp_data) -> Option<Self> {
        if data.arch != ARCHITECTURE || data.nr.cast_unsigned() != number(libc::SYS_socket) {
            return None;
        }
        let [domain, kind, protocol] = [0, 1, 2].map(|argument| int(data.args[argument]));
        let call = Self { domain, kind, protocol };
        let known = match (domain, kind & !(libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC)) {
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM) => {
                [0, libc::IPPROTO_TCP, MPTCP].contains(&protocol)
            }
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_DGRAM) => {
                call.is_ping() || [0, libc::IPPROTO_UDP, libc::IPPROTO_UDPLITE].contains(&protocol)
            }
            _ => false,
        };
        known.then_some(call)
    }

    /// Of the calls for us, one that not everybody may make.
    fn is_ping(self) -> bool {
        let pings = [(libc::AF_INET, libc::IPPROTO_ICMP), (libc::AF_INET6, libc::IPPROTO_ICMPV6)];
        pings.contains(&(self.domain, self.protocol))
    }

    /// Makes it, with the rights of the calling thread; close-on-exec.
    ///
    /// # Errors
    /// Of socket(2).
    pub(super) fn make(self) -> io::Result<OwnedFd> {
        // SAFETY: takes numbers only.
        let made = unsafe { libc::socket(self.domain, self.kind | libc::SOCK_CLOEXEC, self.protocol) };
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel just made this descriptor for us.
        Ok(unsafe { OwnedFd::from_raw_fd(made) })
    }

    /// Makes it for a thread of a program, if that may have it.
    ///
    /// # Errors
    /// Of socket(2); `EPERM` without `CAP_SETGID` for a ping socket.
    pub(super) fn make_for(self, asker: u32) -> io::Result<OwnedFd> {
        if !self.is_ping() {
            return self.make();
        }
        let group = ping_group(asker)?;
        // On a thread of its own, which alone joins the group.
        let member = move || take_on(group).and_then(|()| self.make());
        let thread = thread::Builder::new().name("bypass ping".to_owned()).spawn(member)?;
        thread.join().unwrap_or_else(|panicked| panic::resume_unwind(panicked))
    }
}

/// An `int` argument: the low half of the register.
#[expect(clippy::cast_possible_truncation, reason = "the kernel looks at the low half only, too")]
fn int(argument: u64) -> i32 {
    (argument as u32).cast_signed()
}
