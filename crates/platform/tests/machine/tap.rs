//! TAPs: made with all that was asked for, and gone with their descriptor.

use crate::setup::*;
use hypertap_platform::helper::{Helper, serve};
use hypertap_platform::{MachineError, Offload, Privileged, Tap, TapName, TapSpec};
use hypertap_wire::ethernet::MacAddress;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

pub(crate) fn tap_spec() -> TapSpec {
    TapSpec {
        name: TapName::Free,
        mac: MacAddress([2, 0, 0, 0, 0, 1]),
        ipv4: Some((Ipv4Addr::new(10, 99, 0, 1), 24)),
        ipv6: Some((Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1), 64)),
        mtu: 1500,
        metric: 0,
        nud: true,
        accept_ra: false,
        offload: true,
    }
}

fn called(name: &str) -> TapSpec {
    TapSpec { name: TapName::Exact(name.to_owned()), ..tap_spec() }
}

fn names() -> Vec<String> {
    let links = json("ip -j link");
    links.as_array().unwrap().iter().map(|link| link["ifname"].as_str().unwrap().to_owned()).collect()
}

/// Closes a descriptor and waits until what it held is gone, which takes as long as a program that another
/// test starts at that moment has a copy of it.
fn close(tap: Tap) {
    let Tap { name, descriptor, .. } = tap;
    drop(descriptor);
    wait_until_gone(&name);
}

