//! Hearing how a child ended, in a program that ignores SIGCHLD: the kernel tells nobody then, and why an interface
//! cannot be made would have no number.
//!
//! It is the program's own to say what becomes of its children, so it is changed while an interface is made
//! only, and for all threads that make one at once.

use std::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

/// How many make an interface, and what the program had said.
static MAKING: Mutex<(usize, Option<libc::sigaction>)> = Mutex::new((0, None));

/// While this lives, the ends of children are told.
pub(crate) struct Told;

impl Told {
    pub(crate) fn begin() -> Self {
        let mut making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        if making.0 == 0 {
            making.1 = heed();
        }
        making.0 += 1;
        Self
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let mut making = MAKING.lock().unwrap_or_else(PoisonError::into_inner);
        making.0 -= 1;
        if making.0 == 0
            && let Some(before) = making.1.take()
        {
            // SAFETY: it is what was set before; nothing is written.
            unsafe { libc::sigaction(libc::SIGCHLD, &raw const before, std::ptr::null_mut()) };
        }
    }
}

/// Has the ends of children told, if they are not; returns what was set then.
fn heed() -> Option<libc::sigaction> {
    let mut before = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: nothing is set, and what is is written where there is room for it; zeros are valid besides.
    let before = unsafe {
        libc::sigaction(libc::SIGCHLD, std::ptr::null(), before.as_mut_ptr());
        before.assume_init()
    };
    let is_ignored = before.sa_sigaction == libc::SIG_IGN;
    if !is_ignored && before.sa_flags & libc::SA_NOCLDWAIT == 0 {
        return None;
    }
    let mut heeded = before;
    heeded.sa_flags &= !libc::SA_NOCLDWAIT;
    if is_ignored {
        heeded.sa_sigaction = libc::SIG_DFL;
    }
    // SAFETY: it is what the program had set, or the default.
    unsafe { libc::sigaction(libc::SIGCHLD, &raw const heeded, std::ptr::null_mut()) };
    Some(before)
}
