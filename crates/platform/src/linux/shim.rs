//! Answering a program that wants a TUN device.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, setsockopt, socketpair, sockopt};
use nix::sys::stat::fstat;

use super::seccomp_filter::{ARCHITECTURE, number};
use super::seccomp_listener::{Answer, Listener};
use super::shim_caller::Asker;
use super::shim_look::Look;
use super::shim_path::{Place, is_device_at, is_tun};
use crate::shim::{Device, Ends, Reply, Work};

/// Bytes that a program's end may hold for it, if the machine's limit allows as many: about what an
/// interface's queue of 500 packets holds.
const ROOM: usize = 1 << 20;

/// The request that makes a descriptor an interface's (linux/if_tun.h).
const TUNSETIFF: u32 = 0x4004_54ca;

/// How many calls may be answered later at once. Those above it are waited for by all.
const LATER: usize = 16;

/// Answers the questions of a listener from [`crate::shim::spawn`] with `device`, on a thread of its
/// own named `shim`, until the program and all that it started have ended.
///
/// # Errors
/// `EINVAL` when the descriptor is no such listener.
pub fn serve(listener: OwnedFd, mut device: Box<dyn Device>) -> io::Result<JoinHandle<()>> {
    let listener = Arc::new(Listener::new(listener)?);
    let mut look = Look::new(is_device_at);
    let later = Arc::new(());
    thread::Builder::new().name("shim".to_owned()).spawn(move || {
        let answered = listener.serve(|asked| match answer(&listener, asked, device.as_mut(), &mut look)? {
            Reached::Answer(answer) => Ok(answer),
            Reached::Work(descriptor, work) => answer_later(&listener, *asked, descriptor, work, &later),
        });
        if let Err(error) = answered {
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

/// What came of a question, or what is to be done for it by a caller with that descriptor.
enum Reached {
    Answer(Answer),
    Work(i32, Work),
}

impl Reached {
    fn of(reply: Reply, descriptor: i32) -> Self {
        Self::Answer(match reply {
            Reply::Continue => Answer::Continue,
            Reply::Value(value) => Answer::Value(value.into()),
            Reply::Later(work) => return Self::Work(descriptor, work),
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a descriptor is an int, and a request to every driver")]
fn answer(
    listener: &Listener,
    asked: &libc::seccomp_notif,
    device: &mut dyn Device,
    look: &mut Look<Place>,
) -> io::Result<Reached> {
    let goes_on = Ok(Reached::Answer(Answer::Continue));
    if asked.data.arch != ARCHITECTURE {
        return goes_on;
    }
    let asker = Asker::new(listener, asked);
    let call = asked.data.nr.cast_unsigned();
    let arguments = &asked.data.args;
    let descriptor = arguments[0] as u32 as i32;
    let caller = asker.with_descriptor(descriptor);
    if call == number(libc::SYS_ioctl) {
        let request = arguments[1] as u32;
        if request == TUNSETIFF {
            asker.complain_if_closed(arguments[2]);
        }
        return Ok(Reached::of(device.ioctl(&caller, request, arguments[2])?, descriptor));
    }
    if call == number(libc::SYS_write) {
        if arguments[2] != 0 {
            return goes_on;
        }
        return Ok(Reached::of(device.write_nothing(&caller)?, descriptor));
    }
    open(&asker, call, arguments, device, look).map(Reached::Answer)
}

/// Has work done on a thread of its own, which answers then; unless there are many of those.
fn answer_later(
    listener: &Arc<Listener>,
    asked: libc::seccomp_notif,
    descriptor: i32,
    work: Work,
    later: &Arc<()>,
) -> io::Result<Answer> {
    let answer = move |listener: &Listener| {
        let asker = Asker::new(listener, &asked);
        work(&asker.with_descriptor(descriptor)).map(|value| Answer::Value(value.into()))
    };
    if Arc::strong_count(later) > LATER {
        return answer(listener);
    }
    let (listener, counted) = (Arc::clone(listener), Arc::clone(later));
    thread::Builder::new().name("shim join".to_owned()).spawn(move || {
        let answered = answer(&listener);
        if let Err(error) = listener.answer(&asked, answered) {
            tracing::debug!(%error, "cannot answer a program");
        }
        drop(counted);
    })?;
    Ok(Answer::Later)
}

fn open(
    asker: &Asker<'_>,
    call: u32,
    arguments: &[u64; 6],
    device: &mut dyn Device,
    look: &mut Look<Place>,
) -> io::Result<Answer> {
    let Some(opening) = Opening::of(call, arguments) else { return Ok(Answer::Continue) };
    let flags = match opening.how {
        How::Flags(flags) => flags,
        How::At(address) => asker.number(address)?,
    };
    if !is_tun(asker, opening.folder, opening.name, look) {
        return Ok(Answer::Continue);
    }
    // Of openat2's flags, which are 64 bits, all that matter here are in the lower half.
    let has = |flag: i32| flags & u64::from(flag.cast_unsigned()) != 0;
    if has(libc::O_PATH) || has(libc::O_DIRECTORY) {
        return Ok(Answer::Continue);
    }
    let opened = device.open(&asker.with_descriptor(-1), has(libc::O_NONBLOCK))?;
    Ok(opened.map_or(Answer::Continue, |descriptor| Answer::Descriptor {
        descriptor,
        close_on_exec: has(libc::O_CLOEXEC),
    }))
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
