//! What becomes of a connection one side of which takes nothing, or little, when the other is gone.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{TIME, eventually, eventually_within};
use nix::sys::socket::{setsockopt, sockopt};

use crate::bytes::pattern;
use crate::scene::{Scene, listen, over_quic, over_tcp, reset};

/// Within which a connection ends whose one side is gone: the loss of a peer is noticed in 15 s, and what came from it
/// is given 10 more.
const GIVEN_UP: Duration = Duration::from_secs(30);

/// Writes until nobody takes any more.
#[track_caller]
fn fill(stream: &mut TcpStream) {
    stream.set_write_timeout(Some(Duration::from_secs(1))).expect("not zero");
    loop {
        match stream.write(&[7; 1 << 14]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(error) => panic!("it is open: {error}"),
        }
    }
}

fn connections(scene: &Scene) -> u64 {
    let services = scene.far.ask(&["services", "--json"]).json()["services"].clone();
    services[0]["connections"].as_u64().expect("a number")
}

#[track_caller]
fn assert_a_dead_peers_connections_end(scene: &Scene) {
    let listener = listen(8080);
    let (mut near, _far) = scene.start();
    let mut ends = Vec::new();
    for _ in 0..3 {
        let mut client = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
        ends.push(listener.accept().expect("a connection"));
        fill(&mut client);
    }
    assert_eq!(connections(scene), 3);
    near.kill();
    eventually_within(GIVEN_UP, "they are given up", || connections(scene) == 0);
}

#[test]
fn a_dead_peers_connections_end_though_their_target_takes_nothing() {
    in_namespaces(|| assert_a_dead_peers_connections_end(&over_tcp()));
}

#[test]
fn a_dead_peers_connections_by_quic_end_though_their_target_takes_nothing() {
    in_namespaces(|| {
        assert_a_dead_peers_connections_end(&over_quic());
    });
}

/// Sixteen programs and as many targets that take nothing, each with all under way towards it that fits, and then one
/// connection whose ends take everything.
#[track_caller]
fn assert_the_stuck_delay_no_other(scene: &Scene) {
    const STUCK: usize = 16;
    let listener = listen(8080);
    let _nodes = scene.start();
    let connect = || {
        let client = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
        (client, listener.accept().expect("a connection").0)
    };
    let mut stuck: Vec<_> = (0..2 * STUCK).map(|_| connect()).collect();
    thread::scope(|scope| {
        for (number, (client, target)) in stuck.iter_mut().enumerate() {
            scope.spawn(move || fill(if number < STUCK { target } else { client }));
        }
    });
    let (client, target) = connect();
    for (mut from, mut to) in [(&client, &target), (&target, &client)] {
        for end in [from, to] {
            end.set_read_timeout(Some(TIME)).expect("not zero");
            end.set_write_timeout(Some(TIME)).expect("not zero");
        }
        thread::scope(|scope| {
            scope.spawn(move || from.write_all(&pattern(8 << 20, 3)).expect("somebody reads"));
            let mut came = vec![0; 8 << 20];
            to.read_exact(&mut came).expect("it is sent");
            assert!(came == pattern(8 << 20, 3), "other bytes");
        });
    }
    assert_eq!(connections(scene), 2 * STUCK as u64 + 1);
}

#[test]
fn sixteen_that_take_nothing_delay_no_other() {
    in_namespaces(|| assert_the_stuck_delay_no_other(&over_tcp()));
}

#[test]
fn sixteen_that_take_nothing_delay_no_other_by_quic() {
    in_namespaces(|| assert_the_stuck_delay_no_other(&over_quic()));
}

#[test]
fn a_programs_reset_reaches_a_target_that_takes_nothing() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        let mut client = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
        let (target, _) = listener.accept().expect("a connection");
        fill(&mut client);
        reset(client);
        eventually_within(GIVEN_UP, "the target sees it", || {
            target.take_error().expect("it is open").is_some()
        });
        eventually("the node knows", || connections(&scene) == 0);
    });
}

#[test]
fn a_slow_program_gets_all_that_a_target_said_before_it_was_reset() {
    // No more than the node's socket takes at once: what is still with the target's kernel dies with the reset.
    const REPLY: usize = 60_000;
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        let mut client = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
        setsockopt(&client, sockopt::RcvBuf, &4096).expect("it is open");
        client.set_read_timeout(Some(TIME)).expect("not zero");
        let (mut target, _) = listener.accept().expect("a connection");
        client.write_all(b"unread").expect("it is open");
        target.peek(&mut [0; 1]).expect("it is written");
        target.write_all(&vec![1; REPLY]).expect("it is open");
        drop(target);
        let (mut read, mut piece) = (0, [0; 2048]);
        let cut = loop {
            match client.read(&mut piece) {
                Ok(len) => read += len,
                Err(error) => break error,
            }
            // For some 13 s in all: longer than one that reads nothing is given.
            thread::sleep(Duration::from_millis(350));
        };
        assert_eq!((read, cut.kind()), (REPLY, ErrorKind::ConnectionReset));
    });
}
