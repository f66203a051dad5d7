//! Many connections, at once and one after the other, and a wire that loses packets.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use hypertap_tests::machine::{ip, run};
use hypertap_tests::namespaces::{in_namespaces, in_namespaces_within};
use hypertap_tests::{Daemon, TIME, eventually, eventually_within};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::bytes::pattern;
use crate::scene::{Scene, in_far, listen};

/// Connections that are open at the same time.
const AT_ONCE: usize = 10_000;
/// Connections one after the other.
const SHORT: usize = 50_000;
/// Programs that connect at the same time.
const THREADS: usize = 16;
/// What a node may keep of connections that are gone, in KiB.
const KEPT_KIB: u64 = 48 << 10;
/// A server in a process of its own, which answers each with what it sent.
const ECHO: &str = "
import asyncio
async def serve(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()
async def main():
    server = await asyncio.start_server(serve, '127.0.0.1', 7000, backlog=1024)
    await server.serve_forever()
asyncio.run(main())
";

/// The echo in the far namespace, until it is dropped.
struct Echo(Child);

impl Echo {
    #[track_caller]
    fn start() -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", "far", "python3", "-c", ECHO]).stdin(Stdio::null());
        let echo = Self(command.spawn().expect("python3 is installed"));
        let address = SocketAddr::from(([127, 0, 0, 1], 7000));
        eventually("the echo listens", || in_far(|| TcpStream::connect(address).is_ok()));
        echo
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lets this process and those that it starts have all the files open that they may.
fn raise_limit() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("up to there it is everybody's");
}

fn open_files(daemon: &Daemon) -> usize {
    fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("it runs").count()
}

#[track_caller]
fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it is reachable");
    stream.set_read_timeout(Some(3 * TIME)).expect("not zero");
    stream
}

/// A number there and back.
#[track_caller]
fn exchange(stream: &mut TcpStream, number: usize) {
    stream.write_all(&number.to_be_bytes()).expect("somebody reads");
    let mut back = [0; size_of::<usize>()];
    stream.read_exact(&mut back).expect("an answer");
    assert_eq!(usize::from_be_bytes(back), number);
}

#[test]
fn ten_thousand_connections_are_open_at_once_and_none_gets_anothers_bytes() {
    in_namespaces_within(Duration::from_secs(120), || {
        raise_limit();
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let _echo = Echo::start();
        let (near, far) = scene.start();
        let before = open_files(&far);
        let address = SocketAddr::from((scene.far.service("echo"), 7));
        let mut streams: Vec<TcpStream> = thread::scope(|scope| {
            let share = |thread: usize| (0..AT_ONCE).skip(thread).step_by(THREADS);
            let open = move |thread| {
                let stream = |number| {
                    let mut stream = connect(address);
                    exchange(&mut stream, number);
                    stream
                };
                share(thread).map(stream).collect::<Vec<_>>()
            };
            let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || open(thread))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("it does not panic")).collect()
        });
        assert_eq!(streams.len(), AT_ONCE);
        // All are there at the same time, and each still has its own other end.
        for (number, stream) in streams.iter_mut().enumerate() {
            stream.write_all(&number.to_be_bytes()).expect("somebody reads");
        }
        for (number, stream) in streams.iter_mut().enumerate() {
            let mut back = [0; size_of::<usize>()];
            stream.read_exact(&mut back).expect("an answer");
            assert_eq!(usize::from_be_bytes(back), number);
        }
        assert!(open_files(&far) >= before + AT_ONCE, "{} files", open_files(&far));
        drop(streams);
        eventually_within(6 * TIME, "their files are closed", || open_files(&far) <= before + 8);
        drop(near);
    });
}

#[test]
fn what_thousands_send_at_once_waits_for_the_node() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let (near, _far) = scene.start();
        near.signal(Signal::SIGSTOP);
        let socket = UdpSocket::bind("[::]:0").expect("a port is free");
        for _ in 0..4000 {
            socket.send_to(b"x", (scene.far.service("echo"), 7)).expect("it is routed");
        }
        near.signal(Signal::SIGCONT);
        let said = run("ip", &["-j", "-s", "link", "show", "hypertap"]);
        let link: Value = serde_json::from_str(&said).expect("JSON");
        assert_eq!(link[0]["stats64"]["tx"]["dropped"], json!(0), "{said}");
    });
}

#[test]
fn fifty_thousand_short_connections_leave_nothing_behind() {
    in_namespaces_within(Duration::from_secs(240), || {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let _echo = Echo::start();
        let (near, far) = scene.start();
        // A port of this end is free again after a minute only, towards the same port of the other.
        let address = |number: usize| {
            let port = u16::try_from(1 + number % 60_000).expect("it fits");
            SocketAddr::from((scene.far.service("echo"), port))
        };
        let some = |count: usize| {
            thread::scope(|scope| {
                for thread in 0..THREADS {
                    let address = &address;
                    scope.spawn(move || {
                        for number in (0..count).skip(thread).step_by(THREADS) {
                            let mut stream = connect(address(number));
                            exchange(&mut stream, number);
                            stream.shutdown(Shutdown::Write).expect("it is open");
                            assert_eq!(stream.read(&mut [0]).expect("an end, not a reset"), 0);
                        }
                    });
                }
            });
        };
        some(1000);
        let nodes = [near, far];
        let before: Vec<_> = nodes.iter().map(|node| (open_files(node), node.resident_kib())).collect();
        some(SHORT);
        for (node, (files, kib)) in nodes.iter().zip(before) {
            eventually("their files are closed", || open_files(node) <= files + 8);
            assert!(node.resident_kib() < kib + KEPT_KIB, "{kib} KiB became {}", node.resident_kib());
        }
    });
}

#[test]
fn a_wire_that_loses_one_packet_in_a_hundred_loses_no_byte() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"echo": "/tcp/7000"}));
        let listener = listen(7000);
        let _nodes = scene.start();
        // A packet is a segment of TCP, not many of them: otherwise there are too few to lose any.
        ip("link set up0 gso_max_segs 1");
        ip("-n far link set far0 gso_max_segs 1");
        run("nft", &["add", "table", "inet", "loss"]);
        run("nft", &["add", "chain", "inet", "loss", "in", "{ type filter hook input priority 0; }"]);
        run("nft", &["add", "chain", "inet", "loss", "out", "{ type filter hook output priority 0; }"]);
        for rule in ["in iifname up0", "out oifname up0"] {
            let words = format!("add rule inet loss {rule} numgen random mod 100 == 0 counter drop");
            run("nft", &words.split(' ').collect::<Vec<_>>());
        }
        thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().expect("a connection");
                stream.set_read_timeout(Some(3 * TIME)).expect("not zero");
                let mut request = Vec::new();
                stream.read_to_end(&mut request).expect("a request and its end");
                assert!(request == pattern(8 << 20, 5), "{} bytes of another request", request.len());
                stream.write_all(&pattern(1 << 20, 6)).expect("somebody reads");
            });
            let mut stream = connect(SocketAddr::from((scene.far.service("echo"), 7)));
            stream.write_all(&pattern(8 << 20, 5)).expect("somebody reads");
            stream.shutdown(Shutdown::Write).expect("it is open");
            let mut reply = Vec::new();
            stream.read_to_end(&mut reply).expect("a reply and its end");
            assert!(reply == pattern(1 << 20, 6), "{} bytes of another reply", reply.len());
        });
        let rules = run("nft", &["list", "table", "inet", "loss"]);
        assert!(!rules.contains("packets 0 "), "nothing was lost: {rules}");
    });
}
