//! Names of nodes and services, as dig(1) and the C library's resolver get them.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{
    IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener, TcpStream, ToSocketAddrs, UdpSocket,
};
use std::process::{Child, Command};
use std::time::Duration;

use hypertap_tests::daemon::Daemon;
use hypertap_tests::machine::{output, replace_file, run, scratch};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::{Dump, TIME, eventually};
use hypertap_wire::service_address::{dns_listener, node_ipv4};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::scene::{Scene, in_far, listen};

/// What dig says of an answer.
#[derive(Debug)]
struct Answer {
    status: String,
    flags: Vec<String>,
    /// `NAME TTL TYPE DATA` each, as the next.
    answers: Vec<String>,
    authority: Vec<String>,
    /// All that was said.
    text: String,
}

/// Asks a server with dig. `what` is a name, a type and options.
#[track_caller]
fn dig(server: SocketAddrV4, what: &str) -> Answer {
    let mut command = Command::new("dig");
    command.arg(format!("@{}", server.ip())).args(["-p", &server.port().to_string()]);
    // EDNS cookies would be one more thing that is there or not.
    command.args(["+tries=3", "+time=5", "+noidnin", "+noidnout", "+nocookie"]);
    let done = output(command.args(what.split_whitespace()));
    let text = String::from_utf8(done.stdout).expect("text");
    assert!(done.status.success(), "{what}: {text}");
    let after = |from: &str, to: &str| {
        let rest = text.split_once(from).map_or("", |(_, rest)| rest);
        rest.split_once(to).map_or(rest, |(part, _)| part).trim().to_owned()
    };
    let section = |name: &str| {
        let lines = after(&format!(";; {name} SECTION:\n"), "\n\n");
        let words = lines.lines().map(|line| line.split_whitespace().filter(|word| *word != "IN"));
        words.map(|words| words.collect::<Vec<_>>().join(" ")).collect()
    };
    Answer {
        status: after("status: ", ","),
        flags: after("flags: ", ";").split(' ').map(str::to_owned).collect(),
        answers: section("ANSWER"),
        authority: section("AUTHORITY"),
        text: text.clone(),
    }
}

/// The server of the node in the test's own namespace.
fn ours() -> SocketAddrV4 {
    dns_listener("hypertap")
}

/// That at port 53.
fn usual() -> SocketAddrV4 {
    SocketAddrV4::new(*ours().ip(), 53)
}

/// Has the C library ask the node, and nobody else.
fn use_names() {
    let server = usual();
    replace_file("/etc/resolv.conf", &format!("nameserver {}\noptions timeout:5 attempts:2\n", server.ip()));
}

#[track_caller]
fn ends_well(mut daemon: Daemon) {
    daemon.signal(Signal::SIGTERM);
    daemon.assert_ends_well();
}

#[test]
fn names_of_nodes_and_services_have_their_addresses_in_any_case() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        scene.near.set("services", json!({"own": "/tcp/7000"}));
        let _nodes = scene.start();
        let (id, near) = (scene.far.id.to_base36(), scene.near.id.to_base36());
        let (ipv4, ipv6, web) = (node_ipv4(&scene.far.id), scene.far.address(), scene.far.service("web"));
        for server in [ours(), usual()] {
            for name in ["far.hyprspace", "FAR.HyprSpace"] {
                let all = dig(server, &format!("{name} A")).answers;
                assert_eq!(
                    all,
                    [format!("{name}. 0 CNAME {id}.hyprspace."), format!("{id}.hyprspace. 86400 A {ipv4}")]
                );
            }
            let all = dig(server, "far.hyprspace AAAA").answers;
            assert_eq!(all[1..], [format!("{id}.hyprspace. 86400 AAAA {ipv6}")]);
            for name in [id.clone(), id.to_uppercase(), scene.far.id.to_string()] {
                let all = dig(server, &format!("{name}.hyprspace AAAA")).answers;
                assert!(
                    all.last().is_some_and(|last| last.ends_with(&format!("86400 AAAA {ipv6}"))),
                    "{all:?}"
                );
            }
            for name in ["web.far", "WEB.Far", "any.thing.web.far", &format!("web.{id}")] {
                let all = dig(server, &format!("{name}.hyprspace AAAA")).answers;
                assert!(
                    all.last().is_some_and(|last| last.ends_with(&format!("86400 AAAA {web}"))),
                    "{all:?}"
                );
            }
        }
        // This node too, by the name of its machine, and its services.
        let hostname = nix::unistd::gethostname().expect("there is one").into_string().expect("text");
        let hostname = hostname.split('.').next().expect("a first part");
        let all = dig(ours(), &format!("{hostname}.hyprspace AAAA")).answers;
        assert_eq!(all[1], format!("{near}.hyprspace. 86400 AAAA {}", scene.near.address()));
        let all = dig(ours(), &format!("own.{hostname}.hyprspace AAAA")).answers;
        assert_eq!(all[1], format!("own.{near}.hyprspace. 86400 AAAA {}", scene.near.service("own")));
        assert_eq!(dig(ours(), &format!("web.{hostname}.hyprspace AAAA")).status, "NXDOMAIN");
        // A peer of our own kind says which services it has.
        eventually("its services are known", || dig(ours(), "no.far.hyprspace AAAA").status == "NXDOMAIN");
        assert_eq!(dig(ours(), "web.far.hyprspace AAAA").status, "NOERROR");
    });
}

