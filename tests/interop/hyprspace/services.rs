//! Connections to services, both ways.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use hypertap_tests::{TIME, eventually, in_namespaces, json};
use nix::errno::Errno;

use super::go_peer::{Bytes, GoPeer, built};
use super::scene::{OUR_ID, PEER_ID, Scene, WAYS, connect, in_far, listen, service, service_id};

const SERVICE: &str = "/hyprspace/service/0.0.1";
const WHOLE: usize = 8 << 20;
/// How long a node holds a stream's end back behind its answer.
const APART: Duration = Duration::from_millis(50);

/// Bytes that no other part of them equals.
fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (state ^ state >> 32).to_le_bytes()
    };
    let words = std::iter::repeat_with(&mut next).take(len.div_ceil(8));
    words.flatten().take(len).collect()
}

/// Sends and receives at the same time.
#[track_caller]
fn exchange(mut stream: &TcpStream, sent: u64, wanted: u64) {
    stream.set_read_timeout(Some(TIME)).expect("not zero");
    thread::scope(|scope| {
        scope.spawn(move || stream.write_all(&pattern(WHOLE, sent)).expect("somebody reads"));
        let mut bytes = vec![0; WHOLE];
        stream.read_exact(&mut bytes).expect("all of it");
        assert!(bytes == pattern(WHOLE, wanted), "something else has come");
    });
}

/// 8 MiB each way at once between a program and a service's target.
#[track_caller]
fn assert_joined(program: &TcpStream, target: &TcpListener) {
    let (there, _) = target.accept().expect("a connection");
    thread::scope(|scope| {
        scope.spawn(|| exchange(&there, 1, 2));
        exchange(program, 2, 1);
    });
}

/// Has the peer serve one of its services from a target in its namespace.
fn serve(peer: &GoPeer, name: &str, port: u16, denied: &[&str]) -> TcpListener {
    let target = format!("127.0.0.1:{port}");
    let what = json!({"do": "serve", "service": service_id(name), "address": target, "denied": denied});
    peer.must(&what);
    in_far(|| listen(port))
}

/// What our node says to one who asks for a service, whose number comes in two pieces.
#[track_caller]
fn answer(peer: &GoPeer, name: &str) -> Bytes {
    let (stream, _) = peer.open(OUR_ID, &[SERVICE]);
    let [high, low] = service_id(name).to_be_bytes();
    stream.write(&[high]);
    stream.write(&[low]);
    let first = stream.read(1);
    if first.hex == "f1" || !first.end.is_empty() {
        return first;
    }
    let rest = stream.read(100);
    Bytes { hex: first.hex + &rest.hex, end: rest.end }
}

#[test]
fn a_program_and_a_service_of_the_peer_exchange_8_mib() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let target = serve(&peer, "web", 8080, &[]);
            let program = TcpStream::connect((service(PEER_ID, "web"), 80)).expect("it is reachable");
            assert_joined(&program, &target);
        }
    });
}

#[test]
fn a_program_of_the_peer_and_a_service_exchange_8_mib() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({"web": "/tcp/8080"}));
        let target = listen(8080);
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let said = peer.must(&json!({"do": "forward", "peer": OUR_ID, "service": service_id("web")}));
            let front: SocketAddr = said["address"].as_str().expect("text").parse().expect("an address");
            let program = in_far(|| TcpStream::connect(front).expect("it is reachable"));
            assert_joined(&program, &target);
        }
    });
}

#[test]
fn the_answer_to_a_peer_is_the_byte_that_the_reason_has() {
    built();
    in_namespaces(|| {
        let denied = json!({"target": "/tcp/8080", "acl": {"blacklist": ["@theirs"]}});
        let scene = Scene::new(&json!({
            "web": "/tcp/8080",
            "private": denied,
            "shut": "/tcp/9",
            "any": "/tcp/*",
        }));
        let target = listen(8080);
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let said = |hex: &str, end: &str| Bytes { hex: hex.to_owned(), end: end.to_owned() };
            assert_eq!(answer(&peer, "web"), said("f1", ""));
            target.accept().expect("it was connected");
            for (name, byte) in [("nothing", "f2"), ("shut", "f2"), ("any", "f2"), ("private", "f3")] {
                assert_eq!(answer(&peer, name), said(byte, "closed"), "{name}");
            }
        }
    });
}

#[test]
fn go_ahead_never_comes_with_the_streams_end() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({"brief": "/tcp/8080"}));
        let target = listen(8080);
        thread::spawn(move || target.incoming().for_each(drop));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let mut quick = 0;
            for round in 0..100 {
                let wanted = Bytes { hex: "f1".to_owned(), end: String::new() };
                let begin = Instant::now();
                let answer = answer(&peer, "brief");
                // Whoever reads no sooner than this finds both.
                if begin.elapsed() < APART {
                    quick += 1;
                    assert_eq!(answer, wanted, "{way}, round {round}");
                }
            }
            assert!(quick > 10, "{way}: the machine is too slow for this");
        }
    });
}

