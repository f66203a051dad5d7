//! Changes of a running node: services added and removed, and its configuration read anew.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

use hypertap_tests::daemon::Daemon;
use hypertap_tests::machine::{ip, ping};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{TIME, eventually};
use hypertap_wire::service_address::NodeId;
use nix::errno::Errno;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::scene::{Plan, Scene, listen};

/// A connection from `near` to a service of `far`, and its end at the target.
struct Connection(TcpStream, TcpStream);

impl Connection {
    #[track_caller]
    fn open(scene: &Scene, name: &str, listener: &TcpListener) -> Self {
        let ours = connect(scene, name).expect("it is reachable");
        let (theirs, _) = listener.accept().expect("a connection");
        for stream in [&ours, &theirs] {
            stream.set_read_timeout(Some(TIME)).expect("not zero");
        }
        Self(ours, theirs)
    }

    #[track_caller]
    fn assert_alive(&mut self) {
        let Self(ours, theirs) = self;
        ours.write_all(b"there").expect("somebody reads");
        theirs.read_exact(&mut [0; 5]).expect("what was written");
        theirs.write_all(b"back").expect("somebody reads");
        ours.read_exact(&mut [0; 4]).expect("what was written");
    }

    #[track_caller]
    fn assert_cut(&mut self) {
        let cut = self.1.read(&mut [0; 1]).expect_err("it was cut, not ended");
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "{cut}");
        // Over QUIC what comes of a reset may be an end (`MeshStream`).
        match self.0.read(&mut [0; 1]) {
            Ok(len) => assert_eq!(len, 0),
            Err(cut) => assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "{cut}"),
        }
    }
}

fn connect(scene: &Scene, name: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect((scene.far.service(name), 80))
}

#[track_caller]
fn assert_refused(scene: &Scene, name: &str) {
    let refused = connect(scene, name).expect_err("there is nothing");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{name}: {refused}");
}

/// Does what must be done well.
#[track_caller]
fn done(plan: &Plan, words: &[&str]) -> String {
    let asked = plan.ask(words);
    assert_eq!(asked.code, Some(0), "{words:?}: {}", asked.says);
    asked.text
}

/// Has something refused, for this reason.
#[track_caller]
fn refused(plan: &Plan, words: &[&str], reason: &str) {
    let asked = plan.ask(words);
    assert_eq!(asked.code, Some(2), "{words:?}: {}{}", asked.text, asked.says);
    assert!(asked.says.contains(reason), "{words:?}: {}", asked.says);
}

fn restart(scene: &Scene, mut far: Daemon) -> Daemon {
    far.signal(Signal::SIGTERM);
    far.assert_ends_well();
    let again = scene.far.start();
    eventually("the nodes are connected again", || ping(&scene.far.address().to_string(), &["-W1"]));
    again
}

#[test]
fn a_service_that_is_added_is_there_at_once_and_after_a_restart_if_it_is_saved() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let mut web = Connection::open(&scene, "web", &listener);
        for (name, save) in [("brief", None), ("lasting", Some("--save"))] {
            assert_refused(&scene, name);
            let before = fs::read_to_string(scene.far.config()).expect("it is there");
            let words: Vec<&str> = ["services", "add", name, "/tcp/8080"].into_iter().chain(save).collect();
            done(&scene.far, &words);
            Connection::open(&scene, name, &listener).assert_alive();
            let after = fs::read_to_string(scene.far.config()).expect("it is there");
            assert_eq!(before != after, save.is_some(), "{after}");
        }
        let near_hears = || scene.near.ask(&["services", "--json"]).json()["peers"][0]["services"].clone();
        eventually("near is told", || near_hears().as_array().is_some_and(|names| names.len() == 3));
        web.assert_alive();
        let list = done(&scene.far, &["services"]);
        assert!(list.contains("brief") && list.contains("not saved"), "{list}");

        let _again = restart(&scene, far);
        assert_refused(&scene, "brief");
        Connection::open(&scene, "lasting", &listener).assert_alive();
    });
}

