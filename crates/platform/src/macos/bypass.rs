//! Programs past the tunnel: macOS can neither stop a program's socket(2) nor mark a socket. Never run.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Child, Command};

/// Would start a program whose sockets go past the tunnel.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always; nothing is started.
pub fn spawn(_command: &mut Command) -> io::Result<(Child, OwnedFd)> {
    Err(unsupported())
}

/// Would serve such a program.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn serve(_listener: OwnedFd, _mark: u32, _uid: u32) -> io::Result<()> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    let text = "macOS cannot let one program past the tunnel: exclude the networks that it needs";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