pub(crate) fn wait_until_gone(name: &str) {
    let end = Instant::now() + Duration::from_secs(5);
    while try_run(&format!("ip link show dev {name}")).0 {
        assert!(Instant::now() < end, "{name} does not go");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn setting(path: &str) -> String {
    std::fs::read_to_string(format!("/proc/sys/net/ipv6/{path}")).unwrap().trim_end().to_owned()
}

#[test]
fn a_tap_has_all_that_was_asked_for() {
    in_namespace(async |state| {
        let spec = TapSpec { mtu: 1400, metric: 77, nud: false, accept_ra: true, ..called("tap7") };
        let Tap { name, index, descriptor, offload } = half(&state).open_tap(&spec).await.unwrap();
        assert_eq!((name.as_str(), offload), ("tap7", Offload::TcpUdp));
        let link = &json("ip -d -j link show dev tap7")[0];
        assert_eq!(link["ifindex"], index);
        assert_eq!(link["linkinfo"]["info_data"]["type"], "tap");
        assert_eq!(link["linkinfo"]["info_data"]["persist"], false);
        assert_eq!(link["address"], "02:00:00:00:00:01");
        assert_eq!(link["mtu"], 1400);
        let flags = link["flags"].as_array().unwrap();
        assert!(flags.iter().any(|flag| flag == "LOWER_UP"), "no carrier: {flags:?}");
        let addresses = json("ip -j addr show dev tap7");
        let addresses = addresses[0]["addr_info"].as_array().unwrap();
        let ipv4 = addresses.iter().find(|address| address["local"] == "10.99.0.1").unwrap();
        assert_eq!((&ipv4["prefixlen"], &ipv4["broadcast"]), (&24.into(), &"10.99.0.255".into()));
        let ipv6 = addresses.iter().find(|address| address["local"] == "fd99::1").unwrap();
        assert_eq!((&ipv6["prefixlen"], &ipv6["tentative"]), (&64.into(), &serde_json::Value::Null));
        for (route, destination) in
            [("ip -4 -j route show dev tap7", "10.99.0.0/24"), ("ip -6 -j route show dev tap7", "fd99::/64")]
        {
            let routes = json(route);
            let route = routes.as_array().unwrap().iter().find(|route| route["dst"] == destination).unwrap();
            assert_eq!(route["metric"], 77, "{destination}");
        }
        assert_eq!((setting("conf/tap7/accept_ra"), setting("conf/tap7/autoconf")), ("2".into(), "1".into()));
        assert_eq!(setting("neigh/tap7/base_reachable_time_ms"), "1000000000");
        assert_eq!(setting("neigh/tap7/delay_first_probe_time"), "1000000");
        close(Tap { name, index, descriptor, offload });
    });
}

#[test]
fn a_tap_has_nothing_that_was_not_asked_for() {
    in_namespace(async |state| {
        run("sysctl -q net.ipv6.conf.default.accept_ra=2");
        let usual = setting("neigh/lo/base_reachable_time_ms");
        let tap = half(&state).open_tap(&TapSpec { offload: false, ..tap_spec() }).await.unwrap();
        assert_eq!((tap.name.as_str(), tap.offload), ("tap0", Offload::None));
        assert_eq!((setting("conf/tap0/accept_ra"), setting("conf/tap0/autoconf")), ("0".into(), "0".into()));
        assert_eq!(setting("neigh/tap0/base_reachable_time_ms"), usual);
        let routes = json("ip -4 -j route show dev tap0");
        assert_eq!(routes[0]["metric"], serde_json::Value::Null);
    });
}

#[test]
fn a_tap_outlives_its_half_and_goes_with_its_descriptor() {
    in_namespace(async |state| {
        let before = dump();
        let mut one = half(&state);
        let first = one.open_tap(&tap_spec()).await.unwrap();
        let other =
            TapSpec { ipv4: Some((Ipv4Addr::new(10, 98, 0, 1), 31)), ipv6: None, mtu: 576, ..called("game") };
        let second = one.open_tap(&other).await.unwrap();
        assert!(one.close_tun().await.is_ok());
        drop(one);
        assert_eq!(names(), ["lo", "tap0", "game"]);
        assert!(!std::path::Path::new("/proc/sys/net/ipv6/conf/game").exists(), "IPv6 below 1280 bytes");
        close(first);
        assert_eq!(names(), ["lo", "game"]);
        close(second);
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_strangers_interface_is_never_taken_over() {
    in_namespace(async |state| {
        run("ip link add tap0 type veth peer name far0");
        run("ip tuntap add tap1 mode tap");
        let before = dump();
        let mut half = half(&state);
        for name in ["tap0", "tap1", "lo"] {
            let error = half.open_tap(&called(name)).await.unwrap_err();
            assert_eq!(error, MachineError::NameTaken(name.to_owned()));
        }
        assert_eq!(dump(), before);
        let tap = half.open_tap(&tap_spec()).await.unwrap();
        assert_eq!(tap.name, "tap2");
        close(tap);
        assert_eq!(dump(), before);
    });
}

#[test]
fn what_fails_half_way_leaves_nothing() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        for bad in [
            TapSpec { mac: MacAddress([1, 0, 0, 0, 0, 1]), ..tap_spec() },
            TapSpec { mtu: 1279, ..tap_spec() },
            TapSpec { ipv4: Some((Ipv4Addr::new(10, 0, 0, 1), 0)), ..tap_spec() },
        ] {
            half.open_tap(&bad).await.unwrap_err();
        }
        // Settings cannot be written in many a container.
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let (none, sys): (Option<&str>, _) = (None, "/proc/sys");
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
        mount(Some(sys), sys, none, MsFlags::MS_BIND | MsFlags::MS_REC, none).unwrap();
        // In a user namespace the machine's own limits on it may not be lifted.
        let limits = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
        let read_only = MsFlags::MS_REMOUNT | MsFlags::MS_BIND | MsFlags::MS_RDONLY | limits;
        mount(none, sys, none, read_only, none).unwrap();
        let error = half.open_tap(&TapSpec { accept_ra: true, ..tap_spec() }).await.unwrap_err();
        let error = error.to_string();
        assert!(error.contains("let tap0 take router advertisements: Read-only file system"), "{error}");
        assert_eq!(dump(), before);
        let tap = half.open_tap(&TapSpec { nud: false, ..tap_spec() }).await.unwrap();
        assert_eq!(setting("neigh/tap0/base_reachable_time_ms"), "1000000000");
        close(tap);
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_helper_hands_a_tap_over_and_may_go() {
    in_namespace(async |state| {
        let ((ours, theirs), (keeper, daemon)) = (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
        let machine = half(&state);
        let serving = async move { serve(theirs.into(), 1000, machine, std::future::pending()).await };
        #[expect(clippy::disallowed_methods, reason = "the handle is kept")]
        let serving = tokio::spawn(serving);
        hypertap_platform::descriptor::send(keeper.as_fd(), b"h", &[ours.as_fd()]).unwrap();
        drop(ours);
        let mut helper = Helper::connect(daemon.into()).await.unwrap();
        let bad = helper.open_tap(&called("tap%d")).await.unwrap_err();
        assert_eq!(bad, MachineError::BadName("tap%d".to_owned()));
        let tap = helper.open_tap(&called("tap3")).await.unwrap();
        assert_eq!((tap.name.as_str(), tap.offload), ("tap3", Offload::TcpUdp));
        drop(helper);
        serving.await.unwrap().unwrap();
        assert_eq!(names(), ["lo", "tap3"]);
        close(tap);
        assert_eq!(names(), ["lo"]);
    });
}
