//! Routes, and the numbers they are kept under.

use crate::setup::*;
use hypertap_platform::{Privileged, RouteChange, RouteKind, Tun, TunSpec};
use ipnet::IpNet;
use std::net::Ipv4Addr;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use tempfile::TempDir;

#[test]
fn ipv6_routes_work_without_an_ipv6_address() {
    in_namespace(async |state| {
        add_uplink();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        half.change_routes(&add(&[("2001:db8::/32", RouteKind::Included)])).await.unwrap();
        send("[2001:db8::5]:9", 0).unwrap();
        packet_with(tun.queues[0].as_fd(), |packet| packet[0] >> 4 == 6 && packet[39] == 5);
    });
}

#[test]
fn excluded_routes_and_marked_sockets_go_where_they_went_before() {
    in_namespace(async |state| {
        add_uplink();
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        assert_eq!(device_to("10.2.0.1").as_deref(), Some("up0"));
        half.change_routes(&add(&[
            ("10.0.0.0/8", RouteKind::Included),
            ("10.1.0.0/16", RouteKind::Excluded),
            ("10.1.1.1/32", RouteKind::Included),
            ("::/0", RouteKind::Included),
            ("2001:db8::/32", RouteKind::Excluded),
        ]))
        .await
        .unwrap();
        let ways = [
            ("10.2.0.1", "hypertap0"),
            ("10.1.0.1", "up0"),
            ("10.1.1.1", "hypertap0"),
            ("11.0.0.1", "up0"),
            ("2001:db9::1", "hypertap0"),
            ("2001:db8::1", "up0"),
            // The mark is compared whole.
            ("10.2.0.1 mark 0x6874", "up0"),
            ("10.2.0.1 mark 0x16874", "hypertap0"),
            ("2001:db9::1 mark 0x6874", "up0"),
        ];
        for (destination, device) in ways {
            assert_eq!(device_to(destination).as_deref(), Some(device), "{destination}");
        }
        half.change_routes(&RouteChange {
            remove: vec![(net("10.0.0.0/8"), RouteKind::Included), (net("10.1.0.0/16"), RouteKind::Excluded)],
            add: vec![(net("10.0.0.0/8"), RouteKind::Excluded)],
        })
        .await
        .unwrap();
        assert_eq!(device_to("10.2.0.1").as_deref(), Some("up0"));
        assert_eq!(device_to("10.1.1.1").as_deref(), Some("hypertap0"));
    });
}

#[test]
fn a_change_with_one_bad_route_changes_nothing() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        let there = [
            ("10.0.0.0/8", RouteKind::Included),
            ("10.1.0.0/16", RouteKind::Excluded),
            ("2001:db8::/32", RouteKind::Included),
            ("2001:db8:1::/48", RouteKind::Excluded),
        ];
        half.change_routes(&add(&there)).await.unwrap();
        let before = dump();
        let mut change = remove(&there);
        change.add = (0..200_u8).map(|n| (net(&format!("172.16.{n}.0/24")), RouteKind::Included)).collect();
        change.add.insert(100, (net("172.16.3.0/24"), RouteKind::Excluded));
        change.add.push((net("2001:db8::/32"), RouteKind::Excluded));
        let refused = half.change_routes(&change).await.unwrap_err();
        assert_eq!(refused.to_string(), "cannot add route 172.16.3.0/24 around hypertap0: File exists");
        assert_eq!(dump(), before);
    });
}

#[test]
fn removing_what_the_kernel_removed_succeeds() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        let routes = [("10.0.0.0/8", RouteKind::Included), ("2001:db8::/32", RouteKind::Included)];
        half.change_routes(&add(&routes)).await.unwrap();
        run(&format!("ip link set {} down", tun.name));
        half.change_routes(&remove(&routes)).await.unwrap();
    });
}

