//! The interface itself, and how it goes.

use crate::setup::*;
use hypertap_platform::{MachineError, Offload, RouteChange, RouteKind, TunSpec, in_process};
use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
use std::net::{Ipv6Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::TryRecvError;
use std::time::{Duration, Instant};

#[test]
fn a_tunnel_that_was_open_leaves_the_machine_as_it_was() {
    in_namespace(async |state| {
        add_uplink();
        let before = dump();
        let mut half = half(&state);
        for _ in 0..2 {
            let tun =
                half.open_tun(&TunSpec { ipv6: Some("fd64::1".parse().unwrap()), ..spec() }).await.unwrap();
            half.change_routes(&add(&[
                ("10.0.0.0/8", RouteKind::Included),
                ("10.1.0.0/16", RouteKind::Excluded),
                ("2001:db8::/32", RouteKind::Included),
                ("2001:db8:1::/48", RouteKind::Excluded),
            ]))
            .await
            .unwrap();
            half.capture_dns(true).await.unwrap();
            assert_ne!(dump(), before);
            half.close_tun().await.unwrap();
            drop(tun);
            assert_eq!(dump(), before);
        }
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
    });
}

#[test]
fn dropping_the_half_undoes_its_tunnel() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        half.change_routes(&add(&[("10.1.0.0/16", RouteKind::Excluded)])).await.unwrap();
        half.capture_dns(true).await.unwrap();
        drop(half);
        assert_eq!(dump(), before);
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
        drop(tun);
    });
}

#[test]
fn the_interface_is_up_with_its_addresses_and_nothing_more() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let tun = half.open_tun(&TunSpec { mtu: 9000, ..spec() }).await.unwrap();
        let link = json(&format!("ip -j -d addr show dev {}", tun.name));
        assert_eq!(tun.name, "hypertap0");
        assert_eq!(link[0]["ifindex"], tun.index);
        assert_eq!(link[0]["mtu"], 9000);
        assert!(link[0]["flags"].as_array().unwrap().contains(&"UP".into()), "{link}");
        let addresses = link[0]["addr_info"].as_array().unwrap();
        assert_eq!(addresses.len(), 1, "{link}");
        assert_eq!((&addresses[0]["local"], &addresses[0]["prefixlen"]), (&"100.64.7.1".into(), &32.into()));
        let header = tun.queues.len();
        assert_eq!((header, tun.offload), (1, Offload::None));
    });
}

#[test]
fn opening_waits_for_nothing() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let mut quickest = Duration::MAX;
        // A machine that is busy with more is slow now and then, a wait would be there each time.
        for _ in 0..10 {
            let started = Instant::now();
            let _tun = half.open_tun(&spec()).await.unwrap();
            quickest = quickest.min(started.elapsed());
            half.close_tun().await.unwrap();
        }
        assert!(quickest < Duration::from_millis(500), "{quickest:?}");
    });
}

#[test]
fn an_ipv6_address_is_usable_at_once() {
    in_namespace(async |state| {
        // As in a container: IPv6 is off on new interfaces.
        std::fs::write("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1").unwrap();
        let mut half = half(&state);
        let address: Ipv6Addr = "fd64::7".parse().unwrap();
        let tun = half.open_tun(&TunSpec { ipv6: Some(address), ..spec() }).await.unwrap();
        UdpSocket::bind((address, 0)).expect("no duplicate address detection");
        half.change_routes(&add(&[("2001:db8::/32", RouteKind::Included)])).await.unwrap();
        send("[2001:db8::5]:9", 0).unwrap();
        let found = packet_with(tun.queues[0].as_fd(), |packet| packet[0] >> 4 == 6 && packet[39] == 5);
        assert_eq!(found[8..24], address.octets());
    });
}

#[test]
fn queues_are_as_many_as_asked_for_and_not_blocking() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let tun = half.open_tun(&TunSpec { queues: 4, ..spec() }).await.unwrap();
        assert_eq!(tun.queues.len(), 4);
        for queue in &tun.queues {
            let flags = OFlag::from_bits_retain(fcntl(queue, FcntlArg::F_GETFL).unwrap());
            assert!(flags.contains(OFlag::O_NONBLOCK));
            let flags = FdFlag::from_bits_retain(fcntl(queue, FcntlArg::F_GETFD).unwrap());
            assert!(flags.contains(FdFlag::FD_CLOEXEC));
        }
        let link = json(&format!("ip -j -d link show dev {}", tun.name));
        assert_eq!(link[0]["linkinfo"]["info_data"]["numqueues"], 4);
    });
}

#[test]
fn offload_puts_a_virtio_header_before_each_packet() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let tun = half.open_tun(&TunSpec { offload: true, ..spec() }).await.unwrap();
        assert_eq!(tun.offload, Offload::TcpUdp);
        half.change_routes(&add(&[("10.0.0.0/8", RouteKind::Included)])).await.unwrap();
        send("10.0.0.9:9", 0).unwrap();
        let to = is_ipv4_to([10, 0, 0, 9], 9);
        let packet = packet_with(tun.queues[0].as_fd(), |packet| packet.len() > 34 && to(&packet[10..]));
        assert_eq!(packet.len(), 10 + 20 + 8 + 5);
    });
}

