//! A node beside a Hyprspace node, as far as the wire goes: the peer in `go_peer`, which stands on go-libp2p as
//! that program does, and does on purpose what was seen of it. Our node is in the test's own
//! namespace, the peer in the neighbour's.

#[path = "hyprspace/connections.rs"]
mod connections;
#[path = "hyprspace/exchange.rs"]
mod exchange;
#[path = "hyprspace/go_peer.rs"]
mod go_peer;
#[path = "hyprspace/packets.rs"]
mod packets;
#[path = "hyprspace/scene.rs"]
mod scene;
#[path = "hyprspace/services.rs"]
mod services;
