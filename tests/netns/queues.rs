//! An interface with several queues, under load: many flows at once, out of the machine and back.
//!
//! The kernel spreads flows over the queues, and sends a flow's packets to the queue that the flow was last
//! written to. So which queues were read tells of both directions.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

use hypertap_tests::inside::{FAR, OURS, received, receiver_at};
use hypertap_tests::io::Io;
use hypertap_tests::packet::{is_chatter, turned, udp_echo};
use hypertap_tests::program::{SeqPacketProgram, StreamProgram};
use hypertap_tests::{
    Client, Daemon, Program, Responder, Setup, TIME, UdpProgram, eventually, in_namespaces, json,
};

const QUEUES: usize = 2;
/// Flows at once. Their ports are always the same, so is what they are spread by when they are injected.
const FLOWS: u16 = 8;
/// Where all flows go: they are many from one machine to one server.
const SERVER: u16 = 443;
/// Packets of a flow.
const PACKETS: u32 = 1000;
/// Packets of a flow that are on the way at most. All flows' together fit each buffer that they pass.
const WINDOW: u32 = 8;

/// A daemon with several queues, and a tunnel with this data plane, whose program answers with what
/// `answer` makes of each packet.
fn connected(plane: &str, answer: fn(&[u8]) -> Option<Vec<u8>>) -> (Daemon, Client, Responder) {
    let daemon = Setup::new().args(&["--queues", &QUEUES.to_string()]).start();
    let mut client = daemon.client();
    let path = client.start_with(json!({"dataPlane": plane}))["dataPath"].clone();
    let path = || path.as_str().expect("a path").to_owned();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    let program: Box<dyn Program> = match plane {
        "udp" => Box::new(UdpProgram::bind()),
        "unix" => Box::new(SeqPacketProgram::connect(&path())),
        _ => Box::new(StreamProgram::connect(&path())),
    };
    (daemon, client, Responder::start(program, answer))
}

/// What each queue's thread has read so far.
fn reads(daemon: &Daemon) -> Vec<u64> {
    let read = |queue| {
        let Io { bytes_read, .. } = daemon.io_of(&format!("to-program-{queue}"));
        bytes_read
    };
    (0..QUEUES).map(read).collect()
}

/// A packet's content, by which it is known whole, with its flow and its place in that.
fn payload(flow: u16, number: u32) -> Vec<u8> {
    let mut bytes = [&flow.to_be_bytes()[..], &number.to_be_bytes()].concat();
    let length = 6 + (number as usize * 37 + usize::from(flow) * 101) % 1000;
    bytes.resize(length, number.to_le_bytes()[0] ^ flow.to_le_bytes()[0]);
    bytes
}

/// Sends a flow's packets, each once there is room for it on the way, and wants each back, as it was, in
/// its place.
fn keep_up(flow: u16) {
    let socket = receiver_at((OURS, 7000 + flow).into());
    let far = SocketAddr::from((FAR, SERVER));
    let mut sent = 0;
    for expected in 0..PACKETS {
        // The kernel notes the flow's queue just after it has delivered an answer, so the first answer may be
        // here before that. The second, injected by the same thread, cannot.
        let ahead = if expected < 2 { 1 } else { WINDOW };
        while sent < PACKETS.min(expected + ahead) {
            socket.send_to(&payload(flow, sent), far).expect("there is a route");
            sent += 1;
        }
        let (bytes, from) = received(&socket);
        assert!(bytes == payload(flow, expected), "flow {flow}, packet {expected}: {bytes:02x?}");
        assert_eq!(from, far);
    }
}

