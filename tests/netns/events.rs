//! What happens to the interface behind our back, and what the client is told of it.

use std::time::{Duration, Instant};

use hypertap_tests::machine::{Uplink, add_link, ip, is_link, run};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::{Client, Daemon, Dump, Setup, eventually, in_namespaces, json};
use nix::sys::signal::{Signal, kill};

/// After every stop: nothing is left, nothing more is told, and a new start works.
fn assert_recovered(client: &mut Client, before: &Dump) {
    assert_eq!(client.status(), "disconnected");
    before.assert_same();
    client.start();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    client.plain(&json!({"cmd": "stop"}));
    client.expect_stopped("stoppedByUser");
    client.expect_no_event();
    before.assert_same();
}

/// A tunnel with everything on.
fn full(client: &mut Client) {
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd77::/16"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["10.9.9.0/24"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
}

#[test]
fn a_link_that_is_set_down_is_vpn_disabled() {
    in_namespaces(|| {
        let before = Dump::now();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
        assert_recovered(&mut client, &before);
    });
}

#[test]
fn a_link_that_is_deleted_is_vpn_removed_once() {
    in_namespaces(|| {
        let before = Dump::now();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for _ in 0..5 {
            full(&mut client);
            ip("link del hypertap0");
            client.expect_stopped("vpnRemoved");
            client.expect_event("vpnRemoved");
            assert_recovered(&mut client, &before);
        }
    });
}

#[test]
fn a_link_that_is_moved_to_another_namespace_is_vpn_removed_once() {
    in_namespaces(|| {
        ip("netns add other");
        let before = Dump::now();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        ip("link set hypertap0 netns other");
        client.expect_stopped("vpnRemoved");
        client.expect_event("vpnRemoved");
        assert_recovered(&mut client, &before);
    });
}

#[test]
fn a_link_that_is_renamed_is_still_ours() {
    in_namespaces(|| {
        let before = Dump::now();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        // A link that is up can be renamed since Linux 6.6.
        ip("link set hypertap0 name renamed0");
        eventually("getName knows", || client.name() == "renamed0");
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.8.0.0/16"]}));
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        before.assert_same();
    });
}

#[test]
fn a_link_of_somebody_else_is_nobodys_business() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        add_link("other0");
        ip("link set other0 down");
        ip("link del other0");
        ip("link set lo down");
        ip("link set lo up");
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
    });
}

fn default_route(client: &mut Client, follow: bool) {
    for (link, address) in [("wan0", "192.0.2.1/24"), ("wan1", "198.51.100.1/24")] {
        add_link(link);
        ip(&format!("addr add {address} dev {link}"));
    }
    ip("route add default via 192.0.2.2 dev wan0");
    client.start_with(json!({"followDefaultRoute": follow}));
}

#[test]
fn the_loss_of_the_last_default_route_is_no_connectivity() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        default_route(&mut client, true);
        ip("route del default");
        client.expect_stopped("noConnectivity");
        assert_recovered(&mut client, &Dump::now());
    });
}

#[test]
fn a_default_route_on_another_device_is_connectivity_changed() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        default_route(&mut client, true);
        ip("route replace default via 198.51.100.2 dev wan1");
        client.expect_stopped("connectivityChanged");
        assert_recovered(&mut client, &Dump::now());
    });
}

#[test]
fn a_better_default_route_on_another_device_is_connectivity_changed() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        default_route(&mut client, true);
        ip("route del default");
        client.expect_stopped("noConnectivity");
        ip("route add default via 192.0.2.2 dev wan0 metric 100");
        client.start_with(json!({"followDefaultRoute": true}));
        ip("route add default via 198.51.100.2 dev wan1 metric 500");
        client.expect_no_event();
        ip("route add default via 198.51.100.2 dev wan1 metric 50");
        client.expect_stopped("connectivityChanged");
    });
}

#[test]
fn the_default_route_matters_to_no_tunnel_that_did_not_ask() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        default_route(&mut client, false);
        ip("route replace default via 198.51.100.2 dev wan1");
        ip("route del default");
        // Something that is told comes after all that was not.
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
    });
}

