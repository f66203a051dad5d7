//! A node's life: what is made at its start, who does what, and how it ends.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_engine::services::peers::PeerTable;
use hypertap_engine::services::registry::Registry;
use hypertap_engine::services::told::Told;
use hypertap_engine::tcp::{Tcp, TcpSettings};
use hypertap_engine::zone::Suffix;
use hypertap_mesh::{InboundStreams, Mesh, StartError};
use hypertap_platform::node_link::{NodeLink, NodeLinkSpec};
use hypertap_platform::service_manager::{self, Stage};
use hypertap_wire::packet_stream::PACKETS_ONE_WAY;
use hypertap_wire::pex::PEX;
use hypertap_wire::service_stream::{PLAIN_SERVICE, SERVICE, SERVICES};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::check;
use super::control::{self, Asked, ControlSocket, Signals};
use super::dns;
use super::interface::is_gone;
use super::local_addresses::LocalAddresses;
use super::outside::Outside;
use super::packets::Packets;
use super::pex;
use super::reload::{Names, Parts, Running};
use super::server;
use super::settings::{mesh_settings, refused, routes, tcp_settings};
use super::shard::{Shard, ShardCounts};
use super::standing;
use super::state::{Node, Tables};
use super::told;
use crate::config::Config;
use crate::exit::{Exit, Failure};
use crate::{config, log, open_files};

/// The interface's MTU in bytes: what the kernel and the shard hand each other at once.
const MTU: u32 = 65_535;
/// Services that have an IPv4 address at once, at most.
const LOCAL_ADDRESSES: usize = 16_384;
/// How long the mesh and the machine's resolver may take to end.
const END: Duration = Duration::from_secs(3);
/// How long the shard may, and after it what is left of all tasks.
const LAST: Duration = Duration::from_secs(1);

/// Runs a node until a signal ends it; its control socket is in `state_dir`. To be called while the process has one thread.
///
/// # Errors
/// What is wrong with the configuration, what could not be had, or what ended the node.
pub fn run(path: &Path, interface: &str, state_dir: &Path) -> Result<(), Failure> {
    let config = &config::load(path)?;
    let suffix = Suffix::new(interface, &config.domain).map_err(|error| Failure::new(Exit::Usage, error))?;
    let control = ControlSocket::bind(state_dir, interface)?;
    log::go_on_in_background();
    open_files::raise(u64::MAX);
    let peers = config.peer_table();
    let spec = NodeLinkSpec {
        name: interface.to_owned(),
        ipv4: peers.own().ipv4(),
        ipv6: peers.own().ipv6(),
        mtu: MTU,
    };
    let (link, queue) = NodeLink::open(&spec, &routes(&peers)).map_err(refused)?;
    tracing::info!(interface = link.name(), ipv4 = %spec.ipv4, ipv6 = %spec.ipv6, "the interface is up");
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("mesh")
        .enable_all()
        .build()
        .context("cannot start a runtime")?;
    let link = Arc::new(Mutex::new(link));
    let outcome = runtime.block_on(live((path, config), peers, suffix, &link, queue, control));
    runtime.shutdown_timeout(LAST);
    outcome
}

