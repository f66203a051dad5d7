//! The data plane that is the kernel's device itself, handed over.

use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_tests::inside::{FAR, assert_received, receiver, to_us};
use hypertap_tests::machine::{ip_json, is_link, ping};
use hypertap_tests::packet::{self, head, ping_reply};
use hypertap_tests::peer::OTHER;
use hypertap_tests::program::DeviceProgram;
use hypertap_tests::{Daemon, Dump, Peer, Program, Responder, Setup, TIME, eventually, in_namespaces, json};

#[test]
fn the_device_itself_rides_on_the_reply_over_the_unix_socket() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let device = DeviceProgram::new(client.take_descriptor());
        let socket = receiver();
        device.send(&to_us(b"straight in"));
        assert_received(&socket, b"straight in");
        socket.send_to(b"straight out", (FAR, 8000)).expect("there is a route");
        let out = device.expect("what was sent", &|packet| head(packet).protocol == packet::UDP);
        assert_eq!(&out[28..], b"straight out", "without a virtio-net header");
        let _responder = Responder::start(device, ping_reply);
        assert!(ping("10.9.0.1", &[]));
    });
}

#[test]
fn the_device_is_refused_over_tcp_and_nothing_is_made() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "dataPlane": "fd"}));
        assert!(!is_link("hypertap0"));
        client.expect_no_event();
        client.start();
    });
}

#[test]
fn with_offload_the_device_has_a_virtio_net_header() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd", "offload": true}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let device = DeviceProgram::new(client.take_descriptor());
        let socket = receiver();
        socket.send_to(b"out", (FAR, 8000)).expect("there is a route");
        let deadline = Instant::now() + TIME;
        let packet = loop {
            let packet = device.receive(TIME).expect("it arrives");
            if packet.get(10..).is_some_and(|packet| head(packet).protocol == packet::UDP) {
                break packet;
            }
            assert!(Instant::now() < deadline, "something else for ever: {packet:02x?}");
        };
        // struct virtio_net_hdr: flags, gso_type, hdr_len, gso_size, csum_start, csum_offset.
        assert_eq!(packet[1], 0, "one small packet is no segment: {packet:02x?}");
        assert_eq!(packet[10 + 28..], *b"out");
        device.send(&[&[0; 10][..], &to_us(b"in")].concat());
        assert_received(&socket, b"in");
    });
}

#[test]
fn the_device_serves_an_ordinary_user() {
    in_namespaces(|| {
        hypertap_tests::namespaces::needs_root();
        let daemon = Setup::new().env("SUDO_UID", OTHER.to_string()).start();
        let program = Peer::run_by(OTHER, &["fd-echo", "/run/hypertap/control.sock"]);
        eventually("the peer's tunnel answers", || ping("10.9.0.1", &["-W1"]));
        drop(program);
        eventually("its end takes the tunnel down", || !is_link("hypertap0"));
        drop(daemon);
    });
}

#[test]
fn a_holder_of_the_device_cannot_keep_it_alive() {
    in_namespaces(|| {
        let before = Dump::now();
        let mut daemon = Daemon::start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd"}));
        let device = DeviceProgram::new(client.take_descriptor());
        // TUNSETPERSIST (linux/if_tun.h), which needs no right on a device that one holds.
        let persist = "import fcntl; fcntl.ioctl(0, 0x400454cb, 1)";
        let mut holder = Command::new("python3");
        let status =
            holder.args(["-c", persist]).stdin(device.descriptor()).status().expect("python3 is there");
        assert!(status.success());
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        before.assert_same();
        let read = device.read(Duration::from_secs(1));
        assert!(read.is_err(), "the device is gone: {read:?}");
    });
}

#[test]
fn the_device_may_be_closed_by_its_holder_and_the_tunnel_stays() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd"}));
        drop(client.take_descriptor());
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
        assert_eq!(ip_json("link show dev hypertap0")[0]["ifname"], "hypertap0");
    });
}

#[test]
fn a_client_that_comes_back_gets_the_device_again() {
    in_namespaces(|| {
        let daemon = Setup::new().args(&["--on-disconnect=keep"]).start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd"}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        drop((client.take_descriptor(), client));
        for _ in 0..2 {
            let mut client = daemon.control();
            assert_eq!(client.status(), "connected");
            eventually("the other has gone", || client.ask(&json!({"cmd": "start"}))["ok"] == true);
            client.expect_event("tunnelStarted");
            let _responder = Responder::start(DeviceProgram::new(client.take_descriptor()), ping_reply);
            assert!(ping("10.9.0.1", &[]), "it is the tunnel's device");
        }
        let mut client = daemon.silent_client();
        eventually("the place on TCP is free", || {
            client = daemon.silent_client();
            client.next_line(TIME).is_some_and(|line| line.contains("vpnApproved"))
        });
        client.expect_text(r#"{"cmd":"event","event":"extensionApproved"}"#);
        client.send(&json!({"cmd": "start"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"tunnelStarted"}"#);
    });
}
