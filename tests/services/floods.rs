//! What programs and the network do to a node that nobody means well, or that goes wrong: it stays within its
//! memory, and what is going on goes on.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv6Addr, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use hypertap_tests::daemon::Daemon;
use hypertap_tests::machine::ip;
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::packet::{checksum, ipv6, udp};
use hypertap_tests::{TIME, eventually};
use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn6, sendto, socket,
};
use serde_json::json;

use crate::scene::{Scene, in_far, listen};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SYN: u8 = 2;
const RST: u8 = 4;

/// Sends packets as they are.
struct Raw(OwnedFd);

impl Raw {
    fn new() -> Self {
        let raw = socket(AddressFamily::Inet6, SockType::Raw, SockFlag::empty(), SockProtocol::Raw);
        Self(raw.expect("the test is root"))
    }

    fn send(&self, destination: Ipv6Addr, packet: &[u8]) {
        let to = SockaddrIn6::from(SocketAddrV6::new(destination, 0, 0, 0));
        match sendto(self.0.as_raw_fd(), packet, &to, MsgFlags::empty()) {
            Ok(_) | Err(Errno::ENOBUFS) => {}
            Err(error) => panic!("a packet cannot be sent: {error}"),
        }
    }
}

/// A transport payload with its checksum, which is `at` bytes from its start.
fn summed(ends: (Ipv6Addr, Ipv6Addr), protocol: u8, mut payload: Vec<u8>, at: usize) -> Vec<u8> {
    payload[at..at + 2].fill(0);
    let mut all = [ends.0.octets(), ends.1.octets()].concat();
    all.extend(u32::try_from(payload.len()).expect("it is short").to_be_bytes());
    all.extend([0, 0, 0, protocol]);
    all.extend(&payload);
    let sum = checksum(&all).to_be_bytes();
    payload[at..at + 2].copy_from_slice(&sum);
    payload
}

/// A segment's packet.
fn segment(ends: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), flags: u8) -> Vec<u8> {
    let mut tcp = [ports.0.to_be_bytes(), ports.1.to_be_bytes()].concat();
    tcp.extend([0, 0, 0, 7, 0, 0, 0, 9, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
    ipv6(ends.0, ends.1, TCP, &summed(ends, TCP, tcp, 16))
}

/// A datagram with its checksum, without the header of IP.
fn datagram(ends: (Ipv6Addr, Ipv6Addr), ports: (u16, u16), data: &[u8]) -> Vec<u8> {
    summed(ends, UDP, udp(ports.0, ports.1, data), 6)
}

/// An echo on port 7000 of the far namespace, and a program's connection to it.
struct Live(TcpStream);

impl Live {
    fn connect(scene: &Scene, name: &str) -> Self {
        let stream = TcpStream::connect((scene.far.service(name), 7)).expect("it is reachable");
        stream.set_read_timeout(Some(TIME)).expect("not zero");
        Self(stream)
    }

    #[track_caller]
    fn assert_alive(&mut self) {
        self.0.write_all(b"alive?").expect("it is open");
        self.0.read_exact(&mut [0; 6]).expect("an echo");
    }
}

fn serve_echo(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            thread::spawn(move || {
                let mut other = stream.try_clone()?;
                std::io::copy(&mut stream, &mut other)
            });
        }
    });
}

