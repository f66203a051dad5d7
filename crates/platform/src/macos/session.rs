//! Login sessions: there is no logind on macOS, so nothing watches them. Never run.

use crate::session::SessionEvent;

/// Would watch the login sessions of one user; there is never one here.
#[derive(Debug)]
pub enum SessionWatch {}

impl SessionWatch {
    /// Always `None`.
    #[expect(clippy::unused_async, reason = "where there is a logind, it is asked")]
    pub async fn new(_uid: u32) -> Option<Self> {
        None
    }

    /// Never called, for there is nothing to call it on.
    #[expect(clippy::unused_async, reason = "where there is a logind, it is waited for")]
    pub async fn next(&mut self) -> SessionEvent {
        match *self {}
    }
}
