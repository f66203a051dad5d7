//! How bytes make lines, how many clients there are, and how connections end.

use std::time::{Duration, Instant};

use hypertap_tests::{Client, Daemon, Setup, TIME, Value, eventually, in_namespaces, json, machine};

const STATUS: &str = r#"{"ok":true,"status":"disconnected"}"#;
const BUSY: &str = r#"{"ok":false,"error":"Another client is already connected"}"#;
/// The longest line, in bytes.
const MIB: usize = 1 << 20;

#[test]
fn both_line_ends_nuls_and_empty_lines_are_understood() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for end in [&b"\n"[..], b"\r\n", b"\0\n", b"\0\0\0\r\n", b"\r\n\0"] {
            client.write(&[&br#"{"cmd":"status"}"#[..], end].concat());
            client.expect_text(STATUS);
        }
        client.write(b"\n\r\n\n\0\n{\"cmd\":\"status\"}\n");
        client.expect_text(STATUS);
        client.expect_no_event();
    });
}

#[test]
fn glued_lines_are_answered_each_and_in_their_order() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let lines: Vec<String> = (0..200).map(|id| json!({"cmd": "status", "id": id}).to_string()).collect();
        client.write((lines.join("\r\n") + "\r\n").as_bytes());
        for id in 0..200 {
            client.expect(&json!({"ok": true, "status": "disconnected", "id": id}));
        }
    });
}

#[test]
fn glued_commands_take_effect_in_their_order() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let words = ["start", "status", "getName", "stop", "status", "getName"];
        let line = |cmd: &str| format!("{}\n", json!({"cmd": cmd, "myIPv4Address": "5.5.5.5"}));
        client.write(words.map(line).concat().as_bytes());
        assert_eq!(client.reply(), json!({"ok": true}));
        assert_eq!(client.reply()["status"], "connected");
        assert_eq!(client.reply()["name"], "hypertap0");
        assert_eq!(client.reply(), json!({"ok": true}));
        assert_eq!(client.reply()["status"], "disconnected");
        assert_eq!(client.reply()["ok"], false);
    });
}

#[test]
fn events_never_split_a_reply() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let (mut owner, mut observer) = (daemon.client(), daemon.control());
        let status = "{\"cmd\":\"status\"}\n".repeat(50);
        let (mut replies, mut events) = (0, 0);
        for round in 0..20 {
            observer.write(status.as_bytes());
            owner.start();
            owner.plain(&json!({"cmd": "stop"}));
            owner.expect_stopped("stoppedByUser");
            while replies < 50 * (round + 1) || events < 2 * (round + 1) {
                let line = observer.next_line(TIME).expect("the connection lives");
                let whole: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line:?}"));
                if whole["cmd"] == "event" { events += 1 } else { replies += 1 }
            }
        }
        assert_eq!((replies, events), (1000, 40));
    });
}

#[test]
fn a_line_may_come_one_byte_at_a_time() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for byte in b"{\"cmd\":\"status\"}\r\n{\"op\":\"status\"}\n" {
            client.write(&[*byte]);
        }
        client.expect_text(STATUS);
        client.expect_text(STATUS);
    });
}

fn status_line_of(length: usize) -> String {
    let (head, tail) = (r#"{"cmd":"status","pad":""#, r#""}"#);
    format!("{head}{}{tail}\n", "x".repeat(length - head.len() - tail.len()))
}

#[test]
fn a_line_of_1_mib_is_answered_and_a_longer_one_ends_the_connection() {
    in_namespaces(|| {
        let mut daemon = Setup::new().args(&["--on-disconnect=stop"]).start();
        let mut client = daemon.client();
        client.write(status_line_of(MIB).as_bytes());
        client.expect_text(STATUS);
        // It may close before all is written.
        let _ = client.try_write(status_line_of(MIB + 1).as_bytes());
        expect_end_without_success(&mut client);
        daemon.assert_runs();

        eventually("the place of the client is free again", || {
            let mut next = daemon.silent_client();
            next.next_line(Duration::from_secs(5)).is_some_and(|line| line.contains("vpnApproved"))
        });
    });
}

/// Whatever it says at the end, it is not that the line was fine.
fn expect_end_without_success(client: &mut Client) {
    while let Some(line) = client.next_line(Duration::from_secs(20)) {
        assert!(!line.contains(r#""ok":true"#), "{line}");
    }
}

#[test]
fn a_line_that_takes_10_s_ends_the_connection_and_an_idle_connection_stays() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut idle = daemon.control();
        let mut client = daemon.silent_client();
        client.expect_greeting();
        let begin = Instant::now();
        client.write(b"{");
        // More bytes do not buy more time.
        while !client.ends_within(Duration::from_millis(500)) {
            // It may have closed just now.
            let _ = client.try_write(b" ");
            assert!(begin.elapsed() < Duration::from_secs(20), "the line may take for ever");
        }
        expect_end_without_success(&mut client);
        let taken = begin.elapsed();
        assert!((9_500..13_000).contains(&taken.as_millis()), "ended after {taken:?}");
        // As the end of the only client shuts the daemon down, the idle one sees the end too, but only now.
        expect_end_without_success(&mut idle);
        assert!(begin.elapsed() >= taken);
    });
}