/// Every packet of every flow goes out and comes back, whole, once, in its flow's order, over all queues.
fn nothing_is_lost(plane: &str) {
    let (daemon, mut client, responder) =
        connected(plane, |packet| if is_chatter(packet) { None } else { udp_echo(packet) });
    let links = hypertap_tests::machine::ip_json("-d link show dev hypertap0");
    assert_eq!(links[0]["linkinfo"]["info_data"]["numqueues"], QUEUES, "{links}");
    let (read_before, dropped_before) = (reads(&daemon), client.stats()["toProgram"]["dropped"].clone());
    thread::scope(|scope| {
        for flow in 0..FLOWS {
            scope.spawn(move || keep_up(flow));
        }
    });
    let all = u64::from(FLOWS) * u64::from(PACKETS);
    assert_eq!(responder.answered(), all, "{plane}");
    eventually("all are counted", || {
        let stats = client.stats();
        stats["fromProgram"]["packets"] == all && stats["toProgram"]["packets"].as_u64() >= Some(all)
    });
    let stats = client.stats();
    assert_eq!(
        (&stats["fromProgram"]["dropped"], &stats["toProgram"]["dropped"]),
        (&json!({}), &dropped_before)
    );

    // A flow's first packets take the queue that the kernel chose; after that, it is the one injected to.
    let flow_bytes: u64 = (2..PACKETS).map(|number| payload(0, number).len() as u64).sum();
    for (queue, (before, after)) in read_before.iter().zip(reads(&daemon)).enumerate() {
        assert!(after - before > flow_bytes / 2, "{plane}: queue {queue} carried {} bytes", after - before);
    }
    assert_eq!(client.status(), "connected");
    client.expect_no_event();
}

#[test]
fn udp_loses_no_packet_and_no_order_over_several_queues() {
    in_namespaces(|| nothing_is_lost("udp"));
}

#[test]
fn stream_loses_no_packet_and_no_order_over_several_queues() {
    in_namespaces(|| nothing_is_lost("stream"));
}

#[test]
fn seqpacket_loses_no_packet_and_no_order_over_several_queues() {
    in_namespaces(|| nothing_is_lost("unix"));
}

/// What a connection carries each way.
fn content(flow: u16) -> Vec<u8> {
    (0..1_000_000_u32)
        .map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0] ^ flow.to_le_bytes()[0])
        .collect()
}

/// Answers one connection with what it says, until it ends.
fn echo(listener: &TcpListener) {
    let (mut stream, from) = listener.accept().expect("a connection comes");
    assert_eq!(from.ip(), FAR);
    stream.set_read_timeout(Some(TIME)).expect("not zero");
    let mut bytes = vec![0; 65536];
    loop {
        match stream.read(&mut bytes).expect("the connection holds") {
            0 => return,
            count => stream.write_all(&bytes[..count]).expect("the other end reads"),
        }
    }
}

/// Sends and receives a connection's content at the same time.
fn exchange(flow: u16) {
    let listener = TcpListener::bind((OURS, 7000 + flow)).expect("the address is here");
    thread::scope(|scope| {
        scope.spawn(|| echo(&listener));
        let mut stream = TcpStream::connect_timeout(&(FAR, 7000 + flow).into(), TIME).expect("it is turned");
        stream.set_read_timeout(Some(TIME)).expect("not zero");
        let mut writing = stream.try_clone().expect("a descriptor");
        scope.spawn(move || {
            writing.write_all(&content(flow)).expect("the other end reads");
            writing.shutdown(Shutdown::Write).expect("it is open");
        });
        let mut back = Vec::new();
        stream.read_to_end(&mut back).expect("all comes back");
        assert!(back == content(flow), "connection {flow}: {} bytes, not as they were", back.len());
    });
}

/// Connections in segments of the kernel's, several at once, both ways at once.
fn connections_come_back(plane: &str) {
    let (daemon, mut client, _responder) =
        connected(plane, |packet| (!is_chatter(packet)).then(|| turned(packet)));
    let before = reads(&daemon);
    thread::scope(|scope| {
        for flow in 0..FLOWS {
            scope.spawn(move || exchange(flow));
        }
    });
    for (queue, (before, after)) in before.iter().zip(reads(&daemon)).enumerate() {
        assert!(after - before > 1_000_000, "{plane}: queue {queue} carried {} bytes", after - before);
    }
    assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
    assert_eq!(client.status(), "connected");
}

#[test]
fn udp_carries_connections_both_ways_over_several_queues() {
    in_namespaces(|| connections_come_back("udp"));
}

#[test]
fn stream_carries_connections_both_ways_over_several_queues() {
    in_namespaces(|| connections_come_back("stream"));
}
