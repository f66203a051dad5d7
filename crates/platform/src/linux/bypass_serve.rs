//! Answering a filter's questions: the socket that the program asked for, made here and marked.

use std::cell::Cell;
use std::fs;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Gid, Uid, fchown};

use super::bypass_asker::network_space;
use super::bypass_socket::Call;

/// How many programs are served at once. Each has a descriptor, of which a service may have 1024
/// unless told otherwise, and a thread; and anyone whom the daemon serves may bring one.
const PROGRAMS: usize = 256;
/// `SECCOMP_USER_NOTIF_FLAG_CONTINUE` and `SECCOMP_ADDFD_FLAG_SEND`, as wide as their fields are.
const CONTINUE: u32 = 1;
const SEND: u32 = 2;

static SERVED: AtomicUsize = AtomicUsize::new(0);

/// Answers the questions of a listener from [`crate::bypass::spawn`], on a thread of its own
/// named `bypass`, until the program and all that it started have ended. Sockets get `mark` and
/// belong to `uid`, in the calling thread's network namespace. Returns as soon as it is being served.
/// Ping sockets need `CAP_SETGID` besides.
///
/// # Errors
/// `EPERM` without `CAP_NET_ADMIN` for the mark, or without `CAP_CHOWN` for another user's sockets;
/// `EINVAL` when the descriptor is no such listener or the mark is 0, which marks nothing; a sentence
/// when 256 are being served, or `/proc` does not show our PID namespace, by whose numbers programs ask.
pub fn serve(listener: OwnedFd, mark: u32, uid: u32) -> io::Result<()> {
    let link = fs::read_link(format!("/proc/self/fd/{}", listener.as_raw_fd()))?;
    // The name of an open file starts with a slash, so nothing else can be called that.
    if link.as_os_str() != "anon_inode:seccomp notify" || mark == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if fs::read_link("/proc/self")?.as_os_str() != process::id().to_string().as_str() {
        return Err(io::Error::other(
            "/proc is another PID namespace's than the daemon's: mount a proc there",
        ));
    }
    let space = network_space("thread-self")?;
    let server = Server { sizes: sizes()?, space, listener, mark, uid, warned: Cell::new(false) };
    drop(server.ours(Call::UDP.make()?)?);
    let place = Place::take()?;
    thread::Builder::new().name("bypass".to_owned()).spawn(move || {
        let _place = place;
        match server.run() {
            Ok(()) => tracing::debug!("a bypassing program ended"),
            Err(error) => tracing::warn!(%error, "stopped serving a bypassing program"),
        }
    })?;
    Ok(())
}

/// One of the [`PROGRAMS`]; given back when dropped.
struct Place;

