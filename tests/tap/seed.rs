//! What tapserver's users do, as they do it.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixStream;
use std::process::Command;

use hypertap_tests::daemon::binary;
use hypertap_tests::frame::{BROADCAST, arp_request, ping};
use hypertap_tests::machine::{is_link, output, ping as ping_from_here, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, dribble, start, tap, wait_until_up};
use hypertap_tests::{Dump, eventually, in_namespaces};
use std::net::{Ipv4Addr, UdpSocket};

/// Dolphin's own path, in this test's sight only.
const DOLPHIN: &str = "/tmp/dolphin-tap";

fn own_tmp() {
    run("mount", &["-t", "tmpfs", "tmpfs", "/tmp"]);
    fs::set_permissions("/tmp", fs::Permissions::from_mode(0o1777)).expect("ours");
}

#[test]
fn dolphins_line_works_as_it_stands_for_the_user_behind_sudo() {
    in_namespaces(|| {
        needs_root();
        own_tmp();
        let before = Dump::now();
        let words = ["--listen=/tmp/dolphin-tap", "--use-framed-protocol", "--ip-address=192.168.0.5"];
        let mut server = tap(&words).env("SUDO_UID", "1").start();
        let file = fs::symlink_metadata(DOLPHIN).expect("it listens there");
        assert_eq!((file.uid(), file.mode() & 0o777), (1, 0o600));
        before.assert_same();

        let us = (GUEST.0, Ipv4Addr::new(192, 168, 0, 20));
        let dolphin = FrameClient::unix(DOLPHIN, Wire::Le16);
        dolphin.ping(us, Ipv4Addr::new(192, 168, 0, 5));
        before.assert_changed();
        assert!(is_link("tap0"));
        drop(dolphin);
        server.assert_ends_well();
        before.assert_same();
        assert!(!fs::exists(DOLPHIN).expect("/tmp is there"));
    });
}

#[test]
fn the_host_reaches_the_client_too() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={}", path.display()), "--use-framed-protocol"]);
        let client = FrameClient::unix(&path, Wire::Le16).answering(GUEST);
        wait_until_up("tap0");
        assert!(ping_from_here("172.30.0.20", &[]));
        drop(client);
        server.assert_ends_well();
    });
}

#[test]
fn frames_may_come_cut_anywhere_and_glued() {
    in_namespaces(|| {
        for wire in [Wire::Le16, Wire::Qemu, Wire::Unframed] {
            let path = scratch("tap");
            let framing = match wire {
                Wire::Le16 => "le16",
                Wire::Qemu => "qemu",
                _ => "unframed",
            };
            let mut server = start(&[&format!("--listen={},framing={framing}", path.display())]);
            let stream = UnixStream::connect(&path).expect("it listens");
            let client = FrameClient::new(stream.try_clone().expect("a descriptor"), wire);
            // As Dolphin sends: the header in a call of its own; then one byte at a time.
            let mac = client.resolve(GUEST, HOST);
            let frames: Vec<u8> =
                (1..4).flat_map(|number| client.framed(&ping(GUEST, (mac, HOST), number, b"x"))).collect();
            dribble(&stream, &frames);
            for number in 1..4 {
                client.expect_frame("a pong", |frame| hypertap_tests::frame::is_pong(frame, number));
            }
            let frames: Vec<u8> =
                (4..40).flat_map(|number| client.framed(&ping(GUEST, (mac, HOST), number, b"y"))).collect();
            client.write(&frames);
            for number in 4..40 {
                client.expect_frame("a pong", |frame| hypertap_tests::frame::is_pong(frame, number));
            }
            drop((client, stream));
            server.assert_ends_well();
        }
    });
}

#[test]
fn what_a_client_sent_before_it_closed_reaches_the_host() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mac = [2, 0, 0, 0, 0, 1];
        let mut server = start(&[
            &format!("--listen={}", path.display()),
            "--use-framed-protocol",
            "--mac-address=02:00:00:00:00:01",
        ]);
        let socket = UdpSocket::bind("0.0.0.0:7000").expect("free");
        socket.set_read_timeout(Some(hypertap_tests::TIME)).expect("not zero");
        let client = FrameClient::unix(&path, Wire::Le16);
        let packet = hypertap_tests::packet::udp4((GUEST.1, 7001), (HOST, 7000), b"the last word");
        let frame = hypertap_tests::frame::frame(mac, GUEST.0, 0x0800, &packet);
        client.write(&client.framed(&frame));
        drop(client);
        server.assert_ends_well();
        assert!(!is_link("tap0"));
        let mut bytes = [0; 64];
        let count = socket.recv(&mut bytes).expect("it came before the interface went");
        assert_eq!(&bytes[..count], b"the last word");
    });
}

#[test]
fn a_client_that_never_says_a_word_is_served_until_it_goes() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={}", path.display())]);
        let client = UnixStream::connect(&path).expect("it listens");
        eventually("the interface is there", || is_link("tap0"));
        server.assert_runs();
        drop(client);
        server.assert_ends_well();
    });
}

#[test]
fn under_the_name_tapserver_it_takes_the_same_options() {
    in_namespaces(|| {
        let name = scratch("tapserver");
        symlink(binary(), &name).expect("ours");
        let said = output(&mut Command::new(&name));
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert_eq!(said.status.code(), Some(2), "{text}");
        for word in
            ["Usage: tapserver", "--listen", "--use-framed-protocol", "--ifconfig-command", "dolphin-tap"]
        {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let said = output(Command::new(&name).arg("--help"));
        assert_eq!(said.status.code(), Some(0));
        let text = String::from_utf8_lossy(&said.stdout);
        assert!(text.starts_with("Give a program an Ethernet interface"), "{text}");
        for word in ["Usage: tapserver", "Exit codes:", "a peer broke the protocol"] {
            assert!(text.contains(word), "{word} is not in {text}");
        }
        let said = output(Command::new(&name).arg("--listn=/tmp/x"));
        let text = String::from_utf8_lossy(&said.stderr);
        assert!(text.starts_with("tapserver: ") && text.contains("'--listen'"), "{text}");
        let said = output(Command::new(binary()).args(["tap", "--help"]));
        assert!(String::from_utf8_lossy(&said.stdout).contains("Exit codes:"), "the other name too");

        let path = scratch("tap");
        let mut server = Command::new(&name)
            .arg(format!("--listen={}", path.display()))
            .arg("--use-framed-protocol")
            .spawn()
            .expect("it is a program");
        eventually("it listens", || path.exists() && UnixStream::connect(&path).is_ok());
        assert!(server.wait().expect("it is ours").success(), "one client has been and gone");
    });
}

#[test]
fn a_question_of_everybody_is_answered_by_the_host_with_its_own_address() {
    in_namespaces(|| {
        let path = scratch("tap");
        let words = [format!("--listen={}", path.display()), "--mac-address=90:90:90:90:90:90".to_owned()];
        let _server = start(&words);
        let client = FrameClient::unix(&path, Wire::Unframed);
        assert_eq!(arp_request(GUEST, HOST)[..6], BROADCAST);
        assert_eq!(client.resolve(GUEST, HOST), [0x90; 6]);
    });
}
