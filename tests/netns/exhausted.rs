//! A daemon that has run out of descriptors.

use std::fs;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Instant;

use hypertap_tests::machine::ping;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::open_files::allow_more_files;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::program::StreamProgram;
use hypertap_tests::{Daemon, Dump, Responder, Setup, TIME, eventually, in_namespaces, json};

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

        allow_more_files(daemon.pid(), Some(0));
        let program = StreamProgram::connect(&path);
        eventually("it tries again", || tries(&daemon) >= 2);
        assert_eq!(client.status(), "connected");
        client.expect_no_event();
        allow_more_files(daemon.pid(), None);
        let responder = Responder::start(program, ping_reply);
        eventually("the program that waited is served", || ping("10.9.0.1", &["-W1"]));

        allow_more_files(daemon.pid(), Some(0));
        let (before, begin) = (tries(&daemon), Instant::now());
        let mut second = UnixStream::connect(&path).expect("the kernel takes it");
        second.set_read_timeout(Some(TIME)).expect("not zero");
        eventually("it tries to turn the second away", || tries(&daemon) >= before + 4);
        let tried = tries(&daemon) - before;
        let took = begin.elapsed();
        // A try now, and then one each tenth of a second; one more for clocks that round.
        assert!(tried as u128 <= took.as_millis() / 100 + 2, "{tried} tries in {took:?}");
        assert!(ping("10.9.0.1", &[]), "the first is not disturbed");
        allow_more_files(daemon.pid(), None);
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
        allow_more_files(daemon.pid(), Some(more));
        let reply = client.ask(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "dataPlane": "stream"}));
        allow_more_files(daemon.pid(), None);
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
