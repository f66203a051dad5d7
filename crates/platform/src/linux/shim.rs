//! Answering a program that wants a TUN device.

use std::io;
use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::stat::fstat;

use super::seccomp_filter::{ARCHITECTURE, number};
use super::seccomp_listener::{Answer, Listener};
use super::shim_caller::Asker;
use super::shim_path::is_tun;
use crate::shim::{Device, Ends, Reply};

/// Bytes that a program's end may hold for it, if the machine's limit allows as many: about what an
/// interface's queue of 500 packets holds.
const ROOM: usize = 1 << 20;

/// Answers the questions of a listener from [`crate::shim::spawn`] with `device`, on a thread of its
/// own named `shim`, until the program and all that it started have ended.
///
/// # Errors
/// `EINVAL` when the descriptor is no such listener.
pub fn serve(listener: OwnedFd, mut device: Box<dyn Device>) -> io::Result<JoinHandle<()>> {
    let listener = Listener::new(listener)?;
    thread::Builder::new().name("shim".to_owned()).spawn(move || {
        if let Err(error) = listener.serve(|asked| answer(&listener, asked, device.as_mut())) {
            tracing::error!(%error, "stopped serving the program: what it opens from now on fails");
        }
    })
}

/// Makes a pair of sockets whose program's end has `O_NONBLOCK` as said.
///
/// # Errors
/// Of socketpair(2).
pub fn ends(nonblocking: bool) -> io::Result<Ends> {
    let (ours, program) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)?;
    for end in [&ours, &program] {
        // The machine may allow less, which is well, too.
        let _ = setsockopt(end, sockopt::SndBuf, &ROOM);
    }
    if nonblocking {
        fcntl(&program, FcntlArg::F_SETFL(OFlag::O_RDWR | OFlag::O_NONBLOCK))?;
    }
    let inode = fstat(&program)?.st_ino;
    Ok(Ends { ours, program, inode })
}

fn answer(listener: &Listener, asked: &libc::seccomp_notif, device: &mut dyn Device) -> io::Result<Answer> {
    if asked.data.arch != ARCHITECTURE {
        return Ok(Answer::Continue);
    }
    let asker = Asker::new(listener, asked);
    let call = asked.data.nr.cast_unsigned();
    if call == number(libc::SYS_ioctl) {
        return ioctl(&asker, &asked.data.args, device);
    }
    let Some(opening) = Opening::of(call, &asked.data.args) else { return Ok(Answer::Continue) };
    let flags = match opening.how {
        How::Flags(flags) => flags,
        How::At(address) => asker.number(address)?,
    };
    if !is_tun(&asker, opening.folder, opening.name) {
        return Ok(Answer::Continue);
    }
    // Of openat2's flags, which are 64 bits, all that matter here are in the lower half.
    let has = |flag: i32| flags & u64::from(flag.cast_unsigned()) != 0;
    if has(libc::O_PATH) || has(libc::O_DIRECTORY) {
        return Ok(Answer::Continue);
    }
    let descriptor = device.open(has(libc::O_NONBLOCK))?;
    Ok(Answer::Descriptor { descriptor, close_on_exec: has(libc::O_CLOEXEC) })
}

#[expect(clippy::cast_possible_truncation, reason = "a request is an int to every driver")]
fn ioctl(asker: &Asker<'_>, arguments: &[u64; 6], device: &mut dyn Device) -> io::Result<Answer> {
    let caller = asker.with_descriptor(arguments[0] as u32 as i32);
    Ok(match device.ioctl(&caller, arguments[1] as u32, arguments[2])? {
        Reply::Continue => Answer::Continue,
        Reply::Value(value) => Answer::Value(value.into()),
    })
}

/// A call that opens a file.
struct Opening {
    folder: i32,
    name: u64,
    how: How,
}

enum How {
    Flags(u64),
    /// They are the first number of an `open_how` there.
    At(u64),
}

impl Opening {
    #[expect(clippy::cast_possible_truncation, reason = "a folder's descriptor is an int")]
    fn of(call: u32, arguments: &[u64; 6]) -> Option<Self> {
        let folder = arguments[0] as u32 as i32;
        if call == number(libc::SYS_openat) {
            return Some(Self { folder, name: arguments[1], how: How::Flags(arguments[2]) });
        }
        if call == number(libc::SYS_openat2) {
            return Some(Self { folder, name: arguments[1], how: How::At(arguments[2]) });
        }
        #[cfg(target_arch = "x86_64")]
        if call == number(libc::SYS_open) {
            return Some(Self { folder: libc::AT_FDCWD, name: arguments[0], how: How::Flags(arguments[1]) });
        }
        None
    }
}
