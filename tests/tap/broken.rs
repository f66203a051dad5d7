//! Clients that break the protocol, by mistake or not.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use hypertap_tests::frame::{arp_request, frame, ping};
use hypertap_tests::machine::{is_link, scratch};
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, drain, start};
use hypertap_tests::{Daemon, Dump, in_namespaces};

fn server(options: &[&str]) -> (PathBuf, Daemon) {
    let path = scratch("tap");
    let listen = format!("--listen={}", path.display());
    let server = start(&[&[listen.as_str()], options].concat());
    (path, server)
}

/// What such bytes end a server with that does not stay.
#[track_caller]
fn assert_ends_with_6(framing: &str, bytes: &[u8], words: &[&str]) {
    let before = Dump::now();
    let (path, mut server) = server(&[framing]);
    let mut stream = UnixStream::connect(&path).expect("it listens");
    stream.write_all(bytes).expect("it is connected");
    drain(&stream);
    let status = server.wait_for_end();
    let log = server.log();
    assert_eq!(status.code(), Some(6), "{log}");
    let sentence = log.lines().last().unwrap_or_default();
    for word in words {
        assert!(sentence.contains(word), "{word:?} is not in {sentence:?}\n{log}");
    }
    before.assert_same();
    assert!(!path.exists());
}

#[test]
fn a_frame_of_no_length_or_of_too_many_bytes_ends_it_with_6() {
    in_namespaces(|| {
        assert_ends_with_6("--framing=le16", &[0, 0], &["le16", "length 0"]);
        assert_ends_with_6("--framing=le16", &[0xff, 0xff], &["le16", "65535"]);
        assert_ends_with_6("--framing=qemu", &[0, 0, 0, 0], &["qemu", "length 0"]);
        assert_ends_with_6("--framing=qemu", &[0xff, 0xff, 0xff, 0xff], &["qemu", "4294967295"]);
    });
}

#[test]
fn a_bare_frame_that_cannot_be_sized_is_named_by_its_type_and_bytes() {
    in_namespaces(|| {
        let strange = frame([2, 0, 0, 0, 0, 1], GUEST.0, 0xabcd, &[1, 2, 3]);
        assert_ends_with_6("--framing=unframed", &strange, &["0xabcd", "ab cd 01 02 03"]);
        // A total length of 0, on which the ancestor stalled for ever.
        let mut packet = hypertap_tests::packet::udp4((GUEST.1, 1), (HOST, 2), b"x");
        packet[2..4].fill(0);
        let zero = frame([2, 0, 0, 0, 0, 1], GUEST.0, 0x0800, &packet);
        assert_ends_with_6("--framing=unframed", &zero, &["0x0800", "length of 0"]);
    });
}

#[test]
fn all_frames_before_the_fault_are_delivered() {
    in_namespaces(|| {
        let mac = [2, 0, 0, 0, 0, 1];
        let socket = std::net::UdpSocket::bind("0.0.0.0:7000").expect("free");
        socket.set_read_timeout(Some(hypertap_tests::TIME)).expect("not zero");
        let (path, mut server) = server(&["--framing=unframed", "--mac-address=02:00:00:00:00:01"]);
        let datagram = |text: &[u8]| {
            frame(mac, GUEST.0, 0x0800, &hypertap_tests::packet::udp4((GUEST.1, 1), (HOST, 7000), text))
        };
        let bytes = [datagram(b"one"), datagram(b"two"), frame(mac, GUEST.0, 0xabcd, &[0; 50])].concat();
        let mut stream = UnixStream::connect(&path).expect("it listens");
        stream.write_all(&bytes).expect("it is connected");
        assert_eq!(server.wait_for_end().code(), Some(6));
        let mut buffer = [0; 16];
        for word in [b"one", b"two"] {
            let count = socket.recv(&mut buffer).expect("it was delivered");
            assert_eq!(&buffer[..count], word);
        }
    });
}

#[test]
fn with_keep_only_that_client_ends() {
    in_namespaces(|| {
        let (path, mut server) = server(&["--framing=le16", "--keep", "--max-clients=2"]);
        let good = FrameClient::unix(&path, Wire::Le16);
        good.ping(GUEST, HOST);
        for _ in 0..10 {
            let mut bad = UnixStream::connect(&path).expect("it listens");
            bad.write_all(&[0, 0]).expect("it is connected");
            drain(&bad);
        }
        good.ping(GUEST, HOST);
        server.assert_runs();
        server.log_with("length 0");
        FrameClient::unix(&path, Wire::Le16).ping(OTHER_GUEST, HOST);
    });
}

#[test]
fn a_client_that_goes_within_a_frame_is_no_error() {
    in_namespaces(|| {
        for (framing, bytes) in [
            ("--framing=le16", &[42][..]),
            ("--framing=le16", &[42, 0, 1, 2, 3]),
            ("--framing=unframed", &[0xff]),
            ("--framing=unframed", &[0xff; 13]),
            ("--framing=qemu", &[0, 0, 0]),
            ("--framing=auto", &[0]),
        ] {
            let (path, mut server) = server(&[framing]);
            let mut stream = UnixStream::connect(&path).expect("it listens");
            stream.write_all(bytes).expect("it is connected");
            drop(stream);
            server.assert_ends_well();
        }
    });
}

#[test]
fn a_frame_longer_than_the_mtu_ends_its_client_and_not_the_process() {
    in_namespaces(|| {
        let (path, mut server) = server(&["--framing=qemu", "--keep"]);
        let client = FrameClient::unix(&path, Wire::Qemu);
        let mac = client.resolve(GUEST, HOST);
        client.write(&client.framed(&ping(GUEST, (mac, HOST), 1, &vec![0; 2000])));
        client.expect_closed();
        server.assert_runs();
        FrameClient::unix(&path, Wire::Qemu).ping(GUEST, HOST);
        assert!(is_link("tap0"));
    });
}

#[test]
fn a_tagged_frame_and_one_of_another_version_of_ip_are_sized() {
    in_namespaces(|| {
        let (path, _server) = server(&["--framing=unframed", "--max-clients=2", "--no-host"]);
        let one = FrameClient::unix(&path, Wire::Unframed);
        let two = UnixStream::connect(&path).expect("it listens");
        let ours = std::net::Ipv6Addr::LOCALHOST;
        let six = frame([0xff; 6], GUEST.0, 0x86dd, &hypertap_tests::packet::ipv6(ours, ours, 17, &[9; 33]));
        let packet = hypertap_tests::packet::udp4((GUEST.1, 1), (HOST, 2), b"in a LAN of its own");
        let tagged = frame([0xff; 6], GUEST.0, 0x88a8, &[&[0, 1, 0x81, 0, 0, 2, 8, 0], &packet[..]].concat());
        let all = [six, tagged].concat();
        // Both are there once the second has been heard by the first.
        let hello = arp_request(OTHER_GUEST, HOST);
        (&two).write_all(&hello).expect("it is connected");
        one.expect_frame("the second's", |frame| frame == hello);
        one.write(&all);
        let mut got = vec![0; all.len()];
        two.set_read_timeout(Some(hypertap_tests::TIME)).expect("not zero");
        std::io::Read::read_exact(&mut &two, &mut got).expect("both come");
        assert_eq!(got, all);
    });
}
