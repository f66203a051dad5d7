//! A node's life: what is made at its start, who does what, and how it ends.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_engine::services::local_ipv4::LocalIpv4;
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::Registry;
use hypertap_engine::services::told::Told;
use hypertap_engine::tcp::{Tcp, TcpSettings};
use hypertap_mesh::{InboundStreams, Mesh, MeshSettings, PeerSettings, StartError};
use hypertap_platform::node_link::{NodeLink, NodeLinkSpec, NodeRoutes};
use hypertap_platform::service_manager::{self, Stage};
use hypertap_wire::packet_stream::{MAX_LENGTH, PACKETS, PACKETS_ONE_WAY};
use hypertap_wire::service_address::is_inside;
use hypertap_wire::service_stream::{PLAIN_SERVICE, SERVICE};
use ipnet::IpNet;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::outside::Outside;
use super::packets::Packets;
use super::server;
use super::shard::Shard;
use super::state::{Node, Tables};
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::tunnel::signals::Signals;

/// The interface's MTU in bytes: what the kernel and the shard hand each other at once.
const MTU: u32 = 65_535;
/// Services that have an IPv4 address at once, at most.
const LOCAL_ADDRESSES: usize = 16_384;
/// How long connections to this node's services may go on once it is to end.
const LAST: Duration = Duration::from_secs(3);

/// Runs a node until a signal ends it.
///
/// # Errors
/// What could not be had, or what ended it.
pub fn run(config: &Config, interface: &str) -> Result<(), Failure> {
    let peers = config.peer_table();
    let spec = NodeLinkSpec {
        name: interface.to_owned(),
        ipv4: peers.own().ipv4(),
        ipv6: peers.own().ipv6(),
        mtu: MTU,
    };
    let (link, queue) =
        NodeLink::open(&spec, &routes(&peers)).map_err(|error| Failure::new(Exit::of(&error), error))?;
    tracing::info!(interface = link.name(), ipv4 = %spec.ipv4, ipv6 = %spec.ipv6, "the interface is up");
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("mesh")
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let outcome = runtime.block_on(live(config, peers, queue));
    runtime.shutdown_timeout(Duration::from_secs(1));
    drop(link);
    outcome
}

async fn live(config: &Config, peers: PeerTable, queue: OwnedFd) -> Result<(), Failure> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let (mesh, inbound) = Mesh::start(mesh_settings(config)).await.map_err(|error| {
        let exit = match &error {
            StartError::Listen { .. } => Exit::Taken,
            StartError::Key | StartError::BootstrapWithoutPeer(_) => Exit::Usage,
            StartError::Transport(_) => Exit::Other,
        };
        Failure::new(exit, error)
    })?;
    for address in mesh.listening() {
        tracing::info!(%address, "listening");
    }
    let node = Arc::new(Node::new(
        mesh.clone(),
        Tables {
            local_ipv4: LocalIpv4::new(config.local_services_ipv4, LOCAL_ADDRESSES),
            peers,
            registry: Registry::new(config.services.clone()).context("the services cannot be together")?,
            told: Told::new(),
        },
    ));
    let device = Arc::new(File::from(queue.try_clone().context("cannot keep the interface's queue")?));
    let packets = Packets::new(Arc::clone(&node), device, Handle::current());
    let outside = Outside::new(Arc::clone(&node), Arc::clone(&packets));
    let (stop, stopped) = oneshot::channel();
    let (ended, has_ended) = oneshot::channel();
    let settings = tcp_settings(config)?;
    let shard = thread::Builder::new()
        .name("shard".to_owned())
        .spawn(move || {
            let _ = ended.send(run_shard(queue, settings, outside, stopped));
        })
        .context("cannot start a thread")?;
    tell(Stage::Ready);
    let outcome = tokio::select! {
        () = signals.recv() => Ok(()),
        () = serve(&node, &packets, inbound) => Err(anyhow!("the mesh has ended").into()),
        ended = has_ended => Err(ended.unwrap_or_else(|_| anyhow!("its thread has failed")).into()),
    };
    tell(Stage::Stopping);
    let _ = stop.send(());
    mesh.close().await;
    // Its last packets are resets, so that programs here know at once.
    let _ = tokio::task::spawn_blocking(|| shard.join()).await;
    outcome
}

fn run_shard(
    queue: OwnedFd,
    settings: TcpSettings,
    outside: Outside,
    stopped: oneshot::Receiver<()>,
) -> anyhow::Error {
    let run = || -> anyhow::Result<std::io::Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let mut shard = Shard::new(queue, Tcp::new(settings), outside)?;
        drop(inside);
        Ok(runtime.block_on(async {
            tokio::select! {
                error = &mut shard => error,
                _ = stopped => {
                    shard.end();
                    std::io::ErrorKind::Interrupted.into()
                }
            }
        }))
    };
    match run() {
        Ok(error) => anyhow::Error::new(error).context("the interface is gone"),
        Err(error) => error,
    }
}

fn tell(stage: Stage) {
    if let Err(error) = service_manager::tell(stage) {
        tracing::warn!(%error, "cannot tell the service manager how things are");
    }
}

/// Serves what peers open, until the mesh ends.
async fn serve(node: &Arc<Node>, packets: &Arc<Packets>, mut inbound: InboundStreams) {
    let mut tasks = JoinSet::new();
    loop {
        let stream = tokio::select! {
            stream = inbound.recv() => stream,
            Some(_) = tasks.join_next() => continue,
        };
        let Some(stream) = stream else { break };
        let (node, peer) = (Arc::clone(node), stream.peer);
        match stream.protocol {
            SERVICE => drop(tasks.spawn(async move { server::serve(&node, peer, stream.stream).await })),
            PLAIN_SERVICE => {
                drop(tasks.spawn(async move { server::serve_plainly(&node, peer, stream.stream).await }));
            }
            protocol => packets.on_stream(peer, stream.stream, protocol == PACKETS_ONE_WAY),
        }
    }
    let _ = tokio::time::timeout(LAST, async { while tasks.join_next().await.is_some() {} }).await;
}

fn mesh_settings(config: &Config) -> MeshSettings {
    MeshSettings {
        key: config.private_key.clone(),
        listen: config.listen_addresses.clone(),
        bootstrap: config.bootstrap_peers.clone(),
        peers: config
            .peers
            .iter()
            .map(|peer| PeerSettings { id: peer.id, addresses: peer.addresses.clone() })
            .collect(),
        mdns: true,
        inbound: vec![SERVICE, PLAIN_SERVICE, PACKETS, PACKETS_ONE_WAY],
        is_inside,
    }
}

fn tcp_settings(config: &Config) -> Result<TcpSettings, Failure> {
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
fn routes(peers: &PeerTable) -> NodeRoutes {
    let wire = Some(u32::from(MAX_LENGTH));
    let mut routes: NodeRoutes = BTreeMap::new();
    routes.insert(IpNet::from(peers.local_net()), None);
    routes.insert(peers.own().node().service_net().into(), None);
    for peer in peers.peers() {
        routes.insert(peer.node().service_net().into(), None);
        routes.insert(IpNet::from(std::net::IpAddr::from(peer.ipv4())), wire);
        routes.insert(IpNet::from(std::net::IpAddr::from(peer.ipv6())), wire);
        routes.extend(peer.routes().iter().map(|net| (*net, wire)));
    }
    routes
}
