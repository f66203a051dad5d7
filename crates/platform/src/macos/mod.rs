//! macOS.
//!
//! Everything here type-checks for `aarch64-apple-darwin`, and none of it has ever run: it was written
//! from manual pages, headers and the sources of the crates it uses. What macOS does not have says so
//! in an error; nothing pretends.
//!
//! What is left on the machine when the process is killed: the utun goes with its last descriptor, and
//! the routes into it with the utun. Excluded routes lead through another interface and stay until that
//! one goes down. There is no journal to remove them from. The feths of a TAP stay too.

mod machine;
mod recovery;
mod routes;
mod tap;
mod tun;
pub use machine::{in_process, in_process_without_journal};
pub use recovery::{default_state_dir, is_left, recover};
pub(crate) mod bypass;
pub(crate) mod datagram;
pub(crate) mod event;
pub(crate) mod guest_socket;
pub(crate) mod leftovers;
pub(crate) mod monitor;
pub(crate) mod namespace;
pub(crate) mod node_link;
pub(crate) mod peer;
pub(crate) mod pinned;
pub(crate) mod poller;
pub(crate) mod queue;
pub(crate) mod resolver;
pub(crate) mod rights;
pub(crate) mod session;
pub(crate) mod shim;
pub(crate) mod socket;
pub(crate) mod user;
pub(crate) mod veth;
