//! Bytes to meaning and back: packets, frames, framings, commands.
//!
//! No I/O, no clock, no runtime, no unsafe. Everything untrusted is parsed here, without panics,
//! and fuzzed.

pub mod arp;
pub mod batch;
pub mod checksum;
pub mod command;
pub mod ethernet;
pub mod event;
pub mod frames;
pub mod framing;
pub mod hdlc;
pub mod line;
pub mod offload;
pub mod packet;
pub mod ppp;
pub mod route;
