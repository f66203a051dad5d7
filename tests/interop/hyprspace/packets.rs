//! Packets between nodes.

use std::net::{Ipv6Addr, UdpSocket};
use std::process::{Command, Stdio};

use hypertap_tests::inside::assert_received;
use hypertap_tests::machine::ip;
use hypertap_tests::namespaces::end_within;
use hypertap_tests::packet::{ICMP6, checksum, head, ipv6, ping_reply, udp4};
use hypertap_tests::{TIME, in_namespaces, json};

use super::go_peer::{GoPeer, built, hex, unhex};
use super::scene::{OUR_ID, PEER_ID, Scene, WAYS, addresses, connect};

const PACKETS: &str = "/hyprspace/1";
const ONE_WAY: &str = "/hyprspace/0.0.1";

/// A ping with a number of its own.
fn ping_to(source: Ipv6Addr, destination: Ipv6Addr, number: u8) -> Vec<u8> {
    let mut icmp = vec![128, 0, 0, 0, 0, 1, 0, number];
    let length = [0, 0, 0, 8, 0, 0, 0, ICMP6];
    let sum = checksum(&[&source.octets()[..], &destination.octets(), &length, &icmp].concat());
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv6(source, destination, ICMP6, &icmp)
}

/// Has the peer send a packet; yields what was agreed upon for it.
#[track_caller]
fn send(peer: &GoPeer, packet: &[u8]) -> String {
    let said = peer.must(&json!({"do": "send", "peer": OUR_ID, "hex": hex(packet)}));
    said["protocol"].as_str().expect("a name").to_owned()
}

/// The next packet that comes to the peer: on what protocol, on whose stream.
#[track_caller]
fn received(peer: &GoPeer) -> (Vec<u8>, String, String) {
    let said = peer.must(&json!({"do": "receive", "seconds": TIME.as_secs()}));
    let text = |name: &str| said[name].as_str().expect("text").to_owned();
    (unhex(&text("hex")), text("protocol"), text("stream"))
}

/// A ping of our kernel's to the peer is answered by the peer; yields on what it came.
#[track_caller]
fn assert_ping_comes(peer: &GoPeer) -> (String, String) {
    let (_, theirs) = addresses(PEER_ID);
    let mut ping = Command::new("ping");
    ping.args(["-n", "-c1", "-W10", &theirs.to_string()]).stdout(Stdio::null());
    let mut ping = ping.spawn().expect("it is installed");
    let (packet, protocol, stream) = received(peer);
    assert_eq!(head(&packet).destination, theirs);
    send(peer, &ping_reply(&packet).expect("it is a ping"));
    let ended = end_within(&mut ping, TIME).expect("it was answered");
    assert!(ended.success(), "it was not answered");
    (protocol, stream)
}

/// A ping of the peer's is answered by our kernel; yields on what the answer came.
#[track_caller]
fn assert_ping_is_answered(peer: &GoPeer, number: u8) -> (String, String) {
    let ((_, theirs), (_, ours)) = (addresses(PEER_ID), addresses(OUR_ID));
    let request = ping_to(theirs, ours, number);
    send(peer, &request);
    let (answer, protocol, stream) = received(peer);
    // But for the flow label, which is the kernel's to choose.
    assert_eq!(answer[4..], ping_reply(&request).expect("it is a ping")[4..]);
    (protocol, stream)
}

fn on(protocol: &str, stream: &str) -> (String, String) {
    (protocol.to_owned(), stream.to_owned())
}

#[test]
fn packets_are_answered_on_the_stream_that_the_peer_opened() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            assert_eq!(assert_ping_is_answered(&peer, 1), on(PACKETS, "ours"));
            assert_eq!(assert_ping_comes(&peer), on(PACKETS, "ours"));
            assert_eq!(assert_ping_is_answered(&peer, 2), on(PACKETS, "ours"));
        }
    });
}

