//! DNS capture by rules. (systemd-resolved has a test of its own.)

use crate::recovery::without_right;
use crate::setup::*;
use hypertap_platform::{RouteKind, TunSpec};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::time::Duration;

#[test]
fn captured_dns_goes_into_the_tunnel_unless_marked() {
    in_namespace(async |state| {
        add_uplink();
        let mut half = half(&state);
        let tun = half.open_tun(&TunSpec { ipv6: Some("fd64::1".parse().unwrap()), ..spec() }).await.unwrap();
        let before = dump();
        half.capture_dns(true).await.unwrap();
        half.capture_dns(true).await.unwrap();
        for (resolver, device) in [
            ("9.9.9.9 ipproto udp dport 53", "hypertap0"),
            ("9.9.9.9 ipproto tcp dport 53", "hypertap0"),
            ("2620:fe::fe ipproto udp dport 53", "hypertap0"),
            ("2620:fe::fe ipproto tcp dport 53", "hypertap0"),
            ("192.168.7.1 ipproto udp dport 53", "hypertap0"),
            ("9.9.9.9 ipproto udp dport 54", "up0"),
            ("9.9.9.9 ipproto udp dport 53 mark 0x6874", "up0"),
            ("2620:fe::fe ipproto tcp dport 53 mark 0x6874", "up0"),
        ] {
            assert_eq!(device_to(resolver).as_deref(), Some(device), "{resolver}");
        }
        send("9.9.9.9:53", 0).unwrap();
        assert!(packet_with(tun.queues[0].as_fd(), is_ipv4_to([9, 9, 9, 9], 53)).is_some());
        send("[2620:fe::fe]:53", 0).unwrap();
        let is_ipv6_query = |packet: &[u8]| packet[0] >> 4 == 6 && packet[42..44] == [0, 53];
        assert!(packet_with(tun.queues[0].as_fd(), is_ipv6_query).is_some());
        let connecting = "9.9.9.9:53".parse().unwrap();
        assert!(TcpStream::connect_timeout(&connecting, Duration::from_millis(20)).is_err());
        assert!(packet_with(tun.queues[0].as_fd(), |packet| packet[0] >> 4 == 4 && packet[9] == 6).is_some());
        send("9.9.9.9:53", MARK).unwrap();
        assert!(packet_with(tun.queues[0].as_fd(), is_ipv4_to([9, 9, 9, 9], 53)).is_none());
        half.capture_dns(false).await.unwrap();
        half.capture_dns(false).await.unwrap();
        assert_eq!(dump(), before);
    });
}

#[test]
fn an_answer_from_the_tunnel_passes_the_strictest_reverse_path_filter() {
    in_namespace(async |state| {
        std::fs::write("/proc/sys/net/ipv4/conf/all/rp_filter", "1").unwrap();
        add_uplink();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        half.capture_dns(true).await.unwrap();
        half.change_routes(&add(&[("10.0.0.0/8", RouteKind::Included)])).await.unwrap();
        for resolver in ["9.9.9.9:53", "10.0.0.9:99"] {
            let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            socket.send_to(b"query", resolver).unwrap();
            let is_query = |packet: &[u8]| packet.ends_with(b"query");
            let mut packet = packet_with(tun.queues[0].as_fd(), is_query).unwrap();
            // Turned round, a packet keeps its IPv4 and UDP checksums.
            for (one, other, length) in [(12, 16, 4), (20, 22, 2)] {
                for byte in 0..length {
                    packet.swap(one + byte, other + byte);
                }
            }
            nix::unistd::write(&tun.queues[0], &packet).unwrap();
            let mut answer = [0; 100];
            let (length, from) = socket.recv_from(&mut answer).expect("the answer");
            assert_eq!((&answer[..length], from.to_string().as_str()), (&b"query"[..], resolver));
        }
    });
}

#[test]
fn dns_does_not_leak_where_the_interface_cannot_carry_ipv6() {
    in_namespace(async |state| {
        add_uplink();
        let mut half = half(&state);
        let _tun = half.open_tun(&TunSpec { mtu: 1000, ..spec() }).await.unwrap();
        half.capture_dns(true).await.unwrap();
        assert_eq!(device_to("9.9.9.9 ipproto udp dport 53").as_deref(), Some("hypertap0"));
        assert_eq!(device_to("2620:fe::fe ipproto udp dport 53"), None);
        assert_eq!(device_to("2620:fe::fe ipproto udp dport 54").as_deref(), Some("up0"));
        half.close_tun().await.unwrap();
    });
}

#[test]
fn capture_that_cannot_be_changed_is_as_it_was() {
    in_namespace(async |state| {
        add_uplink();
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        let before = dump();
        without_right(half.capture_dns(true)).await.unwrap_err();
        assert_eq!(dump(), before);
        half.capture_dns(true).await.unwrap();
        let captured = dump();
        assert_ne!(captured, before);
        without_right(half.capture_dns(false)).await.unwrap_err();
        assert_eq!(dump(), captured);
        half.capture_dns(false).await.unwrap();
        assert_eq!(dump(), before);
    });
}
