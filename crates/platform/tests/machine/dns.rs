//! DNS capture by rules. (systemd-resolved has a test of its own.)

use crate::recovery::without_right;
use crate::setup::*;
use hypertap_platform::{RouteKind, TunSpec};
use std::io::Read;
use std::net::{TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

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
        packet_with(tun.queues[0].as_fd(), is_ipv4_to([9, 9, 9, 9], 53));
        send("[2620:fe::fe]:53", 0).unwrap();
        let is_ipv6_query = |packet: &[u8]| packet[0] >> 4 == 6 && packet[42..44] == [0, 53];
        packet_with(tun.queues[0].as_fd(), is_ipv6_query);
        let connecting = "9.9.9.9:53".parse().unwrap();
        assert!(TcpStream::connect_timeout(&connecting, Duration::from_millis(20)).is_err());
        packet_with(tun.queues[0].as_fd(), |packet| packet[0] >> 4 == 4 && packet[9] == 6);
        send("9.9.9.9:53", MARK).unwrap();
        no_packet_with(tun.queues[0].as_fd(), is_ipv4_to([9, 9, 9, 9], 53));
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
            socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
            socket.send_to(b"query", resolver).unwrap();
            let is_query = |packet: &[u8]| packet.ends_with(b"query");
            let mut packet = packet_with(tun.queues[0].as_fd(), is_query);
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

/// Another machine, behind this one, until it is dropped.
struct Neighbour(Child);

impl Neighbour {
    fn connect() -> Self {
        for setting in ["ipv4/ip_forward", "ipv6/conf/all/forwarding"] {
            std::fs::write(format!("/proc/sys/net/{setting}"), "1").unwrap();
        }
        let mut shell = Command::new("unshare");
        let sleeper = shell.args(["-n", "sh", "-c", "echo; read _"]).stdin(Stdio::piped());
        let mut child = sleeper.stdout(Stdio::piped()).spawn().unwrap();
        // A line says that it is in its own namespace.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let neighbour = Self(child);
        run("ip link add lan0 type veth peer name lan1");
        run(&format!("ip link set lan1 netns {}", neighbour.0.id()));
        run("ip addr add 192.168.9.1/24 dev lan0");
        run("ip -6 addr add fd99::1/64 dev lan0 nodad");
        run("ip link set lan0 up");
        run("ip neigh add 192.168.7.1 lladdr 02:00:00:00:00:01 dev up0 nud permanent");
        neighbour.does("ip addr add 192.168.9.9/24 dev lan1");
        neighbour.does("ip link set lan1 up");
        neighbour.does("ip route add default via 192.168.9.1");
        neighbour
    }

    fn does(&self, command: &str) {
        run(&format!("nsenter -n -t {} {command}", self.0.id()));
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// How many packets this machine has forwarded (`ForwDatagrams`, RFC 4293).
fn forwarded() -> u64 {
    let snmp = std::fs::read_to_string("/proc/thread-self/net/snmp").unwrap();
    let numbers = snmp.lines().filter(|line| line.starts_with("Ip:")).nth(1).unwrap();
    numbers.split(' ').nth(6).unwrap().parse().unwrap()
}

#[test]
fn queries_that_are_forwarded_for_others_are_not_captured_and_all_of_our_own_are() {
    in_namespace(async |state| {
        add_uplink();
        let neighbour = Neighbour::connect();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        half.capture_dns(true).await.unwrap();
        for (way, device) in [
            ("9.9.9.9 from 192.168.9.9 iif lan0 ipproto udp dport 53", "up0"),
            ("9.9.9.9 from 192.168.9.9 iif lan0 ipproto tcp dport 53", "up0"),
            ("2620:fe::fe from fd99::9 iif lan0 ipproto udp dport 53", "up0"),
            ("9.9.9.9 from 192.168.7.2 ipproto udp dport 53", "hypertap0"),
            ("9.9.9.9 from 192.168.9.1 ipproto tcp dport 53", "hypertap0"),
            ("2620:fe::fe from fd77::2 ipproto udp dport 53", "hypertap0"),
            ("2620:fe::fe from fd99::1 ipproto tcp dport 53", "hypertap0"),
            // The neighbour's own resolver.
            ("192.168.9.9 ipproto udp dport 53", "hypertap0"),
        ] {
            assert_eq!(device_to(way).as_deref(), Some(device), "{way}");
        }
        let to_resolver = is_ipv4_to([9, 9, 9, 9], 53);
        let before = forwarded();
        neighbour.does("bash -c echo>/dev/udp/9.9.9.9/53");
        let end = Instant::now() + Duration::from_secs(5);
        while forwarded() == before {
            assert!(Instant::now() < end, "nothing is forwarded");
        }
        // It is another machine's.
        no_packet_with(tun.queues[0].as_fd(), &to_resolver);
        for source in ["192.168.7.2:0", "192.168.9.1:53", "0.0.0.0:0"] {
            UdpSocket::bind(source).unwrap().send_to(b"query", "9.9.9.9:53").unwrap();
            packet_with(tun.queues[0].as_fd(), &to_resolver);
        }
    });
}
