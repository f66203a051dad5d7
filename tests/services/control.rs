//! A running node's control: what it says of itself, and one node beside another.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use hypertap_tests::daemon::Setup;
use hypertap_tests::machine::ip;
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{TIME, eventually, eventually_within};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::scene::{Asked, Plan, Scene, listen};

/// How long a node may take to end.
const END: Duration = Duration::from_secs(6);
/// Anybody but root.
const SOMEBODY: u32 = 1000;

/// What a node says of itself. All in the namespace answer.
pub fn status(plan: &Plan) -> Value {
    let Asked { code, text, .. } = plan.ask(&["status", "--json"]);
    assert_eq!(code, Some(0), "{text}");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    let mut nodes = all.as_array().expect("a list").iter();
    nodes.find(|node| node["id"] == plan.id.to_string()).expect("it is there").clone()
}

#[test]
fn status_says_who_is_connected_how_and_why() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, mut far) = scene.start();
        let mut stream = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
        let (mut there, _) = listener.accept().expect("a connection");
        stream.write_all(b"hello").expect("somebody reads");
        there.set_read_timeout(Some(TIME)).expect("not zero");
        there.read_exact(&mut [0; 5]).expect("what was written");

        eventually("its ping was answered", || {
            let near = status(&scene.near);
            let connections = near["peers"][0]["connections"].as_array().expect("a list").clone();
            connections.iter().any(|one| one["roundTripMilliseconds"].is_f64())
        });
        let near = status(&scene.near);
        assert_eq!((&near["kind"], &near["interface"]), (&json!("node"), &json!("hypertap")), "{near:#}");
        assert_eq!(near["ipv6"], json!(scene.near.address()), "{near:#}");
        assert_eq!(near["dns"]["address"], "127.60.122.49:6257", "{near:#}");
        let peer = &near["peers"][0];
        assert_eq!((&peer["name"], &peer["isConnected"]), (&json!("far"), &json!(true)), "{near:#}");
        let connections = peer["connections"].as_array().expect("a list");
        let chosen: Vec<&Value> =
            connections.iter().filter(|connection| connection["chosenBecause"].is_string()).collect();
        assert_eq!(chosen.len(), 1, "{near:#}");
        assert!(chosen[0]["address"].as_str().is_some_and(|address| address.starts_with('/')), "{near:#}");

        eventually("its bytes are counted", || status(&scene.far)["services"][0]["bytesToTarget"] == 5);
        let far_says = status(&scene.far);
        let web = &far_says["services"][0];
        assert_eq!((&web["name"], &web["target"]), (&json!("web"), &json!("/ip4/127.0.0.1/tcp/8080")));
        assert_eq!((&web["connections"], &web["served"]), (&json!(1), &json!(1)), "{far_says:#}");
        assert_eq!((&web["bytesToTarget"], &web["bytesFromTarget"]), (&json!(5), &json!(0)));

        let text = scene.near.ask(&["status"]).text;
        for words in ["(node)", "@far", ": connected", "chosen: ", "round trip", "127.60.122.49:6257", "web"]
        {
            assert!(text.contains(words), "{words}: {text}");
        }

        far.signal(Signal::SIGTERM);
        far.assert_ends_well();
        eventually("it is noticed", || status(&scene.near)["peers"][0]["isConnected"] == false);
        eventually_within(3 * TIME, "it is dialled again and says why not", || {
            let peer = &status(&scene.near)["peers"][0];
            peer["lastError"].is_string() && peer["retryInSeconds"].is_f64()
        });
    });
}

#[test]
fn packets_between_nodes_are_counted() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _nodes = scene.start();
        let packets = || status(&scene.near)["packets"].clone();
        eventually("they are counted", || packets()["toPeers"]["packets"].as_u64() > Some(0));
        let packets = packets();
        assert!(packets["fromPeers"]["packets"].as_u64() > Some(0), "{packets:#}");
        assert_eq!(packets["fromPeers"]["dropped"]["foreignSource"], 0, "{packets:#}");
    });
}

#[test]
fn an_ordinary_user_is_told_whose_a_node_is() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let (code, text) = Setup::of("status").by(SOMEBODY).run_to_end();
        assert_eq!(code, Some(1), "{text}");
        assert!(text.contains("nothing of hypertap runs here"), "{text}");
        let _node = scene.near.start();
        for command in ["status", "services", "reload"] {
            let (code, text) = Setup::of(command).by(SOMEBODY).run_to_end();
            assert_eq!(code, Some(3), "{text}");
            assert!(text.contains("is for root and the user who runs it"), "{text}");
        }
    });
}

#[test]
fn one_interface_has_one_node_and_a_namespace_several() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let mut first = scene.near.start();
        let (code, text) = scene.near.setup().run_to_end();
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("a node with the interface hypertap runs here already"), "{text}");
        first.assert_runs();

        let second = Plan::new("second", None);
        second.set("listenAddresses", json!(["/ip4/127.0.0.1/tcp/0"]));
        second.set("services", json!({"other": "/tcp/1"}));
        let hs1 = || second.setup().args(&["--interface", "hs1"]);
        let (code, text) = hs1().run_to_end();
        assert_eq!(code, Some(4), "{text}");
        assert!(text.contains("198.18.0.0/15") && text.contains("localServiceNetwork"), "{text}");
        second.set("localServiceNetwork", json!("10.253.0.0/16"));
        let mut second_node = hs1().start();
        let services = |interface: &str| scene.near.ask(&["services", "--json", "-i", interface]).json();
        assert_eq!(services("hs1")["services"][0]["name"], "other");
        assert_eq!(services("hypertap")["services"], json!([]));
        assert_eq!(status(&second)["interface"], "hs1");
        second_node.signal(Signal::SIGTERM);
        second_node.assert_ends_well();
        let none = scene.near.ask(&["services", "-i", "hs1"]);
        assert_eq!(none.code, Some(1), "{}", none.text);
        assert!(none.says.contains("no node with the interface hs1 runs here"), "{}", none.says);
    });
}

