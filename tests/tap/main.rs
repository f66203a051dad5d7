//! The tap door: an Ethernet interface for programs at sockets, tried with the real binary.

mod broken;
mod data;
mod dump;
mod framings;
mod keep;
mod limits;
mod lost;
mod modem;
mod options;
mod places;
mod program;
mod refused;
mod restricted;
mod rights;
mod seed;
mod sockets;
mod switch;