#[test]
fn a_second_client_gets_one_line_and_the_first_is_not_disturbed() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut first = daemon.client();
        first.start();
        for sent in ["", "{\"cmd\":\"shutdown\"}\n", "{\"cmd\":\"stop\"}\n{\"cmd\":\"status\"}\n"] {
            let mut second = daemon.silent_client();
            // It may be turned away before it has written.
            let _ = second.try_write(sent.as_bytes());
            second.expect_text(BUSY);
            second.expect_end();
        }
        first.expect_no_event();
        assert_eq!(first.status(), "connected");
        assert!(machine::is_link("hypertap0"));
        daemon.assert_runs();
    });
}

#[test]
fn many_second_clients_do_not_disturb_the_first() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut first = daemon.client();
        let seconds: Vec<Client> = (0..500).map(|_| daemon.silent_client()).collect();
        assert_eq!(first.status(), "disconnected");
        // More than a daemon cares to talk to at once are closed without a word.
        let told = seconds.into_iter().filter_map(|mut second| second.next_line(TIME)).collect::<Vec<_>>();
        assert!(told.len() > 10 && told.iter().all(|line| line == BUSY), "{told:?}");
        first.expect_no_event();
    });
}

const POST: &str = "POST / HTTP/1.1\r\nHost: 127.0.0.1:5500\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n{\"cmd\":\"shutdown\"}\r\n";

#[test]
fn an_http_request_is_closed_unread_and_ends_nothing() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        for request in [
            POST,
            "GET /?{\"cmd\":\"shutdown\"} HTTP/1.1\r\n\r\n",
            "OPTIONS * HTTP/1.1\r\n\r\n",
            "PUT /x HTTP/1.0\n",
        ] {
            let mut browser = free_place(&daemon);
            // It may close before all is written.
            let _ = browser.try_write(request.as_bytes());
            expect_no_reply(&mut browser);
            daemon.assert_runs();
        }
        let mut client = free_place(&daemon);
        assert_eq!(client.status(), "disconnected");
    });
}

#[test]
fn an_http_request_that_comes_cut_is_closed_unread_and_ends_nothing() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut browser = daemon.client();
        for byte in POST.as_bytes() {
            if browser.try_write(&[*byte]).is_err() {
                break;
            }
        }
        expect_no_reply(&mut browser);
        daemon.assert_runs();

        // One that ends before its first line does.
        let mut browser = free_place(&daemon);
        browser.write(b"POST / HT");
        browser.end_writing();
        expect_no_reply(&mut browser);
        daemon.assert_runs();
        assert_eq!(free_place(&daemon).status(), "disconnected");
    });
}

fn expect_no_reply(browser: &mut Client) {
    while let Some(line) = browser.next_line(Duration::from_secs(10)) {
        assert!(!line.contains("\"ok\""), "a reply to a browser: {line}");
    }
}

/// The next client, once the daemon has noticed that the last one is gone.
fn free_place(daemon: &Daemon) -> Client {
    let mut found = None;
    eventually("the client's place is free", || {
        let mut client = daemon.silent_client();
        let line = client.next_line(Duration::from_secs(5)).unwrap_or_default();
        if line.contains("vpnApproved") {
            client.expect_text(r#"{"cmd":"event","event":"extensionApproved"}"#);
            found = Some(client);
        } else {
            assert_eq!(line, BUSY);
        }
        found.is_some()
    });
    found.expect("the condition held")
}

#[test]
fn an_http_request_on_an_owned_daemon_is_the_second_client() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut first = daemon.client();
        first.start();
        let mut browser = daemon.silent_client();
        let _ = browser.try_write(POST.as_bytes());
        browser.expect_text(BUSY);
        browser.expect_end();
        assert_eq!(first.status(), "connected");
        daemon.assert_runs();
    });
}

#[test]
fn the_clients_end_shuts_down_by_default() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        drop(client);
        daemon.assert_ends_well();
        assert!(!machine::is_link("hypertap0"));
    });
}

#[test]
fn a_client_that_only_ends_its_writing_side_still_reads_its_replies() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.write(b"{\"cmd\":\"start\",\"myIPv4Address\":\"5.5.5.5\"}\n{\"cmd\":\"getName\"}\n");
        client.end_writing();
        assert_eq!(client.reply(), json!({"ok": true}));
        assert_eq!(client.reply()["name"], "hypertap0");
        daemon.assert_ends_well();
        assert!(!machine::is_link("hypertap0"));
    });
}

#[test]
fn a_connection_that_is_reset_is_an_end_too() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        // A socket that is closed over unread bytes resets.
        client.send(&json!({"cmd": "help"}));
        client.reply();
        client.send(&json!({"cmd": "help"}));
        assert!(client.has_unread(), "the reply is there, unread");
        drop(client);
        daemon.assert_ends_well();
        assert!(!machine::is_link("hypertap0"));
    });
}

#[test]
fn on_disconnect_stop_takes_the_tunnel_down_and_waits_for_the_next() {
    in_namespaces(|| {
        let mut daemon = Setup::new().args(&["--on-disconnect=stop"]).start();
        for _ in 0..2 {
            let mut client = free_place(&daemon);
            assert_eq!(client.status(), "disconnected");
            client.start();
            drop(client);
            eventually("the link is gone", || !machine::is_link("hypertap0"));
            daemon.assert_runs();
        }
    });
}

#[test]
fn on_disconnect_keep_leaves_the_tunnel_to_the_next_client() {
    in_namespaces(|| {
        let mut daemon = Setup::new().args(&["--on-disconnect", "keep"]).start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/24"]}));
        drop(client);
        let mut client = free_place(&daemon);
        assert_eq!(client.status(), "connected");
        assert_eq!(machine::device_towards("10.9.0.1").as_deref(), Some("hypertap0"));
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
    });
}
