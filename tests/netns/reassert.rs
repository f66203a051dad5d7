//! What somebody else on the machine removes of a tunnel comes back.

use std::time::{Duration, Instant};

use hypertap_tests::machine::{Uplink, device_towards, ip};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::wait::holds_within;
use hypertap_tests::{Client, Daemon, Dump, Setup, eventually, in_namespaces, json};

/// A tunnel with routes of both kinds and families, and DNS capture.
fn full(client: &mut Client) {
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.0.0.0/8", "2001:db8:7::/48"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["10.1.0.0/16", "2001:db8:7:1::/64"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
}

/// How often the daemon has found something to put back.
fn times_put_back(daemon: &Daemon) -> usize {
    daemon.log().matches("put back").count()
}

/// How often it has looked and found nothing.
fn times_looked_in_vain(daemon: &Daemon) -> usize {
    daemon.log().matches("are as they should be").count()
}

/// Each removal is undone, and the tunnel stays up.
fn everything_comes_back(daemon: &Daemon, client: &mut Client) {
    let bare = Dump::now();
    full(client);
    let whole = Dump::now();
    for removal in [
        "rule del pref 20003",
        "-6 rule del pref 20000",
        "rule del pref 20001",
        "route flush table 26880",
        "-6 route flush table 26880",
        "route flush table 26881",
        "addr del 5.5.5.5/32 dev hypertap0",
    ] {
        ip(removal);
        whole.assert_same_soon();
        // One look that is still going on could find the next removal too.
        eventually("it is connected again", || client.status() == "connected");
    }
    assert_eq!(device_towards("10.2.0.1").as_deref(), Some("hypertap0"));
    assert_eq!(device_towards("10.1.0.1").as_deref(), Some("up0"));
    client.expect_no_event();
    client.plain(&json!({"cmd": "stop"}));
    client.expect_stopped("stoppedByUser");
    bare.assert_same();
    eventually("each removal was found once", || times_put_back(daemon) == 7);
}

#[test]
fn rules_routes_and_addresses_that_somebody_removes_come_back() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        everything_comes_back(&daemon, &mut client);
    });
}

#[test]
fn they_come_back_through_the_helper_too() {
    in_namespaces(|| {
        needs_root();
        let _uplink = Uplink::connect();
        let daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        everything_comes_back(&daemon, &mut client);
    });
}

#[test]
fn the_status_says_so_until_they_are_back() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        let whole = Dump::now();
        // The second time within a second waits for that second's end.
        for _ in 0..2 {
            // The first time it says so for 50 ms, which a busy machine may miss.
            eventually("a removal was heard of", || {
                whole.assert_same_soon();
                eventually("it is connected", || client.status() == "connected");
                ip("rule del pref 20003");
                holds_within(Duration::from_millis(500), || client.status() == "reasserting")
            });
            eventually("it is connected again", || client.status() == "connected");
            whole.assert_same();
        }
    });
}

#[test]
fn our_own_changes_are_no_reason_to_look() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for _ in 0..3 {
            full(&mut client);
            client
                .plain(&json!({"cmd": "removeIncludedRoutes", "routes": ["10.0.0.0/8", "2001:db8:7::/48"]}));
            client.plain(&json!({"cmd": "turnOffDNS"}));
            client.plain(&json!({"cmd": "turnOnDNS"}));
            assert_eq!(client.status(), "connected");
            client.plain(&json!({"cmd": "stop"}));
            client.expect_stopped("stoppedByUser");
        }
        // What is put back comes after all that was announced before it.
        client.start();
        ip("rule del pref 20003");
        eventually("it is put back", || times_put_back(&daemon) == 1);
        assert_eq!(times_looked_in_vain(&daemon), 0, "{}", daemon.log());
    });
}

/// Changes more routes than there is room for announcements of.
fn change_many(daemon: &Daemon) {
    let mut client = daemon.client();
    client.start();
    let many: Vec<String> = (0..20_000).map(|n| format!("10.{}.{}.0/24", n / 256, n % 256)).collect();
    for cmd in ["addIncludedRoutes", "removeIncludedRoutes", "addExcludedRoutes"] {
        client.plain(&json!({"cmd": cmd, "routes": many}));
        assert_eq!(client.status(), "connected", "after {cmd}");
    }
    // What is put back comes after all that was announced before it.
    ip("rule del pref 20003");
    eventually("it is put back", || times_put_back(daemon) == 1);
    assert_eq!(times_looked_in_vain(daemon), 0, "{}", daemon.log());
}

#[test]
fn nor_are_our_own_changes_of_very_many_routes() {
    in_namespaces(|| change_many(&Daemon::start()));
}

#[test]
fn nor_are_those_through_the_helper() {
    in_namespaces(|| {
        needs_root();
        change_many(&Setup::new().args(&["--user", "nobody"]).start());
    });
}

#[test]
fn a_changed_default_route_is_a_reason_to_look() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        ip("route del default");
        ip("-6 route del default");
        eventually("it was looked", || times_looked_in_vain(&daemon) > 0);
        eventually("it is connected", || client.status() == "connected");
        client.expect_no_event();
    });
}

#[test]
fn somebody_who_goes_on_removing_is_answered_once_a_second_and_can_be_outlived() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let bare = Dump::now();
        full(&mut client);
        let whole = Dump::now();
        let began = Instant::now();
        let mut removed = 0;
        while began.elapsed() < Duration::from_millis(2500) {
            removed += usize::from(device_towards("10.2.0.1").as_deref() == Some("hypertap0"));
            hypertap_tests::machine::output(
                std::process::Command::new("ip").args(["route", "flush", "table", "26880"]),
            );
        }
        whole.assert_same_soon();
        eventually("it is connected again", || client.status() == "connected");
        let times = times_put_back(&daemon);
        assert!((2..=5).contains(&times), "{times} times, of {removed}:\n{}", daemon.log());
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        bare.assert_same();
    });
}
