//! Telling where others are.

use std::io::ErrorKind;
use std::net::TcpListener;

use hypertap_tests::machine::ip;
use hypertap_tests::{eventually, in_namespaces, json};

use super::go_peer::built;
use super::scene::{OUR_ID, OUR_TCP, PEER_ID, Scene, WAYS, connect};

/// Another peer's id, that of a key which nobody needs.
const THIRD: &str = "12D3KooWSNtHiSxz1BvNEDkwFQhi8W3XD7ahn22WkFHnNbsvZTKV";

#[test]
fn a_peer_is_told_where_the_others_are_and_not_where_it_is_itself() {
    built();
    in_namespaces(|| {
        let address = "/ip4/192.0.2.2/tcp/9333";
        let mut scene = Scene::new(&json!({}));
        let theirs = json!({"name": "theirs", "id": PEER_ID, "addresses": ["/ip4/192.0.2.2/tcp/9222"]});
        scene.set("peers", json!([theirs, {"name": "third", "id": THIRD, "addresses": [address]}]));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let wanted = json!({"lines": [format!("{THIRD}|{address}\n"), ""]});
            // At once when it is connected, as such a peer does, and again.
            assert_eq!(peer.must(&json!({"do": "exchanged", "peer": OUR_ID})), wanted);
            assert_eq!(peer.must(&json!({"do": "exchange", "peer": OUR_ID})), wanted);
        }
    });
}

#[test]
fn a_node_finds_a_peer_where_another_says_that_it_is_unless_that_is_in_the_tunnel() {
    built();
    in_namespaces(|| {
        let mut scene = Scene::new(&json!({}));
        let third = scene.any_peer(&["-listen", "/ip4/192.0.2.2/tcp/9333", "-peer", OUR_ID]);
        let id = third.id.clone();
        scene.set("peers", json!([{"name": "theirs", "id": PEER_ID}, {"name": "third", "id": id}]));
        let _node = scene.node();
        // Whoever dials there comes to us.
        ip("addr add 100.64.7.7/32 dev lo");
        let inside = TcpListener::bind("100.64.7.7:9333").expect("the port is free");
        inside.set_nonblocking(true).expect("it is open");
        let at = |host: &str| format!("/ip4/{host}/tcp/9333/p2p/{id}");
        let peer = scene.peer(&["-peer", &at("100.64.7.7"), "-peer", &at("192.0.2.2")]);
        connect(&peer, OUR_TCP);
        eventually("the third is connected", || {
            third.may(&json!({"do": "wait", "peer": OUR_ID, "is": true})).is_ok()
        });
        let nobody = inside.accept().expect_err("nobody may dial it");
        assert_eq!(nobody.kind(), ErrorKind::WouldBlock);
    });
}
