//! Servers with few open files, and what is theirs that they start.

use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use hypertap_tests::machine::{ip, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::open_files::{allow_more_files, limit_files};
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, tap};
use hypertap_tests::{Daemon, eventually, in_namespaces};

/// A server at `scratch("tap")` that is started with these limits of open files.
fn limited(soft: u32, hard: u32, words: &[&str]) -> Daemon {
    let mut shell = Command::new("sh");
    let script = format!("ulimit -Sn {soft} && ulimit -Hn {hard} && exec \"$@\"");
    shell.args(["-c", &script, "sh"]).stdin(Stdio::null());
    let listen = format!("--listen={}", scratch("tap").display());
    tap(&[&[listen.as_str(), "--framing=le16"], words].concat()).through(shell).start()
}

fn connect() -> UnixStream {
    UnixStream::connect(scratch("tap")).expect("it listens")
}

fn are_served(server: &Daemon) -> usize {
    server.log().matches("a client came").count()
}

#[test]
fn as_many_are_served_as_there_may_be_whatever_the_soft_limit_is() {
    in_namespaces(|| {
        let server = limited(64, 4096, &["--no-host", "--max-clients=200"]);
        let _clients: Vec<_> = (0..200).map(|_| connect()).collect();
        eventually("all are served", || are_served(&server) == 200);
        assert!(!server.log().contains("open files"), "{}", server.log());
    });
}

#[test]
fn a_program_has_the_limit_that_the_server_was_started_with() {
    in_namespaces(|| {
        let out = scratch("out");
        let script = format!("ulimit -Sn >{}", out.display());
        let words = ["--no-host", "--max-clients=200", "--", "sh", "-c", &script];
        let _server = limited(100, 4096, &words);
        let said = || std::fs::read_to_string(&out).unwrap_or_default();
        eventually("it says its limit", || said().ends_with('\n'));
        assert_eq!(said(), "100\n");
    });
}

#[test]
fn where_there_may_be_too_few_it_is_said_and_what_cannot_be_is_said_sparingly() {
    in_namespaces(|| {
        let server = limited(64, 64, &["--no-host", "--keep", "--max-clients=200"]);
        let log = server.log();
        assert!(log.contains("--max-clients 200") && log.contains("open files"), "{log}");
        let clients: Vec<_> = (0..100).map(|_| connect()).collect();
        let told = || server.log().matches("cannot accept a connection").count();
        eventually("it is told", || told() == 1);
        eventually("and again, after some seconds", || told() > 1);
        let log = server.log();
        let line = log.lines().filter(|line| line.contains("cannot accept")).nth(1).expect("it is there");
        let times = line.split("times=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let times: u32 = times.expect("it is counted").parse().expect("a number");
        assert!(times > 5, "{line}");
        // Those that are there are served, and the others once there is room.
        let before = are_served(&server);
        drop(clients);
        eventually("the others are served", || are_served(&server) > before);
    });
}

#[test]
fn an_interface_that_no_descriptor_is_left_for_is_made_once_there_is_one() {
    in_namespaces(|| {
        needs_root();
        let server =
            tap(&[&format!("--listen={},framing=le16", scratch("tap").display()), "--user=nobody"]).start();
        let client = FrameClient::unix(scratch("tap"), Wire::Le16);
        client.ping(GUEST, HOST);
        limit_files(server.pid(), 0);
        ip("link del tap0");
        server.log_with("trying it later");
        let log = server.log();
        assert!(!log.contains("does not speak"), "{log}");
        allow_more_files(server.pid(), None);
        server.log_with("the interface is there again");
        client.ping(GUEST, HOST);
    });
}
