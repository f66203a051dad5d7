//! What a node's parts are told, of its configuration.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use anyhow::anyhow;
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::tcp::TcpSettings;
use hypertap_mesh::{MeshSettings, PeerSettings};
use hypertap_platform::MachineError;
use hypertap_platform::datagram::set_buffers;
use hypertap_platform::lookup::leads_to;
use hypertap_platform::node_link::NodeRoutes;
use hypertap_wire::packet_stream::{MAX_LENGTH, PACKETS, PACKETS_ONE_WAY};
use hypertap_wire::pex::PEX;
use hypertap_wire::service_address::is_inside;
use hypertap_wire::service_stream::{PLAIN_SERVICE, SERVICE, SERVICES};
use ipnet::IpNet;
use nix::errno::Errno;

use crate::config::Config;
use crate::exit::{Exit, Failure};

/// What the mesh is told; the interface has this index.
pub fn mesh_settings(config: &Config, index: u32) -> MeshSettings {
    MeshSettings {
        key: config.private_key.clone(),
        listen: config.listen_addresses.clone(),
        bootstrap: config.bootstrap_peers.clone(),
        peers: peer_settings(config),
        mdns: true,
        inbound: vec![SERVICE, PLAIN_SERVICE, PACKETS, PACKETS_ONE_WAY, SERVICES, PEX],
        filter_private: config.filter_private_addresses,
        is_inside,
        // Whom the kernel cannot be asked of is dialled.
        leads_inside: Arc::new(move |address| leads_to(address, index).unwrap_or(false)),
        set_buffers: |socket, bytes| set_buffers(&socket, bytes),
    }
}

/// The peers that the mesh is to have.
pub fn peer_settings(config: &Config) -> Vec<PeerSettings> {
    let peers = config.peers.iter();
    peers.map(|peer| PeerSettings { id: peer.id, addresses: peer.addresses.clone() }).collect()
}

/// What programs' connections go by.
///
/// # Errors
/// The system has no random numbers.
pub fn tcp_settings(config: &Config) -> Result<TcpSettings, Failure> {
    let mut secret = [0; 16];
    getrandom::fill(&mut secret).map_err(|error| anyhow!("no random numbers: {error}"))?;
    let [low, high] = [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|byte| secret[at + byte])));
    Ok(TcpSettings {
        max_flows: config.limits.connections,
        max_buffered: config.limits.buffered,
        ..TcpSettings::new([low, high])
    })
}

/// What leads into the interface.
pub fn routes(peers: &PeerTable) -> NodeRoutes {
    let wire = Some(u32::from(MAX_LENGTH));
    let mut routes: NodeRoutes = BTreeMap::new();
    routes.insert(IpNet::from(peers.local_net()), None);
    routes.insert(peers.own().node().service_net().into(), None);
    for peer in peers.peers() {
        routes.insert(peer.node().service_net().into(), None);
        routes.insert(IpNet::from(IpAddr::from(peer.ipv4())), wire);
        routes.insert(IpNet::from(IpAddr::from(peer.ipv6())), wire);
        routes.extend(peer.routes().iter().map(|net| (*net, wire)));
    }
    routes
}

/// Why the interface cannot be had, or led to.
pub fn refused(error: MachineError) -> Failure {
    match &error {
        MachineError::Kernel { errno, .. } if errno.0 == Errno::EEXIST as i32 => {
            let text = "another interface leads there: choose another localServiceNetwork, take it out of the peers' \
                        routes, or, where it is a peer's own, leave that peer to the other node";
            Failure::new(Exit::Taken, anyhow!("{error}; {text}"))
        }
        MachineError::NameTaken(name) => {
            let text = format!("an interface named {name} exists already: choose another with --interface");
            Failure::new(Exit::of(&error), anyhow!(text))
        }
        _ => Failure::new(Exit::of(&error), error),
    }
}
