//! The services door: a node of a mesh, whose services have addresses and names of their own.
//!
//! A program's connection comes from the interface into the shard (`shard`), a thread that ends TCP in user
//! space. For each the node asks whose service that is (`client`), has the far side say yes, and only
//! then answers the program; from there on bytes pass (`flow`). Datagrams have flows of their own (`udp`). What peers ask of
//! this node's services ends in `server`.

mod check;
mod client;
mod control;
mod dns;
mod far;
mod flow;
mod guests;
mod interface;
mod local_addresses;
mod outside;
mod packets;
mod pex;
mod ready;
mod reload;
mod said;
mod server;
mod settings;
mod shard;
mod splice;
mod standing;
mod state;
mod target;
mod told;
mod udp;
mod up;
mod usage;

pub use control::{Request, socket_name};
pub use up::run;
