//! Included and excluded routes, judged by what the kernel would do with a packet.

use hypertap_tests::machine::{Uplink, device_towards, ip};
use hypertap_tests::{Client, Daemon, Value, in_namespaces, json};

fn routes(client: &mut Client, cmd: &str, routes: &[&str]) {
    client.plain(&json!({"cmd": cmd, "routes": routes}));
}

/// Where packets to each address go: `true` for into the tunnel.
#[track_caller]
fn assert_tunnel(expected: &[(&str, bool)]) {
    for (address, inside) in expected {
        let device = device_towards(address);
        assert_eq!(device.as_deref() == Some("hypertap0"), *inside, "{address} goes to {device:?}");
    }
}

fn connected() -> (Daemon, Client) {
    let daemon = Daemon::start();
    let mut client = daemon.client();
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    (daemon, client)
}

#[test]
fn nothing_is_in_the_tunnel_by_default() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, _client) = connected();
        assert_tunnel(&[
            ("5.5.5.6", false),
            ("1.1.1.1", false),
            ("10.0.0.1", false),
            ("2001:4860::1", false),
        ]);
    });
}

#[test]
fn an_included_route_goes_in_as_soon_as_it_is_answered_and_out_when_removed() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        for _ in 0..20 {
            routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16", "5.5.5.6"]);
            assert_tunnel(&[("10.9.0.0", true), ("10.9.255.255", true), ("10.10.0.0", false)]);
            assert_tunnel(&[("5.5.5.6", true), ("5.5.5.7", false)]);
            routes(&mut client, "removeIncludedRoutes", &["10.9.0.0/16", "5.5.5.6"]);
            assert_tunnel(&[("10.9.0.1", false), ("5.5.5.6", false)]);
        }
    });
}

#[test]
fn ipv6_routes_need_no_ipv6_address_of_the_tunnel() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        routes(&mut client, "addIncludedRoutes", &["fd77::/16"]);
        routes(&mut client, "addExcludedRoutes", &["fd77:1::/32"]);
        assert_tunnel(&[("fd77::1", true), ("fd77:1::1", false), ("fd78::1", false)]);
        routes(&mut client, "removeIncludedRoutes", &["fd77::/16"]);
        assert_tunnel(&[("fd77::1", false)]);
    });
}

#[test]
fn the_whole_internet_may_be_included() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["0.0.0.0/0", "::/0"]);
        assert_tunnel(&[
            ("1.1.1.1", true),
            ("2001:4860::1", true),
            ("192.0.2.77", true),
            ("127.0.0.1", false),
        ]);
        assert_eq!(client.status(), "connected", "the command connection is not cut by it");
        routes(&mut client, "removeIncludedRoutes", &["0.0.0.0/0", "::/0"]);
        assert_tunnel(&[("1.1.1.1", false), ("2001:4860::1", false)]);
    });
}

#[test]
fn an_excluded_route_stays_out_of_an_included_one_that_covers_it() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.0.0.0/8", "fd77::/16"]);
        routes(&mut client, "addExcludedRoutes", &["10.9.0.0/16", "10.1.2.3", "fd77:1::/32"]);
        let out = [("10.9.1.1", false), ("10.1.2.3", false), ("fd77:1::9", false)];
        assert_tunnel(&out);
        assert_eq!(
            device_towards("10.9.1.1").as_deref(),
            Some("up0"),
            "it falls through to the machine's table"
        );
        assert_tunnel(&[("10.8.1.1", true), ("10.1.2.4", true), ("fd77:2::9", true)]);
        routes(&mut client, "removeExcludedRoutes", &["10.9.0.0/16", "10.1.2.3", "fd77:1::/32"]);
        assert_tunnel(&out.map(|(address, _)| (address, true)));
    });
}