#[test]
fn a_program_connects_by_name_to_any_port_over_ipv6_and_ipv4() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let _nodes = scene.start();
        use_names();
        let connects = |to: SocketAddr| {
            let mut stream = TcpStream::connect(to).unwrap_or_else(|error| panic!("{to}: {error}"));
            let (mut there, _) = listener.accept().expect("a connection");
            there.write_all(b"it is web").expect("somebody reads");
            drop(there);
            let mut said = String::new();
            stream.set_read_timeout(Some(TIME)).expect("not zero");
            stream.read_to_string(&mut said).expect("it was sent");
            assert_eq!(said, "it is web", "{to}");
        };
        for (name, port) in [("web.far.hyprspace", 80), ("x.WEB.far.hyprspace", 4711)] {
            let all: Vec<SocketAddr> = (name, port).to_socket_addrs().expect("it is known").collect();
            assert!(all.iter().any(SocketAddr::is_ipv4) && all.iter().any(SocketAddr::is_ipv6), "{all:?}");
            all.into_iter().for_each(connects);
        }
        // Both ways back.
        let all = run("getent", &["ahostsv4", "web.far.hyprspace"]);
        let local = all.split_whitespace().next().expect("an address");
        for address in [local, &scene.far.service("web").to_string()] {
            assert!(run("getent", &["hosts", address]).contains("web.far.hyprspace"), "{address}");
        }
        assert_eq!(
            run("getent", &["hosts", &scene.far.address().to_string()]).split_whitespace().last(),
            Some("far.hyprspace")
        );
        let unknown = ("web.nobody.hyprspace", 80).to_socket_addrs().expect_err("nobody is called so");
        assert!(unknown.to_string().contains("not known"), "{unknown}");
    });
}

#[test]
fn curl_gets_a_page_by_a_virtual_hosts_name() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let _nodes = scene.start();
        use_names();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for stream in listener.incoming().take(2) {
                    let mut stream = stream.expect("a connection");
                    let mut request = [0; 4096];
                    let count = stream.read(&mut request).expect("a request");
                    let request = String::from_utf8_lossy(&request[..count]).to_lowercase();
                    let host = request.lines().find_map(|line| line.strip_prefix("host: ")).expect("a host");
                    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{host}", host.len());
                    stream.write_all(answer.as_bytes()).expect("somebody reads");
                }
            });
            for family in ["-4", "-6"] {
                let said = run(
                    "curl",
                    &[family, "--silent", "--max-time", "20", "http://blog.web.far.hyprspace:81/"],
                );
                assert_eq!(said, "blog.web.far.hyprspace:81");
            }
        });
    });
}

#[test]
fn what_is_not_there_is_told_from_what_is_not_ours() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        for name in ["nobody.hyprspace", "web.nobody.hyprspace", "*.far.hyprspace"] {
            let answer = dig(ours(), &format!("{name} A"));
            assert_eq!(answer.status, "NXDOMAIN", "{}", answer.text);
            assert!(answer.flags.contains(&"aa".to_owned()) && answer.answers.is_empty(), "{}", answer.text);
            assert!(answer.authority[0].starts_with("hyprspace. 0 SOA "), "{}", answer.text);
        }
        for what in ["far.hyprspace MX", "web.far.hyprspace TXT"] {
            let answer = dig(ours(), what);
            assert_eq!((answer.status.as_str(), answer.answers.len()), ("NOERROR", 1), "{}", answer.text);
            assert!(answer.authority[0].starts_with("hyprspace. 0 SOA "), "{}", answer.text);
        }
        for name in ["example.org", "hyprspace.example.org", "."] {
            let answer = dig(ours(), &format!("{name} A"));
            assert_eq!((answer.status.as_str(), answer.answers.len()), ("REFUSED", 0), "{}", answer.text);
        }
        for address in ["100.64.255.255", "198.18.77.7", "fd00:6879:7072:7370:7376::1"] {
            assert_eq!(dig(ours(), &format!("-x {address}")).status, "NXDOMAIN", "{address}");
        }
        assert_eq!(dig(ours(), "-x 10.0.0.1").status, "REFUSED");
        assert_eq!(dig(ours(), "hyprspace AXFR +tcp +nofail").answers, Vec::<String>::new());
    });
}