impl Place {
    fn take() -> io::Result<Self> {
        SERVED
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |served| {
                (served < PROGRAMS).then_some(served + 1)
            })
            .map(|_| Self)
            .map_err(|_| {
                let text =
                    format!("{PROGRAMS} programs, which is the limit, are past the tunnel: end one first");
                io::Error::other(text)
            })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        SERVED.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Server {
    listener: OwnedFd,
    sizes: libc::seccomp_notif_sizes,
    /// Our network namespace.
    space: u64,
    mark: u32,
    uid: u32,
    /// Whether the log says already that who asks cannot be seen.
    warned: Cell<bool>,
}

impl Server {
    fn run(&self) -> io::Result<()> {
        let mut question = Room::new(self.sizes.seccomp_notif, size_of::<libc::seccomp_notif>());
        let mut answer = Room::new(self.sizes.seccomp_notif_resp, size_of::<libc::seccomp_notif_resp>());
        loop {
            let mut ready = [PollFd::new(self.listener.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let events = ready[0].revents().unwrap_or(PollFlags::empty());
            if events.contains(PollFlags::POLLIN) {
                if let Some(asked) = self.question(&mut question)? {
                    self.answer(&asked, &mut answer)?;
                }
            } else if events.intersects(PollFlags::POLLHUP | PollFlags::POLLERR | PollFlags::POLLNVAL) {
                return Ok(());
            }
        }
    }

    /// The next question; `None` when who asked is gone already.
    fn question(&self, room: &mut Room) -> io::Result<Option<libc::seccomp_notif>> {
        let pointer = room.zeroed();
        // SAFETY: the room is zeroed, as the call wants it, aligned, and as large as the kernel said
        // its structure is.
        let received =
            unsafe { libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_RECV, pointer) };
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

    /// What is read about who asks holds if the answer finds its question: that process, hence its
    /// number, was there all the time.
    fn answer(&self, asked: &libc::seccomp_notif, room: &mut Room) -> io::Result<()> {
        let Some(call) = Call::of(&asked.data) else { return self.respond(room, asked.id, 0, CONTINUE) };
        let made = match self.is_here(asked) {
            Ok(false) => return self.respond(room, asked.id, 0, CONTINUE),
            Ok(true) => call.make_for(asked.pid).and_then(|socket| {
                self.hand_over(asked.id, &self.ours(socket)?, call.kind & libc::SOCK_CLOEXEC != 0)
            }),
            Err(error) => Err(error),
        };
        match made {
            Ok(()) => Ok(()),
            Err(error) => {
                let errno = error.raw_os_error().unwrap_or(libc::EIO);
                tracing::debug!(pid = asked.pid, %error, "a bypassing program got no socket");
                self.respond(room, asked.id, -errno, 0)
            }
        }
    }

    /// Whether who asks is in our network namespace. `EACCES` where that cannot be told: a socket of
    /// ours might reach the wrong network, and an unmarked one the tunnel.
    fn is_here(&self, asked: &libc::seccomp_notif) -> io::Result<bool> {
        // 0 is a process that our PID namespace has no number for.
        let theirs = if asked.pid == 0 {
            Err(io::ErrorKind::NotFound.into())
        } else {
            network_space(&asked.pid.to_string())
        };
        theirs.map(|theirs| theirs == self.space).map_err(|error| {
            if self.still_asks(asked.id) && !self.warned.replace(true) {
                let remedy = "mount /proc without hidepid=, or run this service in the group of its gid=";
                let text = "a bypassing program gets no sockets: /proc does not show its network namespace";
                tracing::warn!(pid = asked.pid, %error, "{text}: {remedy}");
            }
            io::Error::from_raw_os_error(libc::EACCES)
        })
    }

    fn still_asks(&self, id: u64) -> bool {
        // SAFETY: the call reads the number that the pointer leads to.
        unsafe {
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ID_VALID, ptr::from_ref(&id))
                == 0
        }
    }

    /// Marks a socket and gives it to the user.
    fn ours(&self, socket: OwnedFd) -> io::Result<OwnedFd> {
        setsockopt(&socket, sockopt::Mark, &self.mark)?;
        // The kernel's socket takes the file's owner over, so that a look-up by sock_diag, which decides
        // who may connect, sees the program's user and not us.
        fchown(&socket, Some(Uid::from_raw(self.uid)), None::<Gid>)?;
        Ok(socket)
    }

    /// Puts `socket` into the program as the result of its call.
    fn hand_over(&self, id: u64, socket: &OwnedFd, close_on_exec: bool) -> io::Result<()> {
        let addition = libc::seccomp_notif_addfd {
            id,
            flags: SEND,
            srcfd: socket.as_raw_fd().cast_unsigned(),
            newfd: 0,
            newfd_flags: if close_on_exec { libc::O_CLOEXEC.cast_unsigned() } else { 0 },
        };
        // SAFETY: the call reads the structure that the pointer leads to.
        let added = unsafe {
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_ADDFD, ptr::from_ref(&addition))
        };
        if added < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Ends the call with `error`, or lets it go on. Who asked may be gone, which is no error.
    fn respond(&self, room: &mut Room, id: u64, error: i32, flags: u32) -> io::Result<()> {
        let pointer = room.zeroed();
        let answer = libc::seccomp_notif_resp { id, val: 0, error, flags };
        // SAFETY: the room is aligned, at least as large as our structure and as the kernel's.
        let sent = unsafe {
            ptr::write(pointer.cast(), answer);
            libc::ioctl(self.listener.as_raw_fd(), libc::SECCOMP_IOCTL_NOTIF_SEND, pointer)
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
