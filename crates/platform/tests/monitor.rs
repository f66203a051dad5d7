//! Link events, from a real kernel in a network namespace of the test's own.
#![cfg(target_os = "linux")]

#[path = "support/alone.rs"]
mod alone;

use std::process::Command;
use std::time::Duration;

use hypertap_platform::monitor::{DefaultRoute, LinkEvent, LinkMonitor};

/// Runs a test in a network namespace of its own.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    alone::alone(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test()).await.expect("what was waited for came");
        });
    });
}

fn ip(line: &str) {
    let status = Command::new("ip").args(line.split_whitespace()).status().expect("iproute2 is there");
    assert!(status.success(), "ip {line}");
}

fn index(name: &str) -> u32 {
    nix::net::if_::if_nametoindex(name).expect("the link is there")
}

/// The next event about this link or the default route.
async fn about(monitor: &mut LinkMonitor, wanted: u32) -> LinkEvent {
    loop {
        let event = monitor.next().await.expect("the socket works");
        match event {
            LinkEvent::Up { index }
            | LinkEvent::Down { index }
            | LinkEvent::Deleted { index }
            | LinkEvent::Renamed { index, .. }
                if index == wanted =>
            {
                return event;
            }
            _ => {}
        }
    }
}

async fn route(monitor: &mut LinkMonitor) -> Option<DefaultRoute> {
    loop {
        if let LinkEvent::DefaultRoute(route) = monitor.next().await.expect("the socket works") {
            return route;
        }
    }
}

#[test]
fn each_change_of_a_link_is_one_event() {
    alone(|| async {
        ip("tuntap add mode tap name hta");
        let hta = index("hta");
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        ip("link set hta up");
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Up { index: hta });
        ip("link set hta mtu 1400");
        ip("link set hta down");
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Down { index: hta });
        ip("link set hta name htb");
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Renamed { index: hta, name: "htb".to_owned() });
        ip("link set htb up");
        ip("link del htb");
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Up { index: hta });
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Down { index: hta });
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Deleted { index: hta });
    });
}

#[test]
fn a_link_that_moves_to_another_namespace_is_deleted_here() {
    alone(|| async {
        ip("tuntap add mode tap name hta");
        let hta = index("hta");
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        let mut other =
            Command::new("unshare").args(["--net", "sleep", "60"]).spawn().expect("util-linux is there");
        // The child is in its namespace once that differs from ours.
        let ours = std::fs::read_link("/proc/thread-self/ns/net").expect("proc is there");
        while std::fs::read_link(format!("/proc/{}/ns/net", other.id())).is_ok_and(|theirs| theirs == ours) {
            tokio::task::yield_now().await;
        }
        ip(&format!("link set hta netns {}", other.id()));
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Deleted { index: hta });
        other.kill().expect("it is ours");
        other.wait().expect("it is ours");
    });
}

#[test]
fn leaving_a_bridge_is_no_deletion() {
    alone(|| async {
        ip("tuntap add mode tap name hta");
        ip("link add htbridge type bridge");
        ip("link set hta master htbridge");
        let hta = index("hta");
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        ip("link set hta nomaster");
        ip("link set hta up");
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Up { index: hta });
    });
}

#[test]
fn the_default_route_is_followed() {
    alone(|| async {
        for (name, net) in [("hta", 1), ("htb", 2)] {
            ip(&format!("tuntap add mode tap name {name}"));
            ip(&format!("addr add 10.0.{net}.1/24 dev {name}"));
            ip(&format!("link set {name} up"));
        }
        let (hta, htb) = (index("hta"), index("htb"));
        ip("route add default via 10.0.1.2 metric 100");
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        assert_eq!(monitor.default_route(), Some(DefaultRoute { index: hta }));
        ip("route add default via 10.0.2.2 metric 50");
        assert_eq!(route(&mut monitor).await, Some(DefaultRoute { index: htb }));
        // A worse one changes nothing, nor does one in another table.
        ip("route add default via 10.0.2.3 metric 300");
        ip("route add default dev hta table 100");
        // Setting a link down announces no removal of its IPv4 routes.
        ip("link set htb down");
        assert_eq!(route(&mut monitor).await, Some(DefaultRoute { index: hta }));
        ip("link del hta");
        assert_eq!(route(&mut monitor).await, None);
        ip("link set htb up");
        ip("-6 route add default dev htb");
        assert_eq!(route(&mut monitor).await, Some(DefaultRoute { index: htb }));
    });
}

#[test]
fn a_deletion_among_announcements_that_were_dropped_is_found() {
    alone(|| async {
        ip("tuntap add mode tap name hta");
        ip("link set hta up");
        ip("tuntap add mode tap name noise");
        let hta = index("hta");
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        // More announcements than any receive buffer holds, with the deletion in the part that is lost.
        let mut lines = String::new();
        for round in 0..6000 {
            use std::fmt::Write;
            writeln!(lines, "link set noise mtu {}", 1000 + round % 2).expect("it is a string");
        }
        lines += "link del hta\n";
        let batch = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(batch.path(), lines).expect("written");
        ip(&format!("-batch {}", batch.path().display()));
        assert_eq!(about(&mut monitor, hta).await, LinkEvent::Deleted { index: hta });
    });
}
