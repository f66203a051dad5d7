//! The interface removed by somebody else, and the server killed.

use std::net::UdpSocket;
use std::thread;
use std::time::Duration;

use hypertap_tests::frame::{is_pong, ping};
use hypertap_tests::machine::{ip, ip_json, is_link, ping as ping_from_here, scratch};
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, start, start_le16};
use hypertap_tests::wait::{TIME, eventually_within};
use hypertap_tests::{Dump, eventually, in_namespaces};

#[test]
fn an_interface_that_somebody_removes_is_made_again_and_clients_stay() {
    in_namespaces(|| {
        for options in
            [&["--framing=le16"][..], &["--framing=le16", "--keep"], &["--framing=le16", "--user=nobody"]]
        {
            let path = scratch("tap");
            let listen = format!("--listen={}", path.display());
            let mut server = start(&[&[listen.as_str()], options].concat());
            let client = FrameClient::unix(&path, Wire::Le16);
            client.ping(GUEST, HOST);
            for _ in 0..2 {
                let index = ip_json("link show tap0")[0]["ifindex"].clone();
                ip("link del tap0");
                eventually("it is there again", || {
                    is_link("tap0") && ip_json("link show tap0")[0]["ifindex"] != index
                });
                eventually("it is up", || !ip_json("addr show dev tap0 up")[0].is_null());
                client.ping(GUEST, HOST);
            }
            server.log_with("somebody removed the interface");
            drop(client);
            if options.contains(&"--keep") {
                server.assert_runs();
                continue;
            }
            server.assert_ends_well();
            assert!(!is_link("tap0"));
        }
    });
}

#[test]
fn an_interface_that_is_removed_while_it_is_not_read_from_is_made_again() {
    in_namespaces(|| {
        let (_server, path) = start_le16();
        // From here on it does not read.
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        // It answers no question of where it is, either.
        ip(&format!("neighbour change {} dev tap0 nud permanent", GUEST.1));
        let flood = UdpSocket::bind("0.0.0.0:0").expect("a port is free");
        let dropped =
            || ip_json("-s link show tap0")[0]["stats64"]["tx"]["dropped"].as_u64().expect("a number");
        eventually("the kernel keeps nothing more for it", || {
            let before = dropped();
            (0..1000).for_each(|_| assert!(flood.send_to(&[0; 1400], (GUEST.1, 9)).is_ok()));
            dropped() == before + 1000
        });
        let index = ip_json("link show tap0")[0]["ifindex"].clone();
        ip("link del tap0");
        eventually("it is there again", || {
            is_link("tap0") && ip_json("link show tap0")[0]["ifindex"] != index
        });
    });
}

/// Removes the server's interface. Another has the name before the server can have it again.
fn take_the_name() {
    ip("link set tap0 down");
    ip("link set tap0 name other0");
    ip("link add tap0 type veth peer name far0");
    ip("link del other0");
}

#[test]
fn a_name_that_another_has_taken_meanwhile_is_tried_until_it_is_free() {
    in_namespaces(|| {
        let (mut server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        take_the_name();
        eventually("it is tried", || server.log().contains("trying it later"));
        assert!(!server.log().contains("--replace"), "there is no such option here: {}", server.log());
        server.assert_runs();
        let theirs = &ip_json("-d link show tap0")[0]["linkinfo"]["info_kind"];
        assert_eq!(theirs, "veth", "somebody else's interface is left alone");
        ip("link del tap0");
        eventually("it is there again", || server.log().contains("the interface is there again"));
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();
    });
}

#[test]
fn one_that_cannot_be_made_again_is_tried_seven_times() {
    in_namespaces(|| {
        let (mut server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        take_the_name();
        eventually_within(2 * TIME, "it ends", || {
            client.receive(Duration::from_millis(20)).is_none() && client.has_ended()
        });
        let status = server.wait_for_end();
        let log = server.log();
        assert_eq!(status.code(), Some(5), "{log}");
        assert_eq!(log.matches("trying it later").count(), 6, "{log}");
    });
}

#[test]
fn an_interface_that_is_down_for_a_while_costs_nothing_but_frames() {
    in_namespaces(|| {
        let (mut server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        let mac = client.resolve(GUEST, HOST);
        ip("link set tap0 down");
        for number in 0..100 {
            client.send(&ping(GUEST, (mac, HOST), number, b""));
        }
        ip("link set tap0 up");
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();
    });
}

#[test]
fn a_sigkill_leaves_no_interface_and_the_next_start_replaces_the_file() {
    in_namespaces(|| {
        let before = Dump::now();
        let path = scratch("tap");
        for user in [&[][..], &["--user=nobody"]] {
            let listen = format!("--listen={}", path.display());
            let words = [&[listen.as_str(), "--framing=le16"], user].concat();
            let mut server = start(&words);
            let client = FrameClient::unix(&path, Wire::Le16);
            client.ping(GUEST, HOST);
            server.kill();
            eventually("the interface is gone", || !is_link("tap0"));
            before.assert_same_soon();
            client.expect_closed();
            drop(server);
            let mut next = start(&words);
            FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
            next.assert_ends_well();
            eventually("the file is gone", || !path.exists());
        }
    });
}

#[test]
fn many_pings_at_once_from_both_ends_are_all_answered() {
    in_namespaces(|| {
        let (_server, path) = start_le16();
        let client = FrameClient::unix(&path, Wire::Le16);
        let mac = client.resolve(GUEST, HOST);
        for number in 0..200 {
            client.send(&ping(GUEST, (mac, HOST), number, &[0x5a; 1000]));
        }
        for number in 0..200 {
            client.expect_frame("a pong, in order", |frame| is_pong(frame, number));
        }
        let answering = client.answering(GUEST);
        let pinging: Vec<_> =
            (0..4).map(|_| thread::spawn(|| ping_from_here("172.30.0.20", &["-c20", "-i0.01"]))).collect();
        for one in pinging {
            assert!(one.join().expect("it ends"));
        }
        drop(answering);
    });
}