#[test]
fn packets_are_answered_on_the_stream_that_our_node_opened() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            assert_eq!(assert_ping_comes(&peer), on(PACKETS, "theirs"));
            assert_eq!(assert_ping_is_answered(&peer, 1), on(PACKETS, "theirs"));
        }
    });
}

#[test]
fn a_peer_of_the_older_protocol_has_a_stream_each_way() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let _node = scene.node();
            let peer = scene.peer(&["-one-way"]);
            connect(&peer, way);
            assert_eq!(assert_ping_is_answered(&peer, 1), on(ONE_WAY, "theirs"));
            assert_eq!(assert_ping_comes(&peer), on(ONE_WAY, "theirs"));
        }
    });
}

#[test]
fn packets_from_or_to_addresses_that_are_not_the_two_nodes_are_dropped() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        let (_node, peer) = scene.meet(WAYS[0]);
        // The kernel itself takes every one of these.
        ip("addr add 10.7.0.1/32 dev lo");
        let socket = UdpSocket::bind("0.0.0.0:7000").expect("the port is free");
        socket.set_read_timeout(Some(TIME)).expect("not zero");
        let ((theirs, _), (ours, _)) = (addresses(PEER_ID), addresses(OUR_ID));
        let of = |source: [u8; 4], destination: [u8; 4], payload: &[u8]| {
            udp4((source.into(), 7001), (destination.into(), 7000), payload)
        };
        let (theirs, ours) = (theirs.octets(), ours.octets());
        for bad in [
            of([100, 64, 9, 9], ours, b"from nobody"),
            of([10, 9, 9, 9], ours, b"from outside"),
            of(theirs, [192, 0, 2, 1], b"to the wire's address"),
            of(theirs, [10, 7, 0, 1], b"to another of the machine's addresses"),
            of(theirs, ours, b"cut off")[..20].to_vec(),
            vec![0x45],
        ] {
            send(&peer, &bad);
        }
        send(&peer, &of(theirs, ours, b"good"));
        assert_received(&socket, b"good");
    });
}

#[test]
fn a_length_that_no_packet_has_closes_the_stream() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            for (name, length) in [(ONE_WAY, 0), (PACKETS, 0), (PACKETS, 1421), (PACKETS, u16::MAX)] {
                let (stream, agreed) = peer.open(OUR_ID, &[name]);
                assert_eq!(agreed, name);
                stream.write(&[&length.to_le_bytes()[..], &[0; 1421]].concat());
                let read = stream.read(1);
                assert!(read.hex.is_empty() && !read.end.is_empty(), "{way}, {name}, {length}: {read:?}");
            }
            assert_ping_is_answered(&peer, 1);
        }
    });
}

#[test]
fn a_peer_that_comes_again_is_answered_on_its_new_stream_at_once() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            assert_eq!(assert_ping_is_answered(&peer, 1), on(PACKETS, "ours"));
            drop(peer);
            let peer = scene.peer(&[]);
            connect(&peer, way);
            assert_eq!(assert_ping_is_answered(&peer, 2), on(PACKETS, "ours"));
            assert_eq!(assert_ping_comes(&peer), on(PACKETS, "ours"));
        }
    });
}

#[test]
fn a_packet_of_the_greatest_length_passes_both_ways() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        let (_node, peer) = scene.meet(WAYS[0]);
        let ((theirs, _), (ours, _)) = (addresses(PEER_ID), addresses(OUR_ID));
        let socket = UdpSocket::bind((ours, 7000)).expect("the address is here");
        socket.set_read_timeout(Some(TIME)).expect("not zero");
        let whole = udp4((theirs, 7001), (ours, 7000), &[7; 1420 - 28]);
        assert_eq!(whole.len(), 1420);
        send(&peer, &whole);
        assert_received(&socket, &whole[28..]);
        socket.send_to(&whole[28..], (theirs, 7001)).expect("it leads into the tunnel");
        let (packet, ..) = received(&peer);
        assert_eq!(packet.len(), 1420);
        assert_eq!(packet[28..], whole[28..]);
    });
}
