//! Peer exchange.

use std::net::TcpListener;

use hypertap_tests::eventually_within;
use hypertap_tests::machine::{ip, ping, run};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::wait::{TIME, eventually};
use hypertap_wire::peer_id::PeerId;
use serde_json::json;

use crate::member::Member;
use crate::scene::{Plan, Scene};

const PEX: &[&str] = &["/hyprspace/pex/0.0.1"];

/// A peer that runs nowhere.
fn third() -> PeerId {
    PeerId::from_ed25519(&[3; 32])
}

/// Two nodes, of which `far` has a third among its peers, with these addresses.
fn with_third(addresses: &[&str]) -> Scene {
    let scene = Scene::new(json!({}));
    scene.far.add_peer(&json!({"id": third().to_string(), "addresses": addresses}).to_string());
    scene
}

/// A namespace beyond the far one, which passes packets on between it and ours.
fn beyond() -> &'static str {
    ip("netns add beyond");
    ip("-n far link add far1 type veth peer name beyond0 netns beyond");
    for (namespace, device, address) in [("far", "far1", 1), ("beyond", "beyond0", 2)] {
        ip(&format!("-n {namespace} addr add 198.51.100.{address}/24 dev {device}"));
        ip(&format!("-n {namespace} link set {device} up"));
    }
    ip("-n beyond link set lo up");
    ip("-n beyond route add default via 198.51.100.1");
    run("ip", &["netns", "exec", "far", "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"]);
    "beyond"
}

#[test]
fn two_that_know_only_a_third_find_each_other_through_it() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let beyond = Plan::new("beyond", Some(beyond()));
        beyond.meets(&scene.far);
        scene.far.meets(&beyond);
        scene.near.hears_of(&beyond);
        beyond.hears_of(&scene.near);
        let _all = [&scene.far, &scene.near, &beyond].map(Plan::start);
        let address = beyond.address().to_string();
        eventually_within(2 * TIME, "they are connected", || ping(&address, &["-W1"]));
    });
}

#[test]
fn a_peer_is_told_where_the_others_are_and_then_the_end() {
    in_namespaces(|| {
        let addresses = ["/ip4/198.51.100.9/tcp/8001", "/ip4/198.51.100.9/udp/8001/quic-v1"];
        let scene = with_third(&addresses);
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, &[]);
        let mut stream = member.open(PEX);
        member.send(&mut stream, b"r\n");
        let answer = member.rest(&mut stream).expect("it is ended and not reset");
        let expected = addresses.map(|address| format!("{}|{address}\n", third())).concat();
        assert_eq!(String::from_utf8_lossy(&answer), expected);
        let mut stream = member.open(PEX);
        member.send(&mut stream, b"where?\n");
        let answer = member.rest(&mut stream).unwrap_or_default();
        assert!(answer.is_empty(), "that was no question: {answer:?}");
    });
}

#[test]
fn of_what_a_peer_tells_only_addresses_of_peers_are_dialled() {
    in_namespaces(|| {
        let scene = with_third(&[]);
        let _far = scene.far.start();
        let listeners = [(); 4].map(|()| TcpListener::bind("192.0.2.1:0").expect("a port is free"));
        let [good, strangers, bad, unended] = listeners.each_ref().map(|listener| {
            listener.set_nonblocking(true).expect("it is open");
            format!("/ip4/192.0.2.1/tcp/{}", listener.local_addr().expect("it is bound").port())
        });
        let stranger = PeerId::from_ed25519(&[4; 32]);
        let third = third();
        let mut member = Member::connect(&scene.near, &scene.far, PEX);
        let mut stream = member.accept();
        assert_eq!(member.read(&mut stream, 2), b"r\n");
        let answer = format!(
            "{stranger}|{strangers}\nno bar\n{third}|{bad}/http\n{third}{bad}\n{third}|{good}\n{third}|{unended}"
        );
        member.send(&mut stream, answer.as_bytes());
        member.end(&mut stream);
        // After the second dial all of the first is over.
        for _ in 0..2 {
            eventually("the third is dialled", || listeners[0].accept().is_ok());
        }
        for (listener, what) in listeners.iter().zip(["", "stranger", "bad", "unended"]).skip(1) {
            assert!(listener.accept().is_err(), "{what} was dialled");
        }
    });
}

#[test]
fn an_answer_without_end_is_given_up() {
    in_namespaces(|| {
        let scene = with_third(&[]);
        let mut far = scene.far.start();
        let mut member = Member::connect(&scene.near, &scene.far, PEX);
        let mut stream = member.accept();
        assert_eq!(member.read(&mut stream, 2), b"r\n");
        let lines = format!("{}|/ip4/198.51.100.9/tcp/1\n", third()).repeat(1000);
        let mut sent = 0;
        while member.try_send(&mut stream, lines.as_bytes()) {
            sent += lines.len();
            assert!(sent < 64 << 20, "it reads and reads");
        }
        // It asks again, as somebody is missing, and now hears nothing at all.
        let mut stream = member.accept();
        assert_eq!(member.read(&mut stream, 2), b"r\n");
        let rest = member.rest(&mut stream).unwrap_or_default();
        assert!(rest.is_empty());
        far.assert_runs();
    });
}
