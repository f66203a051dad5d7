//! The thread whose call is being answered: its memory and its files.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::uio::{RemoteIoVec, process_vm_readv, process_vm_writev};
use nix::unistd::Pid;

use super::seccomp_listener::Listener;
use crate::shim::Caller;

/// The smallest page: memory that is there up to one's end may be gone behind it.
const PAGE: u64 = 4096;

/// A thread that waits for our answer.
pub(super) struct Asker<'a> {
    listener: &'a Listener,
    id: u64,
    thread: u32,
}

/// The same, with the descriptor that its call is about.
pub(super) struct WithDescriptor<'a> {
    asker: &'a Asker<'a>,
    descriptor: i32,
}

impl<'a> Asker<'a> {
    pub(super) fn new(listener: &'a Listener, asked: &libc::seccomp_notif) -> Self {
        Self { listener, id: asked.id, thread: asked.pid }
    }

    pub(super) fn with_descriptor(&'a self, descriptor: i32) -> WithDescriptor<'a> {
        WithDescriptor { asker: self, descriptor }
    }

    /// A path below the thread's own folder in `/proc`.
    pub(super) fn proc(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/{name}", self.thread))
    }

    /// The name of a file that ends with a NUL.
    ///
    /// # Errors
    /// `ENAMETOOLONG` past `PATH_MAX`, and those of [`Caller::read`].
    pub(super) fn name(&self, address: u64) -> io::Result<PathBuf> {
        let mut name = Vec::new();
        while name.len() < usize::try_from(libc::PATH_MAX).expect("positive") {
            let from = address.wrapping_add(name.len() as u64);
            let mut part = [0; 256];
            let len = usize::try_from(PAGE - from % PAGE).expect("small").min(part.len());
            let part = &mut part[..len];
            self.read(from, part)?;
            if let Some(end) = part.iter().position(|byte| *byte == 0) {
                name.extend_from_slice(&part[..end]);
                return Ok(OsString::from_vec(name).into());
            }
            name.extend_from_slice(part);
        }
        Err(io::Error::from_raw_os_error(libc::ENAMETOOLONG))
    }

    /// A number of 64 bits.
    ///
    /// # Errors
    /// Those of [`Caller::read`].
    pub(super) fn number(&self, address: u64) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.read(address, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        let len = bytes.len();
        let there = [RemoteIoVec { base: place(address)?, len }];
        let done = process_vm_readv(self.pid()?, &mut [IoSliceMut::new(bytes)], &there);
        self.is_whole(done, len)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        let there = [RemoteIoVec { base: place(address)?, len: bytes.len() }];
        // Asked before, lest it be another's memory.
        self.is_there()?;
        let done = process_vm_writev(self.pid()?, &[IoSlice::new(bytes)], &there);
        self.is_whole(done, bytes.len())
    }

    fn is_whole(&self, done: nix::Result<usize>, len: usize) -> io::Result<()> {
        match done {
            Ok(done) if done == len => self.is_there(),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
            Err(errno) => {
                if errno == nix::errno::Errno::EPERM {
                    self.complain();
                }
                Err(errno.into())
            }
        }
    }

    /// Says once that nothing can be done for such a program.
    fn complain(&self) {
        static SAID: AtomicBool = AtomicBool::new(false);
        if !SAID.swap(true, Ordering::Relaxed) {
            let text = "the program's memory is closed to hypertap, so it gets no interface";
            let remedy = "run the shim as root, or allow it: kernel.yama.ptrace_scope up to 1, and a \
                          program file that the user may read";
            tracing::warn!(pid = self.thread, "{text}: {remedy}");
        }
    }

    fn is_there(&self) -> io::Result<()> {
        let gone = || io::Error::from_raw_os_error(libc::ESRCH);
        self.listener.still_asks(self.id).then_some(()).ok_or_else(gone)
    }

    /// Its number, which is none in a PID namespace that is not below ours.
    fn pid(&self) -> io::Result<Pid> {
        let pid = i32::try_from(self.thread).ok().filter(|pid| *pid != 0);
        pid.map(Pid::from_raw).ok_or_else(|| io::Error::from_raw_os_error(libc::ESRCH))
    }
}

impl Caller for WithDescriptor<'_> {
    fn socket(&self) -> Option<u64> {
        let link = fs::read_link(self.asker.proc(&format!("fd/{}", self.descriptor))).ok()?;
        link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }

    fn read(&self, address: u64, bytes: &mut [u8]) -> io::Result<()> {
        self.asker.read(address, bytes)
    }

    fn write(&self, address: u64, bytes: &[u8]) -> io::Result<()> {
        self.asker.write(address, bytes)
    }
}

fn place(address: u64) -> io::Result<usize> {
    usize::try_from(address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))
}
