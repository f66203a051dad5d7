//! The deciders, without I/O: input and time are arguments, output is returned.
//!
//! - [`router`]: longest-prefix match, for the services door
//! - [`routes`]: which addresses go into the tunnel, and what a change of that means for a kernel table
//! - [`tcp`]: TCP in user space, for connections to service addresses

pub mod router;
pub mod routes;
pub mod tcp;
