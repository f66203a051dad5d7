//! The machine's way out changes, under a tunnel that follows it or does not.

use hypertap_tests::machine::{Uplink, add_link, ip};
use hypertap_tests::{Client, Dump, Scene, json, with_daemon};

use super::assert_recovered;

/// A tunnel on a machine with two ways out, whose default route is over the first.
fn tunnel(client: &mut Client, follow: bool) {
    for (link, address) in [("wan0", "192.0.2.1/24"), ("wan1", "198.51.100.1/24")] {
        add_link(link);
        ip(&format!("addr add {address} dev {link}"));
    }
    ip("route add default via 192.0.2.2 dev wan0");
    client.start_with(json!({"followDefaultRoute": follow}));
}

#[test]
fn the_loss_of_the_last_default_route_is_no_connectivity() {
    with_daemon(|Scene { client, .. }| {
        tunnel(client, true);
        ip("route del default");
        client.expect_stopped("noConnectivity");
        assert_recovered(client, &Dump::now());
    });
}

#[test]
fn a_default_route_on_another_device_is_connectivity_changed() {
    with_daemon(|Scene { client, .. }| {
        tunnel(client, true);
        ip("route replace default via 198.51.100.2 dev wan1");
        client.expect_stopped("connectivityChanged");
        assert_recovered(client, &Dump::now());
    });
}

#[test]
fn a_better_default_route_on_another_device_is_connectivity_changed() {
    with_daemon(|Scene { client, .. }| {
        tunnel(client, true);
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
    with_daemon(|Scene { client, .. }| {
        tunnel(client, false);
        ip("route replace default via 198.51.100.2 dev wan1");
        ip("route del default");
        // Something that is told comes after all that was not.
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
    });
}

#[test]
fn the_tunnels_own_default_route_is_no_change_of_the_machines() {
    with_daemon(|Scene { client, .. }| {
        let _uplink = Uplink::connect();
        client.start_with(json!({"followDefaultRoute": true}));
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        client.plain(&json!({"cmd": "removeIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        client.expect_no_event();
        ip("link set hypertap0 down");
        client.expect_stopped("vpnDisabled");
    });
}
