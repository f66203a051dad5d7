//! The data plane over UDP: what goes through, what is dropped, and that every drop is counted.

use std::net::{Ipv6Addr, SocketAddr, UdpSocket};

use hypertap_tests::inside::{FAR, OURS, received, receiver};
use hypertap_tests::machine::{ip, ping};
use hypertap_tests::packet::{self, UDP, head, ipv4, ipv6, ping_reply, seal, udp, udp4};
use hypertap_tests::wait::holds_within;
use hypertap_tests::{
    Client, Daemon, Program, Responder, Setup, TIME, UdpProgram, eventually, in_namespaces, json,
};

const OURS6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 5);
const FAR6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1);

fn connected_with(fields: serde_json::Value) -> (Daemon, Client, UdpProgram) {
    let program = UdpProgram::bind();
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.start_with(fields);
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd77::/16"]}));
    (daemon, client, program)
}

fn connected() -> (Daemon, Client, UdpProgram) {
    connected_with(json!({"myIPv6Address": "fd00::5"}))
}

#[test]
fn packets_out_of_the_machine_arrive_at_5502_from_5501_as_they_are() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        let socket = UdpSocket::bind((OURS, 7000)).expect("the address is here");
        socket.send_to(b"hello", (FAR, 8000)).expect("there is a route");
        let (packet, sender) = loop {
            let (packet, sender) = program.receive_from(TIME).expect("it arrives");
            if !packet::is_chatter(&packet) {
                break (packet, sender);
            }
        };
        assert_eq!(sender, SocketAddr::from(([127, 0, 0, 1], 5501)));
        assert_eq!((packet.len(), &packet[28..]), (33, &b"hello"[..]));
        assert_eq!((head(&packet).source, head(&packet).destination), (OURS.into(), FAR.into()));
        assert_eq!(packet::checksum(&packet[..20]), 0);
        let counted = |what: &str, client: &mut Client| client.stats()["toProgram"][what].as_u64();
        eventually("the packet is counted", || counted("packets", &mut client) >= Some(1));
        eventually("its bytes are counted", || counted("bytes", &mut client) >= Some(33));
    });
}

#[test]
fn packets_from_the_program_arrive_at_the_machine_and_are_counted() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        let socket = receiver();
        for number in 0..10u8 {
            program.send(&udp4((FAR, 8000), (OURS, 7000), &[number; 100]));
        }
        for number in 0..10u8 {
            let (bytes, from) = received(&socket);
            assert_eq!((bytes, from), (vec![number; 100], SocketAddr::from((FAR, 8000))));
        }
        let all = json!({"packets": 10, "bytes": 1280, "dropped": {}});
        eventually("all are counted", || client.stats()["fromProgram"] == all);
    });
}

#[test]
fn every_packet_arrives_once_and_in_its_order() {
    in_namespaces(|| {
        for _ in 0..30 {
            let (_daemon, _client, program) = connected();
            let socket = UdpSocket::bind((OURS, 7000)).expect("the address is here");
            let number = |packet: &[u8]| packet[28..].to_vec();
            let of_ours = |packet: &[u8]| head(packet).port == Some(8000);
            let mut next = 0u32;
            for burst in [1u32, 1, 1, 10, 100, 1] {
                for _ in 0..burst {
                    socket.send_to(&next.to_be_bytes(), (FAR, 8000)).expect("there is a route");
                    next += 1;
                }
                for expected in next - burst..next {
                    let packet = program.expect("the next one", &of_ours);
                    assert_eq!(number(&packet), expected.to_be_bytes());
                }
            }
        }
    });
}

#[test]
fn a_datagram_may_come_from_any_port_of_an_allowed_user() {
    in_namespaces(|| {
        let (_daemon, _client, _program) = connected();
        let socket = receiver();
        let other = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        other.send_to(&udp4((FAR, 1), (OURS, 7000), b"x"), "127.0.0.1:5501").expect("sent");
        assert_eq!(received(&socket).0, b"x");
    });
}

