//! Peers whose addresses are names.

use std::process::{Child, Command, Stdio};

use hypertap_tests::machine::{replace_file, run};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{TIME, eventually, eventually_within};
use serde_json::json;

use crate::control::status;
use crate::scene::Scene;

/// Debian's dnsmasq as the machine's server, which knows one name, until it is dropped.
struct Server(Child);

impl Server {
    fn start() -> Self {
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--user=root", "--pid-file="]);
        command.args(["--no-resolv", "--no-hosts", "--listen-address=127.0.0.1", "--bind-interfaces"]);
        command.arg("--address=/far.example/192.0.2.2").stdin(Stdio::null());
        Self(command.spawn().expect("Debian's dnsmasq-base is installed"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Nobody hears of the other by mDNS.
fn drop_mdns() {
    run("nft", &["add", "table", "inet", "silence"]);
    for way in ["input", "output"] {
        let hook = format!("{{ type filter hook {way} priority 0; }}");
        run("nft", &["add", "chain", "inet", "silence", way, &hook]);
        run("nft", &["add", "rule", "inet", "silence", way, "udp", "dport", "5353", "drop"]);
    }
}

#[test]
fn a_node_asks_the_server_that_the_machine_has_by_now() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        drop_mdns();
        for (node, other, addresses) in [
            (&scene.near, &scene.far, json!(["/dns4/far.example/tcp/8001"])),
            (&scene.far, &scene.near, json!([])),
        ] {
            node.set("peers", json!([{"id": other.id.to_string(), "name": "other", "addresses": addresses}]));
        }
        replace_file("/etc/resolv.conf", "");
        let _nodes = [scene.near.start(), scene.far.start()];
        let peer = || status(&scene.near)["peers"][0].clone();
        let has_none = || {
            let error = peer()["lastError"].as_str().map(str::to_owned);
            error.map(|error| error.contains("this machine names no server"))
        };
        eventually("it says why", || has_none() == Some(true));
        // Nobody is there.
        replace_file("/etc/resolv.conf", "nameserver 127.0.0.2\n");
        eventually_within(3 * TIME, "it asks in vain", || has_none() == Some(false));
        replace_file("/etc/resolv.conf", "nameserver 127.0.0.1\n");
        let _server = Server::start();
        eventually_within(3 * TIME, "it is connected", || peer()["isConnected"] == true);
    });
}
