//! Wires between namespaces: macOS has neither. Never run.

use std::io;
use std::net::Ipv4Addr;

/// Would make a pair of interfaces.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn lay(_name: &str, _process: u32) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "macOS has no network namespaces"))
}

/// Would give an end its address.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn give_address(_name: &str, _address: Ipv4Addr, _prefix: u8) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "macOS has no network namespaces"))
}
