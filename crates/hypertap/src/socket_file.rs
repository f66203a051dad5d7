//! Files of Unix sockets that we listen on: made, found dead, removed, and never another's.
//!
//! A socket file says nothing of its owner: nobody listens on one that was left behind, and nobody does yet
//! on one between bind(2) and listen(2). So whoever makes or judges one holds the lock of its folder.
//!
//! Nor does a path say for long what it leads to: whoever owns a folder on the way may put another in its place at
//! any time. So the folder is held from the first look to the removal, and what is judged, given away or removed is
//! what is in that one. Only bind(2) takes the path, under which clients see the socket: where that led elsewhere
//! meanwhile, nothing new is in the folder that is held.

mod place;

use std::ffi::OsStr;
use std::fmt;
use std::io::{self, ErrorKind};
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

use self::place::{Identity, Place};

/// A socket's file that was seen at a path.
#[derive(Debug)]
pub struct Seen {
    path: PathBuf,
    place: Place,
    identity: Identity,
}

impl Seen {
    /// That which is at a path; nothing where no socket is there. With a number, only that which has it (see
    /// [`SocketFile::number`]).
    pub fn at(path: &Path, number: Option<&OsStr>) -> Option<Self> {
        let place = Place::of(path).ok()?;
        let identity = place.identity()?;
        let is_it = number.is_none_or(|number| number == identity.number().as_str());
        is_it.then(|| Self { path: path.to_owned(), place, identity })
    }

    /// Removes it, unless another's is there by now.
    ///
    /// # Errors
    /// Of unlink(2).
    pub fn remove(&self) -> io::Result<()> {
        let _alone = self.place.lock();
        if self.place.identity() == Some(self.identity) { self.place.remove() } else { Ok(()) }
    }
}

/// The file of a socket that we listen on; dropping this removes it, unless another's is there by then.
#[derive(Debug)]
pub struct SocketFile(Seen);

impl SocketFile {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    /// What tells it from any other file, as long as its socket is there.
    pub fn number(&self) -> String {
        self.0.identity.number()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // After dropping rights it may not be ours to remove; the helper does it then.
        let _ = self.0.remove();
    }
}

/// Removes those of a folder's sockets that nobody listens on, as far as they are ours to remove.
pub fn remove_dead(paths: &[PathBuf]) {
    let places: Vec<Place> = paths.iter().filter_map(|path| Place::of(path).ok()).collect();
    let _alone = places.first().and_then(Place::lock);
    for place in &places {
        if place.is_dead().unwrap_or(false) {
            let _ = place.remove();
        }
    }
}

/// Why a path cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum NotBound {
    /// Something else is there.
    #[error("is there already and is no socket")]
    Other,
    /// Another listens there.
    #[error("is in use by another program")]
    Live,
    /// A socket that we may not connect to, or one that nobody listens on and that we may not remove.
    #[error("is there already and belongs to somebody else")]
    Foreign,
    /// The file cannot be given to whom it is to be.
    #[error("cannot be given to {whom}: {source}")]
    NotGiven {
        /// To whom, by number.
        whom: Whom,
        /// What the machine says.
        source: io::Error,
    },
    /// Somebody has put something else in the place of the file.
    #[error("is no longer the socket that was made there")]
    Replaced,
    /// What the machine says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// To whom a file is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// A user.
    User(u32),
    /// A group.
    Group(u32),
}

impl fmt::Display for Whom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(uid) => write!(f, "user {uid}"),
            Self::Group(gid) => write!(f, "group {gid}"),
        }
    }
}

/// Who may use a socket's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// The bits of chmod(2).
    pub mode: u32,
    /// Whose it is, unless that of who makes it.
    pub owner: Option<u32>,
    /// Its group likewise.
    pub group: Option<u32>,
}

/// The kind of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream, which listens.
    Stream,
    /// Datagrams.
    Datagram,
}

/// Makes a socket at a path, with a file that was never open to anybody but those of `access`. A stale
/// socket's file is replaced. To be called while the process has one thread.
///
/// # Errors
/// Why it cannot be had; no file is left then, unless the path led elsewhere meanwhile.
pub fn bind_for(path: &Path, kind: Kind, access: &Access) -> Result<(OwnedFd, SocketFile), NotBound> {
    let place = Place::of(path)?;
    let _alone = place.lock();
    place.make_room()?;
    let before = umask(Mode::from_bits_truncate(0o777));
    let bound = match kind {
        Kind::Stream => UnixListener::bind(path).map(OwnedFd::from),
        Kind::Datagram => UnixDatagram::bind(path).map(OwnedFd::from),
    };
    umask(before);
    let socket = bound?;
    match hand_over(&place, access) {
        Ok(identity) => Ok((socket, SocketFile(Seen { path: path.to_owned(), place, identity }))),
        Err(NotBound::Replaced) => Err(NotBound::Replaced),
        Err(error) => {
            let _ = place.remove();
            Err(error)
        }
    }
}

/// Gives the socket's file that we have just made at a place to whom it is to be, and opens it to them. Whatever is
/// there by then is looked at first, and only what was looked at is changed.
fn hand_over(place: &Place, access: &Access) -> Result<Identity, NotBound> {
    let pinned = match place.pin() {
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(NotBound::Replaced),
        pinned => pinned?,
    };
    let file = pinned.metadata()?;
    let is_ours = file.uid() == geteuid().as_raw() && file.nlink() == 1;
    let identity = Identity::of_socket(&file).filter(|_| is_ours).ok_or(NotBound::Replaced)?;
    // The group first: the file may not be ours afterwards.
    if let Some(group) = access.group {
        let not_given = |source| NotBound::NotGiven { whom: Whom::Group(group), source };
        pinned.give(None, Some(group)).map_err(not_given)?;
    }
    if let Some(owner) = access.owner {
        let not_given = |source| NotBound::NotGiven { whom: Whom::User(owner), source };
        pinned.give(Some(owner), None).map_err(not_given)?;
    }
    pinned.set_mode(access.mode)?;
    Ok(identity)
}

/// Listens on the first of `paths` that nobody listens on, with a file that everybody may connect to. A
/// stale socket's file is replaced.
///
/// # Errors
/// Which of them cannot be had, and why: the last, where others listen on all.
pub fn bind(paths: &[PathBuf]) -> Result<(UnixListener, SocketFile), (PathBuf, NotBound)> {
    let mut refused = (PathBuf::new(), NotBound::Io(ErrorKind::NotFound.into()));
    for path in paths {
        match bind_for_all(path) {
            Err(error @ (NotBound::Live | NotBound::Foreign)) => refused = (path.clone(), error),
            bound => return bound.map_err(|error| (path.clone(), error)),
        }
    }
    Err(refused)
}

fn bind_for_all(path: &Path) -> Result<(UnixListener, SocketFile), NotBound> {
    let place = Place::of(path)?;
    let _alone = place.lock();
    place.make_room()?;
    let listener = UnixListener::bind(path)?;
    let identity = hand_over(&place, &Access { mode: 0o666, owner: None, group: None })?;
    Ok((listener, SocketFile(Seen { path: path.to_owned(), place, identity })))
}

#[cfg(test)]
mod tests;
