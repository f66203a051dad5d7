//! A daemon that has run out of descriptors.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Instant;

use hypertap_tests::machine::{output, ping};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::program::StreamProgram;
use hypertap_tests::{Daemon, Dump, Responder, Setup, TIME, eventually, in_namespaces, json};

/// Lets the daemon have `more` descriptors than it has; `None` lets it have plenty.
fn allow(daemon: &Daemon, more: Option<usize>) {
    let folder = format!("/proc/{}/fd", daemon.pid());
    let open: Vec<usize> = fs::read_dir(folder)
        .expect("it runs")
        .map(|entry| entry.expect("a descriptor").file_name().to_string_lossy().parse().expect("a number"))
        .collect();
    // A new one gets the lowest number that is free, which must be below the limit.
    let limit = more.map_or(1024, |more| {
        (0..).filter(|number| !open.contains(number)).nth(more).expect("there are numbers without end")
    });
    // One's own processes may always be limited; others' only with a right that root may lack here.
    let mut prlimit = Command::new("prlimit");
    prlimit.args(["--pid", &daemon.pid().to_string(), &format!("--nofile={limit}:")]);
    let done = output(prlimit.uid(id(daemon, "Uid:")).gid(id(daemon, "Gid:")));
    assert!(done.status.success(), "{prlimit:?}: {done:?}");
}

/// As whom the daemon runs (`status` of proc(5)).
fn id(daemon: &Daemon, name: &str) -> u32 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("it is somebody's");
    line.split_whitespace().next().expect("a number").parse().expect("a number")
}

/// How often it could not let a program in.
fn tries(daemon: &Daemon) -> usize {
    daemon.log().matches("cannot let a program in").count()
}

#[test]
fn a_data_plane_waits_for_a_descriptor_and_neither_ends_nor_spins() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let path = client.start_with(json!({"dataPlane": "stream"}))["dataPath"].clone();
        let path = path.as_str().expect("a path").to_owned();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));

        allow(&daemon, Some(0));
        let program = StreamProgram::connect(&path);
        eventually("it tries again", || tries(&daemon) >= 2);
        assert_eq!(client.status(), "connected");
        client.expect_no_event();
        allow(&daemon, None);
        let responder = Responder::start(program, ping_reply);
        assert!(ping("10.9.0.1", &[]), "the program that waited is served");

        allow(&daemon, Some(0));
        let (before, begin) = (tries(&daemon), Instant::now());
        let mut second = UnixStream::connect(&path).expect("the kernel takes it");
        second.set_read_timeout(Some(TIME)).expect("not zero");
        eventually("it tries to turn the second away", || tries(&daemon) >= before + 4);
        let tried = tries(&daemon) - before;
        let took = begin.elapsed();
        // A try now, and then one each tenth of a second; one more for clocks that round.
        assert!(tried as u128 <= took.as_millis() / 100 + 2, "{tried} tries in {took:?}");
        assert!(ping("10.9.0.1", &[]), "the first is not disturbed");
        allow(&daemon, None);
        assert_eq!(second.read(&mut [0]).expect("an end"), 0, "it is turned away in the end");
        client.expect_no_event();
        drop(responder);
    });
}

/// Starts with ever more descriptors, until it works; what was said before that.
fn start_with_more_and_more(setup: Setup) -> Vec<String> {
    let daemon = setup.start();
    let mut client = daemon.client();
    let before = Dump::now();
    let mut texts = Vec::new();
    for more in 0..40 {
        allow(&daemon, Some(more));
        let reply = client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "dataPlane": "stream"}));
        allow(&daemon, None);
        if reply["ok"] == true {
            client.expect_event("tunnelStarted");
            client.plain(&json!({"cmd": "stop"}));
            client.expect_stopped("stoppedByUser");
            return texts;
        }
        let text = reply["error"].to_string();
        before.assert_same();
        assert_eq!(client.event()["event"], "tunnelStopped", "{text}");
        assert_eq!(client.status(), "disconnected", "{text}");
        let folder = format!("/run/hypertap/instance-{}", daemon.pid());
        let left = fs::read_dir(folder).expect("its folder is there").count();
        assert_eq!(left, 0, "a file is left: {text}");
        texts.push(text);
    }
    panic!("it never starts: {texts:#?}");
}

#[test]
fn a_start_without_enough_descriptors_leaves_nothing_behind() {
    in_namespaces(|| {
        let texts = start_with_more_and_more(Setup::new());
        assert!(texts.iter().any(|text| text.contains("Too many open files")), "{texts:#?}");
    });
}

#[test]
fn a_start_without_enough_descriptors_beside_a_helper_leaves_nothing_behind() {
    in_namespaces(|| {
        needs_root();
        let texts = start_with_more_and_more(Setup::new().args(&["--user", "nobody"]));
        for failed in ["cannot listen on", "cannot start the data plane"] {
            assert!(texts.iter().any(|text| text.contains(failed)), "{failed}: {texts:#?}");
        }
    });
}
