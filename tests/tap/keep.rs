//! Servers that stay, and how many they serve.

use std::fs;
use std::os::unix::net::UnixStream;

use hypertap_tests::frame::{arp_answer, arp_request, is_pong, ping};
use hypertap_tests::machine::{ip, ip_json, is_link, scratch};
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, start, start_le16};
use hypertap_tests::{Dump, eventually, in_namespaces};
use nix::sys::signal::Signal;

fn index() -> u64 {
    ip_json("link show tap0")[0]["ifindex"].as_u64().expect("it is there")
}

#[test]
fn a_client_that_comes_back_at_once_is_served_each_time_and_the_interface_stays() {
    in_namespaces(|| {
        let before = Dump::now();
        let path = scratch("tap");
        let words =
            [format!("--listen={}", path.display()), "--keep".to_owned(), "--framing=le16".to_owned()];
        let mut server = start(&words);
        before.assert_same();
        let mut first = None;
        for _ in 0..50 {
            FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
            let index = index();
            assert_eq!(*first.get_or_insert(index), index);
            // What the user puts there stays too.
            ip("route replace 10.77.0.0/16 dev tap0");
        }
        assert!(!server.log().contains("max-clients"), "{}", server.log());
        assert!(is_link("tap0"), "it stays between clients");
        server.signal(Signal::SIGTERM);
        server.assert_ends_well();
        before.assert_same();
        assert!(!path.exists());
    });
}

#[test]
fn whoever_stays_is_served_however_many_came_and_went_before() {
    in_namespaces(|| {
        let path = scratch("tap");
        let server = start(&[&format!("--listen={}", path.display()), "--keep", "--framing=le16"]);
        for gone in [1, 2, 5, 40] {
            for _ in 0..20 {
                for _ in 0..gone {
                    drop(UnixStream::connect(&path).expect("it listens"));
                }
                FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
            }
        }
        assert!(!server.log().contains("max-clients"), "{}", server.log());
    });
}

#[test]
fn a_client_that_goes_leaves_a_line_with_what_went_through() {
    in_namespaces(|| {
        let (mut server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        // Once: what is asked again would be counted, too.
        client.send(&arp_request(GUEST, HOST));
        let answer = client.expect_frame("an answer", |frame| arp_answer(frame, HOST).is_some());
        client.ping_at(GUEST, (arp_answer(&answer, HOST).expect("it is one"), HOST));
        drop(client);
        server.assert_ends_well();
        let log = server.log();
        let line = log.lines().find(|line| line.contains("a client went")).expect("it is told");
        // A question for an address, and a ping of 13 bytes.
        assert!(line.contains("in 2 frames 97 bytes, out "), "{line}");
    });
}

#[test]
fn over_tcp_too_a_client_comes_back_at_once() {
    in_namespaces(|| {
        let _server = start(&["--listen=5600", "--keep", "--framing=qemu"]);
        for _ in 0..50 {
            FrameClient::tcp(5600, Wire::Qemu).ping(GUEST, HOST);
        }
    });
}

#[test]
fn one_above_the_number_is_turned_away_and_those_that_are_there_are_not_disturbed() {
    in_namespaces(|| {
        let path = scratch("tap");
        let words = [format!("--listen={}", path.display()), "--framing=le16".to_owned()];
        let mut server = start(&words);
        let first = FrameClient::unix(&path, Wire::Le16);
        first.ping(GUEST, HOST);
        for _ in 0..20 {
            FrameClient::unix(&path, Wire::Le16).expect_closed();
        }
        first.ping(GUEST, HOST);
        drop(first);
        server.assert_ends_well();
        let log = server.log();
        assert_eq!(log.matches("--max-clients").count(), 1, "told sparingly: {log}");
    });
}

#[test]
fn without_keep_the_last_of_several_ends_it() {
    in_namespaces(|| {
        let path = scratch("tap");
        let words = [
            format!("--listen={}", path.display()),
            "--framing=le16".to_owned(),
            "--max-clients=3".to_owned(),
        ];
        let mut server = start(&words);
        let one = FrameClient::unix(&path, Wire::Le16);
        let two = FrameClient::unix(&path, Wire::Le16);
        two.ping(OTHER_GUEST, HOST);
        drop(one);
        two.ping(OTHER_GUEST, HOST);
        server.assert_runs();
        drop(two);
        server.assert_ends_well();
        assert!(!is_link("tap0"));
    });
}

#[test]
fn a_client_that_ends_its_sending_has_gone() {
    in_namespaces(|| {
        let (mut server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        client.shut_down();
        client.expect_closed();
        server.assert_ends_well();
    });
}

#[test]
fn a_signal_ends_it_while_it_waits_and_while_it_serves() {
    in_namespaces(|| {
        let before = Dump::now();
        let path = scratch("tap");
        for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
            for serves in [false, true] {
                let words = [format!("--listen={}", path.display()), "--framing=le16".to_owned()];
                // Whoever runs the tests may have them ignored.
                let mut env = std::process::Command::new("env");
                env.args(["--default-signal=INT,HUP"]).stdin(std::process::Stdio::null());
                let mut server = hypertap_tests::tap::tap(&words).through(env).start();
                let client = serves.then(|| {
                    let client = FrameClient::unix(&path, Wire::Le16);
                    client.ping(GUEST, HOST);
                    client
                });
                server.signal(signal);
                server.assert_ends_well();
                assert!(!path.exists(), "{signal}");
                before.assert_same();
                if let Some(client) = client {
                    client.expect_closed();
                }
            }
        }
    });
}

/// A server whose starter has set what a signal does.
fn started_with(option: &str) -> hypertap_tests::Daemon {
    let mut env = std::process::Command::new("env");
    env.arg(option).stdin(std::process::Stdio::null());
    let words = [format!("--listen={}", scratch("tap").display()), "--no-host".to_owned()];
    hypertap_tests::tap::tap(&words).through(env).start()
}

#[test]
fn a_signal_that_its_starter_ignored_does_not_end_it() {
    in_namespaces(|| {
        for (option, signal) in
            [("--ignore-signal=HUP", Signal::SIGHUP), ("--ignore-signal=INT", Signal::SIGINT)]
        {
            let mut server = started_with(option);
            server.signal(signal);
            // It has dealt with both by the time that it says what went through.
            server.signal(Signal::SIGUSR1);
            eventually("it reports", || server.log().contains("report ports=0"));
            server.assert_runs();
            server.signal(Signal::SIGTERM);
            server.assert_ends_well();
            assert!(!server.log().contains(signal.as_str()), "{}", server.log());
        }
    });
}

#[test]
fn an_interface_that_cannot_be_made_at_first_is_made_later_where_it_stays() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        for options in [&["--keep"][..], &["--keep", "--user=nobody"], &[]] {
            let words = [&[listen.as_str(), "--framing=le16", "--name=tap7"], options].concat();
            let mut server = start(&words);
            ip("link add tap7 type bridge");
            let client = FrameClient::unix(&path, Wire::Le16);
            if options.is_empty() {
                assert_eq!(server.wait_for_end().code(), Some(5), "{}", server.log());
                continue;
            }
            eventually("it is tried", || server.log().contains("trying it later"));
            ip("link del tap7");
            eventually("it is made", || server.log().contains("the interface is there"));
            client.ping(GUEST, HOST);
            assert_eq!(server.log().matches("a client came").count(), 1, "{}", server.log());
            server.signal(Signal::SIGTERM);
            server.assert_ends_well();
            eventually("the file is gone", || !path.exists());
        }
    });
}

