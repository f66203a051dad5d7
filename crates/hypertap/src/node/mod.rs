//! The services door: a node of a mesh, whose services have addresses and names of their own.
//!
//! A program's connection comes from the interface into the shard (`shard`), a thread that ends TCP in user
//! space. For each the node asks whose service that is (`client`), has the far side say yes, and only
//! then answers the program; from there on bytes pass (`flow`). What peers ask of this node's services ends in
//! `server`.

mod client;
mod far;
mod flow;
mod outside;
mod packets;
mod server;
mod shard;
mod splice;
mod state;
mod target;
mod up;

pub use up::run;
