//! Which queries go through the tunnel, and when.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use hypertap_tests::machine::{RESOLVER, RESOLVER6, Uplink};
use hypertap_tests::packet::{self, TCP, UDP, head};
use hypertap_tests::{Dump, Program, Scene, TIME, UdpProgram, json, with_daemon};

use super::{connected, resolvers};

/// Sends one datagram to a resolver, and says whether the program got it as a packet. Whether it did not
/// is told by a packet that is sure to come after it: 10.200.0.1 is to be routed into the tunnel.
fn is_captured(program: &UdpProgram, to: SocketAddr) -> bool {
    let socket = UdpSocket::bind(if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }).expect("a socket");
    // No route is an answer too.
    let _ = socket.send_to(b"query", to);
    let marker = UdpSocket::bind("0.0.0.0:0").expect("a socket");
    marker.send_to(b"after", "10.200.0.1:9").expect("it is routed into the tunnel");
    let mut captured = false;
    // The marker is read in any case, lest the next call take it for its own.
    loop {
        let packet = program.expect("a query, or what was sent after it", &|packet| {
            head(packet).protocol == UDP && [Some(to.port()), Some(9)].contains(&head(packet).port)
        });
        if head(&packet).port == Some(9) {
            return captured;
        }
        captured = true;
    }
}

#[track_caller]
fn assert_captured(program: &UdpProgram, queries: &[SocketAddr], captured: bool, when: &str) {
    for to in queries {
        assert_eq!(is_captured(program, *to), captured, "{to} {when}");
    }
}

#[test]
fn queries_by_udp_are_captured_when_on_only_whatever_resolver_they_go_to() {
    with_daemon(|Scene { client, .. }| {
        let (_uplink, program) = connected(client);
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        let others =
            ["192.0.2.2:53", "[2001:db8::2]:53", "1.1.1.1:53"].map(|a| a.parse().expect("an address"));
        let all: Vec<SocketAddr> = resolvers().into_iter().chain(others).collect();
        for _ in 0..2 {
            assert_captured(&program, &all, false, "while off");
            client.plain(&json!({"cmd": "turnOnDNS"}));
            assert_captured(&program, &all, true, "while on");
            assert!(!is_captured(&program, "8.8.8.8:54".parse().expect("an address")), "another port");
            client.plain(&json!({"cmd": "turnOffDNS"}));
        }
        assert_captured(&program, &all, false, "while off again");
    });
}

#[test]
fn a_captured_query_is_the_whole_packet_and_its_answer_comes_back() {
    with_daemon(|Scene { client, .. }| {
        let (_uplink, program) = connected(client);
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        socket.set_read_timeout(Some(TIME)).expect("not zero");
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
    with_daemon(|Scene { client, .. }| {
        let (_uplink, program) = connected(client);
        client.plain(&json!({"cmd": "turnOnDNS"}));
        for to in resolvers() {
            // Nobody answers: the attempt is all that is wanted.
            let _ = TcpStream::connect_timeout(&to, Duration::from_millis(300));
            // The SYN to the other may have come once more.
            program.expect(&format!("a SYN to {to}"), &|packet| {
                let head = head(packet);
                (head.protocol, head.destination, head.port) == (TCP, to.ip(), Some(53))
            });
        }
    });
}

#[test]
fn queries_over_ipv6_are_captured_without_an_ipv6_address_of_the_tunnel() {
    with_daemon(|Scene { client, .. }| {
        let _uplink = Uplink::connect();
        let program = UdpProgram::bind();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        assert_captured(&program, &resolvers(), true, "while on");
    });
}

#[test]
fn queries_to_a_resolver_on_an_excluded_route_are_captured_too() {
    with_daemon(|Scene { client, .. }| {
        let (_uplink, program) = connected(client);
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        client.plain(&json!({"cmd": "addExcludedRoutes", "routes": [RESOLVER, RESOLVER6, "0.0.0.0/0"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        assert_captured(&program, &resolvers(), true, "while on");
    });
}

#[test]
fn turning_capture_on_or_off_twice_is_as_once_and_off_restores() {
    with_daemon(|Scene { client, .. }| {
        client.start_with(json!({"myIPv6Address": "fd00::5"}));
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
    with_daemon(|Scene { client, .. }| {
        let _uplink = Uplink::connect();
        let program = UdpProgram::bind();
        let before = Dump::now();
        client.start();
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.plain(&json!({"cmd": "stop"}));
        before.assert_same();
        client.expect_stopped("stoppedByUser");
        client.start_with(json!({"myIPv6Address": "fd00::5"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.200.0.1"]}));
        assert_captured(&program, &resolvers(), false, "after a new start");
    });
}