#[test]
fn pings_of_both_versions_are_answered_by_the_program() {
    in_namespaces(|| {
        let (_daemon, _client, program) = connected();
        let responder = Responder::start(program, ping_reply);
        assert!(ping("10.9.0.1", &[]));
        assert!(ping("10.9.255.254", &["-s1400"]));
        assert!(ping("fd77::1", &[]));
        assert!(responder.answered() >= 3);
    });
}

#[test]
fn packets_of_the_mtu_pass_and_one_byte_more_is_dropped() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        let socket = receiver();
        program.send(&udp4((FAR, 1), (OURS, 7000), &[1; 1472]));
        assert_eq!(received(&socket).0.len(), 1472);
        program.send(&udp4((FAR, 1), (OURS, 7000), &[2; 1473]));
        program.send(&udp4((FAR, 1), (OURS, 7000), b"after"));
        assert_eq!(received(&socket).0, b"after");
        eventually("the drop is counted", || client.dropped("fromProgram", "exceedsMtu") == 1);

        // Out of the machine: what does not fit comes as fragments that do.
        let _responder = Responder::start(program, ping_reply);
        assert!(ping("10.9.0.1", &["-Mdo", "-s1472"]));
        assert!(!ping("10.9.0.1", &["-Mdo", "-s1473", "-W1"]));
    });
}

#[test]
fn an_mtu_of_65507_carries_packets_of_that_size_both_ways() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected_with(json!({"mtu": 65507}));
        let _responder = Responder::start(program, ping_reply);
        assert!(ping("10.9.0.1", &["-Mdo", "-s65479"]));
        eventually("all bytes are counted", || client.stats()["fromProgram"]["bytes"] == 65507);
        assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
    });
}

#[test]
fn every_kind_of_junk_is_dropped_and_counted_by_its_cause() {
    in_namespaces(|| {
        let (mut daemon, mut client, program) = connected();
        let socket = receiver();
        let good = udp4((FAR, 8000), (OURS, 7000), b"good");
        let good6 = ipv6(FAR6, OURS6, UDP, &udp(8000, 7000, b"good"));
        let changed = |packet: &[u8], change: &dyn Fn(&mut Vec<u8>)| {
            let mut packet = packet.to_vec();
            change(&mut packet);
            packet
        };
        let junk: Vec<(&str, Vec<u8>)> = vec![
            ("empty", vec![]),
            ("badVersion", vec![0]),
            ("badVersion", vec![0xff; 100]),
            ("badVersion", changed(&good, &|p| p[0] = 0x55)),
            ("badVersion", changed(&good, &|p| p[0] = 0x75)),
            ("truncatedHeader", vec![0x45]),
            ("truncatedHeader", good[..19].to_vec()),
            ("truncatedHeader", vec![0x60]),
            ("truncatedHeader", good6[..39].to_vec()),
            ("truncatedHeader", changed(&good[..30], &|p| p[0] = 0x4f)),
            ("badHeaderLength", changed(&good, &|p| p[0] = 0x44)),
            ("badHeaderLength", changed(&good, &|p| p[0] = 0x40)),
            ("lengthMismatch", changed(&good, &|p| p.push(0))),
            ("lengthMismatch", good[..good.len() - 1].to_vec()),
            (
                "lengthMismatch",
                changed(&good, &|p| {
                    p[3] = 19;
                    seal(p);
                }),
            ),
            (
                "lengthMismatch",
                changed(&good, &|p| {
                    p[2..4].fill(0);
                    seal(p);
                }),
            ),
            ("lengthMismatch", changed(&good6, &|p| p.push(0))),
            ("lengthMismatch", changed(&good6, &|p| p[5] -= 1)),
            ("lengthMismatch", changed(&good6, &|p| p[4..6].fill(0xff))),
            ("exceedsMtu", udp4((FAR, 1), (OURS, 7000), &[0; 1473])),
            ("exceedsMtu", udp4((FAR, 1), (OURS, 7000), &vec![0; 65507 - 28])),
            ("exceedsMtu", ipv6(FAR6, OURS6, UDP, &udp(1, 7000, &[0; 1453]))),
            ("badHeaderChecksum", changed(&good, &|p| p[10] ^= 1)),
            ("badHeaderChecksum", changed(&good, &|p| p[8] -= 1)),
            ("badHeaderChecksum", changed(&good, &|p| p[10..12].fill(0))),
        ];
        for (number, (cause, packet)) in junk.iter().enumerate() {
            let before = client.dropped("fromProgram", cause);
            program.send(packet);
            program.send(&good);
            assert_eq!(received(&socket).0, b"good");
            let counted = || client.dropped("fromProgram", cause) == before + 1;
            assert!(
                holds_within(TIME, counted),
                "junk {number} ({cause}): {packet:02x?}: {}",
                client.stats()
            );
        }
        eventually("all that passed is counted", || client.stats()["fromProgram"]["packets"] == junk.len());
        let stats = client.stats();
        let counted: u64 = stats["fromProgram"]["dropped"]
            .as_object()
            .into_iter()
            .flat_map(|drops| drops.values())
            .filter_map(serde_json::Value::as_u64)
            .sum();
        assert_eq!(counted, junk.len() as u64, "{stats}");
        client.expect_no_event();
        daemon.assert_runs();
    });
}

