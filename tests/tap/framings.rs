//! Every way to tell frames apart, both directions.

use std::net::TcpStream;

use hypertap_tests::frame::arp_request;
use hypertap_tests::machine::{ping, scratch};
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, start, wait_until_up};
use hypertap_tests::{eventually, in_namespaces};

#[track_caller]
fn assert_both_ways(client: FrameClient) {
    client.ping(GUEST, HOST);
    let answering = client.answering(GUEST);
    assert!(ping("172.30.0.20", &[]));
    assert!(ping("172.30.0.20", &["-s", "1400"]));
    drop(answering);
}

#[test]
fn each_framing_carries_frames_both_ways() {
    in_namespaces(|| {
        for (option, wire) in [
            ("--framing=le16", Wire::Le16),
            ("--use-framed-protocol", Wire::Le16),
            ("--framing=unframed", Wire::Unframed),
            ("--framing=qemu", Wire::Qemu),
            // Without --keep it is as ever: no framing.
            ("--mtu=1500", Wire::Unframed),
        ] {
            let path = scratch("tap");
            let mut server = start(&[&format!("--listen={}", path.display()), option]);
            assert_both_ways(FrameClient::unix(&path, wire));
            server.assert_ends_well();
        }
    });
}

#[test]
fn a_server_that_stays_finds_out_how_each_client_frames() {
    in_namespaces(|| {
        let path = scratch("tap");
        let _server = start(&[&format!("--listen={}", path.display()), "--keep"]);
        for wire in [Wire::Le16, Wire::Qemu, Wire::Unframed, Wire::Le16] {
            assert_both_ways(FrameClient::unix(&path, wire));
        }
    });
}

#[test]
fn a_client_is_told_nothing_before_it_has_shown_its_framing() {
    in_namespaces(|| {
        let path = scratch("tap");
        let _server = start(&[&format!("--listen={}", path.display()), "--keep"]);
        let client = FrameClient::unix(&path, Wire::Qemu);
        wait_until_up("tap0");
        // The host has something to say to everybody at once.
        assert!(!ping("172.30.0.20", &["-W1"]));
        assert_eq!(client.receive(std::time::Duration::from_millis(1)), None);
        client.ping(GUEST, HOST);
    });
}

#[test]
fn guests_send_and_get_a_datagram_a_frame() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server =
            start(&[&format!("--listen={},framing=datagram", path.display()), "--max-clients=2"]);
        let one = FrameClient::guest(scratch("one"), &path);
        let two = FrameClient::guest(scratch("two"), &path);
        // What vfkit sends first.
        one.write(b"VFKT");
        one.ping(GUEST, HOST);
        two.ping(OTHER_GUEST, HOST);
        // They see each other.
        let answering = two.answering(OTHER_GUEST);
        one.ping(GUEST, OTHER_GUEST.1);
        drop(answering);
        let answering = one.answering(GUEST);
        assert!(ping("172.30.0.20", &[]));
        drop(answering);
        server.assert_runs();
    });
}

#[test]
fn a_guests_first_datagram_is_forwarded_like_any_other() {
    in_namespaces(|| {
        let (stream, guests) = (scratch("stream"), scratch("guests"));
        let words = [
            format!("--listen={},framing=le16", stream.display()),
            format!("--listen={},framing=datagram", guests.display()),
            "--no-host".to_owned(),
            "--max-clients=2".to_owned(),
        ];
        let server = start(&words);
        let client = FrameClient::unix(&stream, Wire::Le16);
        eventually("it came", || server.log().contains("a client came"));
        let guest = FrameClient::guest(scratch("guest"), &guests);
        guest.send(&arp_request(OTHER_GUEST, GUEST.1));
        client.expect_frame("the guest's first", |frame| frame == arp_request(OTHER_GUEST, GUEST.1));
        assert!(!server.log().contains("not served"), "{}", server.log());
    });
}

#[test]
fn a_guest_has_gone_once_nobody_is_at_its_address() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={},framing=datagram", path.display())]);
        let guest = FrameClient::guest(scratch("guest"), &path);
        guest.ping(GUEST, HOST);
        drop(guest);
        // Nobody is told of a datagram socket's end before something is sent to it.
        assert!(!ping("172.30.0.20", &["-W1"]));
        server.assert_ends_well();
        assert!(!path.exists());
    });
}

#[test]
fn a_guest_above_the_number_is_not_served_and_a_place_that_is_free_again_is_taken() {
    in_namespaces(|| {
        let path = scratch("tap");
        let server = start(&[&format!("--listen={},framing=datagram", path.display()), "--keep"]);
        let one = FrameClient::guest(scratch("one"), &path);
        one.ping(GUEST, HOST);
        let two = FrameClient::guest(scratch("two"), &path);
        two.send(&arp_request(OTHER_GUEST, HOST));
        one.ping(GUEST, HOST);
        assert_eq!(two.receive(std::time::Duration::from_millis(1)), None);
        drop(one);
        eventually("the first has gone", || {
            ping("172.30.0.20", &["-W1"]);
            server.log().contains("a guest went")
        });
        two.ping(OTHER_GUEST, HOST);
    });
}

#[test]
fn a_port_is_that_of_this_machine_alone() {
    in_namespaces(|| {
        let uplink = hypertap_tests::machine::Uplink::connect();
        let mut server = start(&["--listen=5600", "--framing=qemu"]);
        assert!(TcpStream::connect("192.0.2.1:5600").is_err(), "only 127.0.0.1 listens");
        assert_both_ways(FrameClient::tcp(5600, Wire::Qemu));
        server.assert_ends_well();

        let mut server = start(&["--listen=0.0.0.0:5600", "--framing=qemu"]);
        server.log_with("over the network");
        let stream = TcpStream::connect("192.0.2.1:5600").expect("it was asked for");
        assert_both_ways(FrameClient::new(stream, Wire::Qemu));
        server.assert_ends_well();

        let mut server = start(&["--listen=[::1]:5600", "--framing=qemu"]);
        let stream = TcpStream::connect("[::1]:5600").expect("it listens");
        assert_both_ways(FrameClient::new(stream, Wire::Qemu));
        server.assert_ends_well();
        drop(uplink);
    });
}

#[test]
fn each_socket_has_a_framing_of_its_own() {
    in_namespaces(|| {
        let (framed, bare, guests) = (scratch("framed"), scratch("bare"), scratch("guests"));
        let words = [
            format!("--listen={},framing=le16", framed.display()),
            format!("--listen={}", bare.display()),
            format!("--listen={},framing=datagram", guests.display()),
            "--framing=unframed".to_owned(),
            "--max-clients=3".to_owned(),
        ];
        let mut server = start(&words);
        let one = FrameClient::unix(&framed, Wire::Le16);
        let two = FrameClient::unix(&bare, Wire::Unframed);
        let three = FrameClient::guest(scratch("guest"), &guests);
        one.ping(GUEST, HOST);
        three.ping(([2, 0, 0, 0, 0, 9], [172, 30, 0, 9].into()), HOST);
        let answering = two.answering(OTHER_GUEST);
        one.ping(GUEST, OTHER_GUEST.1);
        drop((answering, one));
        server.assert_runs();
    });
}
