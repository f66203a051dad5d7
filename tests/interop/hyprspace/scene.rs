//! Our node, the peer, and the wire between them.

use std::fs::{self, File};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::thread;

use hypertap_tests::machine::{Uplink, scratch};
use hypertap_tests::{Daemon, Setup};
use hypertap_wire::label::Label;
use hypertap_wire::service_address::{NodeId, ServiceId, node_ipv4};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

use super::go_peer::{self, GoPeer};

/// Who is who. These keys are known to everybody.
pub const OUR_ID: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
const OUR_KEY: &str =
    "z23jhTbcjBgHmxFeeC11RXxeXb32Ce9eMvMy75ke2TrCsXpNrNvVsH98qSumzxPBbF7TqyBsd7macsAYfnVQzUApd51ZgC";
pub const PEER_ID: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";
const PEER_KEY: &str =
    "z23jhTbwi6M5cGWn1GeC7eXV2TbJpFhgmtVpsUjKshKKrSCy2seByS6da3epoBtEsMc8HA5oToay8RVG2w9nACHdt5WUge";

/// Where the peer listens, and our node.
pub const PEER_TCP: &str = "/ip4/192.0.2.2/tcp/9001";
pub const PEER_QUIC: &str = "/ip4/192.0.2.2/udp/9001/quic-v1";
pub const OUR_TCP: &str = "/ip4/192.0.2.1/tcp/8001";
pub const OUR_QUIC: &str = "/ip4/192.0.2.1/udp/8001/quic-v1";
/// Both ways to our node.
pub const WAYS: [&str; 2] = [OUR_TCP, OUR_QUIC];

/// Before anything is started.
pub struct Scene {
    program: PathBuf,
    config: Value,
    _wire: Uplink,
}

impl Scene {
    /// Two that know each other, our node with these services. Nobody knows where the other is.
    pub fn new(services: &Value) -> Self {
        let config = json!({
            "privateKey": OUR_KEY,
            "bootstrapPeers": [],
            "peers": [{"name": "theirs", "id": PEER_ID}],
            "services": services,
        });
        Self { program: go_peer::built(), config, _wire: Uplink::connect() }
    }

    /// Sets a key of our node's configuration.
    pub fn set(&mut self, key: &str, value: Value) {
        self.config[key] = value;
    }

    /// Starts our node.
    #[track_caller]
    pub fn node(&self) -> Daemon {
        let config = scratch("node.json");
        fs::write(&config, self.config.to_string()).expect("the folder is ours");
        let setup = Setup::of("up").args(&["--config", config.to_str().expect("text")]);
        // What libp2p says of itself at this level is more than anybody reads.
        setup.env("HYPERTAP_LOG", "info,hypertap=debug,hypertap_mesh=debug").start()
    }

    /// Starts the peer, which serves our node.
    #[track_caller]
    pub fn peer(&self, options: &[&str]) -> GoPeer {
        self.peer_that_serves_nobody(&[&["-peer", OUR_ID], options].concat())
    }

    /// Starts the peer, which does not know our node.
    #[track_caller]
    pub fn peer_that_serves_nobody(&self, options: &[&str]) -> GoPeer {
        let who = ["-key", PEER_KEY, "-listen", PEER_TCP, "-listen", PEER_QUIC];
        self.any_peer(&[&who, options].concat())
    }

    /// Starts one that is whatever its options say.
    #[track_caller]
    pub fn any_peer(&self, options: &[&str]) -> GoPeer {
        GoPeer::start(&self.program, options)
    }

    /// Starts both, and has the peer connect by one of [`WAYS`].
    #[track_caller]
    pub fn meet(&self, way: &str) -> (Daemon, GoPeer) {
        let (node, peer) = (self.node(), self.peer(&[]));
        connect(&peer, way);
        (node, peer)
    }
}

/// Has a peer connect to our node.
#[track_caller]
pub fn connect(peer: &GoPeer, way: &str) {
    peer.must(&json!({"do": "connect", "address": format!("{way}/p2p/{OUR_ID}")}));
}

/// The number of a service.
pub fn service_id(name: &str) -> u16 {
    let [.., id] = service(OUR_ID, name).segments();
    id
}

/// The address of a service.
pub fn service(node: &str, name: &str) -> Ipv6Addr {
    let node = NodeId::of(&node.parse().expect("an id"));
    node.service_ipv6(ServiceId::of(&Label::new(name).expect("a label")))
}

/// A node's addresses.
pub fn addresses(node: &str) -> (Ipv4Addr, Ipv6Addr) {
    let id = node.parse().expect("an id");
    (node_ipv4(&id), NodeId::of(&id).ipv6())
}

/// Does something in the neighbour's namespace; sockets that it makes stay there.
pub fn in_far<T: Send>(what: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| {
        let there = scope.spawn(|| {
            let namespace = File::open("/run/netns/far").expect("it is there");
            setns(namespace, CloneFlags::CLONE_NEWNET).expect("it is ours");
            what()
        });
        there.join().expect("it does not panic")
    })
}

/// A listener on this namespace's loopback.
pub fn listen(port: u16) -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("the port is free")
}
