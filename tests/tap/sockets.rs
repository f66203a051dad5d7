//! The sockets' files: whose they are, who may use them, and when they go.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use hypertap_tests::in_namespaces;
use hypertap_tests::machine::scratch;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, start, tap};
use nix::sys::signal::Signal;

/// Owner, group and mode.
fn access(path: &Path) -> (u32, u32, u32) {
    let file = fs::symlink_metadata(path).expect("it is there");
    assert!(file.file_type().is_socket());
    (file.uid(), file.gid(), file.mode() & 0o777)
}

#[test]
fn a_file_is_its_starters_alone_unless_it_is_said_whose_it_is() {
    in_namespaces(|| {
        needs_root();
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        for (words, sudo, wanted) in [
            (&[][..], None, (0, 0, 0o600)),
            (&[], Some("1"), (1, 0, 0o600)),
            (&["--socket-mode=660", "--socket-group=daemon"], Some("1"), (1, 1, 0o660)),
            (&["--socket-mode=0777", "--socket-owner=nobody"], Some("1"), (65534, 0, 0o777)),
            (&["--socket-owner=4711", "--socket-group=4712"], None, (4711, 4712, 0o600)),
            (&["--framing=datagram"], Some("1"), (1, 0, 0o600)),
            (&["--user=nobody"], Some("1"), (1, 0, 0o600)),
        ] {
            let mut setup = tap(&[&[listen.as_str()], words].concat());
            if let Some(uid) = sudo {
                setup = setup.env("SUDO_UID", uid);
            }
            let mut server = setup.start();
            assert_eq!(access(&path), wanted, "{words:?}");
            server.signal(Signal::SIGTERM);
            server.assert_ends_well();
            hypertap_tests::eventually("the file is gone", || !path.exists());
        }
    });
}

#[test]
fn only_whose_it_is_can_connect() {
    in_namespaces(|| {
        needs_root();
        let path = scratch("tap");
        let _server = tap(&[&format!("--listen={}", path.display())]).env("SUDO_UID", "1").start();
        let connects = |uid: &str| {
            let script = "socket(S, PF_UNIX, SOCK_STREAM, 0); exit !connect(S, sockaddr_un($ARGV[0]))";
            let mut command = std::process::Command::new("setpriv");
            command.args(["--reuid", uid, "--clear-groups", "perl", "-MSocket", "-e", script]).arg(&path);
            hypertap_tests::machine::output(&mut command).status.success()
        };
        assert!(!connects("65534"));
        assert!(connects("1"));
    });
}

#[test]
fn a_file_that_was_left_behind_is_replaced_whatever_kind_it_was() {
    in_namespaces(|| {
        let path = scratch("tap");
        for framing in ["le16", "datagram"] {
            for left in [
                || drop(UnixListener::bind(scratch("tap")).expect("ours")),
                || drop(UnixDatagram::bind(scratch("tap")).expect("ours")),
            ] {
                left();
                assert!(path.exists());
                let mut server = start(&[&format!("--listen={},framing={framing}", path.display())]);
                server.signal(Signal::SIGTERM);
                server.assert_ends_well();
                assert!(!path.exists());
            }
        }
    });
}

#[test]
fn a_second_server_leaves_the_first_ones_socket_alone() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        let mut first = start(&[&listen, "--framing=le16"]);
        let inode = fs::metadata(&path).expect("it listens").ino();
        let (code, log) = tap(&[&listen]).run_to_end();
        assert_eq!(code, Some(4), "{log}");
        assert!(log.contains("in use by another program") && log.contains("--listen"), "{log}");
        assert_eq!(fs::metadata(&path).expect("it listens").ino(), inode);
        first.assert_runs();
        FrameClient::unix(&path, Wire::Le16).ping(GUEST, HOST);
        first.assert_ends_well();
    });
}

#[test]
fn a_file_that_somebody_has_put_in_its_place_stays() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={}", path.display())]);
        fs::remove_file(&path).expect("root may");
        let _theirs = UnixListener::bind(&path).expect("ours");
        server.signal(Signal::SIGTERM);
        server.assert_ends_well();
        assert!(UnixStream::connect(&path).is_ok());
    });
}
