//! The tap door: an Ethernet interface for programs at sockets, tried with the real binary.

mod broken;
mod data;
mod dump;
mod framings;
mod keep;
mod lost;
mod modem;
mod options;
mod program;
mod refused;
mod restricted;
mod rights;
mod seed;
mod sockets;
mod switch;