#[test]
fn an_included_route_within_an_excluded_one_goes_in() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.0.0.0/8", "10.9.9.0/24"]);
        routes(&mut client, "addExcludedRoutes", &["10.9.0.0/16"]);
        assert_tunnel(&[("10.1.0.1", true), ("10.9.1.1", false)]);
        // An excluded route wins over an included one that covers it. The more specific
        // one here does not cover the excluded one, so the longest prefix decides.
        assert_tunnel(&[("10.9.9.1", true)]);
    });
}

#[test]
fn host_bits_of_a_prefix_are_masked() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.9.8.7/16", "fd77::1:2:3/64"]);
        assert_tunnel(&[("10.9.0.1", true), ("10.9.255.1", true), ("fd77::ffff", true)]);
        routes(&mut client, "removeIncludedRoutes", &["10.9.1.1/16", "fd77::9/64"]);
        assert_tunnel(&[("10.9.0.1", false), ("fd77::ffff", false)]);
    });
}

#[test]
fn of_routes_of_both_kinds_the_longest_decides_whatever_their_order() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        let steps = [
            ("addIncludedRoutes", ["10.0.0.0/8", "2001:db8::/32"]),
            ("addExcludedRoutes", ["10.1.0.0/16", "2001:db8:1::/48"]),
            ("addIncludedRoutes", ["10.1.2.0/24", "2001:db8:1:2::/64"]),
        ];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            for (add, nets) in order.map(|step: usize| steps[step]) {
                routes(&mut client, add, &nets);
            }
            assert_tunnel(&[("10.9.9.9", true), ("10.1.2.3", true), ("10.1.9.9", false)]);
            assert_tunnel(&[("2001:db8:9::1", true), ("2001:db8:1:2::1", true), ("2001:db8:1:9::1", false)]);
            for (add, nets) in steps {
                routes(&mut client, &add.replace("add", "remove"), &nets);
            }
            assert_tunnel(&[("10.1.2.3", false), ("2001:db8:1:2::1", false)]);
        }
    });
}

#[test]
fn an_excluded_route_takes_the_place_of_an_equal_included_one() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16"]);
        routes(&mut client, "addExcludedRoutes", &["10.9.0.0/16"]);
        assert_tunnel(&[("10.9.0.1", false)]);
        // The included one is gone, not covered: it does not come back.
        routes(&mut client, "removeExcludedRoutes", &["10.9.0.0/16"]);
        assert_tunnel(&[("10.9.0.1", false)]);
    });
}

#[test]
fn adding_what_is_there_and_removing_what_is_not_changes_nothing() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16"]);
        let before = hypertap_tests::Dump::now();
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16", "10.9.0.0/16"]);
        routes(&mut client, "removeIncludedRoutes", &["10.8.0.0/16", "fd77::/64"]);
        routes(&mut client, "removeExcludedRoutes", &["10.9.0.0/16", "10.7.0.0/16"]);
        before.assert_same();
        assert_tunnel(&[("10.9.0.1", true)]);
    });
}

#[test]
fn an_empty_array_succeeds_and_changes_nothing() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        let before = hypertap_tests::Dump::now();
        for cmd in ["addIncludedRoutes", "removeIncludedRoutes", "addExcludedRoutes", "removeExcludedRoutes"]
        {
            routes(&mut client, cmd, &[]);
        }
        before.assert_same();
    });
}

#[test]
fn routes_that_are_not_there_have_their_own_text() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        for (kind, cmds) in [
            ("included", ["addIncludedRoutes", "removeIncludedRoutes"]),
            ("excluded", ["addExcludedRoutes", "removeExcludedRoutes"]),
        ] {
            for cmd in cmds {
                for value in [
                    None,
                    Some(json!("")),
                    Some(json!("10.0.0.0/8")),
                    Some(json!([1])),
                    Some(json!({})),
                    Some(Value::Null),
                    Some(json!(["10.0.0.0/8", 5])),
                ] {
                    let mut command = json!({"cmd": cmd});
                    if let Some(value) = value {
                        command["routes"] = value;
                    }
                    client.send(&command);
                    client
                        .expect_text(&format!(r#"{{"ok":false,"error":"No {kind} routes were provided"}}"#));
                }
            }
        }
    });
}

