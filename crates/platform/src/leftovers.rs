//! What killed tunnels have left on this machine and nobody has undone yet.

use std::fmt;

#[cfg(target_os = "linux")]
pub use crate::linux::leftovers::leftovers;
#[cfg(target_os = "macos")]
pub use crate::macos::leftovers::leftovers;

/// A tunnel whose owner died before it could undo what it had made; [`crate::recover`] does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// The owner's process id.
    pub pid: u32,
    /// The interface's name, if it was made. The interface itself may have gone with its owner.
    pub link: Option<String>,
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.link {
            Some(name) => write!(f, "{name} of process {}", self.pid),
            None => write!(f, "an unfinished start of process {}", self.pid),
        }
    }
}
