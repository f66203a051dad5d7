//! Datagrams to services.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use hypertap_tests::machine::{output, scratch};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{TIME, eventually};
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::json;

use crate::scene::{Scene, in_far};

/// The longest datagram over IPv4, in bytes, and so the longest that any target takes.
const LONGEST: usize = 65_507;

/// A socket that sends everything back, for as long as the test lasts. What is sent to it is told by its length.
fn echo(socket: UdpSocket) {
    thread::spawn(move || {
        let mut room = vec![0; 65_536];
        while let Ok((len, from)) = socket.recv_from(&mut room) {
            if socket.send_to(&room[..len], from).is_err() {
                break;
            }
        }
    });
}

/// An echo in the far namespace.
fn far_echo(port: u16) {
    echo(in_far(|| UdpSocket::bind(("127.0.0.1", port)).expect("the port is free")));
}

/// A program's socket that talks to one service alone.
fn program(address: impl Into<IpAddr>, port: u16) -> UdpSocket {
    let address = SocketAddr::new(address.into(), port);
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).expect("there are ports");
    socket.connect(address).expect("it has a route");
    socket.set_read_timeout(Some(TIME)).expect("not zero");
    socket
}

/// What comes back.
#[track_caller]
fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut room = vec![0; 65_536];
    let len = socket.recv(&mut room).expect("an answer");
    room.truncate(len);
    room
}

/// Bytes of which each datagram has its own.
fn data(len: usize, seed: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + seed * 31 + at / 251).to_le_bytes()[0]).collect()
}

/// What a program sees that asks a service which does not answer it.
#[track_caller]
fn refused(address: Ipv6Addr) -> std::io::Error {
    let socket = program(address, 53);
    socket.send(b"anybody?").expect("it has a route");
    socket.recv(&mut [0; 16]).expect_err("nobody is there")
}

#[test]
fn datagrams_of_any_size_keep_their_boundaries() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        far_echo(7000);
        let _nodes = scene.start();
        let socket = program(scene.far.service("echo"), 4711);
        for (seed, len) in [0, 1, 1400, 0, LONGEST, 65_487, 65_488, 2, 1401].into_iter().enumerate() {
            let sent = data(len, seed);
            socket.send(&sent).expect("it has a route");
            let back = receive(&socket);
            assert!(back == sent, "{len} bytes came back as {}", back.len());
        }
        // Many at once, so that several are in one piece of the stream.
        for seed in 0..40 {
            socket.send(&data(seed * 30, seed)).expect("it has a route");
        }
        for seed in 0..40 {
            assert_eq!(receive(&socket), data(seed * 30, seed), "datagram {seed}");
        }
    });
}

#[test]
fn a_segment_of_datagrams_is_split_as_the_program_meant_it() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        far_echo(7000);
        let _nodes = scene.start();
        let socket = program(scene.far.service("echo"), 443);
        setsockopt(&socket, sockopt::UdpGsoSegment, &1000).expect("the kernel knows it");
        let sent = data(10_500, 1);
        socket.send(&sent).expect("it has a route");
        let back: Vec<_> = (0..11).map(|_| receive(&socket)).collect();
        let lengths: Vec<_> = back.iter().map(Vec::len).collect();
        assert_eq!((lengths[10], &lengths[..10]), (500, [1000; 10].as_slice()));
        assert_eq!(back.concat(), sent);
    });
}

#[test]
fn fifty_flows_at_once_do_not_mix() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        far_echo(7000);
        let _nodes = scene.start();
        let address = scene.far.service("echo");
        let all: Vec<_> = (0..50)
            .map(|seed| {
                thread::spawn(move || {
                    let socket = program(address, 7);
                    for round in 0..20 {
                        let sent = data(300, seed * 100 + round);
                        socket.send(&sent).expect("it has a route");
                        assert!(receive(&socket) == sent, "flow {seed} got another's in round {round}");
                    }
                })
            })
            .collect();
        for one in all {
            one.join().expect("it does not panic");
        }
    });
}

#[test]
fn an_answer_comes_from_the_address_and_port_that_were_asked() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        far_echo(7000);
        let _nodes = scene.start();
        let socket = UdpSocket::bind("[::]:0").expect("there are ports");
        socket.set_read_timeout(Some(TIME)).expect("not zero");
        for port in [1, 53, 65_535] {
            let asked = SocketAddr::from((scene.far.service("echo"), port));
            socket.send_to(b"hello", asked).expect("it has a route");
            let (len, from) = socket.recv_from(&mut [0; 16]).expect("an answer");
            assert_eq!((len, from), (5, asked));
        }
    });
}

#[test]
fn a_program_that_speaks_ipv4_alone_has_the_services_local_address() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000", "shut": "/udp/9"}));
        far_echo(7000);
        let _nodes = scene.start();
        let local = |name: &str| -> Ipv4Addr {
            let mut dig = Command::new("dig");
            dig.args(["@127.60.122.49", "-p6257", "+short", &format!("{name}.far.hyprspace"), "A"]);
            let answer = String::from_utf8(output(&mut dig).stdout).expect("text");
            let last = answer.lines().last().unwrap_or_default();
            last.parse().unwrap_or_else(|_| panic!("{name} has no address: {answer}"))
        };
        let socket = program(local("echo"), 4711);
        for len in [0, 1, 1400, LONGEST] {
            socket.send(&data(len, 1)).expect("it has a route");
            assert!(receive(&socket) == data(len, 1));
        }
        let shut = program(local("shut"), 53);
        shut.send(b"anybody?").expect("it has a route");
        let refused = shut.recv(&mut [0; 16]).expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
    });
}

