//! Who may connect, send and receive: the kernel is asked whose socket the other end is.

use std::net::UdpSocket;

use hypertap_tests::daemon::CONTROL;
use hypertap_tests::inside::{FAR, OURS};
use hypertap_tests::machine::{is_link, ping, replace_file};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::packet::{ping_reply, udp4};
use hypertap_tests::peer::{OTHER, STRANGER};
use hypertap_tests::{
    Client, Daemon, Peer, Responder, Scene, Setup, UdpProgram, eventually, in_namespaces, json,
    with_daemon_as,
};

const REFUSED: &str = r#"{"ok":false,"error":"not permitted"}"#;
const GREETING: [&str; 2] =
    [r#"{"cmd":"event","event":"vpnApproved"}"#, r#"{"cmd":"event","event":"extensionApproved"}"#];
const TCP: &str = "127.0.0.1:5500";
const SHUTDOWN: &str = r#"{"cmd":"shutdown"}"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}

/// A daemon without options, where there are other users.
fn among_users() -> Setup {
    needs_root();
    Setup::new()
}

/// A stranger who connects and sends a line gets one in return, and the end.
#[track_caller]
fn assert_refused(how: &str, address: &str, sent: &str) {
    let lines = Peer::run_by(STRANGER, &[how, address, sent]).finish();
    assert_eq!(lines, [REFUSED, "end"], "{how} {address} after {sent:?}");
}

/// A tunnel, with a route into it.
fn tunnel(client: &mut Client) {
    client.start();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
}

#[test]
fn a_stranger_is_refused_on_tcp_with_one_line_and_ends_nothing() {
    in_namespaces(|| {
        let mut daemon = among_users().start();
        for sent in ["", SHUTDOWN, r#"{"cmd":"status"}"#] {
            assert_refused("tcp-lines", TCP, sent);
        }
        daemon.assert_runs();
        assert_eq!(daemon.client().status(), "disconnected");
    });
}

#[test]
fn a_stranger_is_refused_on_unix_with_one_line_and_ends_nothing() {
    in_namespaces(|| {
        let mut daemon = among_users().start();
        for sent in ["", SHUTDOWN] {
            assert_refused("unix-lines", CONTROL, sent);
        }
        daemon.assert_runs();
    });
}

#[test]
fn a_stranger_does_not_take_the_clients_place() {
    with_daemon_as(among_users, |Scene { client, .. }| {
        client.start();
        assert_refused("tcp-lines", TCP, "");
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
    });
}

#[test]
fn a_stranger_who_closes_at_once_has_no_command_done() {
    in_namespaces(|| {
        let mut daemon = among_users().args(&["--on-disconnect=stop"]).start();
        let start = r#"{"cmd":"start","myIPv4Address":"5.5.5.5","dataPlane":"udp"}"#;
        for sent in [start, SHUTDOWN] {
            for _ in 0..50 {
                Peer::run_by(STRANGER, &["hit-and-run", TCP, sent]).finish();
            }
        }
        daemon.assert_runs();
        let mut client = daemon.control();
        let events = client.ok(&json!({"cmd": "events"})).to_string();
        assert!(!events.contains("tunnelStarted"), "{events}");
        assert_eq!(client.status(), "disconnected");
        assert!(!is_link("hypertap0"));
    });
}

#[test]
fn the_starting_user_may_connect() {
    in_namespaces(|| {
        needs_root();
        for variable in ["SUDO_UID", "PKEXEC_UID"] {
            let mut daemon =
                Setup::new().env(variable, OTHER.to_string()).args(&["--on-disconnect=stop"]).start();
            for how in ["tcp-lines", "unix-lines"] {
                let address = if how == "tcp-lines" { TCP } else { CONTROL };
                let mut allowed = Peer::run_by(OTHER, &[how, address, r#"{"cmd":"status"}"#]);
                for line in GREETING {
                    allowed.expect(line);
                }
                allowed.expect(r#"{"ok":true,"status":"disconnected"}"#);
                drop(allowed);
                assert_refused(how, address, "");
            }
            daemon.signal(nix::sys::signal::Signal::SIGTERM);
            daemon.assert_ends_well();
        }
    });
}

#[test]
fn members_of_the_group_may_connect_and_others_may_not() {
    in_namespaces(|| {
        needs_root();
        replace_file("/etc/group", "root:x:0:\ndaemon:x:1:\nnogroup:x:65534:\ntunnelers:x:4711:daemon\n");
        let daemon = Setup::new().args(&["--group", "tunnelers", "--on-disconnect=stop"]).start();
        let mut member = Peer::run_by(OTHER, &["tcp-lines", TCP, ""]);
        member.expect(GREETING[0]);
        drop(member);
        assert_refused("tcp-lines", TCP, "");
        drop(daemon);
    });
}

#[test]
fn who_has_the_group_as_the_first_one_is_a_member() {
    in_namespaces(|| {
        let _daemon = among_users().args(&["--group", "daemon", "--on-disconnect=stop"]).start();
        let mut member = Peer::run_by(OTHER, &["tcp-lines", TCP, ""]);
        member.expect(GREETING[0]);
        drop(member);
        assert_refused("tcp-lines", TCP, "");
    });
}

#[test]
fn a_strangers_packets_are_counted_drops() {
    with_daemon_as(among_users, |Scene { client, .. }| {
        tunnel(client);
        let bad = hex(&udp4((FAR, 1), (OURS, 7000), b"bad"));
        let words = ["udp-send-hold", "127.0.0.1:7777", "127.0.0.1:5501", &bad, "5"];
        let mut stranger = Peer::run_by(STRANGER, &words);
        stranger.expect("sent");
        eventually("all five are counted", || client.dropped("fromProgram", "notPermitted") == 5);
        assert_eq!(client.stats()["fromProgram"]["packets"], 0);
    });
}

#[test]
fn a_port_may_change_hands_within_a_second_and_no_more() {
    with_daemon_as(among_users, |Scene { client, .. }| {
        client.start();
        let packet = udp4((FAR, 1), (OURS, 7000), b"x");
        let socket = UdpSocket::bind("127.0.0.1:7777").expect("the port is free");
        socket.send_to(&packet, "127.0.0.1:5501").expect("sent");
        eventually("it is injected", || client.stats()["fromProgram"]["packets"] == 1);
        drop(socket);
        eventually("the stranger who has the port now is noticed", || {
            let words = ["udp-send-hold", "127.0.0.1:7777", "127.0.0.1:5501", &hex(&packet), "1"];
            Peer::run_by(STRANGER, &words).expect("sent");
            client.dropped("fromProgram", "notPermitted") > 0
        });
    });
}

#[test]
fn a_stranger_who_holds_the_receive_port_gets_nothing() {
    with_daemon_as(among_users, |Scene { client, .. }| {
        tunnel(client);
        let mut thief = Peer::run_by(STRANGER, &["udp-hold", "127.0.0.1:5502"]);
        thief.expect("bound");
        eventually("packets for it are counted drops", || {
            ping("10.9.0.1", &["-W0.1"]);
            client.dropped("toProgram", "notPermitted") >= 3
        });
        // The very next datagram that it gets is this one.
        let socket = UdpSocket::bind("127.0.0.1:7000").expect("the port is free");
        socket.send_to(b"the end", "127.0.0.1:5502").expect("sent");
        thief.expect("7 bytes from 127.0.0.1:7000");
        drop(thief);

        let _responder = Responder::start(UdpProgram::bind(), ping_reply);
        eventually("an allowed program gets them", || ping("10.9.0.1", &["-W0.2"]));
    });
}

#[test]
fn observers_on_unix_may_read_and_not_change() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut owner = daemon.client();
        let mut observers = [daemon.control(), daemon.control()];
        owner.start();
        for observer in &mut observers {
            observer.expect_event("tunnelStarted");
            assert_eq!((observer.status().as_str(), observer.name().as_str()), ("connected", "hypertap0"));
            observer.ok(&json!({"cmd": "showVersion"}));
            observer.stats();
            for cmd in [
                "start",
                "stop",
                "shutdown",
                "uninstall",
                "loadConfig",
                "loadExtension",
                "openExtensionSettings",
                "addIncludedRoutes",
                "removeIncludedRoutes",
                "addExcludedRoutes",
                "removeExcludedRoutes",
                "turnOnDNS",
                "turnOffDNS",
            ] {
                observer.refused(&json!({"cmd": cmd, "myIPv4Address": "6.6.6.6", "routes": ["10.9.0.0/16"]}));
            }
        }
        owner.expect_no_event();
        assert_eq!(owner.status(), "connected");
        daemon.assert_runs();
        let [first, mut second] = observers;
        drop(first);
        second.expect_no_event();
        daemon.assert_runs();
        owner.plain(&json!({"cmd": "stop"}));
        second.expect_stopped("stoppedByUser");
    });
}

#[test]
fn without_a_tcp_client_the_first_unix_client_that_changes_something_owns() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let [mut one, mut two] = [daemon.control(), daemon.control()];
        assert_eq!(one.status(), "disconnected");
        two.start();
        one.expect_event("tunnelStarted");
        one.refused(&json!({"cmd": "stop"}));
        drop(one);
        two.expect_no_event();
        assert_eq!(two.status(), "connected");
        daemon.assert_runs();
        drop(two);
        daemon.assert_ends_well();
        assert!(!is_link("hypertap0"));
    });
}

#[test]
fn a_unix_client_that_only_looked_shuts_nothing_down() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut looker = daemon.control();
        assert_eq!(looker.status(), "disconnected");
        drop(looker);
        let mut next = daemon.control();
        assert_eq!(next.status(), "disconnected");
        daemon.assert_runs();
    });
}
