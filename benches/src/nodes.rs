//! Two nodes of the services door and two stock libp2p nodes, on one wire between two namespaces.

use std::fs;
use std::net::{Ipv6Addr, SocketAddrV6, TcpStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{NodeId, ServiceId};
use nix::unistd::Pid;
use serde_json::{Value, json};

use crate::load;
use crate::namespace::Namespace;
use crate::process::{self, Process};
use crate::workshop::Workshop;

/// Where the far end echoes, and the port that its service is asked for at.
pub(crate) const ECHO_PORT: u16 = 7000;
const NODE_PORT: u16 = 8001;
const RAW_PORT: u16 = 4001;
const NEAR: &str = "192.0.2.1";
const FAR: &str = "192.0.2.2";
const PATIENCE: Duration = Duration::from_secs(20);

/// What the nodes are connected by.
#[derive(Clone, Copy)]
pub(crate) enum Transport {
    Tcp,
    Quic,
}

impl Transport {
    pub(crate) fn group(self) -> &'static str {
        match self {
            Self::Tcp => "services",
            Self::Quic => "services-quic",
        }
    }

    fn address(self, host: &str, port: u16) -> String {
        match self {
            Self::Tcp => format!("/ip4/{host}/tcp/{port}"),
            Self::Quic => format!("/ip4/{host}/udp/{port}/quic-v1"),
        }
    }
}

/// All of it. Dropped in the order of its fields: processes first, then the namespaces.
pub(crate) struct Nodes {
    near_node: Process,
    far_node: Process,
    others: Vec<Process>,
    dir: PathBuf,
    ends: String,
    far_id: PeerId,
    /// The address of the stock node at the far end.
    pub(crate) raw: String,
    near: Namespace,
    _far: Namespace,
}

impl Nodes {
    /// Starts everything, and waits until a service is reachable.
    pub(crate) fn start(shop: &Workshop, transport: Transport) -> Result<Self> {
        let hypertap = shop.hypertap.as_deref().context("no hypertap to measure")?.display().to_string();
        let (near, far) = (Namespace::create()?, Namespace::create()?);
        near.ip(&["link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", far.name()])?;
        for (namespace, address) in [(&near, NEAR), (&far, FAR)] {
            namespace.ip(&["address", "add", &format!("{address}/24"), "dev", "wire"])?;
            namespace.ip(&["link", "set", "wire", "up"])?;
        }
        let config = |name: &str| shop.dir().join(format!("{}-{name}.json", near.name()));
        let init = |namespace: &Namespace, name: &str| -> Result<PeerId> {
            let path = config(name).display().to_string();
            let words = [&hypertap, "init", "--config", &path, "--name", name];
            let said = Process::start(shop.dir(), namespace.name(), &words)?.finish(PATIENCE)?;
            let said: Value = serde_json::from_str(&said).context("init prints a line of JSON")?;
            said["id"].as_str().context("init prints an id")?.parse().context("a PeerID")
        };
        let (near_id, far_id) = (init(&near, "near")?, init(&far, "far")?);
        let meet = |name: &str, own: &str, other: PeerId, address: &str| -> Result<()> {
            let path = config(name);
            let mut config: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
            config["listenAddresses"] = json!([transport.address(own, NODE_PORT)]);
            config["bootstrapPeers"] = json!([]);
            config["peers"] = json!([{
                "id": other.to_string(), "addresses": [transport.address(address, NODE_PORT)],
            }]);
            config["services"] =
                json!({"echo": format!("/tcp/{ECHO_PORT}"), "iperf": format!("/tcp/{}", load::IPERF_PORT)});
            fs::write(&path, config.to_string()).with_context(|| format!("write {}", path.display()))
        };
        meet("near", NEAR, far_id, FAR)?;
        meet("far", FAR, near_id, NEAR)?;
        let up = |namespace: &Namespace, name: &str| {
            let path = config(name).display().to_string();
            let state = format!("STATE_DIRECTORY={}", shop.dir().display());
            let words = ["env", &state, &hypertap, "up", "--config", &path];
            Process::start(shop.dir(), namespace.name(), &words)
        };
        let ends = shop.programs.stream_ends.clone();
        let mut others = load::servers(shop, &far)?.into_iter().collect::<Vec<_>>();
        let mut serve = |at: &str| -> Result<String> {
            let mut process = Process::start(shop.dir(), far.name(), &[&ends, "listen", at])?;
            let said = process.first_line(PATIENCE)?;
            others.push(process);
            Ok(said)
        };
        serve(&format!("127.0.0.1:{ECHO_PORT}"))?;
        let raw = serve(&transport.address(FAR, RAW_PORT))?;
        let mut nodes = Self {
            far_node: up(&far, "far")?,
            near_node: up(&near, "near")?,
            others,
            dir: shop.dir().to_owned(),
            ends,
            far_id,
            raw,
            near,
            _far: far,
        };
        nodes.wait()?;
        Ok(nodes)
    }

