//! Two nodes: `near` is in the test's own namespace, `far` in the neighbour's, where its services are.

use std::fs::{self, File};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use hypertap_tests::daemon::{Daemon, Setup, binary};
use hypertap_tests::eventually;
use hypertap_tests::machine::{Uplink, output, ping, scratch};
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::{PeerId, PrivateKey};
use hypertap_wire::service_address::{NodeId, ServiceId};
use nix::libc::linger;
use nix::sched::{CloneFlags, setns};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::{Value, json};

/// A node before it is started.
pub struct Plan {
    config: PathBuf,
    pub id: PeerId,
    namespace: Option<&'static str>,
    /// What it says of itself to others.
    line: String,
}

impl Plan {
    /// A node with a new identity, which is to run in a namespace, or the test's own.
    pub fn new(name: &str, namespace: Option<&'static str>) -> Self {
        let config = scratch(&format!("{name}.json"));
        let path = config.to_str().expect("text");
        let line = run(namespace, &["init", "--config", path, "--name", name]);
        let said: Value = serde_json::from_str(&line).expect("a line of JSON");
        let id = said["id"].as_str().expect("an id").parse().expect("a PeerID");
        let plan = Self { config, id, namespace, line };
        // Nothing beyond the two of them.
        plan.set("bootstrapPeers", json!([]));
        plan
    }

    /// Changes a key of its configuration.
    pub fn set(&self, key: &str, value: Value) {
        let text = fs::read_to_string(&self.config).expect("it is there");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config[key] = value;
        fs::write(&self.config, config.to_string()).expect("it is ours");
    }

    /// Its private key, as its configuration has it.
    pub fn key(&self) -> PrivateKey {
        let text = fs::read_to_string(&self.config).expect("it is there");
        let config: Value = serde_json::from_str(&text).expect("JSON");
        config["privateKey"].as_str().expect("a key").parse().expect("a private key")
    }

    /// Adds what another says of itself to its peers.
    pub fn meets(&self, other: &Self) {
        self.add_peer(other.line.trim());
    }

    /// Adds another to its peers without saying where it is.
    pub fn hears_of(&self, other: &Self) {
        let mut peer: Value = serde_json::from_str(&other.line).expect("a line of JSON");
        peer["addresses"] = json!([]);
        self.add_peer(&peer.to_string());
    }

    /// Adds a peer: an object of the list.
    pub fn add_peer(&self, peer: &str) {
        let config = self.config.to_str().expect("text");
        run(self.namespace, &["peer", "add", "--config", config, peer]);
    }

    /// Starts it.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        self.setup().start()
    }

    /// How it is started: with a state directory of its own.
    pub fn setup(&self) -> Setup {
        let setup = Setup::of("up").args(&["--config", self.config.to_str().expect("text")]);
        let setup = setup.env("STATE_DIRECTORY", self.state());
        match self.namespace {
            None => setup,
            Some(namespace) => {
                let mut wrapper = Command::new("ip");
                wrapper.args(["netns", "exec", namespace]);
                setup.through(wrapper)
            }
        }
    }

    /// Where it keeps what outlives it.
    pub fn state(&self) -> PathBuf {
        self.config.with_extension("state")
    }

    /// Runs another of our commands with its configuration.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        run(self.namespace, &[words, &["--config", self.config.to_str().expect("text")]].concat())
    }

    /// Asks the node that runs here; the interface's name is the usual one unless it is said.
    #[track_caller]
    pub fn ask(&self, words: &[&str]) -> Asked {
        let done = output(ours(self.namespace).args(words));
        let text = |bytes| String::from_utf8(bytes).expect("text");
        Asked { code: done.status.code(), text: text(done.stdout), says: text(done.stderr) }
    }

    /// Its configuration's file.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// The address of one of its services.
    pub fn service(&self, name: &str) -> Ipv6Addr {
        let name = Label::new(name).expect("a label");
        NodeId::of(&self.id).service_ipv6(ServiceId::of(&name))
    }

    /// Its own address.
    pub fn address(&self) -> Ipv6Addr {
        NodeId::of(&self.id).ipv6()
    }
}

/// Runs a command of ours to its end, in a namespace.
#[track_caller]
fn run(namespace: Option<&str>, words: &[&str]) -> String {
    let done = output(ours(namespace).args(words));
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
}

/// Our program, in a namespace.
fn ours(namespace: Option<&str>) -> Command {
    let Some(namespace) = namespace else { return Command::new(binary()) };
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(binary());
    command
}

/// What came of a command.
pub struct Asked {
    pub code: Option<i32>,
    /// On standard output.
    pub text: String,
    /// On standard error.
    pub says: String,
}

impl Asked {
    /// What it printed, as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}{}", self.text, self.says))
    }
}

/// The two nodes and the wire.
pub struct Scene {
    pub near: Plan,
    pub far: Plan,
    _wire: Uplink,
}

impl Scene {
    /// Two that know each other; `far` has these services.
    pub fn new(services: Value) -> Self {
        let wire = Uplink::connect();
        let (near, far) = (Plan::new("near", None), Plan::new("far", Some("far")));
        near.meets(&far);
        far.meets(&near);
        far.set("services", services);
        Self { near, far, _wire: wire }
    }

    /// Starts both, and waits until they are connected.
    #[track_caller]
    pub fn start(&self) -> (Daemon, Daemon) {
        let both = (self.near.start(), self.far.start());
        self.wait_connected();
        both
    }

    /// Waits until packets pass between the nodes.
    #[track_caller]
    pub fn wait_connected(&self) {
        let address = self.far.address().to_string();
        eventually("the nodes are connected", || ping(&address, &["-W1"]));
    }
}

/// Does something in the far namespace; sockets that it makes stay there.
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

/// A listener in the far namespace, on its loopback.
pub fn listen(port: u16) -> TcpListener {
    in_far(|| TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], port))).expect("the port is free"))
}

/// Two nodes with a web server, whose streams can be reset: on QUIC they cannot.
pub fn over_tcp() -> Scene {
    over("/ip4/0.0.0.0/tcp/8001")
}

/// Two nodes with a web server that have QUIC alone between them.
pub fn over_quic() -> Scene {
    over("/ip4/0.0.0.0/udp/8001/quic-v1")
}

fn over(listen: &str) -> Scene {
    let scene = Scene::new(json!({"web": "/tcp/8080"}));
    for node in [&scene.near, &scene.far] {
        node.set("listenAddresses", json!([listen]));
    }
    scene
}

/// Closes a connection with a reset.
pub fn reset(stream: TcpStream) {
    setsockopt(&stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 }).expect("it is open");
    drop(stream);
}
