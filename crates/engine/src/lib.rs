//! The deciders, without I/O: input and time are arguments, output is returned.
//!
//! - [`modem`]: a telephone line's guest as a station of an Ethernet
//! - [`ppp`]: the point-to-point protocol's answering side, for one guest
//! - [`router`]: longest-prefix match, for the services door
//! - [`routes`]: which addresses go into the tunnel, and what a change of that means for a kernel table
//! - [`services`]: who is in the network of services, who may use what, and which packets are in order
//! - [`switch`]: a learning Ethernet switch
//! - [`tcp`]: TCP in user space, for connections to service addresses
//! - [`udp`]: datagrams to service addresses, as flows
//! - [`zone`]: the names of nodes and services, for whoever asks by DNS

pub mod modem;
pub mod ppp;
pub mod router;
pub mod routes;
pub mod services;
pub mod switch;
pub mod tcp;
pub mod udp;
pub mod zone;
