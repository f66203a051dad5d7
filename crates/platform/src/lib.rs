//! The machine: TUN, routes, rules, resolver, privileges, link events, peer credentials.
//!
//! The only crate with `unsafe` and with `cfg(target_os)`. Each thing is one name here, with
//! `linux/` and `macos/` behind it.

#![deny(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "macos")]
mod macos;

pub mod activation;
pub mod bypass;
pub mod datagram;
pub mod descriptor;
pub mod guest_socket;
pub mod helper;
pub mod inherited;
pub mod leftovers;
pub mod link;
pub mod lookup;
pub mod memory;
pub mod monitor;
pub mod namespace;
pub mod node_link;
pub mod peer;
pub mod pinned;
pub mod poller;
pub mod privileged;
pub mod process;
pub mod program;
pub mod queue;
mod recovery;
pub mod resolver;
pub mod rights;
pub mod service_manager;
pub mod session;
pub mod shim;
#[cfg(test)]
mod soon;
pub mod stop;
pub mod unix_listener;
pub mod user;
pub mod veth;

#[cfg(target_os = "linux")]
pub use linux::{default_state_dir, in_process, in_process_without_journal, is_left, recover};
#[cfg(target_os = "macos")]
pub use macos::{default_state_dir, in_process, in_process_without_journal, is_left, recover};
pub use privileged::{
    Errno, Footprint, Gone, MachineError, Offload, Privileged, RouteChange, RouteKind, Tap, TapName, TapSpec,
    Tun, TunSpec,
};
pub use recovery::Recovered;
