//! What the kernel need not tell us (`SO_ATTACH_FILTER`, socket(7)).
//!
//! A change of many routes is announced faster than we read, be it that this very thread makes it; then the
//! kernel drops announcements, and nobody knows what was in them. So of routes only those come to the socket
//! that matter: the main table's default routes, and what is removed from a table that may be ours, unless our
//! own half removed it.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::NLM_F_MULTIPART;

/// Of `struct nlmsghdr` (netlink(7)), and of `struct rtmsg` after it (rtnetlink(7)).
const KIND: u32 = 4;
const FLAGS: u32 = 6;
const AUTHOR: u32 = 12;
const PREFIX: u32 = 16 + 1;
const TABLE: u32 = 16 + 4;

/// Instructions of linux/bpf_common.h. A load takes its bytes as a big-endian number.
const LOAD_32: u16 = 0x20;
const LOAD_16: u16 = 0x28;
const LOAD_8: u16 = 0x30;
const IF_EQUAL: u16 = 0x15;
const IF_ANY_BIT: u16 = 0x45;
const RETURN: u16 = 0x06;

/// How far the instruction that takes all is from the third one.
const TO_ALL: u8 = 11;

/// Keeps from a rtnetlink socket the announcements of routes that do not matter to a [`super::Source`], among
/// them removals through the rtnetlink port `ours`. Replaces the filter that was there.
pub(super) fn attach(socket: BorrowedFd<'_>, ours: u32) -> io::Result<()> {
    let program = &mut [
        load(LOAD_16, KIND),
        jump(IF_EQUAL, libc::RTM_NEWROUTE.to_be().into(), 1, 0),
        jump(IF_EQUAL, libc::RTM_DELROUTE.to_be().into(), 4, TO_ALL),
        // 3, a route that was added: a dump's, of which all parts are wanted, or one of the main table.
        load(LOAD_16, FLAGS),
        jump(IF_ANY_BIT, NLM_F_MULTIPART.to_be().into(), TO_ALL - 2, 0),
        load(LOAD_8, TABLE),
        jump(IF_EQUAL, libc::RT_TABLE_MAIN.into(), 5, TO_ALL - 3),
        // 7, one that was removed: of the main table, or of one with a number beyond a byte, as ours have.
        load(LOAD_8, TABLE),
        jump(IF_EQUAL, libc::RT_TABLE_MAIN.into(), 3, 0),
        jump(IF_EQUAL, libc::RT_TABLE_COMPAT.into(), 0, TO_ALL - 6),
        load(LOAD_32, AUTHOR),
        jump(IF_EQUAL, ours.to_be(), TO_ALL - 8, TO_ALL - 9),
        // 12, of the main table: a default route.
        load(LOAD_8, PREFIX),
        jump(IF_EQUAL, 0, 0, 1),
        done(u32::MAX),
        done(0),
    ];
    let length = u16::try_from(program.len()).expect("a short program");
    let program = libc::sock_fprog { len: length, filter: program.as_mut_ptr() };
    let size = libc::socklen_t::try_from(size_of_val(&program)).expect("a small structure");
    // SAFETY: the option takes a `sock_fprog`, which lives, as does the array that it points to, of as
    // many instructions as it says; the kernel checks and copies them.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            size,
        )
    };
    if outcome == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn load(code: u16, offset: u32) -> libc::sock_filter {
    libc::sock_filter { code, jt: 0, jf: 0, k: offset }
}

fn jump(code: u16, value: u32, where_true: u8, where_false: u8) -> libc::sock_filter {
    libc::sock_filter { code, jt: where_true, jf: where_false, k: value }
}

/// Takes so many bytes of the message: all, or none.
fn done(bytes: u32) -> libc::sock_filter {
    libc::sock_filter { code: RETURN, jt: 0, jf: 0, k: bytes }
}
