//! Becoming an ordinary user for good.

use std::io;

use nix::unistd;

#[cfg(target_os = "linux")]
pub use crate::linux::user::drop_to;
#[cfg(target_os = "macos")]
pub use crate::macos::user::drop_to;

/// A user of this machine, as its user database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The user that should have been taken on is none.
#[derive(Debug, thiserror::Error)]
pub enum NoUser {
    /// The user database has none of that name.
    #[error("there is no user {0:?} (make it with `useradd --system {0}`, or name another)")]
    Unknown(String),
    /// The user database could not be read.
    #[error("cannot look up the user {name:?}: {source}")]
    Database {
        /// The user that was looked for.
        name: String,
        /// What the database said.
        source: io::Error,
    },
}

impl User {
    /// Looks a user up.
    ///
    /// # Errors
    /// [`NoUser`].
    pub fn by_name(name: &str) -> Result<Self, NoUser> {
        match unistd::User::from_name(name) {
            Ok(Some(user)) => Ok(Self { name: user.name, uid: user.uid.as_raw(), gid: user.gid.as_raw() }),
            Ok(None) => Err(NoUser::Unknown(name.to_owned())),
            Err(errno) => Err(NoUser::Database { name: name.to_owned(), source: errno.into() }),
        }
    }

    /// The user's uid.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The user's primary group.
    pub fn gid(&self) -> u32 {
        self.gid
    }
}

/// Why the process did not become the user. It must not go on then: it may be half one, half the other.
#[derive(Debug, thiserror::Error)]
pub enum NotDropped {
    /// Root has nothing to drop.
    #[error("the user to run as is root itself: name an ordinary user")]
    Root,
    /// Only the calling thread would have lost every right.
    #[error("the process has {0} threads already, and rights are dropped for one thread only")]
    Threads(usize),
    /// The kernel refused a step.
    #[error("cannot {doing} to become an ordinary user: {source}")]
    Kernel {
        /// The step.
        doing: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// A step seemed to work, but the right is still there.
    #[error("the process still has rights after dropping them: {0}")]
    StillThere(&'static str),
}