#[test]
fn a_taken_name_is_refused_even_where_it_could_be_attached_to() {
    in_namespace(async |state| {
        run("ip tuntap add dev mine0 mode tun");
        run("ip link add mine1 type veth peer name peer1");
        run("ip link property add dev mine1 altname mine2");
        let before = dump();
        let mut half = half(&state);
        // A child has a copy of every descriptor of ours until it executes its program.
        let (done, is_done) = std::sync::mpsc::sync_channel::<()>(0);
        let children = std::thread::spawn(move || {
            while is_done.try_recv() == Err(TryRecvError::Empty) {
                Command::new("true").status().unwrap();
            }
        });
        for name in ["mine0", "mine1", "mine2", "lo"].repeat(20) {
            let refused = half.open_tun(&named(name)).await.unwrap_err();
            assert_eq!(refused, MachineError::NameTaken(name.to_owned()));
            assert!(!std::fs::read_to_string("/proc/thread-self/net/dev").unwrap().contains("hypertap"));
        }
        drop(done);
        children.join().unwrap();
        assert_eq!(dump(), before);
        assert_eq!(half.open_tun(&named("mine3")).await.unwrap().name, "mine3");
    });
}

#[test]
fn what_is_no_name_is_refused() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a:b",
            "tun%d",
            "a b",
            "sixteen-bytes-xy",
            "a\0b",
            "a\tb",
            "all",
            "default",
            "\u{e0}",
        ] {
            let refused = half.open_tun(&named(name)).await.unwrap_err();
            assert_eq!(refused, MachineError::BadName(name.to_owned()));
        }
        assert_eq!(dump(), before);
    });
}

#[test]
fn without_a_name_the_first_free_one_is_taken() {
    in_namespace(async |state| {
        run("ip link add hypertap0 type veth peer name hypertap2");
        let (mut one, mut two) = (half(&state), half(&state));
        let first = one.open_tun(&spec()).await.unwrap();
        let second = two.open_tun(&spec()).await.unwrap();
        assert_eq!((first.name.as_str(), second.name.as_str()), ("hypertap1", "hypertap3"));
    });
}

#[test]
fn jobs_come_in_their_order() {
    in_namespace(async |state| {
        let mut half = half(&state);
        assert_eq!(half.change_routes(&RouteChange::default()).await, Err(MachineError::NoTun));
        assert_eq!(half.capture_dns(true).await, Err(MachineError::NoTun));
        half.close_tun().await.unwrap();
        half.load_driver().await.unwrap();
        let _tun = half.open_tun(&spec()).await.unwrap();
        assert_eq!(half.open_tun(&spec()).await.unwrap_err(), MachineError::TunExists);
        half.capture_dns(false).await.unwrap();
        half.close_tun().await.unwrap();
        half.close_tun().await.unwrap();
    });
}

#[test]
fn what_a_tunnel_cannot_have_leaves_nothing_behind() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let refused = half.open_tun(&TunSpec { mtu: 70_000, ..spec() }).await.unwrap_err();
        assert_eq!(refused.to_string(), "cannot set MTU 70000 on hypertap0: Invalid argument");
        let multicast = TunSpec { ipv6: Some("ff02::1".parse().unwrap()), ..spec() };
        assert!(matches!(half.open_tun(&multicast).await, Err(MachineError::Kernel { .. })));
        assert_eq!(dump(), before);
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
        half.open_tun(&spec()).await.unwrap();
    });
}

/// Not a test by itself: runs as root without `CAP_NET_ADMIN`.
#[test]
#[ignore = "another test starts it, without rights"]
fn powerless() {
    let state = std::env::var_os(CHILD_STATE).expect("started by a test");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut half = in_process(Path::new(&state)).unwrap();
    let refused = runtime.block_on(half.open_tun(&spec())).unwrap_err();
    assert_eq!(refused, MachineError::NotPermitted { doing: "create a TUN interface".to_owned() });
}

#[test]
fn without_the_right_it_says_which_is_missing() {
    in_namespace(async |state| {
        let output = Command::new("setpriv")
            .args(["--bounding-set=-net_admin", "--inh-caps=-net_admin"])
            .arg(this_program())
            .args(["--ignored", "--exact", "tunnel::powerless"])
            .env(CHILD_STATE, state.path())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert_eq!(journal_files(state.path()), Vec::<String>::new());
    });
}

#[test]
fn closing_copes_with_what_is_gone_and_spares_what_came_instead() {
    in_namespace(async |state| {
        let mut half = half(&state);
        let tun = half.open_tun(&named("mine0")).await.unwrap();
        half.change_routes(&add(&[("10.0.0.0/8", RouteKind::Excluded)])).await.unwrap();
        half.capture_dns(true).await.unwrap();
        run("ip link del mine0");
        run("ip rule flush");
        run("ip rule add from all lookup main pref 32766");
        run("ip tuntap add dev mine0 mode tun");
        run("ip addr add 100.64.7.9/32 dev mine0");
        half.close_tun().await.unwrap();
        drop(tun);
        assert_eq!(json("ip -j addr show dev mine0")[0]["addr_info"][0]["local"], "100.64.7.9");
        assert_eq!(run("ip -6 rule"), "0:\tfrom all lookup local\n32766:\tfrom all lookup main\n");
        assert!(!run("ip route show table all").contains("proto 104"));
    });
}

#[test]
fn closing_deletes_an_interface_that_somebody_made_persistent() {
    in_namespace(async |state| {
        let before = dump();
        let mut half = half(&state);
        let tun = half.open_tun(&spec()).await.unwrap();
        make_persistent(&tun);
        drop(tun);
        half.close_tun().await.unwrap();
        assert_eq!(dump(), before);
    });
}