    /// Waits until the nodes are connected.
    fn wait(&mut self) -> Result<()> {
        let end = Instant::now() + PATIENCE;
        let echo = self.service("echo", ECHO_PORT);
        while self.near.inside(|| Ok(TcpStream::connect(echo)?)).is_err() {
            self.alive()?;
            if Instant::now() > end {
                bail!("the nodes are not connected within {PATIENCE:?}");
            }
            process::rest(Duration::from_millis(50))?;
        }
        Ok(())
    }

    fn service(&self, name: &str, port: u16) -> SocketAddrV6 {
        let label = Label::new(name).expect("a label");
        let address: Ipv6Addr = NodeId::of(&self.far_id).service_ipv6(ServiceId::of(&label));
        SocketAddrV6::new(address, port, 0, 0)
    }

    /// Where the echo is, as a service.
    pub(crate) fn echo(&self) -> String {
        self.service("echo", ECHO_PORT).to_string()
    }

    pub(crate) fn near_pid(&self) -> Pid {
        self.near_node.pid()
    }

    pub(crate) fn far_pid(&self) -> Pid {
        self.far_node.pid()
    }

    /// All processes.
    pub(crate) fn pids(&self) -> Vec<Pid> {
        [&self.near_node, &self.far_node].into_iter().chain(&self.others).map(Process::pid).collect()
    }

    /// An error when one of its processes has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        self.near_node.alive()?;
        self.far_node.alive()?;
        self.others.iter_mut().try_for_each(Process::alive)
    }

    /// Runs the near end's program for a job; what it reports.
    pub(crate) fn ends(&self, words: &[&str], secs: u32) -> Result<Value> {
        let words = [&[self.ends.as_str()], words].concat();
        load::answer_in(&self.dir, &self.near, &words, secs)
    }

    /// One stream of the stock node, in Gbit/s.
    pub(crate) fn raw_stream(&self, secs: u32) -> Result<f64> {
        let report = self.ends(&["stream", &self.raw, &secs.to_string()], secs)?;
        Ok(report.get("bits_per_second").and_then(Value::as_f64).context("no rate")? / 1e9)
    }

    /// So many TCP streams through a service at once, in Gbit/s together.
    pub(crate) fn tcp(&self, secs: u32, streams: u32) -> Result<f64> {
        let to = self.service("iperf", load::IPERF_PORT);
        let (address, port) = (to.ip().to_string(), to.port().to_string());
        let (secs_text, streams) = (secs.to_string(), streams.to_string());
        let words = [
            "iperf3",
            "--client",
            &address,
            "--port",
            &port,
            "--time",
            &secs_text,
            "--parallel",
            &streams,
            "--json",
        ];
        let report = load::answer_in(&self.dir, &self.near, &words, secs)?;
        let bits = report.pointer("/end/sum_received/bits_per_second").and_then(Value::as_f64);
        Ok(bits.context("iperf3 reports no rate")? / 1e9)
    }

    /// Opens connections to the echo, moves `kib` there and back on each, opens and closes `churn` others, and
    /// keeps the first until what is returned is dropped.
    pub(crate) fn hold(&self, count: u32, kib: u64, churn: u32) -> Result<Process> {
        let words =
            [&self.ends, "hold", &self.echo(), &count.to_string(), &kib.to_string(), &churn.to_string()];
        let mut holding = Process::start(&self.dir, self.near.name(), &words)?;
        let gib = (u64::from(count) * kib) >> 20;
        holding.first_line(PATIENCE * 2 + Duration::from_secs(30 * gib))?;
        process::check()?;
        Ok(holding)
    }
}
