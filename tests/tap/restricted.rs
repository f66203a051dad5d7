//! Machines that allow less: a container's read-only settings, IPv6 that is off, no place for state.

use std::fs;

use hypertap_tests::frame::frame;
use hypertap_tests::machine::{ip, is_link, run, scratch};
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, start, tap, wait_until_up};
use hypertap_tests::{eventually, in_namespaces};

const DEFAULTS: &str = "/proc/sys/net/ipv6/conf/default";

/// Leaves the settings as they are from now on, as a container's start does.
fn settings_are_read_only() {
    run("mount", &["-o", "bind,ro", "/proc/sys", "/proc/sys"]);
    run("mount", &["-o", "remount,bind,ro", "/proc/sys"]);
    assert!(fs::write(format!("{DEFAULTS}/accept_ra"), "0").is_err(), "they can still be written");
}

/// A router's announcement to all of itself and of `2001:db8:5::/64` (RFC 4861, 4.2).
fn router_advertisement() -> Vec<u8> {
    let (us, all) = ([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], {
        let mut all = [0; 16];
        (all[0], all[1], all[15]) = (0xff, 2, 1);
        all
    });
    let mut message = vec![134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    message.extend([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 1, 0x51, 0x80, 0, 0, 0, 0]);
    message.extend([0x20, 1, 0x0d, 0xb8, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let len = u8::try_from(message.len()).expect("short");
    let pseudo = [&us[..], &all, &[0, 0, 0, len, 0, 0, 0, 58]].concat();
    let words = pseudo.chunks_exact(2).chain(message.chunks_exact(2));
    let mut sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let sum = !u16::try_from(sum).expect("folded");
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let packet = [&[0x60, 0, 0, 0, 0, len, 58, 255], &us[..], &all, &message].concat();
    frame([0x33, 0x33, 0, 0, 0, 1], GUEST.0, 0x86dd, &packet)
}

fn default_route() -> String {
    ip("-6 route show default")
}

#[test]
fn router_advertisements_are_taken_only_where_it_was_asked_for() {
    in_namespaces(|| {
        fs::write(format!("{DEFAULTS}/accept_ra"), "1").expect("it is ours");
        let path = scratch("tap");
        let listen = format!("--listen={},framing=le16", path.display());
        for (is_read_only, options, is_taken) in [
            (false, &["--enable-router-advertisements"][..], true),
            (false, &[], false),
            (true, &[], false),
            (true, &["--user=nobody"], false),
        ] {
            if is_read_only && options.is_empty() {
                settings_are_read_only();
            }
            let mut server = start(&[&[listen.as_str()], options].concat());
            let client = FrameClient::unix(&path, Wire::Le16);
            wait_until_up("tap0");
            client.send(&router_advertisement());
            // In order, so that the one before was dealt with once there is an answer.
            client.ping(GUEST, HOST);
            if is_taken {
                eventually("it is taken", || default_route().contains("fe80::1 dev tap0"));
            }
            assert_eq!(default_route().contains("tap0"), is_taken, "{options:?}: {}", default_route());
            drop(client);
            server.assert_ends_well();
        }
    });
}

#[test]
fn router_advertisements_are_not_taken_either_once_an_mtu_without_ipv6_is_raised() {
    in_namespaces(|| {
        fs::write(format!("{DEFAULTS}/accept_ra"), "1").expect("it is ours");
        let path = scratch("tap");
        let _server = start(&[&format!("--listen={},framing=le16", path.display())]);
        let client = FrameClient::unix(&path, Wire::Le16);
        wait_until_up("tap0");
        ip("link set tap0 mtu 1000");
        ip("link set tap0 mtu 1500");
        eventually("it has IPv6", || ip("-6 addr show dev tap0").contains("fe80::"));
        // With it the kernel has forgotten what it was told.
        assert_ne!(fs::read_to_string("/proc/sys/net/ipv6/conf/tap0/accept_ra").expect("it is there"), "0\n");
        for _ in 0..3 {
            client.send(&router_advertisement());
            client.ping(GUEST, HOST);
        }
        assert!(!default_route().contains("tap0"), "{}", default_route());
    });
}

#[test]
fn an_ipv6_address_where_ipv6_is_off_is_refused_before_a_client_comes() {
    in_namespaces(|| {
        fs::write(format!("{DEFAULTS}/disable_ipv6"), "1").expect("it is ours");
        let path = scratch("tap");
        let listen = format!("--listen={},framing=le16", path.display());
        // While it may switch it on for its interface, it does.
        let mut server = start(&[&listen, "--ip6-address=fd00::1"]);
        FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
        server.assert_ends_well();
        settings_are_read_only();
        for option in ["--ip6-address=fd00::1", "--enable-router-advertisements"] {
            let (code, log) = tap(&[&listen, option]).run_to_end();
            assert_eq!(code, Some(1), "{log}");
            assert_eq!(log.lines().count(), 1, "{log}");
            let option = option.split('=').next().expect("a name");
            assert!(log.contains(option) && log.contains("default.disable_ipv6"), "{log}");
        }
        assert!(!path.exists());
        let mut server = start(&[&listen]);
        FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
        server.assert_ends_well();
    });
}

#[test]
fn no_place_for_state_is_needed() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={},framing=le16", path.display());
        for options in [&[][..], &["--user=nobody"]] {
            for is_taken in [false, true] {
                if is_taken {
                    fs::write("/run/hypertap", "somebody's").expect("it is ours");
                }
                let mut server = start(&[&[listen.as_str()], options].concat());
                let client = FrameClient::unix(&path, Wire::Le16);
                client.ping(GUEST, HOST);
                assert!(is_link("tap0"));
                drop(client);
                server.assert_ends_well();
                eventually("the file is gone", || !path.exists());
                assert_eq!(fs::exists("/run/hypertap").expect("/run is there"), is_taken);
                let _ = fs::remove_file("/run/hypertap");
            }
        }
    });
}
