//! Who is at the other end, and who may be.
//!
//! Loopback TCP and UDP carry no identity, so the kernel is asked who owns the other socket
//! ([`PeerLookup`]); a Unix socket carries its peer's uid ([`unix_peer`]). [`Allowed`] then says
//! whether that uid may use hypertap: root, the user that started it, and the members of a group.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::unistd::{self, Gid, Group, Uid, User};

#[cfg(target_os = "linux")]
pub use crate::linux::sock_diag::PeerLookup;
#[cfg(target_os = "linux")]
use crate::linux::{socket, user::groups_of};
#[cfg(target_os = "macos")]
pub use crate::macos::peer::PeerLookup;
#[cfg(target_os = "macos")]
use crate::macos::{socket, user::groups_of};

/// How long an answer of the user database is kept.
const KEPT: Duration = Duration::from_secs(5);
/// How many answers are kept; a machine has few users that ever connect.
const KEPT_UIDS: usize = 256;

/// [`PeerLookup::tcp_peer`] over a connection of its own.
///
/// # Errors
/// What the kernel said.
pub fn tcp_peer(ours: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
    PeerLookup::new()?.tcp_peer(ours, peer)
}

/// [`PeerLookup::udp_owner`] over a connection of its own.
///
/// # Errors
/// What the kernel said.
pub fn udp_owner(ours: SocketAddr, peer: SocketAddr) -> io::Result<Option<u32>> {
    PeerLookup::new()?.udp_owner(ours, peer)
}

/// The uid at the other end of a connected Unix socket, as it was when it connected or, of a socket
/// pair, when the pair was made (`SO_PEERCRED`, unix(7); getpeereid(3) on macOS).
///
/// # Errors
/// What the kernel said; `ENOTCONN` where nobody ever was there.
pub fn unix_peer(socket: impl AsFd) -> io::Result<u32> {
    socket::unix_peer(&socket)
}

/// The user on whose behalf this process runs: behind sudo or pkexec the one who asked, else the
/// real uid. The two variables are believed only when we are root, who alone gets them from there.
pub fn starting_user() -> u32 {
    starting_user_from(unistd::getuid().as_raw(), |name| std::env::var(name).ok())
}

fn starting_user_from(real: u32, variable: impl Fn(&str) -> Option<String>) -> u32 {
    if real != 0 {
        return real;
    }
    let asked = |name| variable(name)?.parse().ok();
    asked("SUDO_UID").or_else(|| asked("PKEXEC_UID")).unwrap_or(real)
}

/// The group that should have been permitted is none.
#[derive(Debug, thiserror::Error)]
pub enum NoGroup {
    /// The group database has none of that name.
    #[error("there is no group {0:?} (make it with `groupadd --system {0}`, or name another with --group)")]
    Unknown(String),
    /// The group database could not be read.
    #[error("cannot look up the group {name:?}: {source}")]
    Database {
        /// The group that was looked for.
        name: String,
        /// What the database said.
        source: io::Error,
    },
}

/// Who may use this hypertap.
#[derive(Debug)]
pub struct Allowed {
    starting: u32,
    group: Option<Gid>,
    members: Mutex<HashMap<u32, (Instant, bool)>>,
}

impl Allowed {
    /// Permits root, `starting`, and the members of `group`, by primary or supplementary membership.
    ///
    /// # Errors
    /// [`NoGroup`] when there is no such group.
    pub fn new(starting: u32, group: Option<&str>) -> Result<Self, NoGroup> {
        let group = group.map(group_id).transpose()?;
        Ok(Self { starting, group, members: Mutex::default() })
    }

    /// Whether `uid` may use this hypertap. Asks the user database for a uid that was not asked for
    /// in the last five seconds; a uid that the database does not know, or cannot say, may not.
    pub fn permits(&self, uid: u32) -> bool {
        uid == 0 || uid == self.starting || self.group.is_some_and(|group| self.is_member(uid, group))
    }

    fn is_member(&self, uid: u32, group: Gid) -> bool {
        let now = Instant::now();
        let fresh = |asked: Instant| now.duration_since(asked) < KEPT;
        {
            let members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some((asked, member)) = members.get(&uid)
                && fresh(*asked)
            {
                return *member;
            }
        }
        let member = is_member(uid, group).unwrap_or_else(|errno| {
            tracing::warn!(uid, %errno, "cannot look up a user's groups; refused");
            false
        });
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        if members.len() >= KEPT_UIDS {
            members.retain(|_, (asked, _)| fresh(*asked));
        }
        if members.len() < KEPT_UIDS {
            members.insert(uid, (now, member));
        }
        member
    }
}

fn group_id(name: &str) -> Result<Gid, NoGroup> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(NoGroup::Unknown(name.to_owned())),
        Err(errno) => Err(NoGroup::Database { name: name.to_owned(), source: errno.into() }),
    }
}

fn is_member(uid: u32, group: Gid) -> nix::Result<bool> {
    let Some(user) = User::from_uid(Uid::from_raw(uid))? else { return Ok(false) };
    let name = std::ffi::CString::new(user.name).map_err(|_| nix::errno::Errno::EINVAL)?;
    Ok(groups_of(&name, user.gid)?.contains(&group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sudo_and_pkexec_are_believed_only_from_root() {
        let sudo = |name: &str| (name == "SUDO_UID").then(|| "1000".to_owned());
        let pkexec = |name: &str| (name == "PKEXEC_UID").then(|| "1001".to_owned());
        let junk = |_: &str| Some("-1".to_owned());
        assert_eq!(starting_user_from(0, sudo), 1000);
        assert_eq!(starting_user_from(0, pkexec), 1001);
        assert_eq!(starting_user_from(0, junk), 0);
        assert_eq!(starting_user_from(0, |_| None), 0);
        assert_eq!(starting_user_from(1234, sudo), 1234);
        assert_eq!(starting_user_from(1234, pkexec), 1234);
    }

    #[test]
    fn answers_kept_are_bounded() {
        let allowed = Allowed::new(1, Some("root")).expect("there is a group root");
        for uid in 100_000..100_000 + 2 * u32::try_from(KEPT_UIDS).expect("a small number") {
            assert!(!allowed.permits(uid));
        }
        assert!(allowed.members.lock().expect("not poisoned").len() <= KEPT_UIDS);
    }
}