#[test]
fn a_service_that_is_removed_is_gone_with_its_connections_and_no_other() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080", "brief": "/tcp/8080", "lasting": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let mut web = Connection::open(&scene, "web", &listener);
        for (name, save) in [("brief", None), ("lasting", Some("--save"))] {
            let mut open = Connection::open(&scene, name, &listener);
            let words: Vec<&str> = ["services", "remove", name].into_iter().chain(save).collect();
            let says = done(&scene.far, &words);
            assert!(says.contains("1 connection was cut"), "{says}");
            open.assert_cut();
            assert_refused(&scene, name);
        }
        web.assert_alive();
        refused(&scene.far, &["services", "remove", "brief"], "there is no service \"brief\"");

        let _again = restart(&scene, far);
        assert_refused(&scene, "lasting");
        Connection::open(&scene, "brief", &listener).assert_alive();
    });
}

#[test]
fn a_nodes_own_connections_to_a_service_end_with_it() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        scene.near.set("services", json!({"web": "/tcp/7000"}));
        let _node = scene.near.start();
        let listener = TcpListener::bind("127.0.0.1:7000").expect("the port is free");
        let ours = TcpStream::connect((scene.near.service("web"), 80)).expect("it is reachable");
        let (theirs, _) = listener.accept().expect("a connection");
        for stream in [&ours, &theirs] {
            stream.set_read_timeout(Some(TIME)).expect("not zero");
        }
        let mut open = Connection(ours, theirs);
        open.assert_alive();
        done(&scene.near, &["services", "remove", "web"]);
        open.assert_cut();
    });
}

#[test]
fn a_service_that_the_configuration_could_not_have_is_refused_in_its_words() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"ai": "/tcp/8080"}));
        let _far = scene.far.start();
        let before = fs::read_to_string(scene.far.config()).expect("it is there");
        for (words, reason) in [
            (&["ci", "/tcp/1"][..], "the services ai and ci have one service id"),
            (&["ai", "/tcp/1"], "the service ai is there already"),
            (&["b2", "8080"], "it is no multiaddr"),
            (&["b c", "/tcp/1"], "services[\"b c\"]"),
            (&["b2", "/tcp/1", "--allow", "@nobody"], "services.b2.acl.whitelist[0]"),
            (&["b2", "/udp/1", "--check", "5"], "services.b2.check"),
        ] {
            for save in [None, Some("--save")] {
                let words: Vec<&str> = ["services", "add"].iter().chain(words).copied().chain(save).collect();
                refused(&scene.far, &words, reason);
            }
        }
        assert_eq!(fs::read_to_string(scene.far.config()).expect("it is there"), before);
        let services = scene.far.ask(&["services", "--json"]).json()["services"].clone();
        assert_eq!(services.as_array().expect("a list").len(), 1, "{services:#}");
        // What is there as it is to be can be saved, or said again.
        done(&scene.far, &["services", "add", "ai", "/tcp/8080"]);
        done(&scene.far, &["services", "add", "b2", "/tcp/1"]);
        done(&scene.far, &["services", "add", "b2", "/tcp/1", "--save"]);
        let config: Value =
            serde_json::from_str(&fs::read_to_string(scene.far.config()).expect("it is there"))
                .expect("JSON");
        assert_eq!(config["services"], json!({"ai": "/tcp/8080", "b2": "/tcp/1"}));
    });
}

#[test]
fn access_is_as_the_command_says() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let listener = listen(8080);
        let _nodes = scene.start();
        done(&scene.far, &["services", "add", "shut", "/tcp/8080", "--deny", "@near"]);
        done(&scene.far, &["services", "add", "open", "/tcp/8080", "--allow", "@near"]);
        let denied = connect(&scene, "shut").expect_err("it is not for this node");
        assert_eq!(denied.raw_os_error(), Some(Errno::EACCES as i32), "{denied}");
        Connection::open(&scene, "open", &listener).assert_alive();
    });
}

