//! Answering a filter's questions: the socket that the program asked for, made here and marked.

use std::cell::Cell;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use nix::sys::socket::{setsockopt, sockopt};
use nix::unistd::{Gid, Uid, fchown};

use super::bypass_asker::network_space;
use super::bypass_socket::Call;
use super::seccomp_listener::{Answer, Listener};

/// How many programs are served at once. Each has a descriptor, of which a service may have 1024
/// unless told otherwise, and a thread; and anyone whom the daemon serves may bring one.
const PROGRAMS: usize = 256;

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
    let listener = Listener::new(listener)?;
    if mark == 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    if fs::read_link("/proc/self")?.as_os_str() != process::id().to_string().as_str() {
        return Err(io::Error::other(
            "/proc is another PID namespace's than the daemon's: mount a proc there",
        ));
    }
    let space = network_space("thread-self")?;
    let server = Server { space, listener, mark, uid, warned: Cell::new(false) };
    drop(server.ours(Call::UDP.make()?)?);
    let place = Place::take()?;
    thread::Builder::new().name("bypass".to_owned()).spawn(move || {
        let _place = place;
        match server.listener.serve(|asked| server.answer(asked)) {
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
    listener: Listener,
    /// Our network namespace.
    space: u64,
    mark: u32,
    uid: u32,
    /// Whether the log says already that who asks cannot be seen.
    warned: Cell<bool>,
}

impl Server {
    /// What is read about who asks holds if the answer finds its question: that process, hence its
    /// number, was there all the time.
    fn answer(&self, asked: &libc::seccomp_notif) -> io::Result<Answer> {
        let Some(call) = Call::of(&asked.data) else { return Ok(Answer::Continue) };
        if !self.is_here(asked)? {
            return Ok(Answer::Continue);
        }
        let descriptor = self.ours(call.make_for(asked.pid)?)?;
        Ok(Answer::Descriptor { descriptor, close_on_exec: call.kind & libc::SOCK_CLOEXEC != 0 })
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
            if self.listener.still_asks(asked.id) && !self.warned.replace(true) {
                let remedy = "mount /proc without hidepid=, or run this service in the group of its gid=";
                let text = "a bypassing program gets no sockets: /proc does not show its network namespace";
                tracing::warn!(pid = asked.pid, %error, "{text}: {remedy}");
            }
            io::Error::from_raw_os_error(libc::EACCES)
        })
    }

    /// Marks a socket and gives it to the user.
    fn ours(&self, socket: OwnedFd) -> io::Result<OwnedFd> {
        setsockopt(&socket, sockopt::Mark, &self.mark)?;
        // The kernel's socket takes the file's owner over, so that a look-up by sock_diag, which decides
        // who may connect, sees the program's user and not us.
        fchown(&socket, Some(Uid::from_raw(self.uid)), None::<Gid>)?;
        Ok(socket)
    }
}
