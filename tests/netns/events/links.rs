//! Somebody changes the tunnel's interface, or another one.

use hypertap_tests::machine::{add_link, ip};
use hypertap_tests::{Scene, Setup, eventually, json, with_daemon, with_daemon_as};

use super::{assert_recovered, full};

#[test]
fn a_link_that_is_set_down_is_vpn_disabled() {
    with_daemon(|Scene { client, before, .. }| {
        full(client);
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
        assert_recovered(client, before);
    });
}

#[test]
fn a_link_that_is_deleted_is_vpn_removed_once() {
    with_daemon(|Scene { client, before, .. }| {
        for _ in 0..5 {
            full(client);
            ip("link del hypertap0");
            client.expect_stopped("vpnRemoved");
            client.expect_event("vpnRemoved");
            assert_recovered(client, before);
        }
    });
}

#[test]
fn a_link_that_is_moved_to_another_namespace_is_vpn_removed_once() {
    let setup = || {
        ip("netns add other");
        Setup::new()
    };
    with_daemon_as(setup, |Scene { client, before, .. }| {
        full(client);
        ip("link set hypertap0 netns other");
        client.expect_stopped("vpnRemoved");
        client.expect_event("vpnRemoved");
        assert_recovered(client, before);
    });
}

#[test]
fn a_link_that_is_renamed_is_still_ours() {
    with_daemon(|Scene { client, before, .. }| {
        full(client);
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
    with_daemon(|Scene { client, .. }| {
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

#[test]
fn a_configuration_that_the_device_does_not_take_is_invalid_vpn() {
    with_daemon(|Scene { client, .. }| {
        add_link("other0");
        let reply = client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "other0"}));
        assert_eq!(reply["ok"], false, "{reply}");
        client.expect_stopped("invalidVPN");
        assert_eq!(client.status(), "disconnected");
    });
}