/// A question whose answer is longer than 512 bytes.
fn long() -> String {
    let [x, y, service] = [("x", 63), ("y", 50), ("w", 60)].map(|(letter, count)| letter.repeat(count));
    format!("{x}.{x}.{y}.{service}.far.hyprspace TXT")
}

#[test]
fn a_long_answer_is_cut_for_udp_as_the_client_says_and_whole_by_tcp() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        let cut = |answer: &Answer| answer.flags.contains(&"tc".to_owned());
        let small = dig(ours(), &format!("{} +noedns +ignore", long()));
        assert!(cut(&small), "{}", small.text);
        let asked = dig(ours(), &format!("{} +bufsize=1232 +ignore", long()));
        assert!(!cut(&asked) && asked.answers.len() == 1, "{}", asked.text);
        for options in ["+noedns", "+noedns +tcp", "+tcp +keepopen"] {
            let whole = dig(ours(), &format!("{} {options}", long()));
            assert!(!cut(&whole) && whole.answers.len() == 1, "{options}: {}", whole.text);
        }
    });
}

/// A query for the address of `far.hyprspace`.
fn query() -> Vec<u8> {
    [b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".as_slice(), b"\x03far\x09hyprspace\0\0\x1c\0\x01"].concat()
}

/// The id, the response code and how many answers a message has.
fn head(message: &[u8]) -> (u16, u8, u16) {
    let number = |at: usize| u16::from_be_bytes([message[at], message[at + 1]]);
    (number(0), message[3] & 15, number(6))
}

fn tcp() -> TcpStream {
    let stream = TcpStream::connect(ours()).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("not zero");
    stream
}

fn tcp_answer(stream: &mut TcpStream) -> Vec<u8> {
    let mut len = [0; 2];
    stream.read_exact(&mut len).expect("a length");
    let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
    stream.read_exact(&mut message).expect("a message");
    message
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&u16::try_from(message.len()).expect("short").to_be_bytes()[..], message].concat()
}

#[test]
fn many_queries_go_over_one_connection_in_whatever_pieces_they_come() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        let mut stream = tcp();
        stream.set_nodelay(true).expect("it is TCP");
        let bytes = framed(&query());
        stream.write_all(&bytes.repeat(20)).expect("it reads");
        for byte in bytes.chunks(1) {
            stream.write_all(byte).expect("it reads");
        }
        for _ in 0..21 {
            assert_eq!(head(&tcp_answer(&mut stream)), (0x1234, 0, 2));
        }
        // Those that are none end the connection, not the server.
        for bad in [&b"\0\0"[..], b"\0\x01x", b"\xff\xff", &framed(&[0xff; 40])] {
            let mut stream = tcp();
            stream.write_all(bad).expect("it reads");
            match stream.read(&mut [0]) {
                Ok(count) => assert_eq!(count, 0, "{bad:?}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{bad:?}"),
            }
        }
        assert_eq!(dig(ours(), "far.hyprspace AAAA +tcp").status, "NOERROR");
    });
}

#[test]
fn what_is_no_query_harms_nobody() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let node = scene.near.start();
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.set_read_timeout(Some(TIME)).expect("not zero");
        let ask = |message: &[u8]| socket.send_to(message, ours()).expect("loopback takes it");
        let mut answer = [0; 2000];
        for message in [vec![], vec![b'x'], vec![0xff; 12], vec![0x80; 5000], vec![0; 65_000]] {
            ask(&message);
        }
        // A pointer to itself, a name that is cut, five questions of which one is there, none.
        let with = |counts: &[u8], rest: &[u8]| [b"\x43\x21\x01\0", counts, &[0; 6], rest].concat();
        let bad = [
            with(&[0, 1], b"\xc0\x0c\0\x01\0\x01"),
            with(&[0, 1], b"\x3fab"),
            with(&[0, 5], b"\0\0\x01\0\x01"),
            with(&[0, 0], b""),
        ];
        for message in &bad {
            ask(message);
            loop {
                let (count, _) = socket.recv_from(&mut answer).expect("an answer");
                // The longest of those before was a header, for it was all zeros.
                if head(&answer[..count]).0 == 0x4321 {
                    assert_eq!(head(&answer[..count]), (0x4321, 1, 0), "{message:?}");
                    break;
                }
            }
        }
        assert_eq!(dig(ours(), "far.hyprspace AAAA").status, "NOERROR");
        drop(node);
    });
}

