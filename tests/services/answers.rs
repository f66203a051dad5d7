//! What a peer answers when it is asked for a service, and what the program sees that asked.

use std::io::{self, ErrorKind, Read};
use std::net::{SocketAddr, TcpStream};
use std::thread;

use hypertap_mesh::MeshStream;
use hypertap_tests::TIME;
use hypertap_tests::namespaces::{in_namespaces, in_namespaces_within};
use hypertap_wire::label::Label;
use hypertap_wire::service_address::ServiceId;
use nix::errno::Errno;
use serde_json::json;

use crate::member::Member;
use crate::scene::{Plan, Scene, in_far};

const BOTH: &[&str] = &["/hypertap/service/1", "/hyprspace/service/0.0.1"];
const PLAIN: &[&str] = &["/hyprspace/service/0.0.1"];

/// Has a program in the far namespace connect to the near node's service `web`, and the test answer.
/// To drop the stream resets it.
fn answered<T>(
    member: &mut Member,
    near: &Plan,
    answer: impl FnOnce(&Member, MeshStream) -> T,
) -> (io::Result<TcpStream>, T) {
    let address = SocketAddr::from((near.service("web"), 80));
    thread::scope(|scope| {
        let program = scope.spawn(move || in_far(|| TcpStream::connect(address)));
        let stream = member.accept();
        let answered = answer(member, stream);
        (program.join().expect("it does not panic"), answered)
    })
}

fn assert_fails(connected: io::Result<TcpStream>, expected: Errno, why: &str) {
    let error = connected.expect_err(why);
    assert_eq!(error.raw_os_error(), Some(expected as i32), "{why}: {error}");
}

#[test]
fn each_reason_is_the_error_that_it_stands_for() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _far = scene.far.start();
        let mut member = Member::connect(&scene.near, &scene.far, BOTH);
        let web = ServiceId::of(&Label::new("web").expect("a label"));
        for (reason, expected) in [
            (1, Errno::ECONNREFUSED),
            (2, Errno::EACCES),
            (3, Errno::ECONNREFUSED),
            (4, Errno::EHOSTUNREACH),
            (5, Errno::EHOSTUNREACH),
            (6, Errno::ECONNREFUSED),
            (7, Errno::ECONNREFUSED),
            (8, Errno::ECONNREFUSED),
            (200, Errno::ECONNREFUSED),
        ] {
            let (connected, (opening, _)) = answered(&mut member, &scene.near, |member, mut stream| {
                let opening = member.read(&mut stream, 10);
                // It may have heard enough before the end.
                let _ = member.try_send(&mut stream, &[0, 1, reason]) && member.try_end(&mut stream);
                (opening, stream)
            });
            assert_fails(connected, expected, &format!("reason {reason}"));
            assert_eq!(opening[..4], [0, 8, web.0[0], web.0[1]], "its length and the service");
            assert_eq!(opening[6..], [0, 80, 6, 0], "the port, TCP, and no name");
        }
        let (connected, (port, _stream)) = answered(&mut member, &scene.near, |member, mut stream| {
            let opening = member.read(&mut stream, 10);
            member.send(&mut stream, &[0, 3, 0, 9, 9]);
            member.send(&mut stream, b"hello");
            member.end(&mut stream);
            (u16::from_be_bytes([opening[4], opening[5]]), stream)
        });
        let mut program = connected.expect("the peer said yes");
        assert_eq!(program.local_addr().expect("it is bound").port(), port);
        program.set_read_timeout(Some(TIME)).expect("not zero");
        let mut said = String::new();
        program.read_to_string(&mut said).expect("the peer's bytes and their end");
        assert_eq!(said, "hello", "what later versions add to the reply is none of it");
    });
}

#[test]
fn each_status_of_the_plain_protocol_is_the_error_that_it_stands_for() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _far = scene.far.start();
        let mut member = Member::connect(&scene.near, &scene.far, PLAIN);
        for (status, expected) in
            [(0xf2, Errno::ECONNREFUSED), (0xf3, Errno::EACCES), (0x00, Errno::EHOSTUNREACH)]
        {
            let (connected, _) = answered(&mut member, &scene.near, |member, mut stream| {
                assert_eq!(member.read(&mut stream, 2).len(), 2);
                let _ = member.try_send(&mut stream, &[status]) && member.try_end(&mut stream);
                stream
            });
            assert_fails(connected, expected, &format!("status {status:02x}"));
        }
        let (connected, stream) = answered(&mut member, &scene.near, |member, mut stream| {
            assert_eq!(member.read(&mut stream, 2).len(), 2);
            member.send(&mut stream, b"\xf1hello");
            stream
        });
        let mut program = connected.expect("the peer said yes");
        program.set_read_timeout(Some(TIME)).expect("not zero");
        let mut said = [0; 5];
        program.read_exact(&mut said).expect("the peer's bytes");
        assert_eq!(&said, b"hello");
        // The peer's reset.
        drop(stream);
        let reset = program.read(&mut said).expect_err("it is no end");
        assert_eq!(reset.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_peer_that_answers_nothing_good_is_no_route_to_the_host() {
    in_namespaces_within(3 * TIME, || {
        let scene = Scene::new(json!({}));
        let _far = scene.far.start();
        let mut member = Member::connect(&scene.near, &scene.far, BOTH);
        let (connected, ()) = answered(&mut member, &scene.near, |_, stream| drop(stream));
        assert_fails(connected, Errno::EHOSTUNREACH, "a reset");
        let (connected, _stream) = answered(&mut member, &scene.near, |member, mut stream| {
            member.end(&mut stream);
            stream
        });
        assert_fails(connected, Errno::EHOSTUNREACH, "an end");
        let (connected, _stream) = answered(&mut member, &scene.near, |member, mut stream| {
            member.send(&mut stream, &[0xff; 2]);
            stream
        });
        assert_fails(connected, Errno::EHOSTUNREACH, "what is no reply");
        let (connected, _kept) = answered(&mut member, &scene.near, |_, stream| stream);
        assert_fails(connected, Errno::EHOSTUNREACH, "no answer");
    });
}
