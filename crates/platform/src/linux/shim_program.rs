//! The program under the shim: its start, the signals that are for it, and its end.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{self, Command, ExitStatus};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use libc::{
    BPF_ALU, BPF_AND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JMP, BPF_K, SECCOMP_RET_ALLOW, SECCOMP_RET_USER_NOTIF,
    sock_filter,
};
use nix::errno::Errno;
use nix::sys::prctl::{set_child_subreaper, set_pdeathsig};
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, kill, signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{Id, WaitPidFlag, waitid, waitpid};
use nix::unistd::{Pid, getpgid, getpgrp};

use crate::process::hear_of_children;

use super::seccomp_filter::{self, ARCHITECTURE, X32, answer, code, jump, load, low_half, number};

/// What is passed on to the program.
const SIGNALS: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// `si_code` of a signal that another process sent; those of a terminal come from the kernel.
const FROM_KERNEL: i32 = 0x80;

/// A program that runs under the shim, with all that it started.
#[derive(Debug)]
pub struct Program {
    pid: Pid,
    signals: SignalFd,
}

/// Starts `command` under the filter and returns it with the filter's listener, for [`crate::shim::serve`].
///
/// Signals that this process gets are the program's from now on, orphans below it become children of this
/// process, and the program gets a SIGTERM when this process is killed. To be called by the main thread,
/// before there is another. The program gets `no_new_privs` where we lack `CAP_SYS_ADMIN`, so that
/// set-uid programs below it gain nothing.
///
/// # Errors
/// What starting the program said; `EBUSY` when this process is under such a filter already (one
/// program may have a single listener), `EINVAL` when the kernel knows none.
pub fn spawn(command: &mut Command) -> io::Result<(Program, OwnedFd)> {
    set_child_subreaper(true)?;
    // Who starts us may have it ignored, with which no child's end would be told.
    let was_ignored = hear_of_children()?;
    let ours: SigSet = SIGNALS.into_iter().collect();
    let mut before = SigSet::empty();
    sigprocmask(SigmaskHow::SIG_BLOCK, Some(&ours), Some(&mut before))?;
    // SAFETY: the closure only makes system calls; no handler of ours is among what it sets.
    unsafe {
        command.pre_exec(move || {
            if was_ignored {
                signal(Signal::SIGCHLD, SigHandler::SigIgn)?;
            }
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            Ok(set_pdeathsig(Signal::SIGTERM)?)
        });
    }
    let signals = SignalFd::with_flags(&ours, SfdFlags::SFD_CLOEXEC)?;
    let (child, listener) = match seccomp_filter::spawn(command, filter()) {
        Ok(started) => started,
        Err(error) => {
            sigprocmask(SigmaskHow::SIG_SETMASK, Some(&before), None)?;
            return Err(error);
        }
    };
    let pid = i32::try_from(child.id()).map(Pid::from_raw).map_err(io::Error::other)?;
    Ok((Program { pid, signals }, listener))
}

