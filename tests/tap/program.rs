//! Sockets that are handed over: to a program that is started, and to us.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::time::{Duration, Instant};

use hypertap_tests::frame::arp_request;
use hypertap_tests::machine::{is_link, ping as ping_from_here, scratch, without_ipv6};
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, tap};
use hypertap_tests::{Dump, eventually, in_namespaces};
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::sys::signal::Signal;
use nix::sys::socket::{getsockopt, sockopt};

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
fn a_program_may_have_a_socket_of_datagrams() {
    in_namespaces(|| {
        // The first datagram is to be the answer.
        without_ipv6();
        let out = scratch("out");
        let request = octal(&arp_request(GUEST, HOST));
        // One write is one datagram, and so is one read: the answer is as long as the question.
        let script = format!("printf '{request}' >&{{fd}}; dd bs=9000 count=1 <&{{fd}} >{}", out.display());
        let (code, log) = tap(&["--framing=datagram", "--", "bash", "-c", &script]).run_to_end();
        assert_eq!(code, Some(0), "{log}");
        assert_eq!(fs::read(&out).expect("it wrote").len(), 42, "{log}");
    });
}

#[test]
fn what_a_program_sends_before_its_end_is_taken() {
    in_namespaces(|| {
        for framing in ["datagram", "unframed"] {
            let script = format!("printf '{}' >&{{fd}}", octal(&arp_request(GUEST, HOST)));
            let framing = format!("--framing={framing}");
            let (code, log) = tap(&["--no-host", &framing, "--", "bash", "-c", &script]).run_to_end();
            assert_eq!(code, Some(0), "{log}");
            assert!(log.contains("in 1 frames 42 bytes"), "{framing}: {log}");
        }
    });
}

#[test]
fn a_signal_is_not_late_while_a_program_ends() {
    in_namespaces(|| {
        // It has closed its socket, and does not end.
        let script = "exec {fd}>&-; exec sleep 1000";
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let mut server = tap(&["--no-host", "--", "bash", "-c", script]).start();
            eventually("its client went", || server.log().contains("a client went"));
            let before = Instant::now();
            server.signal(Signal::SIGTERM);
            server.assert_ends_well();
            quickest = quickest.min(before.elapsed());
        }
        assert!(quickest < Duration::from_millis(200), "{quickest:?}");
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
fn a_connection_that_is_passed_over_tcp_is_set_up_as_one_that_is_accepted() {
    in_namespaces(|| {
        let listener = TcpListener::bind("127.0.0.1:5600").expect("free");
        let ours = TcpStream::connect("127.0.0.1:5600").expect("it listens");
        let (theirs, _) = listener.accept().expect("it came");
        let before = theirs.nodelay().expect("it is TCP");
        let mut server = tap(&["--framing=le16", "--no-host", "--fd", &passed(&theirs)]).start();
        assert!(!before && theirs.nodelay().expect("it is TCP"));
        assert!(getsockopt(&theirs, sockopt::KeepAlive).expect("it is a socket"));
        drop((theirs, ours));
        server.assert_ends_well();
    });
}

#[test]
fn where_nobody_else_can_come_a_broken_framing_ends_it_with_6_also_if_it_was_to_stay() {
    in_namespaces(|| {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let mut server = tap(&["--framing=le16", "--no-host", "--keep", "--fd", &passed(&theirs)]).start();
        drop(theirs);
        FrameClient::new(ours, Wire::Le16).write(&[0, 0]);
        assert_eq!(server.wait_for_end().code(), Some(6), "{}", server.log());

        let script = "printf '\\0\\0' >&{fd}; exec sleep 1000";
        let words = ["--framing=le16", "--no-host", "--keep", "--", "bash", "-c", script];
        let (code, log) = tap(&words).run_to_end();
        assert_eq!(code, Some(6), "{log}");
    });
}

#[test]
fn one_end_of_a_pair_of_datagram_sockets_is_one_guest() {
    in_namespaces(|| {
        for options in [&["--framing=datagram"][..], &[], &["--framing=datagram", "--keep"]] {
            let (ours, theirs) = UnixDatagram::pair().expect("a pair");
            let number = passed(&theirs);
            let words = [options, &["--fd", &number]].concat();
            let mut server = tap(&words).start();
            drop(theirs);
            let client = FrameClient::new(ours, Wire::Datagram);
            client.ping(GUEST, HOST);
            drop(client);
            // That it has gone is known once something is sent to it.
            assert!(!ping_from_here("172.30.0.20", &["-c1", "-W1"]));
            server.assert_ends_well();
        }
        let (_ours, theirs) = UnixDatagram::pair().expect("a pair");
        let (code, log) = tap(&["--modem", "--fd", &passed(&theirs)]).run_to_end();
        assert_eq!(code, Some(2), "{log}");
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