#[test]
fn a_program_sees_what_the_peer_answers() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let _private = serve(&peer, "private", 8080, &[OUR_ID]);
            drop(serve(&peer, "gone", 8081, &[]));
            let program = |name: &str| TcpStream::connect((service(PEER_ID, name), 80));
            let refused = program("nothing").expect_err("there is nothing");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
            let denied = program("private").expect_err("it is not for us");
            assert_eq!(denied.raw_os_error(), Some(Errno::EACCES as i32), "{denied}");
            // The peer says yes before it has tried.
            let mut broken = program("gone").expect("the peer said that it is there");
            broken.set_read_timeout(Some(TIME)).expect("not zero");
            match broken.read(&mut [0; 1]) {
                Ok(count) => assert_eq!(count, 0, "it is not there"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
            }
        }
    });
}

#[test]
fn a_peer_that_does_not_know_us_is_unreachable() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let _node = scene.node();
            let peer = scene.peer_that_serves_nobody(&[]);
            let _target = serve(&peer, "web", 8080, &[]);
            connect(&peer, way);
            let error = TcpStream::connect((service(PEER_ID, "web"), 80)).expect_err("we are strangers");
            assert_eq!(error.raw_os_error(), Some(Errno::EHOSTUNREACH as i32), "{error}");
        }
    });
}

#[test]
fn what_a_peer_sent_before_it_closed_both_ways_arrives_whole_at_a_program_that_still_writes() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({}));
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let target = serve(&peer, "web", 8080, &[]);
            for round in 0..5 {
                let program = TcpStream::connect((service(PEER_ID, "web"), 80)).expect("it is reachable");
                let (mut there, _) = target.accept().expect("a connection");
                let sent = pattern(1 << 20, 3);
                let reply = read_while_writing(&program, || {
                    there.write_all(&sent).expect("somebody reads");
                    there.shutdown(Shutdown::Write).expect("it is open");
                    // Closed with something unread it would be a reset, and might lose the reply.
                    let _ = std::io::copy(&mut there, &mut std::io::sink());
                });
                assert!(reply == sent, "{way}, round {round}: {} bytes", reply.len());
            }
        }
    });
}

/// What comes on a connection that is written to until it breaks, while `other` happens at its other end.
fn read_while_writing(mut stream: &TcpStream, other: impl FnOnce() + Send) -> Vec<u8> {
    stream.set_read_timeout(Some(TIME)).expect("not zero");
    thread::scope(|scope| {
        scope.spawn(other);
        scope.spawn(move || while stream.write_all(&[7; 4096]).is_ok() {});
        let mut read = Vec::new();
        match stream.read_to_end(&mut read) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "after {} bytes", read.len()),
        }
        // Whatever the end was, the writer sees it too.
        let _ = stream.shutdown(Shutdown::Both);
        read
    })
}

#[test]
fn what_a_peer_sent_before_it_closed_both_ways_arrives_whole_at_a_target_that_is_slow() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({"web": "/tcp/8080"}));
        let target = listen(8080);
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            for round in 0..5 {
                let (stream, _) = peer.open(OUR_ID, &[SERVICE]);
                stream.write(&service_id("web").to_be_bytes());
                assert_eq!(stream.read(1).hex, "f1");
                let (mut there, _) = target.accept().expect("it was connected");
                let sent = pattern(1 << 19, 4);
                sent.chunks(1 << 17).for_each(|piece| stream.write(piece));
                stream.close();
                // Our node learns that nobody takes this, and only then the target begins to read.
                there.write_all(b"unwanted").expect("somebody reads");
                assert_eq!(answer(&peer, "nothing").hex, "f2");
                let request = read_while_writing(&there, || {});
                assert!(request == sent, "{way}, round {round}: {} bytes", request.len());
            }
        }
    });
}

#[test]
fn a_stream_that_a_peer_ends_after_its_request_is_answered() {
    built();
    in_namespaces(|| {
        let scene = Scene::new(&json!({"web": "/tcp/8080"}));
        let target = listen(8080);
        for way in WAYS {
            let (_node, peer) = scene.meet(way);
            let (stream, _) = peer.open(OUR_ID, &[SERVICE]);
            stream.write(&service_id("web").to_be_bytes());
            stream.write(b"request");
            stream.end();
            let (mut there, _) = target.accept().expect("it was connected");
            there.set_read_timeout(Some(TIME)).expect("not zero");
            let mut request = String::new();
            there.read_to_string(&mut request).expect("a request and its end");
            assert_eq!(request, "request");
            there.write_all(b"reply").expect("somebody reads");
            drop(there);
            let mut reply = String::new();
            eventually("the reply and its end have come", || {
                let read = stream.read(100);
                reply.push_str(&read.hex);
                read.end == "closed"
            });
            assert_eq!(reply, format!("f1{}", super::go_peer::hex(b"reply")));
        }
    });
}
