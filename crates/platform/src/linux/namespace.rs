//! Making a child start in new namespaces.
//!
//! Everything happens in the child between fork and exec, where only system calls on memory that
//! was prepared before are safe (signal-safety(7)): hence the C strings and the plan. A process
//! namespace holds only children of who made it, so there is one more fork: the process that the
//! parent knows stays outside as a reaper that ends as the program inside ends, and that takes the
//! program with it when it is killed.

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::ptr;

use crate::namespace::Spaces;

/// `IFF_UP`, as wide as its field is.
const UP: libc::c_short = 1;

/// What the child does, ready to be done without allocating.
struct Plan {
    flags: i32,
    /// The lines of `uid_map` and `gid_map` when there is a user namespace.
    maps: Option<(CString, CString)>,
    lo: bool,
    proc: bool,
    tmpfs: Vec<CString>,
    binds: Vec<(CString, CString)>,
}

/// What tells the calling thread's network namespace from all others that there are now (its inode,
/// namespaces(7)).
///
/// # Errors
/// `/proc` is not there.
pub fn network_number() -> io::Result<u64> {
    Ok(std::fs::metadata("/proc/thread-self/ns/net")?.ino())
}

/// Makes `command` start in new namespaces. What the command sets otherwise (its folder, its user)
/// is applied before that, outside.
///
/// Starting it fails with `EPERM` or `ENOSPC` where the machine lets ordinary users make no (more)
/// user namespaces, and with `EINVAL` when called from a process with a changed root.
///
/// # Errors
/// `InvalidInput` when a path holds a NUL byte.
pub fn enter_new(command: &mut Command, spaces: &Spaces) -> io::Result<()> {
    let plan = Plan::of(spaces)?;
    // SAFETY: the closure only makes system calls, on memory that was allocated before the fork.
    unsafe {
        command.pre_exec(move || plan.enter());
    }
    Ok(())
}

/// Shows a file in the place of another that is there, for all of the calling process's mount namespace.
///
/// # Errors
/// Of mount(2).
pub fn bind(from: &Path, to: &Path) -> io::Result<()> {
    mount(Some(&path(from)?), &path(to)?, None, libc::MS_BIND)
}

impl Plan {
    fn of(spaces: &Spaces) -> io::Result<Self> {
        let (uid, gid) = (nix::unistd::geteuid(), nix::unistd::getegid());
        let user = spaces.user || !uid.is_root();
        let mount = spaces.mount || spaces.pid || !spaces.tmpfs.is_empty() || !spaces.binds.is_empty();
        let chosen = [
            (user, libc::CLONE_NEWUSER),
            (spaces.net, libc::CLONE_NEWNET),
            (mount, libc::CLONE_NEWNS),
            (spaces.pid, libc::CLONE_NEWPID),
        ];
        let map = |id: u32| CString::new(format!("0 {id} 1\n")).expect("digits hold no NUL");
        Ok(Self {
            flags: chosen.iter().filter(|(wanted, _)| *wanted).fold(0, |flags, (_, flag)| flags | flag),
            maps: user.then(|| (map(uid.as_raw()), map(gid.as_raw()))),
            lo: spaces.net,
            proc: spaces.pid,
            tmpfs: spaces.tmpfs.iter().map(|folder| path(folder)).collect::<io::Result<_>>()?,
            binds: spaces
                .binds
                .iter()
                .map(|(from, to)| Ok((path(from)?, path(to)?)))
                .collect::<io::Result<_>>()?,
        })
    }

