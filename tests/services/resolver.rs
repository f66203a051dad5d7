//! A machine with systemd-resolved: Debian's package, which is fetched once and unpacked, never installed.

#[path = "../../crates/platform/tests/support/bus.rs"]
mod bus;

use std::fs;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Instant;

use hypertap_tests::debian::unpacked;
use hypertap_tests::machine::{output, replace_file, run};
use hypertap_tests::namespaces::{in_namespaces, needs_root};
use hypertap_tests::{Daemon, TIME, eventually, eventually_within};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use serde_json::json;

use crate::scene::{Scene, listen};

/// The user that it makes itself.
const USER: u32 = 64_999;

/// The unpacked package. To be called outside, where there is a network.
fn package() -> PathBuf {
    match std::env::var_os("HYPERTAP_TEST_RESOLVED_ROOT") {
        Some(root) => root.into(),
        None => unpacked(env!("CARGO_TARGET_TMPDIR"), "systemd-resolved", &["systemd-resolved"]),
    }
}

/// A system bus with systemd-resolved on it, which the C library asks.
struct Resolved {
    package: PathBuf,
    children: Vec<Child>,
}

impl Resolved {
    fn start(package: &Path) -> Self {
        let mut this = Self::without(package);
        this.come();
        this
    }

    /// The bus, to which it has not come yet.
    fn without(package: &Path) -> Self {
        needs_root();
        for (path, line) in [
            ("/etc/passwd", format!("systemd-resolve:x:{USER}:{USER}::/:/bin/false\n")),
            ("/etc/group", format!("systemd-resolve:x:{USER}:\n")),
        ] {
            let text = fs::read_to_string(path).expect("it is there");
            replace_file(path, &(text + &line));
        }
        fs::create_dir_all("/run/systemd/resolve").expect("/run is ours");
        chown("/run/systemd/resolve", Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER)))
            .expect("root may");
        replace_file("/etc/resolv.conf", "nameserver 127.0.0.53\n");
        let bus = bus::command().spawn().expect("it is a program");
        eventually("the bus listens", bus::listens);
        Self { package: package.to_owned(), children: vec![bus] }
    }

    fn come(&mut self) {
        let mut command = Command::new(self.package.join("lib/systemd/systemd-resolved"));
        self.children.push(command.spawn().expect("it is a program"));
        eventually("systemd-resolved is on the bus", || self.says(&["status"]).is_some());
    }

    /// What `resolvectl` says, unless it fails.
    fn says(&self, words: &[&str]) -> Option<String> {
        let done = output(Command::new(self.package.join("usr/bin/resolvectl")).args(words));
        done.status.success().then(|| String::from_utf8(done.stdout).expect("text").trim().to_owned())
    }

    fn signal(&self, signal: Signal) {
        let id = self.children.last().expect("it runs").id();
        kill(Pid::from_raw(id.try_into().expect("a process id")), signal).expect("it runs");
    }
}

impl Drop for Resolved {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[test]
fn systemd_resolved_asks_the_node_for_its_names_and_those_alone_until_it_ends() {
    let package = package();
    in_namespaces(|| {
        let resolved = Resolved::start(&package);
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let (mut near, _far) = scene.start();
        near.log_with("systemd-resolved asks this node for names");
        let link = |what: &str| resolved.says(&[what, "hypertap"]).expect("it knows the link");
        assert!(link("dns").ends_with("(hypertap): 127.60.122.49:6257"), "{}", link("dns"));
        let zones = link("domain");
        assert!(
            zones.contains("(hypertap): ~hyprspace ") && zones.contains(" ~64.100.in-addr.arpa"),
            "{zones}"
        );
        for what in ["default-route", "dnssec", "dnsovertls", "llmnr", "mdns"] {
            assert!(link(what).ends_with(" no"), "{what}: {}", link(what));
        }

        let all: Vec<SocketAddr> = ("web.far.hyprspace", 80).to_socket_addrs().expect("known").collect();
        assert!(all.iter().any(SocketAddr::is_ipv4) && all.iter().any(SocketAddr::is_ipv6), "{all:?}");
        for address in all {
            TcpStream::connect(address).expect("it is reachable");
            listener.accept().expect("a connection");
            assert!(run("getent", &["hosts", &address.ip().to_string()]).contains("web.far.hyprspace"));
        }
        ("web.nobody.hyprspace", 80).to_socket_addrs().expect_err("nobody is called so");

        near.signal(Signal::SIGTERM);
        near.assert_ends_well();
        eventually("it forgets the link", || resolved.says(&["dns", "hypertap"]).is_none());
        let all = resolved.says(&["domain"]).expect("it runs");
        assert!(!all.contains("hyprspace"), "{all}");
        ("far.hyprspace", 80).to_socket_addrs().expect_err("nobody is there to say");
    });
}

#[test]
fn a_systemd_resolved_that_comes_later_is_told_then() {
    let package = package();
    in_namespaces(|| {
        let mut resolved = Resolved::without(&package);
        let scene = Scene::new(json!({}));
        let mut node = scene.near.start();
        node.log_with("no systemd-resolved runs here");
        resolved.come();
        node.log_with("systemd-resolved asks this node for names");
        ("far.hyprspace", 80).to_socket_addrs().expect("it asks the node");
        node.signal(Signal::SIGTERM);
        node.assert_ends_well();
        eventually("it forgets the link", || resolved.says(&["dns", "hypertap"]).is_none());

        // Nobody waits for one that never comes.
        drop(resolved);
        let mut node = scene.near.start();
        node.log_with("no systemd-resolved runs here");
        node.signal(Signal::SIGTERM);
        node.assert_ends_well();
    });
}

#[test]
fn a_systemd_resolved_that_does_not_answer_holds_nobody_up() {
    let package = package();
    in_namespaces(|| {
        let resolved = Resolved::start(&package);
        resolved.signal(Signal::SIGSTOP);
        let scene = Scene::new(json!({}));
        let mut node = scene.near.start();
        let said = node.log();
        assert!(!said.contains("does not know"), "it was waited for: {said}");
        node.log_with("systemd-resolved does not know: `hypertap dns -i hypertap` prints what to configure");
        // It is told again, some time later; that is no reason to stay either.
        let again = |node: &Daemon| {
            eventually_within(2 * TIME, "it is told again", || node.log().contains("is told again"));
        };
        again(&node);
        node.signal(Signal::SIGTERM);
        node.assert_ends_well();
        assert!(!node.log().contains("did not end in time"), "{}", node.log());

        let mut node = scene.near.start();
        node.log_with("systemd-resolved does not know");
        resolved.signal(Signal::SIGCONT);
        again(&node);
        node.log_with("systemd-resolved asks this node for names");
        node.signal(Signal::SIGTERM);
        node.assert_ends_well();

        let mut node = scene.near.start();
        node.log_with("systemd-resolved asks this node for names");
        resolved.signal(Signal::SIGSTOP);
        let begin = Instant::now();
        node.signal(Signal::SIGTERM);
        node.assert_ends_well();
        assert!(begin.elapsed() < 2 * TIME, "{:?}", begin.elapsed());
        resolved.signal(Signal::SIGCONT);
        eventually("it forgets the link", || resolved.says(&["dns", "hypertap"]).is_none());
    });
}