#[test]
fn clients_that_keep_connections_open_and_say_nothing_keep_nobody_out() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        // What nodes need to meet is not what is measured here.
        let (node, _far) = scene.start();
        assert_eq!(dig(ours(), "far.hyprspace AAAA +tcp").status, "NOERROR");
        let before = node.resident_kib();
        let mut hostile: Vec<TcpStream> = (0..400).map(|_| tcp()).collect();
        for stream in &mut hostile {
            // It may have given way already.
            let _ = stream.write_all(b"\x0f");
        }
        for _ in 0..3 {
            assert_eq!(dig(ours(), "far.hyprspace AAAA +tcp +time=5 +tries=1").status, "NOERROR");
            assert_eq!(dig(ours(), "far.hyprspace AAAA +time=5 +tries=1").status, "NOERROR");
        }
        assert!(node.resident_kib() < before + 16 * 1024, "{} KiB, {before} before", node.resident_kib());
        // The oldest gave way at once, and the newest is closed when it has said nothing for a while.
        for (at, limit) in [(0, Duration::from_secs(5)), (hostile.len() - 1, Duration::from_secs(20))] {
            let stream = &mut hostile[at];
            stream.set_read_timeout(Some(limit)).expect("not zero");
            match stream.read(&mut [0]) {
                Ok(count) => assert_eq!(count, 0, "connection {at}"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "connection {at}"),
            }
        }
    });
}

#[test]
fn services_keep_their_local_ipv4_addresses_across_restarts() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let names: Vec<String> = (0..20).map(|number| format!("s{number}.far.hyprspace")).collect();
        let ask = |names: &[String]| -> Vec<String> {
            let last = |name| dig(ours(), &format!("{name} A")).answers.pop();
            let all = names.iter().map(|name| last(name).expect("an address"));
            all.map(|line| line.split(' ').next_back().expect("data").to_owned()).collect()
        };
        let node = scene.near.start();
        let before = ask(&names);
        let distinct: std::collections::BTreeSet<&String> = before.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{before:?}");
        assert!(before.iter().all(|one| one.starts_with("198.18.")), "{before:?}");
        ends_well(node);

        // In another order, and the old addresses have names before anybody asks.
        let node = scene.near.start();
        let reverse = dig(ours(), &format!("-x {}", before[7])).answers;
        assert!(reverse[0].ends_with(" 0 PTR s7.far.hyprspace."), "{reverse:?}");
        let backwards: Vec<String> = names.iter().rev().cloned().collect();
        assert_eq!(ask(&backwards).into_iter().rev().collect::<Vec<_>>(), before);

        // One that is killed loses at most what it had no time for.
        let late = ask(&["late.far.hyprspace".to_owned()]);
        let file = scene.near.state().join(format!("{}.addresses.json", scene.near.id));
        eventually("it is written", || fs::read_to_string(&file).is_ok_and(|text| text.contains("late")));
        node.signal(Signal::SIGKILL);
        drop(node);
        let node = scene.near.start();
        assert_eq!(ask(&["new.far.hyprspace".to_owned(), "late.far.hyprspace".to_owned()])[1..], late);
        ends_well(node);

        // Nor is a file that somebody broke the node's end.
        fs::write(&file, "[{").expect("it is ours");
        let node = scene.near.start();
        node.log_with("given anew");
        assert_eq!(ask(&names[..1]), ["198.18.0.1"]);
    });
}

#[test]
fn a_node_without_a_state_directory_serves_all_the_same() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        fs::write(scene.near.state(), "no directory").expect("the folder is ours");
        let node = scene.near.start();
        assert_eq!(dig(ours(), "web.far.hyprspace A").answers.len(), 2);
        node.log_with("cannot keep services' local IPv4 addresses");
        ends_well(node);
    });
}

