//! The peers: who is connected to whom, over what, and streams between them.
//!
//! A node is a libp2p node. [`Mesh::start`] gives a handle, and the streams that peers open; the rest is
//! a task of its own (`node`), which owns libp2p's swarm. What it decides stands in `peers` and `choice`,
//! which know neither sockets nor a clock. Streams do not go by way of that task: a handle asks the
//! connection itself (`behaviour::handler`), found in the table that both share.
//!
//! This crate knows nothing of tunnels, names and services.

mod addresses;
mod behaviour;
mod choice;
mod mesh;
mod node;
mod open;
mod peers;
mod quic;
mod settings;
mod status;
mod stream;
mod swarm;
mod tls;
pub mod yamux;

pub use libp2p::Multiaddr;
pub use mesh::{Inbound, InboundStreams, Mesh, MeshEvent, StartError};
pub use open::OpenError;
pub use settings::{LeadsInside, MeshSettings, PeerSettings, SetBuffers};
pub use status::{ConnectionStatus, PeerStatus, Transport, Why};
pub use stream::MeshStream;
