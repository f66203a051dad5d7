//! Two nodes: `near` is in the test's own namespace, `far` in the neighbour's, where its services are.

use std::fs::{self, File};
use std::net::{Ipv6Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use hypertap_tests::daemon::{Daemon, Setup, binary};
use hypertap_tests::eventually;
use hypertap_tests::machine::{Uplink, output, ping, scratch};
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::{NodeId, ServiceId};
use nix::sched::{CloneFlags, setns};
use serde_json::{Value, json};

/// A node before it is started.
pub struct Plan {
    config: PathBuf,
    pub id: PeerId,
    namespace: Option<&'static str>,
}

impl Plan {
    fn new(name: &str, namespace: Option<&'static str>) -> Self {
        let config = scratch(&format!("{name}.json"));
        let path = config.to_str().expect("text");
        let line = run(namespace, &["init", "--config", path, "--name", name]);
        let line: Value = serde_json::from_str(&line).expect("a line of JSON");
        let id = line["id"].as_str().expect("an id").parse().expect("a PeerID");
        let plan = Self { config, id, namespace };
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

    /// Adds what another says of itself to its peers.
    pub fn meets(&self, other: &Self) {
        let line = run(other.namespace, &["init", "--config", other.config.to_str().expect("text")]);
        run(self.namespace, &["peer", "add", "--config", self.config.to_str().expect("text"), line.trim()]);
    }

    /// Starts it.
    #[track_caller]
    pub fn start(&self) -> Daemon {
        let setup = Setup::of("up").args(&["--config", self.config.to_str().expect("text")]);
        match self.namespace {
            None => setup.start(),
            Some(namespace) => {
                let mut wrapper = Command::new("ip");
                wrapper.args(["netns", "exec", namespace]);
                setup.through(wrapper).start()
            }
        }
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
    let mut command = match namespace {
        None => Command::new(binary()),
        Some(namespace) => {
            let mut command = Command::new("ip");
            command.args(["netns", "exec", namespace]).arg(binary());
            command
        }
    };
    let done = output(command.args(words));
    assert!(done.status.success(), "{words:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).expect("text")
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
