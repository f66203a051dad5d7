//! The login sessions of the user whose daemon this is.
//!
//! A tunnel that a user's own service manager started outlives the user's screen: with lingering it
//! runs on after the logout, and it runs on while somebody else sits at the seat. A [`SessionWatch`]
//! says when either happens. logind tells it, by signals on the system bus; nothing is polled.

use std::env;
use std::os::unix::process::parent_id;

#[cfg(target_os = "linux")]
pub use crate::linux::logind::SessionWatch;
#[cfg(target_os = "macos")]
pub use crate::macos::session::SessionWatch;

/// Something that happened to the user's login sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionEvent {
    /// The user's last login session ended.
    LoggedOut,
    /// The active session of the user's seat has become another user's, a login screen's included.
    OtherUser,
}

/// Whether this process is a service of an ordinary user's service manager.
///
/// It is when it is not root's, and the manager that started it is its parent: systemd sets
/// `INVOCATION_ID` for every service and a user's manager puts its process id in `MANAGERPID`
/// (systemd.exec(5)). Both variables are passed on to everything that a service starts, a desktop's
/// terminals among it, so they alone say nothing; that the manager is the parent does.
pub fn is_user_service() -> bool {
    let manager = env::var("MANAGERPID").ok().and_then(|text| text.parse().ok());
    !crate::process::is_root() && env::var_os("INVOCATION_ID").is_some() && manager == Some(parent_id())
}
