//! Capture of DNS queries, and the way around it.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::Command;
use std::time::Duration;

use hypertap_tests::daemon::{CONTROL, binary};
use hypertap_tests::machine::{RESOLVER, RESOLVER6, Uplink, output};
use hypertap_tests::packet::{self, TCP, UDP, head};
use hypertap_tests::peer::{STRANGER, peer_command, peer_program};
use hypertap_tests::{Client, Daemon, Dump, Peer, Program, Setup, UdpProgram, in_namespaces, json};

/// The default of `--bypass-mark`.
const MARK: &str = "26745";

fn connected() -> (Daemon, Client, UdpProgram) {
    let program = UdpProgram::bind();
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    (daemon, client, program)
}

fn resolvers() -> [SocketAddr; 2] {
    [format!("{RESOLVER}:53"), format!("[{RESOLVER6}]:53")].map(|text| text.parse().expect("an address"))
}

/// Sends one datagram to a resolver, and says whether the program got it as a packet. Whether it did not
/// is told by a packet that is sure to come after it.
fn is_captured(program: &UdpProgram, to: SocketAddr) -> bool {
    program.forget();
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("a socket");
    // No route is an answer too.
    let _ = socket.send_to(b"query", to);
    let marker = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    marker.send_to(b"after", "10.200.0.1:9").expect("it is routed into the tunnel");
    let packet = program.expect("a query, or what was sent after it", &|packet| {
        head(packet).protocol == UDP && matches!(head(packet).port, Some(53 | 9))
    });
    head(&packet).port == Some(53)
}

#[test]
fn queries_by_udp_are_captured_when_on_only_whatever_resolver_they_go_to() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client, program) = connected();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        let others =
            ["192.0.2.2:53", "[2001:db8::2]:53", "1.1.1.1:53"].map(|a| a.parse().expect("an address"));
        let all: Vec<SocketAddr> = resolvers().into_iter().chain(others).collect();
        for _ in 0..2 {
            for to in &all {
                assert!(!is_captured(&program, *to), "{to} while off");
            }
            client.plain(&json!({"cmd": "turnOnDNS"}));
            for to in &all {
                assert!(is_captured(&program, *to), "{to} while on");
            }
            assert!(!is_captured(&program, "8.8.8.8:54".parse().expect("an address")), "another port");
            client.plain(&json!({"cmd": "turnOffDNS"}));
        }
        for to in &all {
            assert!(!is_captured(&program, *to), "{to} while off again");
        }
    });
}

#[test]
fn a_captured_query_is_the_whole_packet_and_its_answer_comes_back() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client, program) = connected();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(hypertap_tests::TIME)).expect("not zero");
        socket.send_to(b"the question", (RESOLVER, 53)).expect("there is a route");
        let query = program.expect("the query", &|packet| head(packet).port == Some(53));
        let parts = head(&query);
        assert_eq!(&query[parts.payload + 8..], b"the question");
        assert_eq!(parts.destination, RESOLVER.parse::<Ipv4Addr>().expect("an address"));
        assert_eq!(packet::checksum(&query[..20]), 0);

        program.send(&packet::udp_echo(&query).expect("it is UDP"));
        let mut bytes = [0; 100];
        let (count, from) = socket.recv_from(&mut bytes).expect("the answer comes back");
        assert_eq!((&bytes[..count], from), (&b"the question"[..], resolvers()[0]));
    });
}

#[test]
fn queries_by_tcp_are_captured_too() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client, program) = connected();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        for to in resolvers() {
            // Nobody answers: the attempt is all that is wanted.
            let _ = TcpStream::connect_timeout(&to, Duration::from_millis(300));
            let wanted = |packet: &[u8]| head(packet).protocol == TCP && head(packet).port == Some(53);
            let syn = program.expect("a SYN to port 53", &wanted);
            assert_eq!(head(&syn).destination, to.ip());
        }
    });
}

#[test]
fn queries_over_ipv6_are_captured_without_an_ipv6_address_of_the_tunnel() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let program = UdpProgram::bind();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        for to in resolvers() {
            assert!(is_captured(&program, to), "{to}");
        }
    });
}

