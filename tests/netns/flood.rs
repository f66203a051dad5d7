//! Garbage in quantity: nothing ends, nothing grows.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hypertap_tests::daemon::CONTROL;
use hypertap_tests::inside::to_us;
use hypertap_tests::machine::ping;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::{Daemon, Responder, Setup, UdpProgram, eventually, in_namespaces, json};

/// How much a daemon may grow under any flood, in KiB.
const GROWTH: u64 = 16 * 1024;

/// Numbers without order, the same in each run (xorshift).
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

#[track_caller]
fn assert_grew_little(daemon: &Daemon, before: u64) {
    let now = daemon.resident_kib();
    assert!(now < before + GROWTH, "from {before} to {now} KiB");
}

#[test]
fn a_flood_of_junk_on_udp_grows_nothing_and_the_tunnel_goes_on() {
    in_namespaces(|| {
        let program = UdpProgram::bind();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let before = daemon.resident_kib();
        let mut noise = Noise(0x5eed);
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let good = to_us(b"good");
        for round in 0..100_000usize {
            let junk = match round % 4 {
                0 => noise.bytes(round % 1600),
                1 => vec![0x45; round % 3000],
                2 => {
                    let mut bent = good.clone();
                    let at = usize::try_from(noise.next() % bent.len() as u64).expect("small");
                    bent[at] ^= noise.next().to_le_bytes()[0];
                    bent
                }
                _ => vec![0x60; round % 100],
            };
            // A full buffer is what a flood meets.
            let _ = socket.send_to(&junk, "127.0.0.1:5501");
        }
        let _responder = Responder::start(program, ping_reply);
        eventually("a ping is answered after it", || ping("10.9.0.1", &["-W1"]));
        let stats = client.stats();
        assert!(stats["fromProgram"]["dropped"]["badVersion"].as_u64() > Some(1000), "{stats}");
        assert_grew_little(&daemon, before);
        client.expect_no_event();
        daemon.assert_runs();
    });
}

#[test]
fn a_flood_of_source_ports_on_udp_grows_nothing() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        let before = daemon.resident_kib();
        for _ in 0..15_000 {
            let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
            let _ = socket.send_to(&[0; 20], "127.0.0.1:5501");
        }
        assert_eq!(client.status(), "connected");
        assert_grew_little(&daemon, before);
    });
}

#[test]
fn a_flood_of_packets_that_nobody_takes_grows_nothing() {
    in_namespaces(|| {
        for plane in ["udp", "stream", "unix"] {
            let daemon = Setup::new().args(&["--on-disconnect=exit"]).start();
            let mut client = daemon.client();
            client.start_with(json!({"dataPlane": plane}));
            client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
            let before = daemon.resident_kib();
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a port");
            for _ in 0..30_000 {
                let _ = socket.send_to(&[0; 1400], "10.9.0.1:9");
            }
            eventually("drops are counted", || client.dropped("toProgram", "noReceiver") > 0);
            assert_grew_little(&daemon, before);
            assert_eq!(client.status(), "connected");
        }
    });
}

#[test]
fn a_flood_of_connections_grows_nothing_and_the_owner_goes_on() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        let before = daemon.resident_kib();
        let mut noise = Noise(7);
        for round in 0..3000usize {
            let junk = noise.bytes(round % 2000);
            if let Ok(mut stream) = TcpStream::connect("127.0.0.1:5500") {
                let _ = stream.write_all(&junk);
            }
            if let Ok(mut stream) = UnixStream::connect(CONTROL) {
                let _ = stream.write_all(&junk);
            }
        }
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
        assert_grew_little(&daemon, before);
        daemon.assert_runs();
        eventually("there is room for an observer again", || {
            let mut observer = hypertap_tests::Client::unix(CONTROL.as_ref());
            observer.next_line(hypertap_tests::TIME).is_some_and(|line| line.contains("vpnApproved"))
        });
    });
}

#[test]
fn unfinished_lines_of_many_connections_are_bounded() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let before = daemon.resident_kib();
        let line = vec![b'x'; 500_000];
        let held: Vec<UnixStream> = (0..200)
            .filter_map(|_| {
                let mut stream = UnixStream::connect(CONTROL).ok()?;
                stream.set_nonblocking(true).ok()?;
                let _ = stream.write(&line);
                Some(stream)
            })
            .collect();
        assert_eq!(client.status(), "disconnected");
        // A line of 1 MiB is allowed, so are some connections; not their product without end.
        let now = daemon.resident_kib();
        assert!(now < before + 128 * 1024, "from {before} to {now} KiB");
        drop(held);
    });
}

#[test]
fn a_client_that_sends_and_never_reads_grows_nothing() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut other = daemon.control();
        let mut client = daemon.silent_client();
        let before = daemon.resident_kib();
        client.write_until_full(&b"{\"cmd\":\"help\"}\n".repeat(2000), 100);
        assert_eq!(other.status(), "disconnected");
        assert_grew_little(&daemon, before);
    });
}

#[test]
fn long_replies_to_a_client_that_never_reads_grow_nothing_and_none_is_lost() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let before = daemon.resident_kib();
        let mut stream = UnixStream::connect(CONTROL).expect("the daemon listens");
        let id = "x".repeat(1_000_000);
        let line = format!("{{\"cmd\":\"status\",\"id\":\"{id}\"}}\n");
        // However busy the machine is, one is taken.
        stream.write_all(line.as_bytes()).expect("the daemon reads");
        stream.set_write_timeout(Some(Duration::from_secs(1))).expect("not zero");
        let sent = (1..300).take_while(|_| stream.write_all(line.as_bytes()).is_ok()).count() + 1;
        assert!(sent < 300, "{sent} lines were taken");
        assert_grew_little(&daemon, before);
        assert_eq!(daemon.control().status(), "disconnected");

        let replies = BufReader::new(stream).lines().map_while(Result::ok);
        let replies = replies.filter(|line| line.starts_with(r#"{"ok":true,"#) && line.contains(&id));
        assert_eq!(replies.take(sent).count(), sent);
    });
}

#[test]
fn garbage_lines_are_answered_each_and_end_nothing() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        let mut noise = Noise(42);
        for round in 1..500usize {
            let mut junk = noise.bytes(round);
            junk.retain(|byte| !matches!(byte, b'\n' | b'\r' | 0));
            client.write(&[&b"{"[..], &junk, b"\n"].concat());
            assert_eq!(client.reply(), json!({"ok": false, "error": "invalid json"}));
        }
        assert_eq!(client.status(), "disconnected");
        daemon.assert_runs();
    });
}
