//! PROXY protocol v2, as its own document has it (`HAProxy`'s `proxy-protocol.txt`, section 2.2).

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream};

use hypertap_tests::TIME;
use hypertap_tests::namespaces::in_namespaces;
use hypertap_wire::label::Label;
use hypertap_wire::service_address::ServiceId;
use serde_json::json;

use crate::member::Member;
use crate::scene::{Scene, listen};

const PLAIN: &[&str] = &["/hyprspace/service/0.0.1"];

/// What a header says: the client and where it went, or nothing.
type Said = Option<(SocketAddr, SocketAddr)>;

/// Reads a header as a target does.
fn header(stream: &mut TcpStream) -> Said {
    let mut fixed = [0; 16];
    stream.read_exact(&mut fixed).expect("a header comes first");
    let (signature, rest) = fixed.split_at(12);
    assert_eq!(signature, b"\x0d\x0a\x0d\x0a\x00\x0d\x0a\x51\x55\x49\x54\x0a");
    let mut addresses = vec![0; usize::from(u16::from_be_bytes([rest[2], rest[3]]))];
    stream.read_exact(&mut addresses).expect("as long as it says");
    match (rest[0], rest[1]) {
        (0x20, _) => None,
        (0x21, 0x21) => {
            assert!(addresses.len() >= 36, "two IPv6 addresses and ports");
            let ip = |at: usize| Ipv6Addr::from(<[u8; 16]>::try_from(&addresses[at..at + 16]).expect("16"));
            let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
            let one = |ip_at, port_at| SocketAddrV6::new(ip(ip_at), port(port_at), 0, 0).into();
            Some((one(0, 32), one(16, 34)))
        }
        other => panic!("version, command and family {other:02x?}"),
    }
}

/// The next connection to a target.
fn accept(listener: &TcpListener) -> TcpStream {
    let (stream, _) = listener.accept().expect("a connection");
    stream.set_read_timeout(Some(TIME)).expect("not zero");
    stream
}

#[test]
fn a_target_is_told_which_nodes_program_connects_and_to_what() {
    in_namespaces(|| {
        let told = json!({"target": "/tcp/8080", "proxyProtocol": true});
        let scene = Scene::new(json!({"web": told}));
        scene.near.set("services", json!({"web": told}));
        let there = listen(8080);
        let here = TcpListener::bind("127.0.0.1:8080").expect("the port is free");
        let _nodes = scene.start();
        for (listener, server) in [(&there, &scene.far), (&here, &scene.near)] {
            let service = SocketAddr::from((server.service("web"), 443));
            let mut client = TcpStream::connect(service).expect("it is reachable");
            client.write_all(b"hello").expect("somebody reads");
            let mut stream = accept(listener);
            let port = client.local_addr().expect("it is bound").port();
            assert_eq!(header(&mut stream), Some(((scene.near.address(), port).into(), service)));
            let mut bytes = [0; 5];
            stream.read_exact(&mut bytes).expect("what the client wrote");
            assert_eq!(&bytes, b"hello", "right after the header");
        }
    });
}

#[test]
fn of_a_client_that_does_not_say_who_it_is_nothing_is_told() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": {"target": "/tcp/8080", "proxyProtocol": true}}));
        let listener = listen(8080);
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, &[]);
        let mut stream = member.open(PLAIN);
        member.send(&mut stream, &ServiceId::of(&Label::new("web").expect("a label")).0);
        assert_eq!(member.read(&mut stream, 1), [0xf1]);
        member.send(&mut stream, b"hello");
        let mut target = accept(&listener);
        assert_eq!(header(&mut target), None);
        let mut bytes = [0; 5];
        target.read_exact(&mut bytes).expect("what the client wrote");
        assert_eq!(&bytes, b"hello");
    });
}
