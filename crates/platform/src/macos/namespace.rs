//! Namespaces: macOS has none. Never run.

use std::io;
use std::path::Path;
use std::process::Command;

use crate::namespace::Spaces;

/// Would make `command` start in new namespaces.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn enter_new(_command: &mut Command, _spaces: &Spaces) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "macOS has no network namespaces"))
}

/// Would show a file in another place.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn bind(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "macOS has no mount namespaces"))
}

/// What tells this network namespace from others, of which there are none.
///
/// # Errors
/// None.
pub fn network_number() -> io::Result<u64> {
    Ok(0)
}