#[test]
fn queries_to_a_resolver_on_an_excluded_route_are_captured_too() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client, program) = connected();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        client.plain(&json!({"cmd": "addExcludedRoutes", "routes": [RESOLVER, RESOLVER6, "0.0.0.0/0"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        for to in resolvers() {
            assert!(is_captured(&program, to), "{to}");
        }
    });
}

#[test]
fn turning_capture_on_or_off_twice_is_as_once_and_off_restores() {
    in_namespaces(|| {
        let (_daemon, mut client, _program) = connected();
        let off = Dump::now();
        client.plain(&json!({"cmd": "turnOffDNS"}));
        off.assert_same();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        off.assert_changed();
        let on = Dump::now();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        on.assert_same();
        client.plain(&json!({"cmd": "turnOffDNS"}));
        off.assert_same();
    });
}

#[test]
fn capture_ends_with_the_tunnel_and_is_off_at_the_next_start() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let before = Dump::now();
        let (_daemon, mut client, program) = connected();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.plain(&json!({"cmd": "stop"}));
        before.assert_same();
        client.expect_stopped("stoppedByUser");
        client.start_with(json!({"myIPv6Address": "fd00::5"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        for to in resolvers() {
            assert!(!is_captured(&program, to), "{to}");
        }
    });
}

#[test]
fn a_socket_with_the_bypass_mark_is_let_out_of_capture_and_routes() {
    in_namespaces(|| {
        let uplink = Uplink::connect();
        let (_daemon, mut client, _program) = connected();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        for to in resolvers() {
            let to = to.to_string();
            let mut resolver = uplink.peer(&["answer", &to]);
            resolver.expect("bound");
            let asked = Peer::start(peer_command(&["udp-ask", MARK, &to])).finish();
            assert_eq!(asked, ["answer"], "{to}");
        }
    });
}

#[test]
fn the_bypass_mark_can_be_chosen() {
    in_namespaces(|| {
        let uplink = Uplink::connect();
        let daemon = Setup::new().args(&["--bypass-mark", "0x77"]).start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let mut resolver = uplink.peer(&["answer", "8.8.8.8:53"]);
        resolver.expect("bound");
        assert_eq!(Peer::start(peer_command(&["udp-ask", "119", "8.8.8.8:53"])).finish(), ["answer"]);
    });
}

/// A program that is run through `hypertap bypass` with options, as the user with this id.
fn bypassed(uid: Option<u32>, options: &[&str], words: &[&str]) -> (bool, String) {
    let mut command = match uid {
        None => Command::new(binary()),
        Some(uid) => {
            let copy = hypertap_tests::machine::scratch("hypertap");
            fs::copy(binary(), &copy).expect("the folder is ours");
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &uid.to_string(), "--clear-groups", "--no-new-privs", "--inh-caps=-all"])
                .arg(copy);
            command
        }
    };
    let said = output(command.arg("bypass").args(options).arg("--").arg(peer_program()).args(words));
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    (said.status.success(), format!("{text}{}", String::from_utf8_lossy(&said.stderr)))
}

#[test]
fn a_program_run_through_hypertap_bypass_is_let_out_by_udp_and_tcp() {
    in_namespaces(|| {
        let uplink = Uplink::connect();
        let (_daemon, mut client, _program) = connected();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        for to in resolvers() {
            let to = to.to_string();
            let mut resolver = uplink.peer(&["answer", &to]);
            resolver.expect("bound");
            for how in ["udp-ask", "tcp-ask"] {
                assert_eq!(bypassed(None, &[], &[how, "0", &to]), (true, "answer".to_owned()), "{how} {to}");
            }
        }
    });
}

#[test]
fn an_ordinary_user_who_may_use_the_tunnel_may_bypass_it_and_another_may_not() {
    in_namespaces(|| {
        hypertap_tests::namespaces::needs_root();
        let uplink = Uplink::connect();
        let daemon = Setup::new().env("SUDO_UID", "1").start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let mut resolver = uplink.peer(&["answer", "8.8.8.8:53"]);
        resolver.expect("bound");
        let (ask, control) = (["udp-ask", "0", "8.8.8.8:53"], ["--control", CONTROL]);
        assert_eq!(bypassed(Some(1), &control, &ask), (true, "answer".to_owned()));
        let (let_out, said) = bypassed(Some(STRANGER), &control, &ask);
        assert!(!let_out && !said.starts_with("answer"), "{said}");
    });
}

#[test]
fn an_ordinary_user_need_not_say_where_the_machines_daemon_is() {
    in_namespaces(|| {
        hypertap_tests::namespaces::needs_root();
        let uplink = Uplink::connect();
        let daemon = Setup::new().env("SUDO_UID", "1").start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let mut resolver = uplink.peer(&["answer", "8.8.8.8:53"]);
        resolver.expect("bound");
        assert_eq!(bypassed(Some(1), &[], &["udp-ask", "0", "8.8.8.8:53"]), (true, "answer".to_owned()));
    });
}

#[test]
fn bypass_hands_the_exit_code_of_its_program_on() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let _client = daemon.client();
        for (line, code) in [("exit 0", 0), ("exit 7", 7)] {
            let ran = output(Command::new(binary()).args(["bypass", "--", "sh", "-c", line]));
            assert_eq!(ran.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    });
}