#[test]
fn a_killed_node_leaves_nothing_that_keeps_the_next_from_starting() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let sockets = || {
            let found = fs::read_dir("/run/hypertap").expect("it was made");
            let names = found.map(|entry| entry.expect("a name").file_name().into_string().expect("text"));
            names.filter(|name| name.starts_with("node-")).count()
        };
        let mut killed = scene.near.start();
        killed.kill();
        assert_eq!(sockets(), 1);
        let asked = scene.near.ask(&["services"]);
        assert_eq!(asked.code, Some(1), "{}", asked.text);
        assert!(asked.says.contains("was killed"), "{}", asked.says);
        let mut next = scene.near.start();
        assert_eq!(sockets(), 1);
        assert_eq!(status(&scene.near)["isConnected"], Value::Null);
        next.signal(Signal::SIGTERM);
        next.assert_ends_well();
        assert_eq!(sockets(), 0);
    });
}

#[test]
fn a_node_ends_in_time_with_connections_open_and_targets_that_hang() {
    in_namespaces(|| {
        let services = json!({"web": "/tcp/8080", "hangs": "/ip4/192.0.2.77/tcp/1"});
        let scene = Scene::new(services);
        // Nobody is there, and nobody says so.
        ip("-n far neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 nud permanent dev far0");
        let listener = listen(8080);
        let (mut near, mut far) = scene.start();
        let address = (scene.far.service("web"), 80);
        let mut open: Vec<TcpStream> =
            (0..20).map(|_| TcpStream::connect(address).expect("it is reachable")).collect();
        let there: Vec<TcpStream> = (0..20).map(|_| listener.accept().expect("a connection").0).collect();
        let hanging = std::thread::spawn({
            let address = (scene.far.service("hangs"), 80);
            move || TcpStream::connect(address)
        });
        eventually("the hanging target is being asked", || {
            let services = status(&scene.far)["services"].clone();
            services
                .as_array()
                .expect("a list")
                .iter()
                .any(|one| one["name"] == "hangs" && one["connections"] == 1)
        });
        for node in [&mut far, &mut near] {
            let begin = Instant::now();
            node.signal(Signal::SIGTERM);
            node.assert_ends_well();
            assert!(begin.elapsed() < END, "it took {:?}", begin.elapsed());
        }
        open[0].set_read_timeout(Some(TIME)).expect("not zero");
        open[0].read(&mut [0; 1]).expect_err("it was reset, not ended");
        hanging.join().expect("it does not panic").expect_err("nobody is there");
        drop(there);
    });
}

#[test]
fn a_node_whose_interface_is_removed_says_so_and_ends() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let mut node = scene.near.start();
        ip("link del hypertap");
        let end = node.wait_for_end();
        assert_eq!(end.code(), Some(1), "{}", node.log());
        assert!(node.log().contains("the interface hypertap is gone: somebody removed it"), "{}", node.log());
        let _again = scene.near.start();
    });
}

#[test]
fn the_control_answers_nonsense_with_a_sentence_and_ends_silent_clients() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        let entries = fs::read_dir("/run/hypertap").expect("it was made");
        let path = entries
            .map(|entry| entry.expect("a name").path())
            .find(|path| path.to_string_lossy().contains("node-"))
            .expect("a socket");
        let mode =
            std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).expect("it is there").permissions());
        assert_eq!(mode & 0o777, 0o600);
        let connect = || std::os::unix::net::UnixStream::connect(&path).expect("it listens");
        let mut client = connect();
        client.set_read_timeout(Some(TIME)).expect("not zero");
        for line in ["{}", "nonsense", r#"{"cmd":"fly"}"#, r#"{"cmd":"addService","name":1,"service":""}"#] {
            client.write_all(format!("{line}\n").as_bytes()).expect("somebody reads");
            let mut room = [0; 4096];
            let len = client.read(&mut room).expect("an answer");
            let answer: Value = serde_json::from_slice(&room[..len]).expect("JSON");
            assert_eq!((&answer["ok"], &answer["exit"]), (&json!(false), &json!(2)), "{answer}");
        }
        // One that never ends a line, and more clients than there may be, hold up nobody.
        let crowd: Vec<_> = (0..100).map(|_| connect()).collect();
        for command in ["services", "status"] {
            let Asked { code, says, .. } = scene.near.ask(&[command]);
            assert!(
                code == Some(4) && says.contains("32 clients of its control"),
                "{command}: {code:?} {says}"
            );
        }
        drop(crowd);
        let mut endless = connect();
        let sent = (0..200).try_for_each(|_| endless.write_all(&[b'x'; 16_384]));
        endless.set_read_timeout(Some(TIME)).expect("not zero");
        let mut answer = Vec::new();
        let read = endless.read_to_end(&mut answer);
        assert!(sent.is_err() || read.is_ok(), "it is read for ever");
        eventually("it answers others", || scene.near.ask(&["services"]).code == Some(0));
    });
}
