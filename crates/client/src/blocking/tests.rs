use super::*;
use crate::socket::Socket;
use serde_json::json;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::thread::{self, JoinHandle};

use hypertap_wire::event::StopReason;

/// Listens at a path of its own, and serves one connection with `serve` after the greeting.
fn daemon(
    serve: impl FnOnce(&mut BufReader<std::os::unix::net::UnixStream>) + Send + 'static,
) -> (Tunnel, JoinHandle<()>) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the client");
        let mut stream = BufReader::new(stream);
        say(
            &mut stream,
            &format!("{}\n{}", Event::VpnApproved.to_line(), Event::ExtensionNotApproved.to_line()),
        );
        serve(&mut stream);
    });
    let tunnel = Tunnel::connect(path).expect("connected");
    (tunnel, thread)
}

fn say(stream: &mut BufReader<std::os::unix::net::UnixStream>, text: &str) {
    stream.get_mut().write_all(format!("{text}\n").as_bytes()).expect("the client reads");
}

fn heard(stream: &mut BufReader<std::os::unix::net::UnixStream>) -> Value {
    let mut line = String::new();
    stream.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_default()
}

#[test]
fn the_greeting_is_read_while_connecting() {
    let (tunnel, thread) = daemon(|_| ());
    assert!(tunnel.approved() && !tunnel.driver());
    thread.join().expect("served");
}

#[test]
fn a_daemon_that_is_not_there_is_named() {
    let error = Tunnel::connect(Address::Unix("/nowhere/control.sock".into())).expect_err("nobody is there");
    assert!(error.to_string().contains("/nowhere/control.sock"), "{error}");
}

#[test]
fn events_that_come_before_a_reply_are_kept_for_later() {
    let (mut tunnel, thread) = daemon(|stream| {
        assert_eq!(heard(stream), json!({"cmd": "status"}));
        say(stream, &Event::VpnRemoved.to_line());
        say(stream, r#"{"ok":true,"status":"disconnected"}"#);
    });
    assert_eq!(tunnel.status().expect("a status"), Status::Disconnected);
    assert_eq!(tunnel.next_event(Duration::ZERO).expect("connected"), Some(Event::VpnRemoved));
    thread.join().expect("served");
    assert!(matches!(tunnel.next_event(None), Err(Error::Closed)));
    assert!(matches!(tunnel.status(), Err(Error::Closed)), "and so for every request after");
}

#[test]
fn a_late_reply_is_not_taken_for_the_next() {
    let (go, wait) = std::sync::mpsc::sync_channel::<()>(1);
    let (mut tunnel, thread) = daemon(move |stream| {
        heard(stream);
        wait.recv().expect("the client gave up");
        say(stream, r#"{"ok":true,"status":"connected"}"#);
        heard(stream);
        say(stream, r#"{"ok":true,"name":"t0"}"#);
    });
    tunnel.set_reply_time(Some(Duration::from_millis(20)));
    assert!(matches!(tunnel.status(), Err(Error::TimedOut)));
    go.send(()).expect("the daemon waits");
    tunnel.set_reply_time(None);
    assert_eq!(tunnel.name().expect("a name"), "t0");
    thread.join().expect("served");
}

#[test]
fn no_event_in_time_is_no_error() {
    let (mut tunnel, thread) = daemon(|stream| {
        let stop = Event::TunnelStopped(StopReason::TimedOut).to_line();
        heard(stream);
        say(stream, &format!("{}\n{stop}", r#"{"ok":true}"#));
        heard(stream);
    });
    assert_eq!(tunnel.next_event(Duration::from_millis(10)).expect("connected"), None);
    tunnel.stop().expect("stopped");
    let event = tunnel.next_event(None).expect("connected");
    assert_eq!(event, Some(Event::TunnelStopped(StopReason::TimedOut)));
    drop(tunnel);
    thread.join().expect("served");
}

#[test]
fn descriptors_go_out_and_come_in_with_their_lines() {
    let (mut tunnel, thread) = daemon(|stream| {
        let socket = Socket::unix(stream.get_ref().try_clone().expect("a copy")).expect("a socket");
        let (mut bytes, mut descriptors) = ([0; 256], Vec::new());
        let readable =
            |socket: &Socket| wait(socket.as_fd(), PollFlags::IN, Deadline::after(None)).expect("a wait");
        readable(&socket);
        socket.read(&mut bytes, &mut descriptors).expect("a line");
        assert_eq!(descriptors.len(), 1, "with bypass");
        socket.write(b"{\"ok\":true}\n", None).expect("room");
        readable(&socket);
        socket.read(&mut bytes, &mut descriptors).expect("a line");
        let device = descriptors.pop().expect("what came");
        socket.write(b"{\"ok\":true}\n", Some(device.as_fd())).expect("room");
    });
    let (mut kept, given) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let reply = tunnel.request_with_descriptor("bypass", Map::new(), given.as_fd()).expect("taken");
    assert!(reply.is_empty());
    drop(given);
    let start = Start { plane: crate::Plane::Fd { offload: false }, ..Start::new([10, 0, 0, 1].into()) };
    let data = tunnel.start(&start).expect("started");
    thread.join().expect("served");
    kept.write_all(b"packet").expect("the given end is open in the data socket");
    let mut buffer = [0; 16];
    assert_eq!(data.recv(&mut buffer, None).expect("a packet"), Some(6));
}

#[test]
fn over_tcp_a_descriptor_is_refused_before_anything_is_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client");
        let greeting =
            [Event::VpnApproved.to_line(), Event::ExtensionApproved.to_line(), String::new()].join("\n");
        stream.write_all(greeting.as_bytes()).expect("the client reads");
        assert_eq!(std::io::Read::read(&mut stream, &mut [0; 1]).expect("the end"), 0, "nothing came");
    });
    let mut tunnel = Tunnel::connect(address).expect("connected");
    let error =
        tunnel.request_with_descriptor("bypass", Map::new(), std::io::stdin().as_fd()).expect_err("over TCP");
    assert!(error.to_string().contains("Unix"), "{error}");
    drop(tunnel);
    thread.join().expect("served");
}

#[test]
fn a_client_that_is_turned_away_learns_why() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("control.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let thread = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the client");
        stream.write_all(b"{\"ok\":false,\"error\":\"not permitted\"}\n").expect("the client reads");
    });
    let error = Tunnel::connect(path).expect_err("turned away");
    assert!(matches!(&error, Error::Refused { text, code: None } if text == "not permitted"), "{error}");
    thread.join().expect("served");
}
