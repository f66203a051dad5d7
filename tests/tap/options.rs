//! Each option of the interface, looked at with ip(8) and in /proc/sys.

use std::fs;

use hypertap_tests::machine::{ip_json, scratch};
use hypertap_tests::tap::{FrameClient, Wire, start, tap, wait_until_up};
use hypertap_tests::{Daemon, Value, eventually, in_namespaces};

/// A server with a client, hence an interface; they end with the pair.
fn served(words: &[&str], name: &str) -> (FrameClient, Daemon) {
    let path = scratch("tap");
    let listen = format!("--listen={}", path.display());
    let server = start(&[&[listen.as_str()], words].concat());
    let client = FrameClient::unix(&path, Wire::Unframed);
    wait_until_up(name);
    (client, server)
}

fn addresses(name: &str) -> Vec<(String, u64)> {
    let link = &ip_json(&format!("addr show dev {name}"))[0];
    let infos = link["addr_info"].as_array().expect("a list").iter();
    let of = |info: &Value| {
        let local = info["local"].as_str().expect("text").to_owned();
        (local, info["prefixlen"].as_u64().expect("a number"))
    };
    infos.filter(|info| info["scope"] == "global").map(of).collect()
}

fn setting(path: &str) -> String {
    fs::read_to_string(format!("/proc/sys/net/{path}")).expect("it is there").trim().to_owned()
}

#[test]
fn without_options_it_is_as_the_help_says() {
    in_namespaces(|| {
        let both = served(&[], "tap0");
        let link = &ip_json("link show tap0")[0];
        assert_eq!((link["mtu"].as_u64(), link["operstate"].as_str()), (Some(1500), Some("UNKNOWN")));
        assert_eq!(addresses("tap0"), [("172.30.0.1".to_owned(), 24)]);
        let mac = link["address"].as_str().expect("text").to_owned();
        let first = u8::from_str_radix(&mac[..2], 16).expect("hexadecimal");
        assert_eq!(first & 3, 2, "{mac} is a local address of one station");
        assert_eq!(setting("ipv6/conf/tap0/accept_ra"), "0");
        drop(both);
        // The same path has the same address the next time.
        let _again = served(&["--name=other0"], "other0");
        assert_eq!(ip_json("link show other0")[0]["address"], mac.as_str());
    });
}

#[test]
fn each_option_is_seen_on_the_interface() {
    in_namespaces(|| {
        let words = [
            "--name=lan-0",
            "--mac-address=90:90:90:90:90:90",
            "--ip-address=10.1.2.3/20",
            "--ip6-address=fd00:1::3/48",
            "--mtu=9000",
            "--metric=77",
            "--disable-nud",
            "--enable-router-advertisements",
        ];
        let _both = served(&words, "lan-0");
        let link = &ip_json("link show lan-0")[0];
        assert_eq!((link["mtu"].as_u64(), link["address"].as_str()), (Some(9000), Some("90:90:90:90:90:90")));
        assert_eq!(addresses("lan-0"), [("10.1.2.3".to_owned(), 20), ("fd00:1::3".to_owned(), 48)]);
        for (family, destination) in [("-4", "10.1.0.0/20"), ("-6", "fd00:1::/48")] {
            let routes = ip_json(&format!("{family} route show {destination} dev lan-0"));
            assert_eq!(routes[0]["metric"].as_u64(), Some(77), "{routes}");
        }
        assert_eq!(setting("ipv6/conf/lan-0/accept_ra"), "2");
        // An address that was resolved once is good for as long as the kernel counts.
        assert_eq!(setting("ipv6/neigh/lan-0/base_reachable_time_ms"), "1000000000");
    });
}

#[test]
fn a_network_that_another_interface_has_is_told() {
    in_namespaces(|| {
        hypertap_tests::machine::add_link("lan0");
        hypertap_tests::machine::ip("addr add 10.1.0.7/16 dev lan0");
        hypertap_tests::machine::ip("addr add fd00:1::7/64 dev lan0 nodad");
        let told = |words: &[&str]| {
            let (client, mut server) = served(words, "tap0");
            drop(client);
            server.assert_ends_well();
            let log = server.log();
            let lines = log.lines().filter(|line| line.contains("packets go to one of the two"));
            lines.map(str::to_owned).collect::<Vec<_>>()
        };
        let lines = told(&["--ip-address=10.1.2.3/24", "--ip6-address=fd00:1::3"]);
        assert_eq!(lines.len(), 2, "{lines:#?}");
        for (line, option) in lines.iter().zip(["--ip-address", "--ip6-address"]) {
            assert!(line.contains("lan0 has ") && line.contains(option), "{line}");
        }
        assert_eq!(told(&["--ip-address=10.2.2.3/24", "--ip6-address=fd00:2::3"]), Vec::<String>::new());
    });
}

#[test]
fn a_device_number_is_part_of_the_name_and_the_rest_is_said_to_be_ignored() {
    in_namespaces(|| {
        let words =
            ["--network-device-number=17", "--io-device-number=18", "--ifconfig-command=/sbin/ifconfig"];
        let (_client, server) = served(&words, "tap17");
        for option in ["--io-device-number", "--ifconfig-command"] {
            server.log_with(&format!("{option} has no meaning here"));
        }
    });
}

#[test]
fn the_least_and_the_largest_mtu_work() {
    in_namespaces(|| {
        for (mtu, framing) in [(68, "le16"), (65521, "le16"), (65521, "qemu")] {
            let path = scratch("tap");
            let words = [format!("--listen={},framing={framing}", path.display()), format!("--mtu={mtu}")];
            let mut server = start(&words);
            let wire = if framing == "le16" { Wire::Le16 } else { Wire::Qemu };
            let client = FrameClient::unix(&path, wire);
            wait_until_up("tap0");
            assert_eq!(ip_json("link show tap0")[0]["mtu"].as_u64(), Some(mtu));
            if mtu > 1500 {
                client.ping(hypertap_tests::tap::GUEST, hypertap_tests::tap::HOST);
                let answering = client.answering(hypertap_tests::tap::GUEST);
                let size = "65479";
                assert!(hypertap_tests::machine::ping("172.30.0.20", &["-s", size, "-M", "do"]), "{framing}");
                drop(answering);
            } else {
                drop(client);
            }
            server.assert_ends_well();
        }
    });
}

#[test]
fn with_no_host_there_is_no_interface() {
    in_namespaces(|| {
        let path = scratch("tap");
        let before = hypertap_tests::Dump::now();
        let words = [format!("--listen={},framing=le16", path.display()), "--no-host".to_owned()];
        let mut server = tap(&words).start();
        let client = FrameClient::unix(&path, Wire::Le16);
        eventually("it came", || server.log().contains("a client came"));
        before.assert_same();
        drop(client);
        server.assert_ends_well();
    });
}

#[test]
fn without_offload_frames_go_both_ways_all_the_same() {
    in_namespaces(|| {
        let (client, server) = served(&["--no-offload"], "tap0");
        server.log_with("offload=None");
        client.ping(hypertap_tests::tap::GUEST, hypertap_tests::tap::HOST);
    });
}
