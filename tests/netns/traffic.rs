//! Traffic through the tunnel and back: TCP by a program that turns packets round, and programs that
//! are not there or do not read.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use hypertap_tests::inside::{FAR, OURS};
use hypertap_tests::machine::ping;
use hypertap_tests::packet::{self, ping_reply, turned};
use hypertap_tests::{Client, Daemon, Responder, Setup, TIME, UdpProgram, eventually, in_namespaces, json};

fn connected() -> (Daemon, Client, UdpProgram) {
    let program = UdpProgram::bind();
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.start();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    (daemon, client, program)
}

#[test]
fn without_a_program_packets_are_counted_drops_and_the_tunnel_stays() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        drop(program);
        // Who is at a port may be remembered for a second.
        eventually("packets are counted drops", || {
            assert!(!ping("10.9.0.1", &["-c3", "-i0.1", "-W0.1"]));
            client.dropped("toProgram", "noReceiver") >= 3
        });
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
        let _responder = Responder::start(UdpProgram::bind(), ping_reply);
        eventually("a program that comes later gets the packets", || ping("10.9.0.1", &["-W1"]));
    });
}

#[test]
fn a_program_that_does_not_read_blocks_nobody() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        let socket = UdpSocket::bind((OURS, 0)).expect("the address is here");
        for _ in 0..5000 {
            // The device's own queue may be full.
            let _ = socket.send_to(&[0; 1400], (FAR, 8000));
        }
        // Where they are dropped, here or by the kernel at the program's full socket, is not ours to say.
        assert_eq!(client.status(), "connected");
        program.forget();
        let _responder = Responder::start(program, ping_reply);
        assert!(ping("10.9.0.1", &[]));
    });
}

/// Connects through the tunnel to a listener on the machine itself: the program turns every packet
/// round, so what the machine sends to 10.9.0.1 comes back to it from there.
fn tcp_round(args: &[&str]) {
    let program = UdpProgram::bind();
    let daemon = Setup::new().args(args).start();
    let mut client = daemon.client();
    client.start();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    let _responder =
        Responder::start(program, |packet| (!packet::is_chatter(packet)).then(|| turned(packet)));
    let listener = TcpListener::bind((OURS, 7000)).expect("the address is here");
    let sent: Vec<u8> = (0..4_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let expected = sent.clone();
    let server = thread::spawn(move || {
        let (mut stream, from) = listener.accept().expect("a connection comes");
        stream.set_read_timeout(Some(TIME)).expect("not zero");
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).expect("all of it comes");
        stream.write_all(b"done").expect("the client reads");
        (bytes, from.ip())
    });
    let mut stream = TcpStream::connect_timeout(&(FAR, 7000).into(), TIME).expect("it is turned round");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("not zero");
    stream.write_all(&sent).expect("the server reads");
    stream.shutdown(std::net::Shutdown::Write).expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the server answers");
    assert_eq!(answer, "done");
    let (bytes, from) = server.join().expect("the server did not panic");
    assert!(bytes == expected, "{} bytes arrived, not as they were", bytes.len());
    assert_eq!(from, FAR);
    assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
}

#[test]
fn tcp_goes_through_the_tunnel_and_back_whole() {
    in_namespaces(|| tcp_round(&[]));
}

#[test]
fn tcp_goes_through_without_offload_too() {
    in_namespaces(|| tcp_round(&["--no-offload"]));
}
