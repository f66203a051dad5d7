//! A privileged helper that does not answer: nothing waits for it longer than 10 s.

use std::time::{Duration, Instant};

use hypertap_tests::machine::{Uplink, device_towards};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::wait::{JOB_TIME, assert_given_up_in_time};
use hypertap_tests::{Client, Daemon, Dump, Setup, Value, eventually, in_namespaces, json};
use nix::sys::signal::{Signal, kill};

/// A helper is given up after 10 s for the job, and after 10 s more for the removal.
const GIVEN_UP: Duration = Duration::from_secs(25);

fn connected() -> (Daemon, Client) {
    let daemon = Setup::new().args(&["--user", "nobody"]).start();
    let mut client = daemon.client();
    client.start();
    (daemon, client)
}

/// The next line, whatever it is, and however long it takes.
fn line(client: &mut Client) -> Value {
    let line = client.next_line(GIVEN_UP).expect("the connection lives");
    serde_json::from_str(&line).expect("JSON")
}

/// Sends a change that nobody does: it is refused in time, and the tunnel goes down.
fn is_given_up(change: &Value) {
    needs_root();
    let _uplink = Uplink::connect();
    let before = Dump::now();
    let (mut daemon, mut client) = connected();
    let mut observer = daemon.control();
    let helper = daemon.helper();
    kill(helper, Signal::SIGSTOP).expect("it runs");
    let begin = Instant::now();
    client.send(change);
    eventually("it is at work", || daemon.log().contains(change["cmd"].as_str().expect("a name")));
    assert_eq!(observer.status(), "connected");
    assert!(begin.elapsed() < JOB_TIME, "an observer is answered meanwhile");

    let reply = line(&mut client);
    assert_given_up_in_time(begin);
    let text = reply["error"].as_str().unwrap_or_default();
    assert!(text.contains("longer than 10 s") && text.contains("start"), "{reply}");
    let stopped = json!({"cmd": "event", "event": "tunnelStopped", "reason": "timedOut"});
    assert_eq!(line(&mut client), stopped);
    assert_eq!(client.status(), "disconnected");

    kill(helper, Signal::SIGCONT).expect("it runs");
    eventually("start works again", || {
        client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}))["ok"] == true
    });
    assert_eq!(client.ok(&json!({"cmd": "routes"}))["included"], json!([]));
    assert_ne!(device_towards("10.9.0.1").as_deref(), Some("hypertap0"), "nothing of it is in force");
    client.plain(&json!({"cmd": "shutdown"}));
    daemon.assert_ends_well();
    before.assert_same_soon();
}

#[test]
fn a_route_change_that_takes_10_s_is_refused_and_ends_the_tunnel() {
    in_namespaces(|| is_given_up(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]})));
}

#[test]
fn a_dns_change_that_takes_10_s_is_refused_and_ends_the_tunnel() {
    in_namespaces(|| is_given_up(&json!({"cmd": "turnOnDNS"})));
}

#[test]
fn a_signal_does_not_wait_for_a_change() {
    in_namespaces(|| {
        needs_root();
        let before = Dump::now();
        let (mut daemon, mut client) = connected();
        let helper = daemon.helper();
        kill(helper, Signal::SIGSTOP).expect("it runs");
        client.send(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        eventually("it is at work", || daemon.log().contains("addIncludedRoutes"));
        daemon.signal(Signal::SIGTERM);
        // Had the change been waited for, the reply would speak of its 10 s.
        let reply = line(&mut client);
        assert_eq!(reply["ok"], false, "{reply}");
        assert!(reply["error"].as_str().unwrap_or_default().contains("signal"), "{reply}");
        assert_eq!(line(&mut client)["reason"], "stoppedByUser");
        kill(helper, Signal::SIGCONT).expect("it runs");
        daemon.assert_ends_well();
        before.assert_same_soon();
    });
}