async fn live(
    (path, config): (&Path, &Config),
    peers: PeerTable,
    suffix: Suffix,
    link: &Arc<Mutex<NodeLink>>,
    queue: OwnedFd,
    control: ControlSocket,
) -> Result<(), Failure> {
    let mut signals = Signals::new().context("cannot catch signals")?;
    let interface = locked(link).name().to_owned();
    let index = locked(link).index();
    let listening = dns::Listening::of(&interface).await?;
    let addresses = LocalAddresses::of(peers.own().id());
    let (mesh, inbound) = Mesh::start(mesh_settings(config, index)).await.map_err(|error| {
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
            local_ipv4: addresses.read(config.local_services_ipv4, LOCAL_ADDRESSES),
            peers,
            registry: Registry::new(config.services.clone()).context("the services cannot be together")?,
            told: Told::new(),
        },
    ));
    let device = Arc::new(File::from(queue.try_clone().context("cannot keep the interface's queue")?));
    let packets = Packets::new(Arc::clone(&node), device, Handle::current());
    let outside = Outside::new(Arc::clone(&node), Arc::clone(&packets));
    let (stop, stopped) = oneshot::channel();
    let (counts, askers) = mpsc::channel(1);
    let (ended, has_ended) = oneshot::channel();
    let settings = tcp_settings(config)?;
    let shard = thread::Builder::new()
        .name("shard".to_owned())
        .spawn(move || {
            let _ = ended.send(run_shard(queue, settings, outside, stopped, askers, &interface));
        })
        .context("cannot start a thread")?;
    let names = Names::of(&suffix, &listening);
    let dns = dns::Dns::start(&node, suffix, addresses, listening, &locked(link));
    let parts =
        Parts { node: Arc::clone(&node), packets: Arc::clone(&packets), link: Arc::clone(link), counts };
    let running = Running::new(parts, (path, config), names);
    let running = Arc::new(running);
    let mut chores = JoinSet::new();
    chores.spawn(check::run(Arc::clone(&node)));
    chores.spawn(told::run(Arc::clone(&node)));
    chores.spawn(pex::run(Arc::clone(&node)));
    chores.spawn(standing::run(Arc::clone(link)));
    tell(Stage::Ready);
    let (mut controlled, mut serving) =
        (pin!(control::serve(control, Arc::clone(&running))), pin!(serve(&node, &packets, inbound)));
    let outcome = tokio::select! {
        () = obey(&mut signals, &running) => Ok(()),
        served = &mut controlled => {
            let ended = served.map(|()| anyhow!("the control has ended"));
            Err(ended.unwrap_or_else(|error| anyhow!(error).context("the control socket")).into())
        }
        () = &mut serving => Err(anyhow!("the mesh has ended").into()),
        ended = has_ended => Err(ended.unwrap_or_else(|_| anyhow!("its thread has failed")).into()),
    };
    tell(Stage::Stopping);
    // Connections with peers first, and streams of theirs after that: what is cut off is an error to both
    // ends then, and never an end of what was sent.
    let is_closed = timeout(END, async { tokio::join!(mesh.close(), dns.end()) }).await.is_ok();
    let _ = stop.send(());
    // Its last packets are resets, so that programs here know at once.
    let joined = tokio::task::spawn_blocking(|| shard.join());
    if timeout(LAST, joined).await.is_err() || !is_closed {
        tracing::warn!("some parts did not end in time");
    }
    outcome
}

fn locked(link: &Mutex<NodeLink>) -> MutexGuard<'_, NodeLink> {
    link.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Does what signals ask, until one asks for the end.
async fn obey(signals: &mut Signals, running: &Arc<Running>) {
    // One under way and one after it: a file that cannot be read to its end keeps nobody from ending.
    const RELOADS: usize = 2;
    let mut reloads = JoinSet::new();
    loop {
        let asked = tokio::select! {
            asked = signals.recv() => asked,
            Some(_) = reloads.join_next() => continue,
        };
        match asked {
            Asked::End => return,
            Asked::Reload if reloads.len() < RELOADS => {
                let running = Arc::clone(running);
                // What came of it is in the log.
                reloads.spawn(async move { drop(running.reload().await) });
            }
            Asked::Reload => {}
        }
    }
}

fn run_shard(
    queue: OwnedFd,
    settings: TcpSettings,
    outside: Outside,
    mut stopped: oneshot::Receiver<()>,
    mut askers: mpsc::Receiver<oneshot::Sender<ShardCounts>>,
    interface: &str,
) -> anyhow::Error {
    let run = || -> anyhow::Result<std::io::Error> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let inside = runtime.enter();
        let mut shard = Shard::new(queue, Tcp::new(settings), outside)?;
        drop(inside);
        Ok(runtime.block_on(async {
            loop {
                tokio::select! {
                    error = &mut shard => return error,
                    _ = &mut stopped => {
                        shard.end();
                        return std::io::ErrorKind::Interrupted.into();
                    }
                    // Who has asked may have gone.
                    Some(to) = askers.recv() => drop(to.send(shard.counts())),
                }
            }
        }))
    };
    match run() {
        Ok(error) if is_gone(&error) => {
            anyhow!("the interface {interface} is gone: somebody removed it; start the node again")
        }
        Ok(error) => anyhow!(error).context(format!("the interface {interface} cannot be read")),
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
            SERVICES => drop(tasks.spawn(async move { told::listen(&node, peer, stream.stream).await })),
            PEX => drop(tasks.spawn(async move { pex::serve(&node, peer, stream.stream).await })),
            protocol => packets.on_stream(peer, stream.stream, protocol == PACKETS_ONE_WAY),
        }
    }
    let _ = tokio::time::timeout(LAST, async { while tasks.join_next().await.is_some() {} }).await;
}
