//! Several daemons at once, taken places, and a service manager's sockets.

use std::net::{TcpListener, UdpSocket};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use hypertap_tests::machine::{add_link, device_towards, ip, is_link, ping, scratch};
use hypertap_tests::packet::ping_reply;
use hypertap_tests::{Client, Daemon, Dump, Responder, Setup, UdpProgram, in_namespaces, json};

#[test]
fn two_instances_have_interfaces_and_routes_of_their_own() {
    in_namespaces(|| {
        let before = Dump::now();
        let (mut first, mut second) = (Daemon::start(), Setup::new().ports(6500).start());
        let (mut one, mut two) = (first.client(), second.client());
        one.start();
        two.ok(&json!({"cmd": "start", "myIPv4Address": "6.6.6.6"}));
        two.expect_event("tunnelStarted");
        assert_eq!((one.name().as_str(), two.name().as_str()), ("hypertap0", "hypertap1"));
        one.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        two.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.8.0.0/16"]}));
        assert_eq!(device_towards("10.9.0.1").as_deref(), Some("hypertap0"));
        assert_eq!(device_towards("10.8.0.1").as_deref(), Some("hypertap1"));
        let _answer_one = Responder::start(UdpProgram::bind(), ping_reply);
        let _answer_two = Responder::start(UdpProgram::bind_ports(6501, 6502), ping_reply);
        assert!(ping("10.9.0.1", &[]) && ping("10.8.0.1", &[]));

        one.plain(&json!({"cmd": "shutdown"}));
        first.assert_ends_well();
        assert!(!is_link("hypertap0"));
        assert!(ping("10.8.0.1", &[]), "the other goes on");
        two.expect_no_event();
        two.plain(&json!({"cmd": "shutdown"}));
        second.assert_ends_well();
        before.assert_same();
    });
}

#[test]
fn each_instance_has_a_unix_socket_and_the_first_the_plain_name() {
    in_namespaces(|| {
        let first = Daemon::start();
        let _second = Setup::new().ports(6500).start();
        first.control();
        let entries = std::fs::read_dir("/run/hypertap").expect("there").flatten();
        let sockets: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|e| e == "sock"))
            .collect();
        assert_eq!(sockets.len(), 2, "{sockets:?}");
        for socket in sockets {
            Client::unix(&socket).expect_greeting();
        }
    });
}

#[test]
fn a_taken_port_ends_with_4_and_a_sentence_that_names_it_and_what_to_do() {
    in_namespaces(|| {
        let first = Daemon::start();
        let mut client = first.client();
        let (code, said) = Setup::new().run_to_end();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("127.0.0.1:5500") && said.contains("--command"), "{said}");
        assert!(!said.contains("panicked"), "{said}");

        let holder = UdpSocket::bind("127.0.0.1:6501").expect("free");
        let (code, said) = Setup::new().ports(6500).run_to_end();
        assert_eq!(code, Some(4), "{said}");
        assert!(said.contains("127.0.0.1:6501") && said.contains("--data"), "{said}");
        drop(holder);
        client.expect_no_event();
    });
}

#[test]
fn a_taken_first_name_becomes_the_next_free_number() {
    in_namespaces(|| {
        add_link("hypertap0");
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        assert_eq!(client.name(), "hypertap1");
        client.plain(&json!({"cmd": "stop"}));
        ip("link del hypertap0");
        client.expect_stopped("stoppedByUser");
        client.start();
        assert_eq!(client.name(), "hypertap0");
    });
}

#[test]
fn a_taken_name_that_was_asked_for_is_an_error_with_code_5() {
    in_namespaces(|| {
        add_link("mine");
        let start = json!({"cmd": "start", "myIPv4Address": "5.5.5.5"});
        let by_option = Setup::new().args(&["--name", "mine"]).start();
        let (text, code) = by_option.client().refused(&start);
        assert!(text.contains("mine") && code == Some(5), "{text} {code:?}");
        drop(by_option);

        let daemon = Daemon::start();
        let mut client = daemon.client();
        let mut named = start.clone();
        named["name"] = json!("mine");
        let (text, code) = client.refused(&named);
        assert!(text.contains("mine") && code == Some(5), "{text} {code:?}");
        client.plain(&start);
        assert!(is_link("mine"), "it is another's");
    });
}

#[test]
fn a_taken_path_ends_with_4_and_names_it() {
    in_namespaces(|| {
        let file = scratch("a-file");
        std::fs::write(&file, "mine").expect("ours");
        let _first = Setup::new().args(&["--control", "/run/test/taken.sock"]).start();
        for path in [file.to_str().expect("a path"), "/run/test/taken.sock"] {
            let (code, said) = Setup::new().ports(6500).args(&["--control", path]).run_to_end();
            assert_eq!(code, Some(4), "{said}");
            assert!(said.contains(path) && said.contains("--control"), "{said}");
        }
        assert_eq!(std::fs::read_to_string(&file).expect("it is still there"), "mine");
    });
}

/// Starts the daemon as a service manager does (`sd_listen_fds(3)`): the sockets are descriptors 3 and 4.
fn activated(command: &TcpListener, data: &UdpSocket) -> Daemon {
    let mut shell = Command::new("sh");
    let script = r#"exec 3<&0 4<&1 </dev/null >/dev/null; export LISTEN_PID=$$ LISTEN_FDS=2; exec "$@""#;
    shell.args(["-c", script, "sh"]);
    shell.stdin(OwnedFd::from(command.try_clone().expect("a descriptor")));
    shell.stdout(Stdio::from(OwnedFd::from(data.try_clone().expect("a descriptor"))));
    Setup::new().through(shell).start()
}

#[test]
fn under_socket_activation_an_exit_is_followed_by_a_fresh_start() {
    in_namespaces(|| {
        let before = Dump::now();
        let command = TcpListener::bind("127.0.0.1:5500").expect("free");
        let data = UdpSocket::bind("127.0.0.1:5501").expect("free");
        for _ in 0..3 {
            // The connection is there before the daemon is.
            let mut client = Client::tcp(5500);
            let mut daemon = activated(&command, &data);
            client.expect_greeting();
            client.start();
            client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
            let responder = Responder::start(UdpProgram::bind(), ping_reply);
            assert!(ping("10.9.0.1", &[]));
            drop((client, responder));
            daemon.assert_ends_well();
            before.assert_same();
        }
    });
}

#[test]
fn sockets_for_another_process_are_not_taken() {
    in_namespaces(|| {
        let daemon = Setup::new().env("LISTEN_PID", "1").env("LISTEN_FDS", "2").start();
        assert_eq!(daemon.client().status(), "disconnected");
    });
}

#[test]
fn activated_sockets_of_no_use_are_an_error_that_says_so() {
    in_namespaces(|| {
        let mut shell = Command::new("sh");
        let script = r#"exec 3</dev/null; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@""#;
        shell.args(["-c", script, "sh"]).stdin(Stdio::null()).stdout(Stdio::null());
        let (code, said) = Setup::new().through(shell).run_to_end();
        assert_ne!(code, Some(0));
        assert!(said.contains("socket") && !said.contains("panicked"), "{said}");
    });
}
