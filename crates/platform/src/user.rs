//! Becoming an ordinary user for good.

use std::ffi::CString;
use std::io;

use nix::unistd::{self, Gid, Uid};

#[cfg(target_os = "linux")]
use crate::linux::capabilities::{drop_capabilities, has_capabilities, lower_bound, threads};

/// A user of this machine, as its user database has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    name: String,
    uid: u32,
    gid: u32,
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

/// Makes this process `user`'s for good: its groups, its ids, no capability in any set, none in the
/// bounding set either, and no set-uid program gives any back (`no_new_privs`). The way back is tried
/// and must be closed. Must run before the process starts threads.
///
/// The process stays undumpable (prctl(2)): it has held more rights than its user, and may hold
/// descriptors that its user could otherwise take out of it with ptrace.
///
/// # Errors
/// [`NotDropped`]; end the process then.
pub fn drop_to(user: &User) -> Result<(), NotDropped> {
    let step = |doing| move |source: io::Error| NotDropped::Kernel { doing, source };
    if user.uid == 0 {
        return Err(NotDropped::Root);
    }
    match threads().map_err(step("count the threads"))? {
        1 => {}
        threads => return Err(NotDropped::Threads(threads)),
    }
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    let name = CString::new(user.name.as_str()).map_err(|error| step("take on the groups")(error.into()))?;
    lower_bound().map_err(step("lower the bound of capabilities"))?;
    unistd::initgroups(&name, gid).map_err(|errno| step("take on the groups")(errno.into()))?;
    unistd::setresgid(gid, gid, gid).map_err(|errno| step("take on the group")(errno.into()))?;
    unistd::setresuid(uid, uid, uid).map_err(|errno| step("take on the uid")(errno.into()))?;
    drop_capabilities().map_err(step("drop the capabilities"))?;
    no_way_back(user)
}

fn no_way_back(user: &User) -> Result<(), NotDropped> {
    let root = (Uid::from_raw(0), Gid::from_raw(0));
    if unistd::setresuid(root.0, root.0, root.0).is_ok() || unistd::seteuid(root.0).is_ok() {
        return Err(NotDropped::StillThere("it became root again"));
    }
    if unistd::setgroups(&[root.1]).is_ok() || (user.gid != 0 && unistd::setegid(root.1).is_ok()) {
        return Err(NotDropped::StillThere("it took root's group again"));
    }
    let ids = unistd::getresuid().map_err(|_| NotDropped::StillThere("its uids are not known"))?;
    if [ids.real, ids.effective, ids.saved].iter().any(|uid| uid.as_raw() != user.uid) {
        return Err(NotDropped::StillThere("one of its uids is another"));
    }
    if has_capabilities().unwrap_or(true) {
        return Err(NotDropped::StillThere("it has a capability"));
    }
    Ok(())
}
