//! Servers of ordinary users, and those that become one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use hypertap_tests::daemon::wait_until_gone;
use hypertap_tests::frame::arp_request;
use hypertap_tests::machine::{is_link, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::peer::OTHER;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, start, tap};
use hypertap_tests::{Dump, in_namespaces};
use nix::sys::signal::{Signal, kill};

/// A folder of an ordinary user.
fn folder_of(uid: u32) -> PathBuf {
    let folder = scratch(&format!("of-{uid}"));
    fs::create_dir_all(&folder).expect("ours");
    std::os::unix::fs::chown(&folder, Some(uid), Some(uid)).expect("root may");
    folder
}

#[test]
fn an_ordinary_user_is_told_at_once_what_is_missing() {
    in_namespaces(|| {
        needs_root();
        let path = folder_of(OTHER).join("tap");
        let (code, log) = tap(&[&format!("--listen={}", path.display())]).by(OTHER).run_to_end();
        assert_eq!(code, Some(3), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
        for word in ["CAP_NET_ADMIN", "sudo", "--no-host"] {
            assert!(log.contains(word), "{word} is not in {log}");
        }
        assert!(!path.exists());
    });
}

#[test]
fn without_an_interface_an_ordinary_user_joins_clients() {
    in_namespaces(|| {
        needs_root();
        let path = folder_of(OTHER).join("tap");
        let before = Dump::now();
        let words = [
            format!("--listen={}", path.display()),
            "--no-host".to_owned(),
            "--keep".to_owned(),
            "--max-clients=2".to_owned(),
        ];
        let mut server = tap(&words).by(OTHER).start();
        assert_eq!(fs::metadata(&path).expect("it listens").uid(), OTHER);
        let (one, two) = (FrameClient::unix(&path, Wire::Qemu), FrameClient::unix(&path, Wire::Le16));
        // Until it has said something nobody knows how to speak to it.
        two.send(&arp_request(OTHER_GUEST, GUEST.1));
        let answering = two.answering(OTHER_GUEST);
        one.ping(GUEST, OTHER_GUEST.1);
        before.assert_same();
        drop((one, answering));
        server.signal(Signal::SIGTERM);
        server.assert_ends_well();
        assert!(!path.exists());
    });
}

/// The four user ids of a process: real, effective, saved, file system.
fn uids(pid: nix::unistd::Pid) -> Vec<u32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:")).expect("it has some");
    line.split_whitespace().map(|uid| uid.parse().expect("a number")).collect()
}

#[test]
fn rights_are_dropped_for_good_and_the_interface_is_made_all_the_same() {
    in_namespaces(|| {
        needs_root();
        let before = Dump::now();
        run("mount", &["-t", "tmpfs", "tmpfs", "/mnt"]);
        let words = ["--listen=/mnt/tap", "--framing=le16", "--user=nobody"];
        let mut server = start(&words);
        assert_eq!(uids(server.pid()), [65534; 4]);
        let helper = server.helper();
        let client = FrameClient::unix("/mnt/tap", Wire::Le16);
        client.ping(GUEST, HOST);
        assert!(is_link("tap0"));
        drop(client);
        server.assert_ends_well();
        wait_until_gone(helper);
        before.assert_same_soon();
        hypertap_tests::eventually("the file is gone, in a folder that is root's", || {
            !fs::exists("/mnt/tap").expect("it is mounted")
        });
    });
}

#[test]
fn a_helper_that_is_lost_does_not_take_the_interface_along() {
    in_namespaces(|| {
        needs_root();
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={}", path.display()), "--framing=le16", "--user=nobody"]);
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        let helper = server.helper();
        kill(helper, Signal::SIGKILL).expect("root may");
        wait_until_gone(helper);
        client.ping(GUEST, HOST);
        // And the next one makes it again.
        hypertap_tests::machine::ip("link del tap0");
        hypertap_tests::eventually("it is there again", || {
            server.log().contains("the interface is there again")
        });
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();
    });
}
