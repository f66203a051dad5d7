//! After every end, the machine is as it was.

#[path = "cleanup/state_folder.rs"]
mod state_folder;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_tests::daemon::{binary, wait_until_gone};
use hypertap_tests::machine::{Uplink, add_link, device_towards, ip, is_link, output, ping, run};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::open_files::limit_files;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::{Client, Daemon, Dump, Responder, Setup, UdpProgram, eventually, in_namespaces, json};
use nix::sys::signal::{Signal, kill};

/// A machine with something on it that must stay: an uplink, rules and routes of its own.
fn furnished() -> (Uplink, Dump) {
    let uplink = Uplink::connect();
    ip("rule add pref 100 from 10.0.0.1 lookup 100");
    ip("rule add pref 5210 fwmark 0x6879 lookup 101");
    ip("-6 rule add pref 100 from fd00::77 lookup 100");
    ip("route add 10.77.0.0/16 via 192.0.2.2 table 100");
    ip("route add throw 10.78.0.0/16 table 100");
    ip("route add blackhole 10.79.0.0/16");
    (uplink, Dump::now())
}

/// A tunnel with everything that it can change on the machine.
fn full(client: &mut Client) {
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0", "10.9.0.0/16"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["192.0.2.0/24", "fd77::/16"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
    assert_eq!(device_towards("10.9.0.1").as_deref(), Some("hypertap0"));
}

/// A daemon that has dropped its rights, with a tunnel that changes everything on a furnished machine.
fn full_as_nobody() -> (Uplink, Dump, Daemon, Client) {
    let (uplink, before) = furnished();
    let daemon = Setup::new().args(&["--user", "nobody"]).start();
    let mut client = daemon.client();
    full(&mut client);
    (uplink, before, daemon, client)
}

/// Entries of the journal, sockets and folders of instances that are left.
fn left_in_state_folder() -> Vec<String> {
    let names = |folder: &str| {
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path().display().to_string()).collect::<Vec<_>>()
    };
    let mut all = names("/run/hypertap");
    all.retain(|path| !path.ends_with("/journal"));
    all.extend(names("/run/hypertap/journal"));
    all.retain(|path| !path.ends_with("/lock"));
    all
}

#[test]
fn starting_and_ending_without_a_tunnel_changes_nothing() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        before.assert_same();
        daemon.signal(Signal::SIGTERM);
        daemon.assert_ends_well();
        before.assert_same();
    });
}

#[test]
fn the_machine_is_as_it_was_after_shutdown_and_after_stop() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        for end in ["stop", "stop", "shutdown"] {
            full(&mut client);
            before.assert_changed();
            client.plain(&json!({"cmd": end}));
            before.assert_same();
            client.expect_stopped("stoppedByUser");
        }
        daemon.assert_ends_well();
        before.assert_same();
        assert_eq!(left_in_state_folder(), Vec::<String>::new());
    });
}

#[test]
fn the_machine_is_as_it_was_after_the_client_has_gone() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        drop(client);
        daemon.assert_ends_well();
        before.assert_same();
    });
}

#[test]
fn the_machine_is_as_it_was_after_a_signal_and_the_client_is_told() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        for signal in [Signal::SIGTERM, Signal::SIGINT] {
            let mut daemon = Daemon::start();
            let mut client = daemon.client();
            full(&mut client);
            daemon.signal(signal);
            client.expect_stopped("stoppedByUser");
            client.expect_end();
            daemon.assert_ends_well();
            before.assert_same();
        }
    });
}

#[test]
fn many_signals_end_as_one_does() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        for _ in 0..20 {
            // It may have ended between two of them.
            let _ = kill(daemon.pid(), Signal::SIGTERM);
            let _ = kill(daemon.pid(), Signal::SIGINT);
        }
        daemon.assert_ends_well();
        before.assert_same();
    });
}

#[test]
fn with_user_every_end_leaves_the_machine_as_it_was() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        for end in ["shutdown", "gone", "term"] {
            let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
            let helper = daemon.helper();
            let mut client = daemon.client();
            full(&mut client);
            match end {
                "shutdown" => client.plain(&json!({"cmd": "shutdown"})),
                "gone" => drop(client),
                _ => daemon.signal(Signal::SIGTERM),
            }
            daemon.assert_ends_well();
            wait_until_gone(helper);
            before.assert_same();
            // By the keeper, which ends after its helper.
            eventually(&format!("the sockets are removed after {end}"), || left_in_state_folder().is_empty());
        }
    });
}

