//! `start` and `stop`: what is made, what is refused, and what is gone again.

use hypertap_tests::{Daemon, Setup, Value, in_namespaces, json, machine};

#[test]
fn start_replies_then_tells_and_the_interface_has_the_address_as_a_host() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.send(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"tunnelStarted"}"#);
        client.send(&json!({"cmd": "status"}));
        client.expect_text(r#"{"ok":true,"status":"connected"}"#);
        client.send(&json!({"cmd": "getName"}));
        client.expect_text(r#"{"ok":true,"name":"hypertap0"}"#);

        let link = &machine::ip_json("addr show dev hypertap0")[0];
        assert_eq!(
            (&link["mtu"], link["flags"].to_string().contains("\"UP\"")),
            (&json!(1500), true),
            "{link}"
        );
        let addresses = link["addr_info"].as_array().expect("addresses");
        assert_eq!(addresses.len(), 1, "IPv6 autoconfiguration is off: {link}");
        assert_eq!((&addresses[0]["local"], &addresses[0]["prefixlen"]), (&json!("5.5.5.5"), &json!(32)));
    });
}

#[test]
fn a_prefix_of_32_is_accepted() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.plain(&json!({"cmd": "start", "myIPv4Address": "10.1.2.3/32"}));
        let address = &machine::ip_json("addr show dev hypertap0")[0]["addr_info"][0];
        assert_eq!((&address["local"], &address["prefixlen"]), (&json!("10.1.2.3"), &json!(32)));
    });
}

#[test]
fn start_without_an_address_has_its_own_text() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.send(&json!({"cmd": "start"}));
        client.expect_text(r#"{"ok":false,"error":"No value provided for myIPv4Address"}"#);
        client.expect_no_event();
    });
}

#[test]
fn start_refuses_what_is_no_hosts_address_and_makes_nothing() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for address in [
            json!("0.0.0.0"),
            json!("255.255.255.255"),
            json!("5.5.5"),
            json!("5.5.5.256"),
            json!("5.5.5.5/24"),
            json!("5.5.5.5/33"),
            json!("5.5.5.5/"),
            json!("0.0.0.0/32"),
            json!("0.5.5.5"),
            json!("127.0.0.1"),
            json!("224.5.5.5"),
            json!("240.5.5.5"),
            json!("host"),
            json!(" 5.5.5.5"),
            json!("fd00::1"),
            json!("05.5.5.5"),
            json!(5),
            json!(["5.5.5.5"]),
            json!({"a": 1}),
            json!(true),
        ] {
            client.refused(&json!({"cmd": "start", "myIPv4Address": address}));
        }
        client.expect_no_event();
        assert_eq!(client.status(), "disconnected");
        assert!(!machine::is_link("hypertap0"));
        client.start();
    });
}

#[test]
fn start_refuses_additions_out_of_range_and_makes_nothing() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for (field, value) in [
            ("mtu", json!(65508)),
            ("mtu", json!(0)),
            ("mtu", json!(-1)),
            ("mtu", json!("1500")),
            ("mtu", json!(1e300)),
            ("name", json!("")),
            ("name", json!("sixteen-letters!")),
            ("name", json!("a/b")),
            ("name", json!("a b")),
            ("name", json!("tun%d")),
            ("name", json!(7)),
            ("name", json!("..")),
            ("name", json!("all")),
            ("name", json!("default")),
            ("dataPlane", json!("tcp")),
            ("dataPlane", json!(1)),
            ("receivePort", json!(0)),
            ("receivePort", json!(65536)),
            ("receivePort", json!("x")),
            ("receivePort", json!(5501)),
            ("myIPv6Address", json!("::")),
            ("myIPv6Address", json!("5.5.5.5")),
            ("myIPv6Address", json!("fd00::1/64")),
            ("followDefaultRoute", json!("yes")),
        ] {
            let mut command = json!({"cmd": "start", "myIPv4Address": "5.5.5.5"});
            command[field] = value;
            let (text, _) = client.refused(&command);
            assert!(text.contains(field), "{command}: the text names no field: {text}");
        }
        client.expect_no_event();
        assert_eq!(machine::ip_json("link show").as_array().map(Vec::len), Some(1), "only lo is there");
    });
}

#[test]
fn an_ipv6_address_is_refused_where_the_mtu_is_too_small_for_it() {
    in_namespaces(|| {
        let daemon = Setup::new().args(&["--mtu", "1000"]).start();
        let mut client = daemon.client();
        let six = json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "myIPv6Address": "fd00::5"});
        let (text, code) = client.refused(&six);
        assert!(["myIPv6Address", "--mtu", "1280"].iter().all(|word| text.contains(word)), "{text}");
        assert_eq!(code, Some(2), "{text}");
        let mut small = six.clone();
        small["mtu"] = json!(1279);
        let (text, _) = client.refused(&small);
        assert!(["mtu", "myIPv6Address", "1280"].iter().all(|word| text.contains(word)), "{text}");
        client.expect_no_event();
        assert!(!machine::is_link("hypertap0"));
        client.start_with(json!({"myIPv6Address": "fd00::5", "mtu": 1280}));
    });
}

#[test]
fn start_when_connected_succeeds_tells_again_and_ignores_its_fields() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        for again in [
            json!({"cmd": "start", "myIPv4Address": "6.6.6.6", "name": "other", "mtu": 9000}),
            json!({"cmd": "start"}),
            json!({"cmd": "start", "myIPv4Address": "nonsense"}),
        ] {
            client.send(&again);
            client.expect_text(r#"{"ok":true}"#);
            client.expect_text(r#"{"cmd":"event","event":"tunnelStarted"}"#);
        }
        let links = machine::ip_json("addr show");
        let addresses: Vec<&Value> =
            links.as_array().into_iter().flatten().filter(|link| link["ifname"] != "lo").collect();
        assert_eq!(addresses.len(), 1, "{addresses:?}");
        assert_eq!(
            (&addresses[0]["addr_info"][0]["local"], &addresses[0]["mtu"]),
            (&json!("5.5.5.5"), &json!(1500))
        );
    });
}

#[test]
fn stop_takes_the_tunnel_down_keeps_the_process_and_start_works_again() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        for _ in 0..3 {
            client.start();
            client.send(&json!({"cmd": "stop"}));
            client.expect_text(r#"{"ok":true}"#);
            client.expect_text(r#"{"cmd":"event","event":"tunnelStopped","reason":"stoppedByUser"}"#);
            assert!(!machine::is_link("hypertap0"), "the reply comes when it is gone");
            assert_eq!(client.status(), "disconnected");
        }
        daemon.assert_runs();
    });
}

#[test]
fn stop_without_a_tunnel_succeeds() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.plain(&json!({"cmd": "stop"}));
        assert_eq!(client.status(), "disconnected");
    });
}

#[test]
fn start_takes_the_name_mtu_and_ipv6_address_that_it_is_given() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start_with(json!({"name": "mine", "mtu": 9000, "myIPv6Address": "fd00::5"}));
        assert_eq!(client.name(), "mine");
        let link = &machine::ip_json("addr show dev mine")[0];
        assert_eq!(link["mtu"], 9000);
        let addresses: Vec<_> = link["addr_info"].as_array().into_iter().flatten().collect();
        let six = addresses.iter().find(|address| address["local"] == "fd00::5");
        assert_eq!(six.map(|address| &address["prefixlen"]), Some(&json!(128)), "{link}");
    });
}
