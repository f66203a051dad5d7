//! Bytes to meaning and back: packets, framings, commands.
//!
//! No I/O, no clock, no runtime, no unsafe. Everything untrusted is parsed here, without panics,
//! and fuzzed.

pub mod batch;
pub mod checksum;
pub mod command;
pub mod event;
pub mod framing;
pub mod line;
pub mod offload;
pub mod packet;
pub mod route;
