//! A seccomp filter's listener: questions about system calls come from it, answers go into it.

use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::ptr;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` and `SECCOMP_ADDFD_FLAG_SEND`, as wide as their fields are.
const CONTINUE: u32 = 1;
const SEND: u32 = 2;

/// What becomes of a call.
pub(super) enum Answer {
    /// It goes on in the kernel as if nobody had asked.
    Continue,
    /// It returns this number.
    Value(i64),
    /// It returns this descriptor, made anew in the program.
    Descriptor {
        /// What is handed over.
        descriptor: OwnedFd,
        /// Whether it has the flag in the program.
        close_on_exec: bool,
    },
    /// It waits for [`Listener::answer`].
    Later,
}

/// The listener of one filter.
pub(super) struct Listener {
    descriptor: OwnedFd,
    sizes: libc::seccomp_notif_sizes,
}

impl Listener {
    /// Takes a filter's listener.
    ///
    /// # Errors
    /// `EINVAL` when the descriptor is none.
    pub(super) fn new(descriptor: OwnedFd) -> io::Result<Self> {
        let link = fs::read_link(format!("/proc/self/fd/{}", descriptor.as_raw_fd()))?;
        // The name of an open file starts with a slash, so nothing else can be called that.
        if link.as_os_str() != "anon_inode:seccomp notify" {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        Ok(Self { descriptor, sizes: sizes()? })
    }

    /// Has each question answered until all who can ask have ended. An error of `answer` is the call's.
    ///
    /// # Errors
    /// What the kernel says about the listener itself.
    pub(super) fn serve(
        &self,
        mut answer: impl FnMut(&libc::seccomp_notif) -> io::Result<Answer>,
    ) -> io::Result<()> {
        let mut question = Room::new(self.sizes.seccomp_notif, size_of::<libc::seccomp_notif>());
        let mut reply = Room::new(self.sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>());
        loop {
            let mut ready = [PollFd::new(self.descriptor.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let events = ready[0].revents().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::POLLIN) {
                if let Some(asked) = self.question(&mut question)? {
                    let answered = answer(&asked);
                    self.answer_in(&asked, answered, &mut reply)?;
                }
            } else if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
                return Ok(());
            }
        }
    }

    /// Whether who asked is still waiting: if so, its number was its own all the time.
    pub(super) fn still_asks(&self, id: u64) -> bool {
        // SAFETY: the call reads the number that the pointer leads to.
        unsafe {
            libc::ioctl(self.descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, ptr::from_ref(&id))
                == 0
        }
    }

    /// The next question; `None` when who asked is gone already.
    fn question(&self, room: &mut Room) -> io::Result<Option<libc::seccomp_notif>> {
        let pointer = room.zeroed();
        // SAFETY: the room is zeroed, as the call wants it, aligned, and as large as the kernel said
        // its structure is.
        let received =
            unsafe { libc::ioctl(self.descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, pointer) };
        if received == 0 {
            // SAFETY: the room is at least as large as our structure, which has no invalid values.
            return Ok(Some(unsafe { ptr::read(pointer.cast::<libc::seccomp_notif>()) }));
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            Some(libc::ENOENT | libc::EINTR) => Ok(None),
            _ => Err(error),
        }
    }

    /// Answers a question that was answered by [`Answer::Later`], on whatever thread.
    ///
    /// # Errors
    /// What the kernel says about the listener itself.
    pub(super) fn answer(&self, asked: &libc::seccomp_notif, answer: io::Result<Answer>) -> io::Result<()> {
        let mut reply = Room::new(self.sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>());
        self.answer_in(asked, answer, &mut reply)
    }

    fn answer_in(
        &self,
        asked: &libc::seccomp_notif,
        answer: io::Result<Answer>,
        room: &mut Room,
    ) -> io::Result<()> {
        let error = match answer {
            Ok(Answer::Later) => return Ok(()),
            Ok(Answer::Continue) => return self.respond(room, asked.id, 0, 0, CONTINUE),
            Ok(Answer::Value(value)) => return self.respond(room, asked.id, value, 0, 0),
            Ok(Answer::Descriptor { descriptor, close_on_exec }) => {
                match self.hand_over(asked.id, &descriptor, close_on_exec) {
                    Ok(()) => return Ok(()),
                    Err(error) => error,
                }
            }
            Err(error) => error,
        };
        let errno = error.raw_os_error().unwrap_or(libc::EIO);
        tracing::debug!(pid = asked.pid, %error, "a program's system call failed");
        self.respond(room, asked.id, 0, -errno, 0)
    }

    /// Puts a descriptor into the program as the result of its call.
    fn hand_over(&self, id: u64, descriptor: &OwnedFd, close_on_exec: bool) -> io::Result<()> {
        let addition = libc::seccomp_notif_addfd {
            id,
            flags: SEND,
            srcfd: descriptor.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: the call reads the structure that the pointer leads to.
        let added = unsafe {
            libc::ioctl(
                self.descriptor.as_raw_fd(),
                libc::SECCOMP_IOCTL_NOTIF_ADDFD,
                ptr::from_ref(&addition),
            )
        };
        if added < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ends the call with a value or an error, or lets it go on. Who asked may be gone, which is no error.
    fn respond(&self, room: &mut Room, id: u64, value: i64, error: i32, flags: u32) -> io::Result<()> {
        let pointer = room.zeroed();
        let answer = libc::seccomp_notif_resp { id, val: value, error, flags };
        // SAFETY: the room is aligned, at least as large as our structure and as the kernel's.
        let sent = unsafe {
            ptr::write(pointer.cast(), answer);
            libc::ioctl(self.descriptor.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, pointer)
        };
        let error = io::Error::last_os_error();
        // EINPROGRESS: it has its answer, as after a hand-over that was interrupted.
        let known = [Some(libc::ENOENT), Some(libc::EINTR), Some(libc::EINPROGRESS)];
        if sent == 0 || known.contains(&error.raw_os_error()) { Ok(()) } else { Err(error) }
    }
}

/// Memory for a structure that may be larger in the kernel than in our headers.
struct Room(Vec<u64>);

impl Room {
    fn new(kernel: u16, ours: usize) -> Self {
        Self(vec![0; usize::from(kernel).max(ours).div_ceil(size_of::<u64>())])
    }

    fn zeroed(&mut self) -> *mut u64 {
        self.0.fill(0);
        self.0.as_mut_ptr()
    }
}

fn sizes() -> io::Result<libc::seccomp_notif_sizes> {
    // SAFETY: three numbers, for which zero is a value; the call writes them.
    unsafe {
        let mut sizes: libc::seccomp_notif_sizes = mem::zeroed();
        if libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_NOTIF_SIZES, 0, ptr::from_mut(&mut sizes)) == 0
        {
            Ok(sizes)
        } else {
            Err(io::Error::last_os_error())
        }
    }
}