#[test]
fn what_a_killed_daemon_left_is_removed_by_the_next_before_it_listens() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        for _ in 0..2 {
            let mut daemon = Daemon::start();
            let mut client = daemon.client();
            full(&mut client);
            daemon.kill();
            before.assert_changed();
            let mut next = Daemon::start();
            before.assert_same();
            next.signal(Signal::SIGTERM);
            next.assert_ends_well();
            before.assert_same();
        }
    });
}

#[test]
fn the_files_that_a_killed_daemon_left_are_removed_by_the_next() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start_with(json!({"dataPlane": "stream"}));
        daemon.kill();
        let mut next = Daemon::start();
        next.signal(Signal::SIGTERM);
        next.assert_ends_well();
        assert_eq!(left_in_state_folder(), Vec::<String>::new());
    });
}

#[test]
fn a_device_that_outlives_a_killed_daemon_is_removed_by_the_next() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.control();
        client.start_with(json!({"dataPlane": "fd"}));
        // The client holds the device, so it stays though the daemon dies.
        let device = client.take_descriptor();
        daemon.kill();
        assert!(is_link("hypertap0"));
        let mut next = Daemon::start();
        before.assert_same();
        drop(device);
        next.signal(Signal::SIGTERM);
        next.assert_ends_well();
    });
}

#[test]
fn a_start_with_other_ports_removes_what_a_killed_daemon_left_too() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        daemon.kill();
        let _next = Setup::new().ports(6500).start();
        before.assert_same();
    });
}

#[test]
fn a_starting_daemon_leaves_a_living_ones_things_alone() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let program = UdpProgram::bind();
        let mut first = Daemon::start();
        let mut client = first.client();
        full(&mut client);
        let _responder = Responder::start(program, ping_reply);
        let with_first = Dump::now();
        let mut second = Setup::new().ports(6500).start();
        with_first.assert_same();
        second.signal(Signal::SIGTERM);
        second.assert_ends_well();
        with_first.assert_same();
        // One that cannot even listen touches nothing either.
        let (code, _) = Setup::new().run_to_end();
        assert_eq!(code, Some(4));
        with_first.assert_same();
        client.expect_no_event();
        assert!(ping("10.9.0.1", &[]));
        first.assert_runs();
    });
}

#[test]
fn a_link_of_that_name_that_somebody_else_made_since_is_left_alone() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        daemon.kill();
        eventually("the kernel has removed the device", || !is_link("hypertap0"));
        add_link("hypertap0");
        let _next = Daemon::start();
        assert!(is_link("hypertap0"), "it is another's");
    });
}

#[test]
fn a_file_of_nonsense_in_the_state_folder_stops_nobody() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        daemon.kill();
        for entry in fs::read_dir("/run/hypertap").expect("it is there").flatten() {
            if entry.file_type().expect("a type").is_file() {
                fs::write(entry.path(), "{\"pid\": nonsense").expect("root may");
            }
        }
        let next = Daemon::start();
        next.client().start();
    });
}

#[test]
fn with_user_a_killed_daemons_things_are_undone_at_once() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
        let helper = daemon.helper();
        let mut client = daemon.client();
        full(&mut client);
        daemon.kill();
        wait_until_gone(helper);
        before.assert_same();
    });
}

/// Kills or ends the helper of a daemon with a full tunnel; returns when the client was told everything.
fn lose_the_helper(daemon: &Daemon, client: &mut Client, signal: Signal) {
    full(client);
    let helper = daemon.helper();
    kill(helper, signal).expect("it runs");
    client.expect_stopped("providerDisabled");
    client.expect_event("vpnRemoved");
}

#[test]
fn with_user_nothing_is_left_of_a_helper_that_ended_and_start_works_again() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        let left = left_in_state_folder();
        for signal in [Signal::SIGKILL, Signal::SIGTERM] {
            lose_the_helper(&daemon, &mut client, signal);
            before.assert_same();
            assert_eq!(client.status(), "disconnected", "after {signal}");
            assert_eq!(left_in_state_folder(), left, "after {signal}");
            client.expect_no_event();
        }
        // Whoever connects now finds the right there, and all that it gives.
        let responder = Responder::start(UdpProgram::bind(), ping_reply);
        full(&mut client);
        assert!(ping("10.9.0.1", &[]));
        drop(responder);
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        before.assert_same();
        let helper = daemon.helper();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        wait_until_gone(helper);
        eventually("the sockets are removed too", || left_in_state_folder().is_empty());
        before.assert_same();
    });
}