#[test]
fn a_report_says_what_went_through_each_port() {
    in_namespaces(|| {
        let (server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        server.signal(Signal::SIGUSR1);
        eventually("it reports", || server.log().contains("report ports=2"));
        let log = server.log();
        for word in ["framesIn", "bytesOut", "dropped", "addresses=2"] {
            assert!(log.contains(word), "{word} is not in {log}");
        }
        client.ping(GUEST, HOST);
    });
}

#[test]
fn two_servers_give_an_interface_each_with_addresses_of_its_own() {
    in_namespaces(|| {
        let (one, two) = (scratch("one"), scratch("two"));
        let words = |path: &std::path::Path, net: &str| {
            [
                format!("--listen={}", path.display()),
                "--framing=le16".to_owned(),
                format!("--ip-address={net}"),
            ]
        };
        let _first = start(&words(&one, "172.30.0.1"));
        let _second = start(&words(&two, "172.31.0.1"));
        let (first, second) = (FrameClient::unix(&one, Wire::Le16), FrameClient::unix(&two, Wire::Le16));
        let theirs = [172, 31, 0, 1].into();
        let macs = (
            first.resolve(GUEST, HOST),
            second.resolve(([2, 0, 0, 0, 0, 9], [172, 31, 0, 9].into()), theirs),
        );
        assert_ne!(macs.0, macs.1);
        assert!(is_link("tap0") && is_link("tap1"));
        first.ping(GUEST, HOST);
        // They are two networks: nothing of the one is seen in the other.
        first.send(&arp_request(GUEST, [172, 31, 0, 9].into()));
        second.send(&ping(([2, 0, 0, 0, 0, 9], [172, 31, 0, 9].into()), (macs.1, theirs), 3, b""));
        second.expect_frame("its own pong", |frame| {
            assert_ne!(hypertap_tests::frame::source(frame), GUEST.0);
            is_pong(frame, 3)
        });
        assert!(fs::exists(&one).is_ok_and(|there| there));
    });
}