#[test]
fn a_list_with_one_bad_route_changes_nothing_and_names_it() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16"]);
        let before = hypertap_tests::Dump::now();
        for bad in [
            "10.0.0.0/33",
            "10.0.0",
            "x",
            "",
            "10.0.0.0/",
            "/8",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "fd00::/129",
            "10.0.0.0/8/8",
            " 10.0.0.0/8",
            "fd00::1%lo",
        ] {
            for cmd in
                ["addIncludedRoutes", "removeIncludedRoutes", "addExcludedRoutes", "removeExcludedRoutes"]
            {
                client.send(&json!({"cmd": cmd, "routes": ["10.1.0.0/16", "10.9.0.0/16", bad]}));
                client
                    .expect(&json!({"ok": false, "error": format!("An invalid route was provided - {bad}")}));
            }
        }
        before.assert_same();
    });
}

#[test]
fn routes_with_an_address_say_where_the_kernel_sends_it() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let in_tunnel = |client: &mut Client, address: &str| {
            let reply = client.ok(&json!({"cmd": "routes", "address": address}));
            reply["inTunnel"].as_bool().unwrap_or_else(|| panic!("{address}: {reply}"))
        };
        assert!(!in_tunnel(&mut client, "1.1.1.1"), "there is no tunnel");
        client.start_with(json!({"myIPv6Address": "fd00::5"}));
        routes(&mut client, "addIncludedRoutes", &["0.0.0.0/0", "::/0"]);
        routes(&mut client, "addExcludedRoutes", &["10.0.0.0/8", "fd77::/16"]);
        for inside in ["1.1.1.1", "192.0.2.77", "2001:4860::1", "5.5.5.6"] {
            assert!(in_tunnel(&mut client, inside), "{inside}");
        }
        // What is excluded; the loopback, the uplink's and the tunnel's own addresses.
        for outside in
            ["10.1.1.1", "fd77::1", "127.0.0.1", "127.9.9.9", "::1", "192.0.2.1", "5.5.5.5", "fd00::5"]
        {
            assert!(!in_tunnel(&mut client, outside), "{outside}");
        }
        ip("route del default");
        assert!(!in_tunnel(&mut client, "10.1.1.1"), "no way at all is no way in");
    });
}

#[test]
fn many_routes_fit_one_command() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        let list: Vec<String> = (0..2000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": list}));
        assert_tunnel(&[("10.0.0.1", true), ("10.7.207.1", true), ("10.7.208.1", false)]);
        client.plain(&json!({"cmd": "removeIncludedRoutes", "routes": list}));
        assert_tunnel(&[("10.0.0.1", false), ("10.7.207.1", false)]);
    });
}

#[test]
fn routes_do_not_outlive_their_tunnel() {
    in_namespaces(|| {
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16"]);
        routes(&mut client, "addExcludedRoutes", &["10.9.9.0/24"]);
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        client.start();
        assert_tunnel(&[("10.9.0.1", false)]);
        routes(&mut client, "addIncludedRoutes", &["10.9.0.0/16"]);
        assert_tunnel(&[("10.9.0.1", true), ("10.9.9.1", true)]);
    });
}

#[test]
fn the_machines_own_tables_are_left_alone() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let tables = || [ip("-4 route show table main"), ip("-6 route show table main")].concat();
        let before = tables();
        let (_daemon, mut client) = connected();
        routes(&mut client, "addIncludedRoutes", &["0.0.0.0/0", "::/0", "192.0.2.0/24"]);
        routes(&mut client, "addExcludedRoutes", &["10.0.0.0/8"]);
        let ours = tables().lines().filter(|line| !line.contains("hypertap0")).collect::<Vec<_>>().join("\n");
        assert_eq!(ours.trim(), before.trim());
    });
}
