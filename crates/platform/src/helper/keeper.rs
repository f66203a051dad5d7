//! The keeper: starts the helper that does the work, and starts it anew when it is lost.
//!
//! ```text
//! daemon ── one socket for good, a byte and a descriptor a helper ── keeper
//!        ── that descriptor: frames, until this helper's end ─────── helper (the keeper's fork)
//! ```
//!
//! A helper that dies in the middle of a job leaves things on the machine, which only somebody with
//! rights can remove, and may leave half a frame in its socket. So each helper has a socket of its
//! own, and undoes what an earlier one left before it speaks. The keeper does nothing else than wait,
//! in one thread without a runtime, so it has little to fail at, and is no large thing to choose when memory
//! runs out. Where no other helper can be started, it undoes by itself, and ends.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, sigaction};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, dup2_stdin, fork};

use crate::program::has_hung_up;
use crate::{descriptor, peer};

/// So many helpers may be lost within [`MEMORY`]; after the next one, another only undoes.
const LOSSES: usize = 3;
const MEMORY: Duration = Duration::from_secs(10);
/// The exit code of a keeper that gave up.
const GAVE_UP: u8 = 1;
/// How often a keeper that can start no helper tries to undo by itself, and how long it waits in between.
const TRIES: usize = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// What a helper is to do, in a process of its own.
#[derive(Debug)]
pub struct Work {
    /// Where jobs come from, for [`super::serve`]. `None` where nobody asks for any: it is only to undo
    /// what an earlier helper left, and to say by its exit code whether nothing is left (0).
    pub socket: Option<OwnedFd>,
    /// The user whose jobs those are.
    pub peer: u32,
}

/// Keeps a helper running for the daemon at the other end of `daemon`, and returns when neither is
/// needed any more: with 0 after the daemon's end, or a SIGTERM, which ends the helper first; with the
/// code of a helper that ended with one of `finals`, which say that another would do no better; with 1 when
/// four helpers were lost within 10 s. Any other end is a loss: another helper runs in any case, to undo.
///
/// Each helper is a fork of this process that runs `work` and exits with the code that it returns. So this
/// is to be called while the process has one thread and no runtime. Where no other helper can be started
/// after the first, `work` is called in this process, to undo, and 1 is returned. Standard input is empty
/// afterwards.
///
/// # Errors
/// When the first helper's socket or process cannot be made.
pub fn keep(daemon: OwnedFd, finals: &[u8], mut work: impl FnMut(Work) -> u8) -> io::Result<u8> {
    let peer = peer::unix_peer(&daemon)?;
    // The daemon must see the end of this process, so no copy may be where a helper could leave it.
    dup2_stdin(File::open("/dev/null")?)?;
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGCHLD]);
    // A terminal sends these to the daemon too, whose end is ours. Nobody waits for them here.
    let not_ours = SigSet::from_iter([Signal::SIGINT, Signal::SIGHUP]);
    let_children_be_noticed()?;
    signals.thread_block()?;
    not_ours.thread_block()?;

    let mut losses = Losses::default();
    let mut is_first = true;
    // Set when the next helper, should there be one, is only to undo: nobody will be at its other end.
    let mut last = None;
    loop {
        let socket = if last.is_none() { offer(&daemon).map(Some) } else { Ok(None) };
        // SAFETY: this thread is the process's only one, so the child finds no lock held.
        let helper = match socket.and_then(|socket| Ok((unsafe { fork() }?, socket))) {
            Ok((ForkResult::Parent { child }, _)) => child,
            Ok((ForkResult::Child, socket)) => {
                drop(daemon);
                let unblocked = signals.thread_unblock().and_then(|()| not_ours.thread_unblock());
                let code = unblocked.map_or(GAVE_UP, |()| work(Work { socket, peer }));
                process::exit(code.into());
            }
            Err(error) if is_first => return Err(error),
            Err(error) => {
                tracing::error!(%error, "cannot start another privileged helper; undoing without one, and giving up");
                undo_here(|| work(Work { socket: None, peer }));
                return Ok(GAVE_UP);
            }
        };
        is_first = false;
        let (status, told) = wait_for(helper, &signals)?;
        if told {
            last.get_or_insert(0);
        }
        match status {
            WaitStatus::Exited(_, 0) if last.is_some() || has_hung_up(&daemon) => {
                return Ok(last.unwrap_or(0));
            }
            WaitStatus::Exited(_, code) if finals.iter().any(|&end| code == i32::from(end)) => {
                return Ok(u8::try_from(code).unwrap_or(GAVE_UP));
            }
            _ => tracing::warn!(?status, "the privileged helper has ended; another undoes what it left"),
        }
        if losses.are_too_many(Instant::now()) {
            tracing::error!("the privileged helper ended again and again; giving up");
            if last.replace(GAVE_UP).is_some() {
                return Ok(GAVE_UP);
            }
        }
    }
}

/// Whoever started us may have SIGCHLD ignored, and an ignored one never comes.
fn let_children_be_noticed() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: no handler is installed, so none can run.
    unsafe { sigaction(Signal::SIGCHLD, &default) }?;
    Ok(())
}

/// Undoes in this process what the last helper left, which may take what made a helper impossible: some
/// descriptors, some memory. So it is tried for a while. No helper is started after this.
fn undo_here(mut undo: impl FnMut() -> u8) {
    for _ in 1..TRIES {
        if undo() == 0 {
            return;
        }
        thread::sleep(PAUSE);
    }
    if undo() != 0 {
        tracing::error!(
            "not all that the last privileged helper did could be undone: run `hypertap recover`"
        );
    }
}

/// Makes a helper's socket, and hands the daemon the other end. A daemon that has gone needs none.
fn offer(daemon: &OwnedFd) -> io::Result<OwnedFd> {
    let (ours, theirs) = UnixStream::pair()?;
    match descriptor::send(daemon.as_fd(), super::OFFER, &[theirs.as_fd()]) {
        Err(error) if super::is_gone(&error) => {}
        // No room is an end too: such a daemon has read none of many.
        sent => drop(sent?),
    }
    Ok(ours.into())
}

/// Waits for a helper's end, and says whether we were told to end meanwhile, in which case so was it.
fn wait_for(helper: Pid, signals: &SigSet) -> io::Result<(WaitStatus, bool)> {
    let mut told = false;
    loop {
        match waitpid(helper, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            status => return Ok((status?, told)),
        }
        if signals.wait()? == Signal::SIGTERM {
            told = true;
            kill(helper, Signal::SIGTERM)?;
        }
    }
}

/// When helpers were lost, the latest few.
#[derive(Debug, Default)]
struct Losses(VecDeque<Instant>);

impl Losses {
    /// Notes one more, and says whether that was one too many.
    fn are_too_many(&mut self, now: Instant) -> bool {
        self.0.retain(|then| now.duration_since(*then) < MEMORY);
        self.0.push_back(now);
        self.0.len() > LOSSES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_losses_within_ten_seconds_are_too_many() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let mut losses = Losses::default();
        assert_eq!([0, 1, 2, 3].map(|now| losses.are_too_many(at(now))), [false, false, false, true]);
        let mut losses = Losses::default();
        assert!((0..100).all(|number| !losses.are_too_many(at(number * 4))));
    }
}
