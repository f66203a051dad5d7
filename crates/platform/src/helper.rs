//! The privileged half in a process of its own.
//!
//! A Unix stream socket joins the daemon, which has a [`Helper`], and the helper process, which runs
//! [`serve`] over the jobs done in place. The daemon asks, the helper answers, one question at a time;
//! each frame is a length and JSON, and descriptors (a TUN's queues, a seccomp listener) ride on the
//! frame that speaks of them. The first frame of each side says which version of this it speaks.
//!
//! The socket's end is the other's death notice, however it died. The helper then undoes all that it
//! did and ends. A daemon that is only stopped (SIGSTOP) is not dead: its tunnel stays, and its routes lead
//! to nobody, until it is continued or killed.
//!
//! When the helper is lost, its parent, the keeper ([`keep`]), starts another, which first undoes what
//! the lost one did; then the daemon's [`Privileged::gone`](crate::Privileged::gone) says so. Where no other
//! can be started, the keeper undoes by itself. The keeper's own end is the half's end for good.
//!
//! Through pkexec the daemon is an ordinary user's, so the helper trusts nothing that it is sent:
//! frames are bounded, requests are validated again, and an ordinary user can have sockets marked for
//! himself only.

use std::io;

mod client;
mod frame;
mod keeper;
mod message;
mod serve;
mod spawn;
mod succession;

pub use client::Helper;
pub use keeper::{Work, keep};
pub use serve::serve;
pub use spawn::{HelperStart, Starting, Via, spawn};

/// What the keeper's socket carries: this, with a helper's socket as descriptor.
const OFFER: &[u8] = b"h";

/// Whether an error is the other side's end: one that was killed may leave half a frame, or an answer unread.
fn is_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | UnexpectedEof)
}
