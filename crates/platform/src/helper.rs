//! The privileged half in a process of its own.
//!
//! A Unix stream socket joins the daemon, which has a [`Helper`], and the helper process, which runs
//! [`serve`] over the jobs done in place. The daemon asks, the helper answers, one question at a time;
//! each frame is a length and JSON, and descriptors (a TUN's queues, a seccomp listener) ride on the
//! frame that speaks of them. The first frame of each side says which version of this it speaks.
//!
//! The socket's end is the other's death notice, however it died: the helper then undoes all that it
//! did and ends, and the daemon's [`Privileged::gone`](crate::Privileged::gone) completes.
//!
//! Through pkexec the daemon is an ordinary user's, so the helper trusts nothing that it is sent:
//! frames are bounded, requests are validated again, and an ordinary user can have sockets marked for
//! himself only.

mod client;
mod frame;
mod message;
mod serve;
mod spawn;

pub use client::Helper;
pub use serve::serve;
pub use spawn::{HelperStart, Starting, Via, spawn};