impl Program {
    /// Waits until the program and all that it started have ended, passing signals on meanwhile: to the
    /// program, and after its end to what is left. Yields how the program itself ended.
    ///
    /// # Errors
    /// Of waiting.
    pub fn wait(self) -> io::Result<ExitStatus> {
        let Self { pid, signals } = self;
        let alive = Arc::new(Mutex::new(Some(pid)));
        let told = Arc::clone(&alive);
        thread::Builder::new().name("signals".to_owned()).spawn(move || pass_on(&signals, &told))?;
        let mut ended = None;
        loop {
            // A number is a process's own until it is waited for, so it is not to be taken before that.
            match waitid(Id::All, WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT) {
                Ok(status) => {
                    let Some(one) = status.pid() else { continue };
                    let mut alive = alive.lock().unwrap_or_else(PoisonError::into_inner);
                    let status = reap(one)?;
                    if one == pid {
                        *alive = None;
                        ended = Some(status);
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => break,
                Err(errno) => return Err(errno.into()),
            }
        }
        ended.ok_or_else(|| io::Error::from_raw_os_error(libc::ECHILD))
    }
}

fn reap(pid: Pid) -> io::Result<ExitStatus> {
    use nix::sys::wait::WaitStatus;
    Ok(ExitStatus::from_raw(match waitpid(pid, None)? {
        WaitStatus::Exited(_, code) => code << 8,
        WaitStatus::Signaled(_, signal, _) => signal as i32,
        _ => 0,
    }))
}

fn pass_on(signals: &SignalFd, program: &Mutex<Option<Pid>>) {
    loop {
        let Ok(Some(info)) = signals.read_signal() else { continue };
        let Ok(signal) = Signal::try_from(info.ssi_signo.cast_signed()) else { continue };
        // A terminal's goes to the whole group, so who is in it has it, too. But when the terminal is closed,
        // the kernel may tell its session's leader only, which we may be.
        let is_in_hand = |pid: Pid| {
            info.ssi_code == FROM_KERNEL && signal != Signal::SIGHUP && getpgid(Some(pid)) == Ok(getpgrp())
        };
        let program = program.lock().unwrap_or_else(PoisonError::into_inner);
        let targets = program.map_or_else(children, |pid| vec![pid]);
        for pid in targets.into_iter().filter(|pid| !is_in_hand(*pid)) {
            let _ = kill(pid, signal);
        }
    }
}

/// The children that this process has now.
fn children() -> Vec<Pid> {
    let us = process::id();
    let list = fs::read_to_string(format!("/proc/{us}/task/{us}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|pid| pid.parse().ok().map(Pid::from_raw)).collect()
}

/// The requests for interfaces that are asked about, `SIOCADDRT` to `SIOCSIFMAP`, and those of TUN devices,
/// by their lower 16 bits (a letter and a number).
const INTERFACE: std::ops::RangeInclusive<u32> = 0x890b..=0x8971;
const TUN: std::ops::RangeInclusive<u32> = 0x54c8..=0x54ff;

/// Which calls are asked about.
fn filter() -> Vec<sock_filter> {
    // The places of the two ends, and how far each is from an instruction.
    let allow = |from: u8| 22 - from - 1;
    let notify = |from: u8| 23 - from - 1;
    let watched = (libc::O_ACCMODE | libc::O_PATH | libc::O_DIRECTORY).cast_unsigned();
    #[cfg(target_arch = "x86_64")]
    let open = libc::SYS_open;
    // Where there is no open(2), nothing is compared twice.
    #[cfg(not(target_arch = "x86_64"))]
    let open = libc::SYS_openat;
    vec![
        load(mem::offset_of!(libc::seccomp_data, arch)), // 0
        jump(BPF_JEQ, ARCHITECTURE, 0, allow(1)),
        load(mem::offset_of!(libc::seccomp_data, nr)), // 2
        jump(BPF_JGE, X32, allow(3), 0),
        jump(BPF_JEQ, number(libc::SYS_write), 15, 0), // to 20
        jump(BPF_JEQ, number(libc::SYS_openat), 5, 0), // to 11
        jump(BPF_JEQ, number(libc::SYS_ioctl), 7, 0),  // to 14
        jump(BPF_JEQ, number(libc::SYS_openat2), notify(7), 0),
        jump(BPF_JEQ, number(open), 0, allow(8)),
        load(low_half(1)),                                                // 9: flags of open
        sock_filter { code: code(BPF_JMP | BPF_JA), jt: 0, jf: 0, k: 1 }, // to 12
        load(low_half(2)),                                                // 11: flags of openat
        sock_filter { code: code(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: watched }, // 12
        jump(BPF_JEQ, libc::O_RDWR.cast_unsigned(), notify(13), allow(13)),
        load(low_half(1)), // 14: request of ioctl
        sock_filter { code: code(BPF_ALU | BPF_AND | BPF_K), jt: 0, jf: 0, k: 0xffff },
        jump(BPF_JGE, INTERFACE.end() + 1, allow(16), 0),
        jump(BPF_JGE, *INTERFACE.start(), notify(17), 0),
        jump(BPF_JGE, TUN.end() + 1, allow(18), 0),
        jump(BPF_JGE, *TUN.start(), notify(19), allow(19)),
        load(low_half(2)), // 20: length of write
        jump(BPF_JEQ, 0, notify(21), 0),
        answer(SECCOMP_RET_ALLOW),      // 22
        answer(SECCOMP_RET_USER_NOTIF), // 23
    ]
}