#[test]
fn the_tunnels_own_default_route_is_no_change_of_the_machines() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start_with(json!({"followDefaultRoute": true}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        client.plain(&json!({"cmd": "removeIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.expect_no_event();
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
    });
}

#[test]
fn the_helpers_end_is_provider_disabled_and_vpn_removed() {
    in_namespaces(|| {
        needs_root();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let before = Dump::now();
            let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
            let mut client = daemon.client();
            full(&mut client);
            kill(daemon.helper(), signal).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            client.expect_no_event();
            assert!(!is_link("hypertap0"), "after {signal}");
            if signal == Signal::SIGTERM {
                // Whoever is killed undoes nothing; the next start does.
                before.assert_same();
            }
            let (text, _) = client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
            assert!(!text.is_empty());
            client.plain(&json!({"cmd": "shutdown"}));
            daemon.assert_ends_well();
            drop(Daemon::start());
            before.assert_same_soon();
        }
    });
}

#[test]
fn the_helpers_end_without_a_tunnel_is_vpn_removed_alone() {
    in_namespaces(|| {
        needs_root();
        let daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        kill(daemon.helper(), Signal::SIGTERM).expect("it runs");
        client.expect_event("vpnRemoved");
        assert_eq!(client.status(), "invalid");
        client.expect_no_event();
    });
}

#[test]
fn a_start_that_takes_10_s_is_timed_out() {
    in_namespaces(|| {
        needs_root();
        let before = Dump::now();
        let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        let helper = daemon.helper();
        kill(helper, Signal::SIGSTOP).expect("it runs");
        let begin = Instant::now();
        let mut observer = daemon.control();
        client.send(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        eventually("an observer sees it at work", || observer.status() == "connecting");
        client.send(&json!({"cmd": "status"}));
        let mut lines = Vec::new();
        while lines.len() < 3 {
            let line = client.next_line(Duration::from_secs(25)).expect("the connection lives");
            lines.push(serde_json::from_str::<serde_json::Value>(&line).expect("JSON"));
        }
        let taken = begin.elapsed().as_secs_f32();
        assert!((9.5..14.0).contains(&taken), "it took {taken} s");
        assert_eq!(lines[0]["ok"], false, "replies keep their order: {lines:?}");
        let stopped = json!({"cmd": "event", "event": "tunnelStopped", "reason": "timedOut"});
        assert!(lines.contains(&stopped), "{lines:?}");

        kill(helper, Signal::SIGCONT).expect("it runs");
        eventually("start works again", || {
            client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}))["ok"] == true
        });
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        before.assert_same_soon();
    });
}

/// A second instance takes the interface of the first, which goes on without it.
fn take_over() {
    let before = Dump::now();
    let mut first = Daemon::start();
    let mut old = first.client();
    old.start_with(json!({"name": "shared"}));
    let mut second = Setup::new().ports(6500).args(&["--replace"]).start();
    let mut new = second.client();
    let begin = Instant::now();
    new.start_with(json!({"name": "shared"}));
    assert!(begin.elapsed() < Duration::from_secs(3), "it took {:?}", begin.elapsed());
    old.expect_stopped("superseded");
    old.expect_no_event();
    new.expect_no_event();
    assert_eq!(old.status(), "disconnected");
    // The first one's rules went away, so the second has a look at its own.
    eventually("it has had its look", || new.status() == "connected");
    assert!(is_link("shared"));
    old.start();
    old.plain(&json!({"cmd": "shutdown"}));
    first.assert_ends_well();
    assert_eq!(new.status(), "connected");
    new.plain(&json!({"cmd": "shutdown"}));
    second.assert_ends_well();
    before.assert_same();
}

#[test]
fn another_instance_that_takes_the_interface_over_supersedes_the_first() {
    in_namespaces(|| {
        run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
        take_over();
    });
}

#[test]
fn an_interface_is_taken_over_where_sys_shows_another_namespace_too() {
    // The test's name is told from the closure's type.
    #[expect(clippy::redundant_closure, reason = "a function's type has another name")]
    in_namespaces(|| take_over());
}

#[test]
fn without_replace_a_taken_name_is_an_error_with_code_5() {
    in_namespaces(|| {
        let first = Daemon::start();
        let mut old = first.client();
        old.start_with(json!({"name": "shared"}));
        let second = Setup::new().ports(6500).start();
        let mut new = second.client();
        let (text, code) =
            new.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.6", "name": "shared"}));
        assert!(text.contains("shared"), "{text}");
        assert_eq!(code, Some(5));
        assert_eq!((old.status().as_str(), new.status().as_str()), ("connected", "disconnected"));
        old.expect_no_event();
    });
}

#[test]
fn replace_takes_no_interface_that_is_no_hypertaps() {
    in_namespaces(|| {
        add_link("shared");
        let daemon = Setup::new().args(&["--replace"]).start();
        let mut client = daemon.client();
        let (_, code) =
            client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "shared"}));
        assert_eq!(code, Some(5));
        assert!(is_link("shared"));
    });
}

#[test]
fn a_configuration_that_the_device_does_not_take_is_invalid_vpn() {
    in_namespaces(|| {
        add_link("other0");
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let reply = client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "other0"}));
        assert_eq!(reply["ok"], false, "{reply}");
        client.expect_stopped("invalidVPN");
        assert_eq!(client.status(), "disconnected");
    });
}
