//! What the system tests are made of: a machine of its own for each test, the real binary, and the
//! two ends that talk to it.
//!
//! Nothing here uses the project's own client or wire crates: the tests judge what is on the wire.

#![allow(clippy::missing_panics_doc, reason = "a harness fails a test by panicking")]

pub mod client;
pub mod daemon;
pub mod debian;
pub mod dump;
pub mod frame;
pub mod inside;
pub mod io;
pub mod machine;
pub mod modem;
pub mod namespaces;
pub mod open_files;
pub mod packet;
pub mod peer;
pub mod program;
pub mod responder;
pub mod scene;
pub mod tap;
pub mod wait;

pub use client::Client;
pub use daemon::{Daemon, Setup};
pub use dump::Dump;
pub use namespaces::{in_namespaces, in_namespaces_within};
pub use peer::Peer;
pub use program::{Program, UdpProgram};
pub use responder::Responder;
pub use scene::{Scene, with_daemon, with_daemon_as};
pub use serde_json::{Value, json};
pub use wait::{TIME, eventually, eventually_within};
