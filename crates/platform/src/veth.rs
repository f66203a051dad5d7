//! A wire between two network namespaces: a pair of Ethernet interfaces (veth(4)).

#[cfg(target_os = "linux")]
pub use crate::linux::veth::{give_address, lay};
#[cfg(target_os = "macos")]
pub use crate::macos::veth::{give_address, lay};
