//! What somebody else removes is put back.

use crate::setup::*;
use hypertap_platform::monitor::{LinkEvent, LinkMonitor};
use hypertap_platform::{MachineError, Privileged, RouteChange, RouteKind, Tun, TunSpec};
use ipnet::IpNet;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const ROUTES: &[(&str, RouteKind)] = &[
    ("10.0.0.0/8", RouteKind::Included),
    ("10.1.0.0/16", RouteKind::Excluded),
    ("0.0.0.0/0", RouteKind::Included),
    ("2001:db8::/32", RouteKind::Included),
    ("2001:db8:1::/48", RouteKind::Excluded),
    ("::/0", RouteKind::Included),
];

/// A tunnel that has everything that one can have.
async fn full(state: &TempDir) -> (Box<dyn Privileged>, Tun) {
    let mut half = half(state);
    let tun = half.open_tun(&TunSpec { ipv6: Some("fd64::1".parse().unwrap()), ..spec() }).await.unwrap();
    half.change_routes(&add(ROUTES)).await.unwrap();
    half.capture_dns(true).await.unwrap();
    (half, tun)
}

fn delete_rules(priorities: &[u32]) {
    for priority in priorities {
        run(&format!("ip rule del pref {priority}"));
        run(&format!("ip -6 rule del pref {priority}"));
    }
}

#[test]
fn each_thing_that_was_removed_is_put_back_and_goes_with_the_tunnel() {
    in_namespace(async |state| {
        add_uplink();
        let bare = dump();
        let (mut half, _tun) = full(&state).await;
        let before = dump();
        assert!(!half.reassert().await.unwrap(), "nothing is missing");
        assert_eq!(dump(), before);
        let removals: &[&[&str]] = &[
            &["ip rule del pref 20000", "ip -6 rule del pref 20003"],
            &["ip rule del pref 20009", "ip -6 rule del pref 20009"],
            &["ip rule del pref 20001", "ip rule del pref 20002", "ip -6 rule del pref 20002"],
            &["ip rule del pref 20004"],
            &["ip route flush table 26880"],
            &["ip -6 route flush table 26880"],
            &["ip route del 10.1.0.0/16 table 26880", "ip -6 route del 2001:db8:1::/48 table 26880"],
            &["ip route flush table 26881", "ip -6 route flush table 26881"],
            // With its last address a link loses its routes, and the kernel says nothing of them.
            &["ip addr flush dev hypertap0 scope global"],
            &["ip rule flush", "ip rule add pref 32766 lookup main", "ip rule add pref 32767 lookup default"],
        ];
        for removal in removals {
            removal.iter().for_each(|command| _ = run(command));
            assert_ne!(dump(), before, "{removal:?}");
            assert!(half.reassert().await.unwrap(), "{removal:?}");
            assert_dump(&before, &format!("{removal:?}"));
            assert!(!half.reassert().await.unwrap(), "{removal:?}");
        }
        half.close_tun().await.unwrap();
        assert_eq!(dump(), bare);
        assert_eq!(half.reassert().await, Err(MachineError::NoTun));
    });
}

#[test]
fn what_was_taken_back_by_a_command_is_not_put_back() {
    in_namespace(async |state| {
        let (mut half, _tun) = full(&state).await;
        half.capture_dns(false).await.unwrap();
        half.change_routes(&remove(ROUTES)).await.unwrap();
        let before = dump();
        assert!(!half.reassert().await.unwrap());
        delete_rules(&[20003]);
        assert!(half.reassert().await.unwrap());
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_strangers_thing_in_our_place_is_left_and_said_and_the_rest_is_put_back() {
    in_namespace(async |state| {
        add_uplink();
        let (mut half, _tun) = full(&state).await;
        run("ip route replace 10.0.0.0/8 dev up0 table 26880");
        run("ip route del 10.1.0.0/16 table 26880");
        delete_rules(&[20000]);
        let error = half.reassert().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot add route 10.0.0.0/8 dev hypertap0: File exists");
        assert!(run("ip route show table 26880").contains("10.0.0.0/8 dev up0"));
        assert!(run("ip route show table 26880").contains("throw 10.1.0.0/16"));
        assert_eq!(device_to("10.2.0.1 mark 0x6874").as_deref(), Some("up0"));
    });
}

#[test]
fn without_an_ipv6_carrying_link_nothing_is_missing_all_the_time() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let _tun = half.open_tun(&TunSpec { mtu: 1000, ..spec() }).await.unwrap();
        half.capture_dns(true).await.unwrap();
        assert!(!half.reassert().await.unwrap());
        run("ip -6 route flush table 26881");
        assert!(half.reassert().await.unwrap());
        assert!(!half.reassert().await.unwrap());
        assert!(run("ip -6 route show table 26881").starts_with("unreachable default"));
    });
}

