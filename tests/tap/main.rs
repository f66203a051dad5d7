//! The tap door: an Ethernet interface for programs at sockets, tried with the real binary.

mod broken;
mod dump;
mod framings;
mod keep;
mod lost;
mod modem;
mod options;
mod program;
mod refused;
mod rights;
mod seed;
mod sockets;
mod switch;
