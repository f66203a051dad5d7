//! Listening Unix sockets of either kind that a data plane uses.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::sys::socket::{Backlog, SockType, UnixAddr, bind, listen as listen_on};
use std::os::fd::AsRawFd;

#[cfg(target_os = "linux")]
use crate::linux::socket::unix_socket;
#[cfg(target_os = "macos")]
use crate::macos::socket::unix_socket;

/// The kind of a Unix socket (unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SOCK_STREAM`: bytes.
    Stream,
    /// `SOCK_SEQPACKET`: messages, in order and whole.
    SeqPacket,
}

/// Listens at a path, not blocking, with a file that everybody may connect to: who may speak is
/// asked of the kernel when somebody does. A file that is there already is replaced.
///
/// # Errors
/// Of socket(2), bind(2) and listen(2).
pub fn listen(path: &Path, kind: Kind) -> io::Result<UnixListener> {
    let kind = match kind {
        Kind::Stream => SockType::Stream,
        Kind::SeqPacket => SockType::SeqPacket,
    };
    let descriptor = unix_socket(kind)?;
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind(descriptor.as_raw_fd(), &UnixAddr::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    listen_on(&descriptor, Backlog::new(16)?)?;
    Ok(descriptor.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{AddressFamily, SockFlag, connect, getsockopt, socket, sockopt};

    #[test]
    fn both_kinds_can_be_connected_to_and_replace_an_old_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("data.sock");
        for (kind, wanted) in [(Kind::Stream, SockType::Stream), (Kind::SeqPacket, SockType::SeqPacket)] {
            let listener = listen(&path, kind).expect("listens");
            assert_eq!(getsockopt(&listener, sockopt::SockType), Ok(wanted));
            let program =
                socket(AddressFamily::Unix, wanted, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
            let address = UnixAddr::new(&path).expect("a path");
            assert_eq!(connect(program.as_raw_fd(), &address), Ok(()));
        }
    }
}
