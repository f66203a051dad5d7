//! Bytes to meaning and back: packets, frames, framings, commands, peers' streams and names.
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
pub mod icmp;
pub mod ip;
pub mod label;
pub mod line;
pub mod message;
mod multibase;
pub mod offload;
pub mod packet;
pub mod packet_stream;
pub mod peer_id;
pub mod pex;
pub mod ppp;
pub mod proxy_protocol;
pub mod route;
pub mod service_address;
pub mod service_stream;
pub mod target;
pub mod tcp;
pub mod udp;
pub mod yamux;