#[test]
fn the_interfaces_name_and_the_domain_say_which_zone_it_is_and_where() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        scene.near.set("domain", json!("vpn.internal"));
        let node = scene.near.setup().args(&["--interface", "hs1"]).start();
        let server = dns_listener("hs1");
        assert_eq!(server.to_string(), "127.56.114.4:20648");
        for server in [server, SocketAddrV4::new(*server.ip(), 53)] {
            assert_eq!(dig(server, "far.hs1.vpn.internal AAAA").answers.len(), 2);
            assert_eq!(dig(server, "far.vpn.internal AAAA").status, "REFUSED");
        }
        let printed = scene.near.command(&["dns", "dnsmasq", "--interface", "hs1"]);
        assert!(printed.contains("server=/hs1.vpn.internal/127.56.114.4#20648\n"), "{printed}");
        node.log_with("`hypertap dns -i hs1` prints what to configure");
    });
}

#[test]
fn a_taken_address_ends_the_node_and_a_taken_port_53_does_not() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let before = Dump::now();
        let taken: [Box<dyn Fn() -> Box<dyn std::any::Any>>; 2] = [
            Box::new(|| Box::new(UdpSocket::bind(ours()).expect("it is free"))),
            Box::new(|| Box::new(TcpListener::bind(ours()).expect("it is free"))),
        ];
        for take in taken {
            let _taken = take();
            let (code, said) = scene.near.setup().run_to_end();
            assert_eq!(code, Some(4), "{said}");
            assert!(said.contains(&format!("cannot listen at {}", ours())), "{said}");
            before.assert_same_soon();
        }
        let _taken = UdpSocket::bind(usual()).expect("it is free");
        let node = scene.near.start();
        node.log_with("names are not served at port 53");
        assert_eq!(dig(ours(), "far.hyprspace AAAA +tcp").status, "NOERROR");
        TcpStream::connect(usual()).expect_err("not half of it");
    });
}

#[test]
fn names_end_with_the_node_and_leave_nothing() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let node = scene.near.start();
        assert_eq!(dig(ours(), "far.hyprspace AAAA").status, "NOERROR");
        let _idle = tcp();
        ends_well(node);
        for server in [ours(), usual()] {
            UdpSocket::bind(server).expect("it is free again");
            TcpListener::bind(server).expect("it is free again");
        }
        in_far(|| UdpSocket::bind(ours()).expect("it was never there"));
    });
}

/// dnsmasq at 127.0.0.1, which is killed when this is dropped.
struct Dnsmasq(Child);

impl Dnsmasq {
    const ADDRESS: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::LOCALHOST, 53);

    /// With these lines, and nothing of the machine's.
    #[track_caller]
    fn start(lines: &str) -> Self {
        let file = scratch("dnsmasq.conf");
        fs::write(&file, lines).expect("the folder is ours");
        let mut command = Command::new("dnsmasq");
        command.args(["--keep-in-foreground", "--no-resolv", "--no-hosts", "--stop-dns-rebind"]);
        command.args(["--bind-interfaces", "--listen-address=127.0.0.1", "--pid-file=", "--user=root"]);
        command.args(["--log-facility=-", &format!("--conf-file={}", file.display())]);
        let this = Self(command.spawn().expect("it is installed"));
        eventually("dnsmasq listens", || TcpStream::connect(Self::ADDRESS).is_ok());
        this
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn dnsmasq_answers_with_the_lines_that_are_printed() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        let _dnsmasq = Dnsmasq::start(&scene.near.command(&["dns", "dnsmasq"]));
        let answer = dig(Dnsmasq::ADDRESS, "web.far.hyprspace A");
        assert_eq!(answer.answers.len(), 2, "{}", answer.text);
        for address in [IpAddr::from(scene.far.address()), node_ipv4(&scene.far.id).into()] {
            let answer = dig(Dnsmasq::ADDRESS, &format!("-x {address}"));
            assert!(answer.answers[0].ends_with("PTR far.hyprspace."), "{}", answer.text);
        }
    });
}

#[test]
fn the_c_library_asks_the_next_server_for_names_that_are_not_the_nodes() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _node = scene.near.start();
        let _dnsmasq = Dnsmasq::start("address=/example.org/192.0.2.7\n");
        let line = scene.near.command(&["dns", "resolv-conf"]);
        replace_file("/etc/resolv.conf", &format!("{line}nameserver 127.0.0.1\noptions timeout:30\n"));
        assert!(run("getent", &["ahostsv4", "example.org"]).starts_with("192.0.2.7 "));
        let ours = run("getent", &["ahostsv4", "far.hyprspace"]);
        assert!(ours.starts_with(&node_ipv4(&scene.far.id).to_string()), "{ours}");
    });
}
