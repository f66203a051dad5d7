//! Clients that are modems, as Dolphin's modem adapter is one.

use std::fs;
use std::net::Ipv4Addr;

use hypertap_tests::frame::{ARP, IPV4};
use hypertap_tests::machine::{ping, scratch};
use hypertap_tests::modem::Guest;
use hypertap_tests::packet::{ICMP, checksum, ipv4, ping_reply};
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, Wire, start, wait_until_up};
use hypertap_tests::{Daemon, Responder, in_namespaces};

/// A server for modems with these options too, and a line to it.
fn server(options: &[&str]) -> (Daemon, FrameClient) {
    let path = scratch("tap");
    let listen = format!("--listen={}", path.display());
    let server = start(&[&[listen.as_str(), "--modem"], options].concat());
    (server, FrameClient::unix(&path, Wire::Le16))
}

/// An echo request of this number.
fn echo(from: Ipv4Addr, to: Ipv4Addr, number: u8) -> Vec<u8> {
    let mut icmp = vec![8, 0, 0, 0, 0x12, 0x34, 0, number, 0x7e, 0x7d, 0x11];
    let sum = checksum(&icmp);
    icmp[2..4].copy_from_slice(&sum.to_be_bytes());
    ipv4(from, to, ICMP, &icmp)
}

#[test]
fn a_guest_that_calls_gets_an_address_and_reaches_the_host_and_is_reached() {
    in_namespaces(|| {
        let (mut server, line) = server(&["--framing=qemu", "--ip-address=192.168.1.1"]);
        let guest = Guest::call(line, None);
        assert_eq!(guest.address, Ipv4Addr::new(192, 168, 1, 2));
        assert_eq!(guest.dns.first(), Some(&Ipv4Addr::new(192, 168, 1, 1)));
        for number in 0..20 {
            guest.send(&echo(guest.address, Ipv4Addr::new(192, 168, 1, 1), number));
            guest.expect("a pong", &|packet| packet[9] == ICMP && packet[20] == 0 && packet[27] == number);
        }
        wait_until_up("tap0");
        let answering = Responder::start(guest, ping_reply);
        assert!(ping("192.168.1.2", &[]));
        assert!(ping("192.168.1.2", &["-s", "1400"]));
        drop(answering);
        server.assert_ends_well();
    });
}

#[test]
fn its_address_and_name_servers_are_those_of_the_command_line() {
    in_namespaces(|| {
        let words = [
            "--ip-address=10.5.0.1/16",
            "--guest-address=10.5.7.7",
            "--dns=9.9.9.9",
            "--dns=1.1.1.1",
            "--keep",
        ];
        let (mut server, line) = server(&words);
        let guest = Guest::call(line, None);
        assert_eq!(guest.address, Ipv4Addr::new(10, 5, 7, 7));
        assert_eq!(guest.dns, [Ipv4Addr::new(9, 9, 9, 9), Ipv4Addr::new(1, 1, 1, 1)]);
        drop(guest);
        // It calls again.
        let guest = Guest::call(FrameClient::unix(scratch("tap"), Wire::Le16), None);
        assert_eq!(guest.address, Ipv4Addr::new(10, 5, 7, 7));
        server.assert_runs();
    });
}

#[test]
fn a_guest_has_to_know_the_password_where_there_is_one() {
    in_namespaces(|| {
        let file = scratch("password");
        fs::write(&file, "open sesame\n").expect("ours");
        let (_server, line) = server(&["--keep", &format!("--pap=guest:{}", file.display())]);
        assert_eq!(Guest::call_and_log_in(&line, "guest", "open"), 3);
        drop(line);
        let guest =
            Guest::call(FrameClient::unix(scratch("tap"), Wire::Le16), Some(("guest", "open sesame")));
        assert_eq!(guest.address, Ipv4Addr::new(172, 30, 0, 2));
    });
}

#[test]
fn what_is_no_ppp_is_dropped_and_ends_nothing() {
    in_namespaces(|| {
        let (mut server, line) = server(&[]);
        for noise in [&b"ATDT5551234\r"[..], &[0x7e; 9], &[0x7d, 0x7e], &[0xff; 2000]] {
            line.send(noise);
        }
        // A frame of Ethernet is none of PPP.
        line.send(&hypertap_tests::frame::frame([0xff; 6], [2, 0, 0, 0, 0, 1], ARP, &[0; 28]));
        line.send(&hypertap_tests::frame::frame([0xff; 6], [2, 0, 0, 0, 0, 1], IPV4, &[0x45; 28]));
        let guest = Guest::call(line, None);
        assert_eq!(guest.address, Ipv4Addr::new(172, 30, 0, 2));
        drop(guest);
        server.assert_ends_well();
    });
}