    /// Async-signal-safe.
    fn enter(&self) -> io::Result<()> {
        // SAFETY: takes a number only; after a fork the process has one thread, as user namespaces want.
        check(unsafe { libc::unshare(self.flags) })?;
        if let Some((uid_map, gid_map)) = &self.maps {
            // A process that maps itself without rights must give setgroups(2) up first (user_namespaces(7)).
            write(c"/proc/self/setgroups", b"deny")?;
            write(c"/proc/self/uid_map", uid_map.to_bytes())?;
            write(c"/proc/self/gid_map", gid_map.to_bytes())?;
        }
        if self.flags & libc::CLONE_NEWPID != 0 {
            become_first_process()?;
        }
        if self.flags & libc::CLONE_NEWNS != 0 {
            mount(None, c"/", None, libc::MS_REC | libc::MS_PRIVATE)?;
        }
        let quiet = libc::MS_NOSUID | libc::MS_NODEV;
        if self.proc {
            mount(Some(c"proc"), c"/proc", Some(c"proc"), quiet | libc::MS_NOEXEC)?;
        }
        for (from, to) in &self.binds {
            mount(Some(from), to, None, libc::MS_BIND | libc::MS_REC)?;
        }
        for folder in &self.tmpfs {
            mount(Some(c"tmpfs"), folder, Some(c"tmpfs"), quiet)?;
        }
        if self.lo { raise_lo() } else { Ok(()) }
    }
}

fn path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn write(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends in NUL and the bytes are as many as is said; the descriptor is ours.
    unsafe {
        let file = check(libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC))?;
        let written = libc::write(file, bytes.as_ptr().cast(), bytes.len());
        let error = io::Error::last_os_error();
        libc::close(file);
        if written.cast_unsigned() == bytes.len() { Ok(()) } else { Err(error) }
    }
}

fn mount(from: Option<&CStr>, to: &CStr, kind: Option<&CStr>, flags: libc::c_ulong) -> io::Result<()> {
    let pointer = |text: Option<&CStr>| text.map_or(ptr::null(), CStr::as_ptr);
    let data = if kind == Some(c"tmpfs") { c"mode=0755".as_ptr() } else { ptr::null() };
    // SAFETY: every pointer is null, where that is allowed, or leads to a string that ends in NUL.
    check(unsafe { libc::mount(pointer(from), to.as_ptr(), pointer(kind), flags, data.cast()) }).map(drop)
}

fn raise_lo() -> io::Result<()> {
    // SAFETY: `ifreq` is plain numbers, for which zero is a value; the ioctls read and write one; the
    // descriptor is ours.
    unsafe {
        let socket = check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?;
        let mut request: libc::ifreq = mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = libc::c_char::from_ne_bytes([*from]);
        }
        let mut result = check(libc::ioctl(socket, libc::SIOCGIFFLAGS, &raw mut request));
        if result.is_ok() {
            request.ifr_ifru.ifru_flags |= UP;
            result = check(libc::ioctl(socket, libc::SIOCSIFFLAGS, &raw const request));
        }
        libc::close(socket);
        result.map(drop)
    }
}

/// Forks: the child returns and is the namespace's first process, the parent never does.
fn become_first_process() -> io::Result<()> {
    // SAFETY: after a fork the process has one thread, so the copy is whole; takes nothing.
    match check(unsafe { libc::fork() })? {
        0 => {
            // SAFETY: takes numbers only.
            check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0) }).map(drop)
        }
        child => reap(child),
    }
}

/// Waits for the program and ends as it ended.
fn reap(child: libc::pid_t) -> ! {
    // SAFETY: takes numbers and one pointer to a number. Closing everything matters: the pipe on which
    // the command's parent waits for exec is among it, and so may be its sockets.
    unsafe {
        libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0);
        let mut status = 0;
        while libc::waitpid(child, &raw mut status, 0) < 0 {
            if io::Error::last_os_error().raw_os_error() != Some(libc::EINTR) {
                libc::_exit(125);
            }
        }
        if libc::WIFSIGNALED(status) {
            let signal = libc::WTERMSIG(status);
            libc::signal(signal, libc::SIG_DFL);
            libc::kill(libc::getpid(), signal);
        }
        libc::_exit(if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { 125 });
    }
}
