use super::*;
use crate::Plane;
use hypertap_wire::event::StopReason;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept, bind, listen, socket_with,
};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::UnixListener;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

struct Daemon {
    lines: Lines<BufReader<OwnedReadHalf>>,
    out: OwnedWriteHalf,
}

impl Daemon {
    async fn hear(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("connected").expect("a line");
        serde_json::from_str(&line).expect("JSON")
    }

    async fn say(&mut self, line: &str) {
        self.out.write_all(format!("{line}\n").as_bytes()).await.expect("the client reads");
    }
}

/// A client, and what the daemon's end of its connection is.
async fn connected(directory: &std::path::Path) -> (Tunnel, Daemon) {
    let path = directory.join("control.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let serve = async {
        let (stream, _) = listener.accept().await.expect("the client");
        let (read, out) = stream.into_split();
        let mut daemon = Daemon { lines: BufReader::new(read).lines(), out };
        daemon.say(&Event::VpnApproved.to_line()).await;
        daemon.say(&Event::ExtensionApproved.to_line()).await;
        daemon
    };
    let (tunnel, daemon) = tokio::join!(Tunnel::connect(path), serve);
    (tunnel.expect("connected"), daemon)
}

#[tokio::test]
async fn a_cancelled_request_costs_the_next_neither_its_reply_nor_the_events() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut tunnel, mut daemon) = connected(directory.path()).await;
    assert!(tunnel.approved() && tunnel.driver());
    tokio::select! {
        biased;
        _ = tunnel.status() => panic!("nobody answered"),
        _ = daemon.hear() => {}
    }
    daemon.say(r#"{"ok":true,"status":"connected"}"#).await;
    let stopped = Event::TunnelStopped(StopReason::VpnDisabled);
    daemon.say(&stopped.to_line()).await;
    let serve = async {
        assert_eq!(daemon.hear().await, serde_json::json!({"cmd": "getName"}));
        daemon.say(r#"{"ok":true,"name":"t0"}"#).await;
    };
    let (name, ()) = tokio::join!(tunnel.name(), serve);
    assert_eq!(name.expect("a name"), "t0");
    assert_eq!(tunnel.next_event().await.expect("an event"), stopped);
    drop(daemon);
    assert!(matches!(tunnel.next_event().await, Err(Error::Closed)));
}

#[tokio::test(start_paused = true)]
async fn a_daemon_that_does_not_answer_is_timed_out() {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut tunnel, _daemon) = connected(directory.path()).await;
    assert!(matches!(tunnel.status().await, Err(Error::TimedOut)));
}

/// Starts a tunnel on a plane whose socket this test listens on, and sends both ways.
async fn exchange(plane: Plane, type_: SocketType, framed: bool) {
    let directory = tempfile::tempdir().expect("a directory");
    let (mut tunnel, mut daemon) = connected(directory.path()).await;
    let path = directory.path().join("data.sock");
    let listener = socket_with(AddressFamily::UNIX, type_, SocketFlags::CLOEXEC, None).expect("a socket");
    bind(&listener, &SocketAddrUnix::new(&path).expect("a path")).expect("bound");
    listen(&listener, 1).expect("listening");
    let serve = async {
        assert_eq!(daemon.hear().await["dataPlane"], if framed { "stream" } else { "unix" });
        daemon.say(&serde_json::json!({"ok": true, "dataPath": path}).to_string()).await;
    };
    let start = Start { plane, ..Start::new([10, 0, 0, 1].into()) };
    let (data, ()) = tokio::join!(tunnel.start(&start), serve);
    let data = data.expect("a data plane");
    let peer = std::os::unix::net::UnixStream::from(accept(&listener).expect("the client"));

    let wire = |packets: &[&[u8]]| -> Vec<u8> {
        let frame = |packet: &&[u8]| [&u16::try_from(packet.len()).unwrap().to_be_bytes(), *packet].concat();
        packets.iter().map(frame).collect::<Vec<_>>().concat()
    };
    let mut buffer = [0; 64];
    let nothing = timeout(Duration::from_millis(5), data.recv(&mut buffer)).await;
    assert!(nothing.is_err() && data.try_recv(&mut buffer).expect("connected").is_none());
    let packets: [&[u8]; 2] = [b"one", b"three"];
    let messages: Vec<Vec<u8>> =
        if framed { vec![wire(&packets)] } else { packets.iter().map(|packet| packet.to_vec()).collect() };
    for message in &messages {
        assert_eq!(std::io::Write::write(&mut &peer, message).expect("room"), message.len());
    }
    for packet in packets {
        let length = data.recv(&mut buffer).await.expect("a packet");
        assert_eq!(&buffer[..length], packet);
    }
    data.send_batch(&packets).await.expect("room");
    for message in &messages {
        let mut bytes = vec![0; 64];
        let length = std::io::Read::read(&mut &peer, &mut bytes).expect("what was sent");
        assert_eq!(&bytes[..length], message);
    }
    drop(peer);
    let error = data.recv(&mut buffer).await.expect_err("the end");
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn packets_go_both_ways_as_messages() {
    exchange(Plane::Unix, SocketType::SEQPACKET, false).await;
}

#[tokio::test]
async fn packets_go_both_ways_in_a_stream() {
    exchange(Plane::Stream, SocketType::STREAM, true).await;
}
