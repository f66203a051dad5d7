//! The thread whose call is being answered: its memory and its files.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, IoSliceMut};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::uio::{RemoteIoVec, process_vm_readv};
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
        // Open, it stays this memory, whoever has the number later; asked then, it is the asker's.
        let memory = OpenOptions::new().write(true).open(self.proc("mem"));
        let memory = memory.inspect_err(|error| self.note_closed(error)).map_err(|error| {
            let known = error.raw_os_error().filter(|errno| *errno != libc::ENOENT);
            io::Error::from_raw_os_error(known.unwrap_or(libc::ESRCH))
        })?;
        self.is_there()?;
        memory.write_all_at(bytes, address).map_err(|_| io::Error::from_raw_os_error(libc::EFAULT))
    }

    /// The user of [`Caller::user`].
    fn user(&self) -> io::Result<u32> {
        let status = fs::read_to_string(self.proc("status"))?;
        self.is_there()?;
        let users = status.lines().find_map(|line| line.strip_prefix("Uid:"));
        // Real, effective, saved, and of the file system.
        let user = users.and_then(|users| users.split_ascii_whitespace().nth(3)?.parse().ok());
        user.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidData))
    }

    fn is_whole(&self, done: nix::Result<usize>, len: usize) -> io::Result<()> {
        match done {
            Ok(done) if done == len => self.is_there(),
            Ok(_) => Err(io::Error::from_raw_os_error(libc::EFAULT)),
            Err(errno) => {
                let error = errno.into();
                self.note_closed(&error);
                Err(error)
            }
        }
    }

    /// Most programs whose memory we may not see never want an interface, so that is no warning yet; but one
    /// that finds no device to open never comes further. Said once.
    fn note_closed(&self, error: &io::Error) {
        static SAID: AtomicBool = AtomicBool::new(false);
        if error.kind() == io::ErrorKind::PermissionDenied && !SAID.swap(true, Ordering::Relaxed) {
            let program = fs::read_to_string(self.proc("comm")).unwrap_or_default();
            let text = "the memory of a program is closed to hypertap; what it opens, the kernel answers";
            tracing::info!(pid = self.thread, program = program.trim_end(), "{text}");
        }
    }

    /// Says once that nothing can be done for a program that asks for an interface by what is at `address`,
    /// where that is so.
    pub(super) fn complain_if_closed(&self, address: u64) {
        static SAID: AtomicBool = AtomicBool::new(false);
        let read = self.read(address, &mut [0]);
        let is_closed = read.is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
        if is_closed && !SAID.swap(true, Ordering::Relaxed) {
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
    fn user(&self) -> io::Result<u32> {
        self.asker.user()
    }

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