#[test]
fn twenty_thousand_routes_are_quick() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        let before = dump();
        let kind = |n: u32| if n.is_multiple_of(2) { RouteKind::Included } else { RouteKind::Excluded };
        let many: Vec<(IpNet, RouteKind)> = (0..20_000_u32)
            .map(|n| {
                let address = if n % 4 < 2 {
                    net(&format!("{}/32", Ipv4Addr::from(0x0A00_0000 + n)))
                } else {
                    net(&format!("2001:db8:{n:x}::/48"))
                };
                (address, kind(n))
            })
            .collect();
        let started = Instant::now();
        half.change_routes(&RouteChange { add: many.clone(), remove: Vec::new() }).await.unwrap();
        let added = started.elapsed();
        assert_eq!(device_to("10.0.0.4").as_deref(), Some("hypertap0"));
        let started = Instant::now();
        half.change_routes(&RouteChange { remove: many.clone(), add: Vec::new() }).await.unwrap();
        let removed = started.elapsed();
        assert_eq!(dump(), before);
        half.change_routes(&RouteChange { add: many, remove: Vec::new() }).await.unwrap();
        let started = Instant::now();
        half.close_tun().await.unwrap();
        let closed = started.elapsed();
        eprintln!("20,000 routes: added in {added:?}, removed in {removed:?}, closed in {closed:?}");
        assert!(added + removed + closed < Duration::from_secs(20));
    });
}

#[test]
fn an_ipv6_route_that_the_mtu_is_too_small_for_is_refused_with_the_cure() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let _tun = half.open_tun(&TunSpec { mtu: 1000, ..spec() }).await.unwrap();
        let before = dump();
        let routes = [("10.0.0.0/8", RouteKind::Included), ("fd00::/8", RouteKind::Included)];
        let refused = half.change_routes(&add(&routes)).await.unwrap_err().to_string();
        assert!(
            refused.starts_with("cannot add route fd00::/8 dev hypertap0: its MTU is too small"),
            "{refused}"
        );
        assert!(refused.contains("\"mtu\":1280"), "{refused}");
        assert_eq!(dump(), before);
        half.change_routes(&add(&[("fd00::/8", RouteKind::Excluded)])).await.unwrap();
        half.close_tun().await.unwrap();
    });
}

#[test]
fn tunnels_opened_at_the_same_moment_do_not_meet() {
    in_namespace(async |state| {
        let before = dump();
        let start = std::sync::Barrier::new(8);
        let other_state = TempDir::new().unwrap();
        let mut open: Vec<(Box<dyn Privileged>, Tun)> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|number| {
                    let state = if number % 2 == 0 { &state } else { &other_state };
                    let start = &start;
                    scope.spawn(move || {
                        let runtime =
                            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                        let mut half = half(state);
                        start.wait();
                        let tun = runtime.block_on(half.open_tun(&spec())).unwrap();
                        (half, tun)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (number, (half, _)) in open.iter_mut().enumerate() {
            let route = format!("10.{number}.0.0/16");
            half.change_routes(&add(&[(&route, RouteKind::Included)])).await.unwrap();
        }
        while let Some((mut half, tun)) = open.pop() {
            for (number, (_, tun)) in open.iter().enumerate() {
                assert_eq!(device_to(&format!("10.{number}.0.1")), Some(tun.name.clone()));
            }
            half.close_tun().await.unwrap();
            drop(tun);
        }
        assert_eq!(dump(), before);
    });
}

#[test]
fn numbers_that_somebody_uses_are_left_to_them() {
    in_namespace(async |state| {
        add_uplink();
        run("ip rule add from 192.0.2.1 lookup main pref 20003");
        run("ip -6 route add 2001:db8::/64 dev up0 table 26883");
        run("ip rule add from 192.0.2.1 lookup 26884 pref 99");
        let before = dump();
        let mut half = half(&state);
        let _tun = half.open_tun(&spec()).await.unwrap();
        let rules = run("ip rule");
        assert!(rules.contains("20033:\tfrom all lookup 26886 proto 104"), "{rules}");
        half.capture_dns(true).await.unwrap();
        half.close_tun().await.unwrap();
        let after = dump();
        for (before, after) in before.iter().zip(&after) {
            assert_eq!(before, after);
        }
    });
}
