//! What this process is.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::ptr;

use nix::sys::signal::{SigHandler, Signal, signal};
use nix::sys::stat::{SFlag, fstat};
use nix::unistd::geteuid;

/// This process's effective user id.
pub fn effective_uid() -> u32 {
    geteuid().as_raw()
}

/// Whether that is root's.
pub fn is_root() -> bool {
    geteuid().is_root()
}

/// Whether a descriptor is a socket.
pub fn is_socket(descriptor: impl AsFd) -> bool {
    fstat(descriptor.as_fd())
        .is_ok_and(|file| SFlag::from_bits_truncate(file.st_mode) & SFlag::S_IFMT == SFlag::S_IFSOCK)
}

/// Whether this process lets a signal do nothing, as it may have been started to.
pub fn is_ignored(signal: Signal) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is changed without a new action, and the old one is written where there is room for one.
    unsafe {
        libc::sigaction(signal as libc::c_int, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Lets this process be told how its children end, which it is not where it was started with SIGCHLD
/// ignored. Returns whether it was.
///
/// # Errors
/// None that could be named: of sigaction(2).
pub fn hear_of_children() -> io::Result<bool> {
    let was_ignored = is_ignored(Signal::SIGCHLD);
    if was_ignored {
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGCHLD, SigHandler::SigDfl) }?;
    }
    Ok(was_ignored)
}

/// Keeps a long-lived process's memory to what is in use: large buffers come from the kernel untouched
/// and go back to it when freed, and threads share one heap. Without this glibc's allocator keeps the
/// packet buffers of every tunnel that was ever started (mallopt(3)). For the start of the program.
pub fn keep_memory_small() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt only sets the allocator's parameters; no other thread runs yet, by contract.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_ignored_once_it_was_said_so() {
        assert!(!is_ignored(Signal::SIGUSR2));
        // SAFETY: no handler is installed.
        unsafe { nix::sys::signal::signal(Signal::SIGUSR2, nix::sys::signal::SigHandler::SigIgn) }
            .expect("it may be");
        assert!(is_ignored(Signal::SIGUSR2));
    }

    #[test]
    fn a_socket_is_one_and_a_file_is_none() {
        let (socket, _other) = std::os::unix::net::UnixStream::pair().expect("a pair");
        assert!(is_socket(&socket));
        assert!(!is_socket(std::fs::File::open("/dev/null").expect("a file")));
    }
}