/// As [`lose_the_helper`] by a SIGKILL, which the machine and the next `start` must not show.
fn assert_a_loss_is_undone(daemon: &Daemon, client: &mut Client, before: &Dump) {
    lose_the_helper(daemon, client, Signal::SIGKILL);
    before.assert_same();
    assert_eq!(client.status(), "disconnected");
    client.expect_no_event();
    full(client);
    client.plain(&json!({"cmd": "stop"}));
    client.expect_stopped("stoppedByUser");
    before.assert_same();
}

#[test]
fn with_user_a_lost_helper_is_noticed_where_ends_of_children_are_ignored_too() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        let mut careless = Command::new("env");
        careless.arg("--ignore-signal=CHLD");
        let mut daemon = Setup::new().args(&["--user", "nobody"]).through(careless).start();
        let ignored = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
        let ignored = ignored.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("it is there");
        let ignored = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
        assert_ne!(ignored & (1 << (Signal::SIGCHLD as i32 - 1)), 0, "the daemon was started so");
        let mut client = daemon.client();
        assert_a_loss_is_undone(&daemon, &mut client, &before);
        let keeper = daemon.keeper();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        wait_until_gone(keeper);
        before.assert_same();
    });
}

/// What `hypertap recover` says.
fn recover() -> String {
    run(binary().to_str().expect("a path"), &["recover"])
}

#[test]
fn with_user_what_is_left_where_keeper_and_helper_are_killed_at_once_is_said_and_is_a_failure() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        for recovers in [false, true] {
            let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
            let mut client = daemon.client();
            full(&mut client);
            let (keeper, helper) = (daemon.keeper(), daemon.helper());
            // Stopped, neither notices the other's end.
            for (process, signal) in [
                (keeper, Signal::SIGSTOP),
                (helper, Signal::SIGSTOP),
                (keeper, Signal::SIGKILL),
                (helper, Signal::SIGKILL),
            ] {
                kill(process, signal).expect("it runs");
            }
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            before.assert_changed();
            daemon.log_with("hypertap recover");
            if recovers {
                recover();
                before.assert_same();
            }
            daemon.signal(Signal::SIGTERM);
            let code = daemon.wait_for_end().code();
            let log = daemon.log();
            let last = log.lines().last().unwrap_or_default();
            assert_eq!(
                (code, last.contains("hypertap recover")),
                (Some(i32::from(!recovers)), !recovers),
                "{log}"
            );
            recover();
            before.assert_same();
            assert_eq!(left_in_state_folder(), Vec::<String>::new());
        }
    });
}

#[test]
fn with_user_a_keeper_that_can_start_no_other_helper_undoes_what_the_lost_one_did() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before, mut daemon, mut client) = full_as_nobody();
        let (keeper, helper) = (daemon.keeper(), daemon.helper());
        limit_files(keeper, 4);
        kill(helper, Signal::SIGKILL).expect("it runs");
        eventually("it cannot", || daemon.log().contains("cannot start another privileged helper"));
        limit_files(keeper, 1024);
        client.expect_stopped("providerDisabled");
        client.expect_event("vpnRemoved");
        before.assert_same();
        assert_eq!(client.status(), "invalid");
        wait_until_gone(keeper);
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        eventually("the sockets are removed too", || left_in_state_folder().is_empty());
    });
}

/// Pages of the journal.
fn pages() -> Vec<String> {
    let left = left_in_state_folder().into_iter();
    left.filter(|path| Path::new(path).extension().is_some_and(|extension| extension == "json")).collect()
}

/// Makes the journal's only page one that cannot be removed, as a file system may that was switched to
/// read only.
fn pin_page() -> String {
    let page = pages().pop().expect("a tunnel is open");
    run("mount", &["--bind", &page, &page]);
    page
}

#[test]
fn with_user_what_cannot_be_removed_of_a_lost_helper_costs_no_right() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before, mut daemon, mut client) = full_as_nobody();
        let page = pin_page();
        kill(daemon.helper(), Signal::SIGKILL).expect("it runs");
        client.expect_stopped("providerDisabled");
        client.expect_event("vpnRemoved");
        assert_eq!(client.status(), "disconnected");
        before.assert_same();
        let log = daemon.log_with("hypertap recover");
        let said = log.lines().find(|line| line.contains("hypertap recover")).expect("it says what to do");
        assert!(said.contains(&page), "{said}");

        // The next tunnel takes the same tables, and the page that names them undoes nothing of it.
        assert_a_loss_is_undone(&daemon, &mut client, &before);
        full(&mut client);
        let during = Dump::now();
        let recovering = output(Command::new(binary()).arg("recover"));
        assert!(String::from_utf8_lossy(&recovering.stderr).contains(&page), "{recovering:?}");
        during.assert_same();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        before.assert_same();
    });
}

