//! A Unix datagram socket by which guests exchange frames with us: one frame a datagram, as QEMU's
//! `-netdev dgram`, vfkit and libkrun speak it.
//!
//! Guests are told apart by the names of their sockets, and each is answered at its name. Since the name
//! comes from whoever may send to us, and we may have rights that he lacks, nothing is sent by it before it
//! was looked at ([`Answer::open`]):
//!
//! - A path must be absolute. It is opened without following a last symbolic link, and what is
//!   there must be a socket whose owner is the datagram's sender, as the kernel vouches for him
//!   (`SCM_CREDENTIALS`, unix(7)), unless that is root. From then on frames go to that inode, by way of
//!   `/proc/self/fd`, whatever the path leads to later.
//! - An abstract name has no owner and may be another's in another network namespace. Only root and our
//!   own user are answered there.
//!
//! A guest is answered by a socket of its own, so that its full queue is nobody else's. One that has connected
//! its socket to ours takes frames from ours alone, which is then used; that socket's memory is shared by all
//! such guests.

use std::fmt;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[cfg(target_os = "linux")]
pub use crate::linux::guest_socket::{Answer, GuestSocket};
#[cfg(target_os = "macos")]
pub use crate::macos::guest_socket::{Answer, GuestSocket};

/// The longest name of a Unix socket, in bytes.
const MAX_NAME: usize = 108;

/// The name of a guest's socket.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct GuestName {
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl GuestName {
    /// The name in a Unix address; nothing when the socket has none, or one that is too long.
    pub fn new(name: &[u8]) -> Option<Self> {
        let mut bytes = [0; MAX_NAME];
        let len = u8::try_from(name.len()).ok().filter(|len| *len > 0)?;
        bytes.get_mut(..name.len())?.copy_from_slice(name);
        Some(Self { bytes, len })
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.len)).unwrap_or_default()
    }

    /// The path, if that is what it is.
    pub fn path(&self) -> Option<&Path> {
        let bytes = self.bytes();
        (bytes.first() != Some(&0)).then(|| Path::new(std::ffi::OsStr::from_bytes(bytes)))
    }

    /// The abstract name without its leading zero, if that is what it is.
    pub fn abstract_name(&self) -> Option<&[u8]> {
        self.bytes().strip_prefix(&[0])
    }
}

impl fmt::Display for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.path(), self.abstract_name()) {
            (Some(path), _) => write!(f, "{}", path.to_string_lossy().escape_debug()),
            (None, Some(name)) => write!(f, "@{}", String::from_utf8_lossy(name).escape_debug()),
            (None, None) => Ok(()),
        }
    }
}

impl fmt::Debug for GuestName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Who sent a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender {
    /// The name of its socket, if it has one.
    pub name: Option<GuestName>,
    /// The sender's user id, as the kernel vouches for it.
    pub uid: Option<u32>,
}

/// Why a guest is not answered.
#[derive(Debug, thiserror::Error)]
pub enum NoAnswer {
    /// Nobody listens there.
    #[error("nobody receives there any more")]
    Gone,
    /// A path that begins at the guest's working directory.
    #[error("it has a relative path: bind the guest's socket to an absolute one")]
    Relative,
    /// Something else is there.
    #[error("what is there is no datagram socket")]
    NotASocket,
    /// The socket is not the sender's.
    #[error("the socket there belongs to uid {owner}, and its sender is uid {sender}")]
    NotTheSenders {
        /// Whose the socket is.
        owner: u32,
        /// Who sent.
        sender: u32,
    },
    /// The kernel did not say who sent.
    #[error("the kernel does not say whose it is")]
    UnknownSender,
    /// An abstract name of somebody else.
    #[error("it has an abstract name, where only root and this program's user are answered: use a path")]
    Abstract,
    /// What the machine says.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// How far [`Answer::send`] came.
#[derive(Debug)]
pub struct Sent {
    /// So many frames were sent.
    pub frames: usize,
    /// Why not the next; nothing when all were.
    pub refusal: Option<Refusal>,
}

/// Why a guest did not take a frame.
#[derive(Debug)]
pub enum Refusal {
    /// It, or the kernel, has no room now.
    Full,
    /// Its socket is gone.
    Gone,
    /// It has connected its socket elsewhere since: open another answer.
    Connected,
    /// This frame cannot be sent.
    Other(io::Error),
}
