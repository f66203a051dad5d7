//! Bytes, whole and in order, and each direction's own end.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;

use hypertap_tests::TIME;
use hypertap_tests::namespaces::in_namespaces;
use serde_json::json;

use crate::scene::{Scene, listen};

/// Bytes that no other part of them equals.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend(next().to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

#[test]
fn a_reply_after_the_requests_end_arrives_whole_on_any_port() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let _nodes = scene.start();
        for port in [80, 4711, 65535] {
            thread::scope(|scope| {
                scope.spawn(|| {
                    let (mut stream, _) = listener.accept().expect("a connection");
                    stream.set_read_timeout(Some(TIME)).expect("not zero");
                    let mut request = Vec::new();
                    stream.read_to_end(&mut request).expect("a request and its end");
                    assert!(request == pattern(8 << 20, 1), "{} bytes of another request", request.len());
                    stream.write_all(&pattern(1 << 20, 2)).expect("somebody reads");
                });
                let address = (scene.far.service("web"), port);
                let mut stream = TcpStream::connect(address).expect("it is reachable");
                stream.set_read_timeout(Some(TIME)).expect("not zero");
                stream.write_all(&pattern(8 << 20, 1)).expect("somebody reads");
                stream.shutdown(Shutdown::Write).expect("it is open");
                let mut reply = Vec::new();
                stream.read_to_end(&mut reply).expect("a reply and its end");
                assert!(reply == pattern(1 << 20, 2), "{} bytes of another reply", reply.len());
            });
        }
    });
}

#[test]
fn a_nodes_own_services_are_reached_from_itself() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        scene.near.set("services", json!({"echo": "/tcp/7000"}));
        let _node = scene.near.start();
        let listener = std::net::TcpListener::bind("127.0.0.1:7000").expect("the port is free");
        let mut stream = TcpStream::connect((scene.near.service("echo"), 7)).expect("it is reachable");
        let (mut there, _) = listener.accept().expect("a connection");
        stream.write_all(b"hello").expect("somebody reads");
        let mut bytes = [0; 5];
        there.set_read_timeout(Some(TIME)).expect("not zero");
        there.read_exact(&mut bytes).expect("what was written");
        assert_eq!(&bytes, b"hello");
    });
}

#[test]
fn fifty_connections_at_once_do_not_mix() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let listener = listen(7000);
        let _nodes = scene.start();
        let echo = thread::spawn(move || {
            let mut all = Vec::new();
            for stream in listener.incoming().take(50) {
                let mut stream = stream.expect("a connection");
                all.push(thread::spawn(move || {
                    let mut other = stream.try_clone().expect("a descriptor");
                    std::io::copy(&mut stream, &mut other).expect("both ends are there");
                    other.shutdown(Shutdown::Write).expect("it is open");
                }));
            }
            for one in all {
                one.join().expect("it does not panic");
            }
        });
        let address = (scene.far.service("echo"), 7);
        let all: Vec<_> = (1..=50)
            .map(|number| {
                thread::spawn(move || {
                    let mut stream = TcpStream::connect(address).expect("it is reachable");
                    stream.set_read_timeout(Some(TIME)).expect("not zero");
                    let sent = pattern(100_000, number);
                    stream.write_all(&sent).expect("somebody reads");
                    stream.shutdown(Shutdown::Write).expect("it is open");
                    let mut back = Vec::new();
                    stream.read_to_end(&mut back).expect("an echo and its end");
                    assert!(back == sent, "connection {number} got {} bytes of another", back.len());
                })
            })
            .collect();
        for one in all {
            one.join().expect("it does not panic");
        }
        echo.join().expect("it does not panic");
    });
}
