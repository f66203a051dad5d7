//! Sockets that are handed over: to a program that is started, and to us.

use std::fs;
use std::net::TcpListener;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};

use hypertap_tests::frame::arp_request;
use hypertap_tests::machine::{is_link, scratch};
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, tap};
use hypertap_tests::{Dump, in_namespaces};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};

/// Lets programs that are started from now on inherit a descriptor, and yields its number as text.
fn passed(descriptor: &impl AsFd) -> String {
    fcntl(descriptor.as_fd(), FcntlArg::F_SETFD(FdFlag::empty())).expect("it is open");
    descriptor.as_fd().as_raw_fd().to_string()
}

/// Bytes as printf(1) takes them.
fn octal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| text + &format!("\\{byte:03o}"))
}

#[test]
fn a_program_gets_its_end_of_a_socket_and_its_end_is_the_servers() {
    in_namespaces(|| {
        let before = Dump::now();
        let out = scratch("out");
        let request = arp_request(GUEST, HOST);
        let framed = [&[42, 0][..], &request].concat();
        // It asks for the host's address and keeps the first two bytes of what it is told.
        let (request, out_name) = (octal(&framed), out.display());
        let script = format!("printf '{request}' >&{{fd}}; head -c 2 <&{{fd}} >{out_name}; exit 3");
        let (code, log) = tap(&["--use-framed-protocol", "--", "bash", "-c", &script]).run_to_end();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(fs::read(&out).expect("it wrote").len(), 2, "{log}");
        assert!(log.contains("the program has ended") && log.contains("exit status: 3"), "{log}");
        before.assert_same();
    });
}

#[test]
fn a_program_that_ends_takes_its_client_along_whoever_else_holds_the_socket() {
    in_namespaces(|| {
        let script = "sleep 1000 & exit 0";
        let (code, log) = tap(&["--use-framed-protocol", "--", "sh", "-c", script]).run_to_end();
        assert_eq!(code, Some(0), "{log}");
        assert!(!is_link("tap0"));
    });
}

#[test]
fn a_program_that_is_none_is_named_and_nothing_is_left() {
    in_namespaces(|| {
        let before = Dump::now();
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        let (code, log) = tap(&[&listen, "--", "/no/such/program"]).run_to_end();
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("cannot start /no/such/program"), "{log}");
        before.assert_same();
        assert!(!path.exists());
    });
}

#[test]
fn a_program_runs_as_the_user_that_rights_are_dropped_to() {
    in_namespaces(|| {
        let out = scratch("out");
        fs::write(&out, "").expect("ours");
        std::os::unix::fs::chown(&out, Some(65534), None).expect("root may");
        let script = format!("id -u >{}", out.display());
        let (code, log) = tap(&["--user=nobody", "--", "sh", "-c", &script]).run_to_end();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(fs::read_to_string(&out).expect("it wrote").trim(), "65534");
    });
}

#[test]
fn an_inherited_stream_is_a_client_and_an_inherited_listener_a_door() {
    in_namespaces(|| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut server = tap(&["--framing=le16", "--fd", &passed(&theirs)]).start();
        drop(theirs);
        let client = FrameClient::new(ours, Wire::Le16);
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();

        let path = scratch("tap");
        let listener = UnixListener::bind(&path).expect("ours");
        let mut server = tap(&["--framing=qemu", "--keep", "--fd", &passed(&listener)]).start();
        for _ in 0..3 {
            FrameClient::unix(&path, Wire::Qemu).ping(GUEST, HOST);
        }
        server.assert_runs();
        drop(server);
        assert!(path.exists(), "it is not ours to remove");

        let listener = TcpListener::bind("127.0.0.1:5600").expect("free");
        let mut server = tap(&["--framing=qemu", "--fd", &passed(&listener)]).start();
        FrameClient::tcp(5600, Wire::Qemu).ping(GUEST, HOST);
        server.assert_ends_well();

        let path = scratch("guests");
        let socket = UnixDatagram::bind(&path).expect("ours");
        let _server = tap(&["--framing=datagram", "--fd", &passed(&socket)]).start();
        FrameClient::guest(scratch("guest"), &path).ping(GUEST, HOST);
    });
}

#[test]
fn standard_input_may_be_the_client() {
    in_namespaces(|| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut command = std::process::Command::new(hypertap_tests::daemon::binary());
        command.args(["tap", "--fd=0", "--framing=le16", "--print-name"]);
        command.stdin(std::os::fd::OwnedFd::from(theirs)).stdout(std::process::Stdio::piped());
        let mut server = command.spawn().expect("it is a program");
        drop(command);
        let client = FrameClient::new(ours, Wire::Le16);
        client.ping(GUEST, HOST);
        drop(client);
        let output = hypertap_tests::tap::drain(server.stdout.take().expect("it is piped"));
        assert_eq!(output, b"tap0\n");
        assert!(server.wait().expect("it is ours").success());
    });
}

#[test]
fn a_descriptor_that_is_of_no_use_is_refused_by_its_number() {
    in_namespaces(|| {
        let file = fs::File::open("/dev/null").expect("there is one");
        let number = passed(&file);
        for (number, word) in [(number.as_str(), "no socket"), ("999", "no such descriptor"), ("1", "--fd")] {
            let (code, log) = tap(&["--fd", number]).run_to_end();
            assert_eq!(code, Some(2), "{log}");
            assert!(log.contains("--fd") && log.contains(number) && log.contains(word), "{log}");
        }
    });
}
