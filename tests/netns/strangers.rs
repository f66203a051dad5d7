//! Users who may not connect, in quantity: they are in nobody's way.

use hypertap_tests::daemon::CONTROL;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::peer::STRANGER;
use hypertap_tests::{Daemon, Peer, Setup, in_namespaces};
use nix::sys::signal::Signal;

/// How many connections a stranger makes, as fast as it can.
const CROWD: usize = 3000;

/// What the daemon's log says of connections that were not permitted: a line each.
fn logged(daemon: &Daemon) -> Vec<String> {
    daemon.log().lines().filter(|line| line.contains("not permitted")).map(str::to_owned).collect()
}

/// How many connections a line of the log stands for.
fn counted(line: &str) -> usize {
    let count = line.split_once("count=").map(|(_, count)| count.split_whitespace().next().unwrap_or(count));
    count.map_or(1, |count| count.parse().expect("a number"))
}

#[test]
fn strangers_in_a_crowd_take_no_permitted_users_place_and_fill_no_log() {
    in_namespaces(|| {
        needs_root();
        let mut daemon = Setup::new().args(&["--on-disconnect=keep"]).start();
        let before = daemon.resident_kib();
        let crowds = [("tcp-crowd", "127.0.0.1:5500"), ("unix-crowd", CONTROL)].map(|(how, address)| {
            let mut crowd = Peer::run_by(STRANGER, &[how, address, &CROWD.to_string()]);
            crowd.expect("begun");
            crowd
        });
        assert_eq!(daemon.client().status(), "disconnected");
        for _ in 0..50 {
            assert_eq!(daemon.control().status(), "disconnected");
        }
        for mut crowd in crowds {
            crowd.expect(&format!("{CROWD} connected"));
        }
        // Whoever comes last is let in when all strangers before were turned away, at either door.
        assert_eq!(daemon.client().status(), "disconnected");
        assert_eq!(daemon.control().status(), "disconnected");
        assert!(daemon.resident_kib() < before + 16 * 1024);

        // Those that had no line of their own are in the log's last words.
        daemon.assert_runs();
        daemon.signal(Signal::SIGTERM);
        daemon.assert_ends_well();
        let lines = logged(&daemon);
        assert_eq!(lines.iter().map(|line| counted(line)).sum::<usize>(), 2 * CROWD, "{lines:#?}");
        assert!(lines.len() < 6, "{lines:#?}");
    });
}
