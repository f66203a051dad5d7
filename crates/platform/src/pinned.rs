//! A file that was looked at, so that what is then done to it is done to no other that its path has come to lead
//! to.

#[cfg(target_os = "linux")]
pub use crate::linux::pinned::Pinned;
#[cfg(target_os = "macos")]
pub use crate::macos::pinned::Pinned;
