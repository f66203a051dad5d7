//! Namespaces: macOS has none. Never run.

use std::io;
use std::process::Command;

use crate::namespace::Spaces;

/// Would make `command` start in new namespaces.
///
/// # Errors
/// [`io::ErrorKind::Unsupported`], always.
pub fn enter_new(_command: &mut Command, _spaces: &Spaces) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "macOS has no network namespaces"))
}