/// Takes connections, closes and counts them.
fn serve_nothing(listener: TcpListener) -> Arc<AtomicUsize> {
    let count = Arc::<AtomicUsize>::default();
    let counting = Arc::clone(&count);
    thread::spawn(move || {
        for stream in listener.incoming() {
            drop(stream);
            counting.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

/// What nodes hold at most more than before, in MiB.
struct Memory<'a>(Vec<(&'a Daemon, u64)>);

impl<'a> Memory<'a> {
    fn of(nodes: &'a (Daemon, Daemon)) -> Self {
        Self([&nodes.0, &nodes.1].into_iter().map(|node| (node, node.resident_kib())).collect())
    }

    #[track_caller]
    fn assert_grown_at_most(&self, mebibytes: u64) {
        let grown: Vec<_> =
            self.0.iter().map(|(node, before)| node.resident_kib().saturating_sub(*before) / 1024).collect();
        assert!(grown.iter().all(|grown| *grown <= mebibytes), "grown by {grown:?} MiB");
    }
}

/// Sends a SYN for each pair of ports, and asks each time after so many whether a connection is alive.
fn flood(
    scene: &Scene,
    service: &str,
    live: &mut Live,
    every: usize,
    ports: impl Iterator<Item = (u16, u16)>,
) {
    let (raw, ends) = (Raw::new(), (scene.near.address(), scene.far.service(service)));
    for (number, ports) in ports.enumerate() {
        raw.send(ends.1, &segment(ends, ports, SYN));
        if number % every == 0 {
            live.assert_alive();
        }
    }
    live.assert_alive();
}

#[test]
fn a_flood_of_syns_leaves_memory_bounded_and_connections_alive() {
    in_namespaces(|| {
        // Nobody has the last one's address, so that all who ask for it wait.
        let services = json!({
            "echo": "/tcp/7000", "web": "/tcp/8080", "shut": "/tcp/9", "dead": "/ip4/192.0.2.99/tcp/80"
        });
        let scene = Scene::new(services);
        serve_echo(listen(7000));
        let taken = serve_nothing(listen(8080));
        let nodes = scene.start();
        let mut live = Live::connect(&scene, "echo");
        live.assert_alive();
        let memory = Memory::of(&nodes);
        for (service, destination) in [("web", 80), ("shut", 80), ("dead", 80), ("dead", 81)] {
            flood(&scene, service, &mut live, 2048, (1..=25_000).map(|port| (port, destination)));
            memory.assert_grown_at_most(64);
        }
        assert!(taken.load(Ordering::Relaxed) > 1000, "only {taken:?} came through");
        eventually("new connections are taken", || {
            TcpStream::connect((scene.far.service("web"), 80)).is_ok()
        });
    });
}

#[test]
fn a_scan_of_all_ports_leaves_memory_bounded_and_connections_alive() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000", "web": "/tcp/8080"}));
        serve_echo(listen(7000));
        let taken = serve_nothing(listen(8080));
        let nodes = scene.start();
        let mut live = Live::connect(&scene, "echo");
        let memory = Memory::of(&nodes);
        flood(&scene, "web", &mut live, 2048, (1..=u16::MAX).map(|port| (4000, port)));
        memory.assert_grown_at_most(64);
        assert!(taken.load(Ordering::Relaxed) > 1000, "only {taken:?} came through");
        let address = scene.far.service("web");
        for port in (1..=u16::MAX).step_by(257) {
            TcpStream::connect((address, port)).unwrap_or_else(|error| panic!("port {port}: {error}"));
        }
        live.assert_alive();
    });
}

#[test]
fn syns_that_are_taken_back_leave_nothing_behind() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000", "web": "/tcp/8080"}));
        serve_echo(listen(7000));
        let _backlog = listen(8080);
        let nodes = scene.start();
        let mut live = Live::connect(&scene, "echo");
        let memory = Memory::of(&nodes);
        let (raw, ends) = (Raw::new(), (scene.near.address(), scene.far.service("web")));
        for number in 0..30_000 {
            for flags in [SYN, RST] {
                raw.send(ends.1, &segment(ends, (1024 + number, 80), flags));
            }
            if number % 512 == 0 {
                live.assert_alive();
            }
        }
        live.assert_alive();
        memory.assert_grown_at_most(64);
    });
}

#[test]
fn a_datagram_from_every_port_leaves_memory_bounded_and_connections_alive() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000", "dns": "/udp/7001"}));
        serve_echo(listen(7000));
        let target = in_far(|| UdpSocket::bind("127.0.0.1:7001").expect("the port is free"));
        let nodes = scene.start();
        let mut live = Live::connect(&scene, "echo");
        let memory = Memory::of(&nodes);
        let (raw, ends) = (Raw::new(), (scene.near.address(), scene.far.service("dns")));
        for port in 1..=u16::MAX {
            let packet = ipv6(ends.0, ends.1, UDP, &datagram(ends, (port, 53), &[7; 500]));
            raw.send(ends.1, &packet);
            if port % 512 == 0 {
                live.assert_alive();
            }
        }
        live.assert_alive();
        memory.assert_grown_at_most(96);
        target.set_nonblocking(true).expect("it is open");
        let came = std::iter::from_fn(|| target.recv(&mut [0; 500]).ok()).count();
        assert!(came > 100, "only {came} came through");
    });
}