/// Twenty thousand routes.
fn many() -> Vec<(IpNet, RouteKind)> {
    let one = |n: u32| (net(&format!("10.{}.{}.0/24", n / 256, n % 256)), RouteKind::Included);
    (0..20_000).map(one).collect()
}

#[test]
fn twenty_thousand_routes_are_put_back_quickly() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        let start = Instant::now();
        half.change_routes(&RouteChange { add: many(), remove: Vec::new() }).await.unwrap();
        let adding = start.elapsed();
        let before = dump();
        run("ip route flush table 26880");
        let start = Instant::now();
        assert!(half.reassert().await.unwrap());
        let took = start.elapsed();
        assert_eq!(dump(), before);
        // Both at the pace of a machine that may be busy with more.
        assert!(took < 10 * adding + Duration::from_secs(1), "{took:?}, and adding them {adding:?}");
    });
}

/// Waits for news of a removal.
async fn is_told(monitor: &mut LinkMonitor) -> bool {
    let news = async { while monitor.next().await.unwrap() != LinkEvent::Policy {} };
    tokio::time::timeout(Duration::from_secs(5), news).await.is_ok()
}

/// Whether the monitor has said nothing of a removal when it says that a link, made now, is up.
async fn is_not_told(monitor: &mut LinkMonitor, link: &str) -> bool {
    run(&format!("ip tuntap add mode tap name {link}"));
    run(&format!("ip link set {link} up"));
    loop {
        match monitor.next().await.unwrap() {
            LinkEvent::Policy => return false,
            LinkEvent::Up { .. } => return true,
            _ => {}
        }
    }
}

#[test]
fn the_monitor_tells_of_strangers_removals_and_not_of_our_own() {
    in_namespace(async |state| {
        let mut monitor = LinkMonitor::new().await.unwrap();
        let (mut half, tun) = full(&state).await;
        monitor.watch(Some((tun.index, tun.footprint)));
        half.change_routes(&remove(&ROUTES[..1])).await.unwrap();
        half.capture_dns(false).await.unwrap();
        half.capture_dns(true).await.unwrap();
        assert!(is_not_told(&mut monitor, "noise0").await, "these were our own");
        for removal in [
            "ip rule del pref 20003",
            "ip -6 rule del pref 20002",
            "ip route flush table 26880",
            "ip -6 route flush table 26880",
            "ip route flush table 26881",
            "ip addr del 100.64.7.1/32 dev hypertap0",
            "ip addr del fd64::1/128 dev hypertap0",
        ] {
            run(removal);
            assert!(is_told(&mut monitor).await, "{removal}");
            assert!(half.reassert().await.unwrap(), "{removal}");
            while !is_not_told(&mut monitor, "noise1").await {
                // What was announced after the first word of a removal of many.
                run("ip link del noise1");
            }
            run("ip link del noise1");
            assert!(is_not_told(&mut monitor, "noise1").await, "putting it back removes nothing: {removal}");
            run("ip link del noise1");
        }
        // Other people's things.
        run("ip rule add pref 19999 lookup 77");
        run("ip rule del pref 19999");
        run("ip route add 10.0.0.0/8 dev lo table 26882");
        run("ip route del 10.0.0.0/8 dev lo table 26882");
        run("ip addr add 192.0.2.77/32 dev lo");
        run("ip addr del 192.0.2.77/32 dev lo");
        assert!(is_not_told(&mut monitor, "noise2").await);
        // Nor does the tunnel's end count, once it is no longer watched.
        monitor.watch(None);
        half.close_tun().await.unwrap();
        assert!(is_not_told(&mut monitor, "noise3").await);
    });
}

#[test]
fn changes_of_more_routes_than_there_is_room_to_hear_of_are_no_reason_to_look() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let mut monitor = LinkMonitor::new().await.unwrap();
        // Of a program that exchanges routes with others.
        let others = ["add", "del"];
        for word in others {
            let lines =
                many().iter().map(|(net, _)| format!("route {word} blackhole {net}\n")).collect::<String>();
            std::fs::write(state.path().join(word), lines).unwrap();
        }
        for round in 0..2 {
            let tun = half.open_tun(&spec()).await.unwrap();
            monitor.watch(Some((tun.index, tun.footprint)));
            half.change_routes(&RouteChange { add: many(), remove: Vec::new() }).await.unwrap();
            half.change_routes(&RouteChange { add: Vec::new(), remove: many() }).await.unwrap();
            half.change_routes(&RouteChange { add: many(), remove: Vec::new() }).await.unwrap();
            assert!(is_not_told(&mut monitor, &format!("noise{round}")).await, "round {round}");
            for file in others {
                run(&format!("ip -batch {}", state.path().join(file).display()));
            }
            assert!(is_not_told(&mut monitor, &format!("noise{round}x")).await, "these were others' own");
            run("ip route del 10.0.0.0/24 table 26880");
            assert!(is_told(&mut monitor).await, "a stranger's removal is heard of still");
            monitor.watch(None);
            half.close_tun().await.unwrap();
        }
    });
}
