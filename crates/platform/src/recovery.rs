//! What was found of dead processes.

use std::fmt;

/// What [`crate::recover`] did about a tunnel whose owner had died.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// The owner's process id.
    pub pid: u32,
    /// The interface's name, if it was made.
    pub link: Option<String>,
    /// Whether the interface was there still, and is deleted now.
    pub deleted_link: bool,
    /// How many rules were removed.
    pub rules: usize,
    /// How many routes were removed; those that went with the link are not counted.
    pub routes: usize,
}

impl fmt::Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (Some(name), true) = (&self.link, self.deleted_link) {
            write!(f, "interface {name}, ")?;
        }
        write!(f, "{} rules and {} routes of process {}", self.rules, self.routes, self.pid)
    }
}