#[test]
fn packets_that_are_not_in_order_are_dropped_and_others_go_on() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000", "sink": "/udp/7001"}));
        serve_echo(listen(7000));
        let target = in_far(|| UdpSocket::bind("127.0.0.1:7001").expect("the port is free"));
        target.set_read_timeout(Some(TIME)).expect("not zero");
        let (mut near, _far) = scene.start();
        let mut live = Live::connect(&scene, "echo");
        let raw = Raw::new();
        let (own, tcp, sink) = (scene.near.address(), scene.far.service("echo"), scene.far.service("sink"));
        let (to_tcp, to_sink) = ((own, tcp), (own, sink));

        // Whatever is wrong with them.
        let syn = segment(to_tcp, (5000, 7), SYN);
        let good = ipv6(own, sink, UDP, &datagram(to_sink, (5000, 53), b"wrong"));
        for (destination, packet) in [(tcp, &syn), (sink, &good)] {
            for at in 40..packet.len() {
                let mut wrong = packet.clone();
                wrong[at] ^= 0x41;
                raw.send(destination, &wrong);
            }
            for len in 40..packet.len() {
                let mut short = packet[..len].to_vec();
                short[5] = u8::try_from(len - 40).expect("it is short");
                raw.send(destination, &short);
            }
            for next in [0, 43, 44, 50, 51, 59, 60, 135, 255] {
                let mut other = packet.clone();
                other[6] = next;
                raw.send(destination, &other);
            }
        }
        // Fragments that never become whole, and ones that overlap.
        let datagram_of = |data: &[u8]| datagram(to_sink, (5000, 53), data);
        let long = datagram_of(&[8; 2000]);
        let fragment = |offset: u16, more: bool, id: u32, data: &[u8]| {
            let mut payload = vec![UDP, 0];
            payload.extend((offset | u16::from(more)).to_be_bytes());
            payload.extend(id.to_be_bytes());
            payload.extend(data);
            ipv6(own, sink, 44, &payload)
        };
        for id in 0..1000 {
            raw.send(sink, &fragment(0, true, id, &long[..1000]));
        }
        raw.send(sink, &fragment(992, false, 999, &long[992..]));
        raw.send(sink, &fragment(1000, true, 998, &long[1000..1003]));
        live.assert_alive();

        // What is in order though it looks odd arrives: an extension header, fragments in order.
        let options = [&[UDP, 0, 1, 4, 0, 0, 0, 0], datagram_of(b"with options").as_slice()].concat();
        raw.send(sink, &ipv6(own, sink, 60, &options));
        let mut room = [0; 3000];
        let len = target.recv(&mut room).expect("a datagram");
        assert_eq!(&room[..len], b"with options");
        // What stays unfinished gives way after a second.
        target.set_read_timeout(Some(Duration::from_millis(200))).expect("not zero");
        let mut ids = 5000..;
        eventually("a datagram in fragments arrives", || {
            let id = ids.next().expect("there are enough");
            raw.send(sink, &fragment(0, true, id, &long[..1000]));
            raw.send(sink, &fragment(1000, false, id, &long[1000..]));
            target.recv(&mut room).is_ok_and(|len| room[..len] == [8; 2000])
        });
        near.assert_runs();
        live.assert_alive();
    });
}

#[test]
fn an_interface_that_was_set_down_and_up_serves_again() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        serve_echo(listen(7000));
        let (mut near, _far) = scene.start();
        Live::connect(&scene, "echo").assert_alive();
        ip("link set hypertap down");
        ip("link set hypertap up");
        near.assert_runs();
        let address = (scene.far.service("echo"), 7);
        eventually("it is reachable again", || TcpStream::connect(address).is_ok());
        Live::connect(&scene, "echo").assert_alive();
    });
}

