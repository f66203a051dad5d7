//! A file that was looked at, and the folder that it is in, so that what is then done is done to no other that the
//! path has come to lead to.

#[cfg(target_os = "linux")]
pub use crate::linux::pinned::{Folder, Pinned};
#[cfg(target_os = "macos")]
pub use crate::macos::pinned::{Folder, Pinned};
