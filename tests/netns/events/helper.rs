//! The process that holds the rights ends, or does not answer.

use std::time::{Duration, Instant};

use hypertap_tests::machine::is_link;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::wait::{JOB_TIME, assert_given_up_in_time};
use hypertap_tests::{Scene, Setup, Value, eventually, json, with_daemon_as};
use nix::sys::signal::{Signal, kill};

use super::full;

/// A daemon without rights of its own, and so with a helper.
fn with_helper() -> Setup {
    needs_root();
    Setup::new().args(&["--user", "nobody"])
}

#[test]
fn the_helpers_end_is_provider_disabled_and_vpn_removed() {
    with_daemon_as(with_helper, |Scene { client, daemon, before }| {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            full(client);
            kill(daemon.helper(), signal).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            client.expect_no_event();
            assert!(!is_link("hypertap0"), "after {signal}");
            before.assert_same();
            assert_eq!(client.status(), "disconnected", "after {signal}");
        }
        client.start();
    });
}

#[test]
fn the_helpers_end_without_a_tunnel_is_vpn_removed_alone() {
    with_daemon_as(with_helper, |Scene { client, daemon, .. }| {
        for (process, status) in [(daemon.helper(), "disconnected"), (daemon.keeper(), "invalid")] {
            kill(process, Signal::SIGTERM).expect("it runs");
            client.expect_event("vpnRemoved");
            assert_eq!(client.status(), status);
            client.expect_no_event();
        }
    });
}

#[test]
fn a_start_that_takes_10_s_is_timed_out() {
    with_daemon_as(with_helper, |Scene { client, daemon, before }| {
        let helper = daemon.helper();
        kill(helper, Signal::SIGSTOP).expect("it runs");
        let mut observer = daemon.control();
        let begin = Instant::now();
        client.send(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        eventually("an observer sees it at work", || observer.status() == "connecting");
        client.send(&json!({"cmd": "status"}));
        let mut line = || {
            let line = client.next_line(Duration::from_secs(25)).expect("the connection lives");
            line.parse::<Value>().expect("JSON")
        };
        assert_eq!(line()["ok"], false, "replies keep their order");
        assert_given_up_in_time(begin);
        assert_eq!(line()["status"], "disconnecting", "the reply does not wait for the removal");
        let stopped = json!({"cmd": "event", "event": "tunnelStopped", "reason": "timedOut"});
        assert_eq!(line(), stopped);
        assert!(begin.elapsed() >= 2 * JOB_TIME, "the event waits for the removal, which is given up too");

        kill(helper, Signal::SIGCONT).expect("it runs");
        eventually("start works again", || {
            client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}))["ok"] == true
        });
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        before.assert_same_soon();
    });
}
