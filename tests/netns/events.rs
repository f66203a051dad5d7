//! What happens behind our back, and what the client is told of it.

#[path = "events/default_route.rs"]
mod default_route;
#[path = "events/helper.rs"]
mod helper;
#[path = "events/links.rs"]
mod links;
#[path = "events/takeover.rs"]
mod takeover;

use hypertap_tests::{Client, Dump, json};

/// A tunnel with everything on.
fn full(client: &mut Client) {
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd77::/16"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["10.9.9.0/24"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
}

/// After every stop: nothing is left, nothing more is told, and a new start works.
#[track_caller]
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
