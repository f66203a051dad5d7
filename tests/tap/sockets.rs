//! The sockets' files: whose they are, who may use them, and when they go.

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;

use hypertap_tests::in_namespaces;
use hypertap_tests::machine::scratch;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::peer::OTHER;
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
fn what_somebody_else_left_is_said_to_be_his() {
    in_namespaces(|| {
        needs_root();
        let folder = scratch("sticky");
        fs::create_dir(&folder).expect("ours");
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o1777)).expect("ours");
        let path = folder.join("tap");
        drop(UnixListener::bind(&path).expect("ours"));
        for mode in [0o600, 0o666] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("ours");
            let listen = format!("--listen={}", path.display());
            let (code, log) = tap(&[&listen, "--no-host"]).by(OTHER).run_to_end();
            assert_eq!(code, Some(4), "{log}");
            assert!(log.contains("belongs to somebody else") && log.contains("--listen"), "{log}");
            assert!(path.exists());
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
fn both_kinds_of_addresses_are_taken_by_one_socket_or_by_two() {
    in_namespaces(|| {
        let ping = |address: (&str, u16)| {
            let stream = TcpStream::connect(address).expect("it listens");
            FrameClient::new(stream, Wire::Le16).ping(GUEST, HOST);
        };
        for listens in [
            &["--listen=[::]:5600"][..],
            &["--listen=[::]:5600", "--listen=0.0.0.0:5600"],
            &["--listen=127.0.0.1:5600", "--listen=[::]:5600"],
        ] {
            let server = start(&[listens, &["--framing=le16", "--keep"]].concat());
            ping(("127.0.0.1", 5600));
            ping(("::1", 5600));
            drop(server);
        }
    });
}

#[test]
fn a_name_stands_for_its_address() {
    in_namespaces(|| {
        let mut server = start(&["--listen=localhost:5600", "--framing=le16"]);
        FrameClient::tcp(5600, Wire::Le16).ping(GUEST, HOST);
        server.assert_ends_well();
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
