//! Programs that open a TUN device: macOS has no such device, and cannot stop a program's calls. Never run.

use std::io;
use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::thread::JoinHandle;

use crate::shim::{Device, Ends};

/// A program that was never started.
#[derive(Debug)]
pub enum Program {}

impl Program {
    /// Would wait for its end.
    ///
    /// # Errors
    /// None, as there is no such program.
    pub fn wait(self) -> io::Result<ExitStatus> {
        match self {}
    }
}

/// Would start a program under the shim.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always; nothing is started.
pub fn spawn(_command: &mut Command) -> io::Result<(Program, OwnedFd)> {
    Err(unsupported())
}

/// Would serve such a program.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn serve(_listener: OwnedFd, _device: Box<dyn Device>) -> io::Result<JoinHandle<()>> {
    Err(unsupported())
}

/// Would make a pair of message sockets.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn ends(_nonblocking: bool) -> io::Result<Ends> {
    Err(unsupported())
}

fn unsupported() -> io::Error {
    let text = "macOS cannot answer for a program that opens /dev/net/tun: have it connect to the server's \
                socket, or start it by `hypertap tap ... -- PROGRAM` with a descriptor";
    io::Error::new(io::ErrorKind::Unsupported, text)
}