#[test]
fn a_header_with_options_and_a_header_alone_pass() {
    in_namespaces(|| {
        let (_daemon, mut client, program) = connected();
        let socket = receiver();
        let mut options = udp4((FAR, 8000), (OURS, 7000), b"options");
        options.splice(20..20, [1, 1, 1, 0]);
        options[0] = 0x46;
        options[3] += 4;
        seal(&mut options);
        program.send(&options);
        assert_eq!(received(&socket).0, b"options");
        program.send(&ipv4(FAR, OURS, 253, b""));
        program.send(&ipv6(FAR6, OURS6, 253, b""));
        eventually("three packets have passed", || client.stats()["fromProgram"]["packets"] == 3);
        assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
    });
}

#[test]
fn the_receive_port_of_start_is_used() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start_with(json!({"receivePort": 6600}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let _responder = Responder::start(UdpProgram::bind_ports(5501, 6600), ping_reply);
        assert!(ping("10.9.0.1", &[]));
    });
}

#[test]
fn both_ports_can_be_set_on_the_command_line() {
    in_namespaces(|| {
        let daemon = Setup::new().ports(7500).start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let _responder = Responder::start(UdpProgram::bind_ports(7501, 7502), ping_reply);
        assert!(ping("10.9.0.1", &[]));
    });
}

#[test]
fn what_came_before_start_or_after_stop_is_not_injected() {
    in_namespaces(|| {
        let program = UdpProgram::bind();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        program.send(&udp4((FAR, 1), (OURS, 7000), b"early"));
        client.start();
        let socket = receiver();
        program.send(&udp4((FAR, 1), (OURS, 7000), b"in time"));
        assert_eq!(received(&socket).0, b"in time");
        drop(socket);
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        program.send(&udp4((FAR, 1), (OURS, 7000), b"late"));
        client.start();
        let socket = receiver();
        program.send(&udp4((FAR, 1), (OURS, 7000), b"in time again"));
        assert_eq!(received(&socket).0, b"in time again");
    });
}

#[test]
fn ipv6_needs_no_address_of_ours_to_be_kept_out() {
    in_namespaces(|| {
        let program = UdpProgram::bind();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        // Nothing of the kernel's own accord: no address, so no solicitation. A ping is what comes first.
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        assert_eq!(ip("-6 addr show dev hypertap0").trim(), "", "IPv6 autoconfiguration is off");
        ping("10.9.0.1", &["-W1"]);
        let first = program.receive(TIME).expect("the ping arrives");
        assert_eq!(head(&first).protocol, packet::ICMP);
    });
}
