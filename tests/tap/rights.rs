//! Servers of ordinary users, and those that become one.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

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
fn under_another_name_too_rights_are_dropped_and_the_interface_is_made() {
    in_namespaces(|| {
        needs_root();
        let (path, copy) = (scratch("tap"), scratch("tapserver"));
        fs::copy(hypertap_tests::daemon::binary(), &copy).expect("ours");
        // The words are the program's path, `tap`, and the options.
        let mut shell = Command::new("sh");
        shell.args(["-c", "shift; exec /run/test/tapserver \"$@\""]).stdin(Stdio::null());
        assert_eq!(copy.to_str(), Some("/run/test/tapserver"));
        let listen = format!("--listen={}", path.display());
        let mut server = tap(&[&listen, "--framing=le16", "--user=nobody"]).through(shell).start();
        let client = FrameClient::unix(&path, Wire::Le16);
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();
        hypertap_tests::eventually("the file is gone", || !path.exists());
    });
}

#[test]
fn an_ordinary_user_is_told_that_a_file_cannot_be_given_away() {
    in_namespaces(|| {
        needs_root();
        let path = folder_of(OTHER).join("tap");
        let listen = format!("--listen={}", path.display());
        for (option, whom) in [("--socket-owner=root", "user 0"), ("--socket-group=root", "group 0")] {
            let (code, log) = tap(&[&listen, "--no-host", option]).by(OTHER).run_to_end();
            assert_eq!(code, Some(3), "{log}");
            assert_eq!(log.lines().count(), 1, "{log}");
            let option = option.split('=').next().expect("a name");
            for word in [option, whom, "cannot be given"] {
                assert!(log.contains(word), "{word} is not in {log}");
            }
            assert!(!path.exists());
        }
    });
}

#[test]
fn a_helper_that_is_gone_for_good_is_told_once() {
    in_namespaces(|| {
        needs_root();
        let path = scratch("tap");
        for keep in [false, true] {
            let listen = format!("--listen={}", path.display());
            let options = if keep { &["--keep"][..] } else { &[] };
            let words = [&[listen.as_str(), "--framing=le16", "--user=nobody"], options].concat();
            let mut server = start(&words);
            let client = FrameClient::unix(&path, Wire::Le16);
            client.ping(GUEST, HOST);
            let (keeper, helper) = (server.keeper(), server.helper());
            kill(keeper, Signal::SIGKILL).expect("root may");
            wait_until_gone(helper);
            client.ping(GUEST, HOST);
            hypertap_tests::machine::ip("link del tap0");
            if keep {
                hypertap_tests::eventually("it is told", || server.log().contains("cannot be made;"));
                server.signal(Signal::SIGTERM);
                server.assert_ends_well();
            } else {
                assert_eq!(server.wait_for_end().code(), Some(1), "{}", server.log());
            }
            let log = server.log();
            assert!(!log.contains("trying it later"), "{log}");
            assert_eq!(log.matches("no interface can be made without it").count(), 1, "{log}");
            // Nobody is left to remove it in a folder that is root's.
            let _ = fs::remove_file(&path);
        }
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
