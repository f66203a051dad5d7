//! How nodes come and go.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use hypertap_tests::dump::Dump;
use hypertap_tests::eventually_within;
use hypertap_tests::machine::{ip, ping};
use hypertap_tests::namespaces::in_namespaces;
use nix::sys::signal::{Signal, kill};
use serde_json::json;

use crate::scene::{Scene, listen, over_quic};

/// When a peer that is gone has been noticed at the latest: after 15 s, and 5 s that a busy machine may be late.
const NOTICED: Duration = Duration::from_secs(20);

#[test]
fn a_node_leaves_the_machine_as_it_was() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let before = Dump::now();
        let (mut near, _far) = scene.start();
        assert!(ping(&scene.far.service("anything").to_string(), &[]), "a service's address is alive");
        before.assert_changed();
        near.signal(Signal::SIGTERM);
        near.assert_ends_well();
        before.assert_same();
        let killed = scene.near.start();
        before.assert_changed();
        drop(killed);
        before.assert_same_soon();
    });
}

/// A connection to a service with its target's end, by which something has come.
#[track_caller]
fn greeted(address: impl ToSocketAddrs, listener: &TcpListener) -> (TcpStream, TcpStream) {
    let mut stream = TcpStream::connect(address).expect("it is reachable");
    let (mut there, _) = listener.accept().expect("a connection");
    there.write_all(b"hello").expect("somebody reads");
    stream.set_read_timeout(Some(NOTICED)).expect("not zero");
    stream.read_exact(&mut [0; 5]).expect("what was written");
    (stream, there)
}

#[test]
fn a_killed_peer_is_a_reset_in_time_and_a_restarted_one_serves_again() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let listener = listen(7000);
        let (_near, far) = scene.start();
        let (mut stream, _there) = greeted((scene.far.service("echo"), 7), &listener);
        kill(far.pid(), Signal::SIGKILL).expect("it runs");
        let cut = stream.read(&mut [0]).expect_err("it was cut, not ended");
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "{cut}");
        drop(far);

        let _again = scene.far.start();
        let address = (scene.far.service("echo"), 7);
        eventually_within(2 * NOTICED, "it serves again", || TcpStream::connect(address).is_ok());
    });
}

#[test]
fn a_node_whose_addresses_change_is_connected_again() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let listener = listen(7000);
        let (_near, _far) = scene.start();
        let address = (scene.far.service("echo"), 7);
        let (mut stream, _there) = greeted(address, &listener);
        for (old, new) in [("192.0.2.2/24", "192.0.2.77/24"), ("2001:db8::2/64", "2001:db8::77/64 nodad")] {
            ip(&format!("-n far addr del {old} dev far0"));
            ip(&format!("-n far addr add {new} dev far0"));
        }
        let cut = stream.read(&mut [0]).expect_err("it was cut, not ended");
        assert_eq!(cut.kind(), ErrorKind::ConnectionReset, "{cut}");
        eventually_within(2 * NOTICED, "it is there again", || TcpStream::connect(address).is_ok());
    });
}

#[test]
fn a_peer_that_starts_again_after_it_was_killed_says_so_to_who_still_speaks_to_it() {
    in_namespaces(|| {
        let scene = over_quic();
        let listener = listen(8080);
        let (_near, far) = scene.start();
        let (mut stream, _there) = greeted((scene.far.service("web"), 80), &listener);
        kill(far.pid(), Signal::SIGKILL).expect("it runs");
        drop(far);
        let killed = Instant::now();
        let _again = scene.far.start();
        // Whatever is sent is answered by a reset, and silence is one only after 12 s.
        let written = stream.write_all(b"are you there?");
        // The node may have asked the same before, and an error is told once.
        let is_cut = written.is_err() || stream.read(&mut [0]).is_err();
        assert!(is_cut, "it was cut, not ended");
        assert!(killed.elapsed() < Duration::from_secs(10), "{:?}", killed.elapsed());
    });
}