#[test]
fn what_cannot_be_removed_of_a_dead_instance_keeps_no_daemon_from_starting() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        daemon.kill();
        let page = pin_page();
        let mut next = Daemon::start();
        before.assert_same();
        let log = next.log_with("hypertap recover");
        let said = log.lines().find(|line| line.contains("hypertap recover")).expect("it says what to do");
        assert!(said.contains(&page), "{said}");
        let mut client = next.client();
        full(&mut client);
        run("umount", &[&page]);
        client.plain(&json!({"cmd": "shutdown"}));
        next.assert_ends_well();
        let mut last = Daemon::start();
        before.assert_same();
        assert_eq!(pages(), Vec::<String>::new());
        last.signal(Signal::SIGTERM);
        last.assert_ends_well();
    });
}

#[test]
fn with_user_a_helper_that_is_killed_again_and_again_leaves_nothing_either() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        let keeper = daemon.keeper();
        let mut losses = Vec::new();
        // Four within ten seconds are too many; a busy machine may take longer for the first ones.
        while losses.len() < 4 || client.status() != "invalid" {
            let fourth_last = losses.iter().rev().nth(3);
            assert!(
                fourth_last.is_none_or(|at: &Instant| at.elapsed() > Duration::from_secs(10)),
                "{losses:?}"
            );
            losses.push(Instant::now());
            lose_the_helper(&daemon, &mut client, Signal::SIGKILL);
            before.assert_same();
        }
        wait_until_gone(keeper);
        client.expect_no_event();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
    });
}

#[test]
fn with_user_the_end_of_the_keeper_is_the_end_of_the_right_and_leaves_nothing() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let mut daemon = Setup::new().args(&["--user", "nobody"]).start();
            let mut client = daemon.client();
            full(&mut client);
            let helper = daemon.helper();
            kill(daemon.keeper(), signal).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            before.assert_same();
            assert_eq!(client.status(), "invalid", "after {signal}");
            wait_until_gone(helper);
            client.plain(&json!({"cmd": "shutdown"}));
            daemon.assert_ends_well();
        }
    });
}

#[test]
fn with_user_what_is_left_when_all_are_killed_is_removed_by_the_next() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before, mut daemon, _client) = full_as_nobody();
        let (keeper, helper) = (daemon.keeper(), daemon.helper());
        for process in [keeper, helper] {
            kill(process, Signal::SIGSTOP).expect("it runs");
        }
        for process in [keeper, helper, daemon.pid()] {
            kill(process, Signal::SIGKILL).expect("it runs");
        }
        daemon.wait_for_end();
        wait_until_gone(helper);
        before.assert_changed();
        let mut next = Setup::new().args(&["--user", "nobody"]).start();
        before.assert_same();
        next.signal(Signal::SIGTERM);
        next.assert_ends_well();
    });
}

#[test]
fn a_resolver_file_is_not_touched_by_capture() {
    in_namespaces(|| {
        let own = hypertap_tests::machine::scratch("resolv.conf");
        fs::write(&own, "nameserver 192.0.2.53\nsearch example.org\n").expect("ours");
        run("mount", &["--bind", own.to_str().expect("a path"), "/etc/resolv.conf"]);
        let before = Dump::now();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        daemon.signal(Signal::SIGTERM);
        daemon.assert_ends_well();
        before.assert_same();
        assert_eq!(
            fs::read_to_string("/etc/resolv.conf").expect("there"),
            "nameserver 192.0.2.53\nsearch example.org\n"
        );
    });
}

#[test]
fn the_sysctls_of_other_links_stay_as_they_are() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let all = || {
            let list =
                Command::new("grep").args(["-rs", ".", "/proc/sys/net/ipv4", "/proc/sys/net/ipv6"]).output();
            String::from_utf8_lossy(&list.expect("grep is there").stdout).into_owned()
        };
        let before = all();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        full(&mut client);
        let during = all();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        let others = |text: &str| {
            text.lines().filter(|line| !line.contains("hypertap0")).map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(others(&during), others(&before));
        assert_eq!(others(&all()), others(&before));
    });
}