/// Writes until nothing more is taken for a while, and yields how much was.
fn fill(stream: &mut TcpStream) -> usize {
    stream.set_write_timeout(Some(Duration::from_secs(3))).expect("not zero");
    let piece = vec![7; 64 << 10];
    let mut written = 0;
    loop {
        match stream.write(&piece) {
            Ok(len) => written += len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return written,
            Err(error) => panic!("it was cut: {error}"),
        }
    }
}

#[test]
fn readers_that_do_not_read_hold_their_senders_and_no_more_memory_than_their_windows() {
    /// Connections each way.
    const MANY: usize = 10;
    in_namespaces(|| {
        let scene = Scene::new(json!({"sink": "/tcp/8080"}));
        let listener = listen(8080);
        let nodes = scene.start();
        let memory = Memory::of(&nodes);
        let address = (scene.far.service("sink"), 80);
        let mut pairs: Vec<_> = (0..2 * MANY)
            .map(|_| {
                let near = TcpStream::connect(address).expect("it is reachable");
                (near, listener.accept().expect("it was connected").0)
            })
            .collect();
        let sent = AtomicUsize::new(0);
        thread::scope(|scope| {
            for (number, (near, far)) in pairs.iter_mut().enumerate() {
                let (sent, sender) = (&sent, if number % 2 == 0 { near } else { far });
                scope.spawn(move || sent.fetch_add(fill(sender), Ordering::Relaxed));
            }
        });
        assert!(sent.load(Ordering::Relaxed) > MANY << 20, "only {sent:?} bytes were taken");
        memory.assert_grown_at_most(128);
        // All of it is still there.
        let (near, far) = &mut pairs[0];
        near.shutdown(std::net::Shutdown::Write).expect("it is open");
        far.set_read_timeout(Some(TIME)).expect("not zero");
        let mut all = Vec::new();
        far.read_to_end(&mut all).expect("what was sent, and the end");
        assert!(!all.is_empty() && all.iter().all(|byte| *byte == 7));
    });
}

#[test]
fn a_reset_in_mid_stream_is_one_on_the_other_side() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        // On QUIC it may arrive as an end.
        for node in [&scene.near, &scene.far] {
            node.set("listenAddresses", json!(["/ip4/0.0.0.0/tcp/8001"]));
        }
        let listener = listen(8080);
        let _nodes = scene.start();
        for is_targets in [true, false] {
            let near = TcpStream::connect((scene.far.service("web"), 80)).expect("it is reachable");
            let (far, _) = listener.accept().expect("it was connected");
            let (mut cut, mut other) = if is_targets { (far, near) } else { (near, far) };
            other.set_read_timeout(Some(TIME)).expect("not zero");
            other.write_all(b"unread").expect("it is open");
            cut.write_all(b"hello").expect("it is open");
            other.read_exact(&mut [0; 5]).expect("what was sent");
            // Closed with something unread, a socket resets.
            eventually("it has something unread", || cut.peek(&mut [0; 6]).is_ok_and(|len| len == 6));
            drop(cut);
            let error = other.read(&mut [0; 5]).expect_err("it was cut, not ended");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
        }
    });
}

#[test]
fn a_peer_killed_in_mid_stream_is_a_reset_in_time() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        serve_echo(listen(7000));
        let (_near, far) = scene.start();
        let mut live = Live::connect(&scene, "echo");
        live.0.set_read_timeout(Some(2 * TIME)).expect("not zero");
        let mut sender = live.0.try_clone().expect("a descriptor");
        let sending = thread::spawn(move || {
            loop {
                if let Err(error) = sender.write_all(&[7; 10_000]) {
                    return error;
                }
            }
        });
        live.0.read_exact(&mut vec![0; 1_000_000]).expect("an echo");
        kill(far.pid(), Signal::SIGKILL).expect("it runs");
        let mut room = vec![0; 100_000];
        let read = loop {
            match live.0.read(&mut room) {
                Ok(1..) => {}
                end => break end,
            }
        };
        // The kernel tells a reset once, to whoever asks first.
        let written = sending.join().expect("it does not panic");
        let is_reset = |error: &std::io::Error| error.kind() == ErrorKind::ConnectionReset;
        assert!(is_reset(&written) || read.as_ref().is_err_and(is_reset), "{written}, {read:?}");
    });
}