#[test]
fn a_nodes_own_udp_services_are_reached_from_itself() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        scene.near.set("services", json!({"echo": "/udp/7000", "shut": "/udp/9"}));
        let _node = scene.near.start();
        echo(UdpSocket::bind("127.0.0.1:7000").expect("the port is free"));
        let socket = program(scene.near.service("echo"), 7);
        for len in [0, 5, LONGEST] {
            socket.send(&data(len, 1)).expect("it has a route");
            assert!(receive(&socket) == data(len, 1));
        }
        assert_eq!(refused(scene.near.service("shut")).kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn each_refusal_of_a_datagram_is_the_error_that_the_reason_has() {
    in_namespaces(|| {
        let denied = json!({"target": "/udp/7000", "acl": {"blacklist": ["@near"]}});
        let services = json!({"echo": "/udp/7000", "web": "/tcp/8080", "shut": "/udp/9", "private": denied});
        let scene = Scene::new(services);
        far_echo(7000);
        let (_near, far) = scene.start();
        for name in ["shut", "nothing", "web"] {
            assert_eq!(refused(scene.far.service(name)).kind(), ErrorKind::ConnectionRefused, "{name}");
        }
        let denied = refused(scene.far.service("private"));
        assert_eq!(denied.raw_os_error(), Some(Errno::EACCES as i32), "{denied}");
        let tcp = std::net::TcpStream::connect((scene.far.service("echo"), 7)).expect_err("it is udp");
        assert_eq!(tcp.kind(), ErrorKind::ConnectionRefused);

        drop(far);
        let socket = program(scene.far.service("echo"), 53);
        setsockopt(&socket, sockopt::Ipv6RecvErr, &true).expect("the kernel knows it");
        // A connection by QUIC may be left, in which the question waits for 10 s.
        socket.set_read_timeout(Some(2 * TIME)).expect("not zero");
        socket.send(b"anybody?").expect("it has a route");
        let gone = socket.recv(&mut [0; 16]).expect_err("its node is gone");
        assert_eq!(gone.raw_os_error(), Some(Errno::EHOSTUNREACH as i32), "{gone}");
    });
}

#[test]
fn a_target_that_comes_back_is_reached_by_the_same_socket() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        let _nodes = scene.start();
        let socket = program(scene.far.service("echo"), 7);
        for _ in 0..3 {
            socket.send(b"anybody?").expect("nothing is owed");
            let refused = socket.recv(&mut [0; 16]).expect_err("nobody is there");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        }
        far_echo(7000);
        socket.send(b"anybody?").expect("nothing is owed");
        assert_eq!(receive(&socket), b"anybody?");
    });
}

/// A process that ends with its test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn dig_asks_a_real_name_server_behind_a_service() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"dns": "/udp/5300"}));
        let long: Vec<_> = (0..5).map(|number| format!("{number}{}", "x".repeat(200))).collect();
        let mut server = Command::new("ip");
        server
            .args(["netns", "exec", "far", "dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null"])
            .args(["--port=5300", "--listen-address=127.0.0.1", "--bind-interfaces", "--no-resolv"])
            .args(["--no-hosts", "--no-daemon", "--edns-packet-max=4096", "--pid-file="])
            .arg("--address=/a.test/192.0.2.77")
            .arg(format!("--txt-record=long.test,{}", long.join(",")))
            .stderr(std::fs::File::create(scratch("dnsmasq")).expect("the folder is ours"));
        let _server = Ended(server.spawn().expect("Debian's dnsmasq-base is installed"));
        let _nodes = scene.start();
        let at = format!("@{}", scene.far.service("dns"));
        let dig = |words: &[&str]| {
            let answer =
                output(Command::new("dig").arg(&at).args(["+short", "+tries=2", "+time=5"]).args(words));
            String::from_utf8(answer.stdout).expect("text")
        };
        eventually("the name server answers", || dig(&["a.test"]).trim() == "192.0.2.77");
        let answer = dig(&["+bufsize=4096", "+notcp", "+ignore", "long.test", "TXT"]);
        assert!(long.iter().all(|part| answer.contains(part)), "{answer}");
    });
}

#[test]
fn what_was_sent_while_the_peer_is_asked_arrives_in_order() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/udp/7000"}));
        far_echo(7000);
        let _near = scene.near.start();
        let socket = program(scene.far.service("echo"), 7);
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("not zero");
        let all: Result<()> = (0..10).try_for_each(|seed| socket.send(&data(500, seed)).map(drop));
        all.expect("it has a route");
        let _far = scene.far.start();
        for seed in 0..10 {
            assert_eq!(receive(&socket), data(500, seed), "datagram {seed}");
        }
    });
}
