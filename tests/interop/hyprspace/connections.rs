//! Who connects to whom, over what.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use hypertap_tests::machine::ip;
use hypertap_tests::{eventually_within, in_namespaces, json};
use hypertap_wire::service_address::is_inside;
use nix::sys::signal::Signal;

use super::go_peer::{GoPeer, built};
use super::scene::{OUR_ID, OUR_QUIC, OUR_TCP, PEER_ID, PEER_QUIC, PEER_TCP, Scene, WAYS, connect};

/// The transport and the security of the peer's connection with our node that came in there, or went out.
#[track_caller]
fn connection(peer: &GoPeer, is_inbound: bool) -> (String, String) {
    let said = peer.must(&json!({"do": "connections", "peer": OUR_ID}));
    let mut all = said["connections"].as_array().expect("a list").iter();
    let one = all.find(|one| one["inbound"] == is_inbound).unwrap_or_else(|| panic!("it has {said}"));
    let text = |name: &str| one[name].as_str().expect("text").to_owned();
    (text("transport"), text("security"))
}

/// Which connection over TCP that is.
fn tcp(security: &str) -> (String, String) {
    ("tcp".to_owned(), security.to_owned())
}

#[track_caller]
fn wait(peer: &GoPeer, is_connected: bool) {
    peer.must(&json!({"do": "wait", "peer": OUR_ID, "is": is_connected}));
}

#[test]
fn a_peer_connects_over_tcp_with_tls_or_noise_and_over_quic() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        let _node = scene.node();
        for (offers, agreed) in [("tls", "/tls/1.0.0"), ("noise", "/noise"), ("tls,noise", "/tls/1.0.0")] {
            let peer = scene.peer(&["-security", offers]);
            connect(&peer, OUR_TCP);
            assert_eq!(connection(&peer, false), tcp(agreed), "{offers}");
        }
        let peer = scene.peer(&[]);
        connect(&peer, OUR_QUIC);
        assert_eq!(connection(&peer, false).0, "quic-v1");
    });
}

#[test]
fn a_peer_is_connected_to_over_tcp_with_tls_before_noise_and_over_quic() {
    built();
    in_namespaces(|| {
        let mut scene = Scene::new(&json!({}));
        let at = |address: &str| json!([{"name": "theirs", "id": PEER_ID, "addresses": [address]}]);
        scene.set("peers", at(PEER_TCP));
        for (offers, agreed) in [("tls", "/tls/1.0.0"), ("noise", "/noise"), ("noise,tls", "/tls/1.0.0")] {
            let peer = scene.peer(&["-security", offers]);
            let _node = scene.node();
            wait(&peer, true);
            assert_eq!(connection(&peer, true), tcp(agreed), "{offers}");
        }
        let peer = scene.peer(&[]);
        scene.set("peers", at(PEER_QUIC));
        let _node = scene.node();
        wait(&peer, true);
        assert_eq!(connection(&peer, true).0, "quic-v1");
    });
}

#[test]
fn a_peer_that_is_not_configured_is_disconnected() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        let _node = scene.node();
        for way in WAYS {
            let stranger = scene.any_peer(&[]);
            // Go says that it is connected as soon as it has said all that it has to say.
            let _ = stranger.may(&json!({"do": "connect", "address": format!("{way}/p2p/{OUR_ID}")}));
            wait(&stranger, false);
            let peer = scene.peer(&[]);
            connect(&peer, way);
            wait(&peer, true);
        }
    });
}

#[test]
fn a_node_that_ends_says_so() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (mut node, peer) = scene.meet(way);
            node.signal(Signal::SIGTERM);
            let begin = Instant::now();
            wait(&peer, false);
            assert!(begin.elapsed() < Duration::from_secs(5), "{way}: it was not said");
            node.assert_ends_well();
        }
    });
}

#[test]
fn an_address_in_the_tunnel_that_a_peer_lists_is_never_dialled() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        let options = ["-announce", "/ip4/100.64.7.7/tcp/9001", "-announce", "/ip4/192.0.2.1/tcp/7777"];
        let node = scene.node();
        // Whoever dials there comes to us.
        ip("addr add 100.64.7.7/32 dev lo");
        let inside = TcpListener::bind("100.64.7.7:9001").expect("the port is free");
        let outside = TcpListener::bind("192.0.2.1:7777").expect("the port is free");
        inside.set_nonblocking(true).expect("it is open");
        outside.set_nonblocking(true).expect("it is open");
        let peer = scene.peer(&options);
        connect(&peer, OUR_TCP);
        node.log_with("identified");
        drop(peer);
        // All addresses that are known are dialled at once.
        eventually_within(Duration::from_secs(20), "another address is dialled", || outside.accept().is_ok());
        let peer = scene.peer(&options);
        eventually_within(Duration::from_secs(30), "it is found where it was", || {
            peer.may(&json!({"do": "wait", "peer": OUR_ID, "is": true})).is_ok()
        });
        let nobody = inside.accept().expect_err("nobody may dial it");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn our_node_lists_no_address_in_the_tunnel() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let said = peer.must(&json!({"do": "listed"}));
            let listed = said["addresses"].as_array().expect("a list").iter();
            let listed: Vec<&str> = listed.map(|address| address.as_str().expect("text")).collect();
            assert!(listed.contains(&OUR_TCP) && listed.contains(&OUR_QUIC), "{listed:?}");
            let ip = |address: &&str| address.split('/').nth(2).and_then(|ip| ip.parse().ok());
            let (inside, outside): (Vec<_>, Vec<_>) =
                listed.iter().filter_map(ip).partition(|ip| is_inside(*ip));
            assert!(inside.is_empty() && !outside.is_empty(), "{listed:?}");
        }
    });
}