#[test]
fn a_reload_changes_all_that_is_new_and_no_connection_that_may_go_on() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080", "old": "/tcp/8080", "private": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let [mut web, mut old, mut private] =
            ["web", "old", "private"].map(|name| Connection::open(&scene, name, &listener));
        done(&scene.far, &["services", "add", "brief", "/tcp/8080"]);
        let denied = json!({"target": "/tcp/8080", "acl": {"blacklist": ["@near"]}});
        scene.far.set("services", json!({"web": "/tcp/8080", "new": "/tcp/8080", "private": denied}));
        let says = done(&scene.far, &["reload"]);
        assert!(says.contains("1 added, 1 removed, 1 changed; 2 connections were cut"), "{says}");
        old.assert_cut();
        private.assert_cut();
        assert_refused(&scene, "old");
        assert_eq!(
            connect(&scene, "private").expect_err("denied").raw_os_error(),
            Some(Errno::EACCES as i32)
        );
        for name in ["new", "brief"] {
            Connection::open(&scene, name, &listener).assert_alive();
        }

        // The signal does the same.
        scene.far.set("services", json!({"web": "/tcp/8080", "newer": "/tcp/8080"}));
        far.signal(Signal::SIGHUP);
        eventually("it is there", || connect(&scene, "newer").is_ok());
        listener.accept().expect("a connection");
        assert_refused(&scene, "new");
        web.assert_alive();
        let says = done(&scene.far, &["reload"]);
        assert!(says.contains("no service or peer differs"), "{says}");
    });
}

#[test]
fn a_bad_reload_changes_nothing_and_says_why() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let mut web = Connection::open(&scene, "web", &listener);
        let good = fs::read_to_string(scene.far.config()).expect("it is there");
        let check = |key: &str, value: Value, reason: &str| {
            scene.far.set("services", json!({"new": "/tcp/8080"}));
            scene.far.set(key, value);
            refused(&scene.far, &["reload"], reason);
            far.log_with(reason);
            assert_refused(&scene, "new");
            fs::write(scene.far.config(), &good).expect("it is ours");
        };
        check("services", json!({"new": "8080"}), "services.new: \"8080\"");
        check("peeers", json!([]), "did you mean \"peers\"");
        check(
            "listenAddresses",
            json!(["/ip4/0.0.0.0/tcp/9999"]),
            "listenAddresses cannot change while the node runs",
        );
        check("domain", json!("elsewhere"), "domain cannot change while the node runs");
        check("privateKey", json!(scene.near.key().to_multibase()), "privateKey cannot change");
        fs::write(scene.far.config(), "{").expect("it is ours");
        far.signal(Signal::SIGHUP);
        far.log_with("it is not JSON");
        web.assert_alive();
        Connection::open(&scene, "web", &listener).assert_alive();
    });
}

#[test]
fn a_reload_brings_and_takes_peers_with_their_routes() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let peers = |plan: &Plan| {
            let text = fs::read_to_string(plan.config()).expect("it is there");
            serde_json::from_str::<Value>(&text).expect("JSON")["peers"].clone()
        };
        let all = peers(&scene.near);
        scene.near.set("peers", json!([]));
        let (_near, _far) = (scene.near.start(), scene.far.start());
        let net = NodeId::of(&scene.far.id).service_net().to_string();
        let is_routed = || ip("-6 route show dev hypertap").contains(&net);
        assert!(!is_routed());
        scene.near.set("peers", all);
        done(&scene.near, &["reload"]);
        assert!(is_routed());
        scene.wait_connected();
        let mut web = Connection::open(&scene, "web", &listener);
        web.assert_alive();
        scene.near.set("peers", json!([]));
        done(&scene.near, &["reload"]);
        assert!(!is_routed());
        web.assert_cut();
    });
}
