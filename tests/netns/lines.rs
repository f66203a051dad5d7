//! How bytes make lines, and how long and how slow a line may be.

use std::time::{Duration, Instant};

use hypertap_tests::{Client, Daemon, Setup, TIME, Value, eventually, in_namespaces, json};

const STATUS: &str = r#"{"ok":true,"status":"disconnected"}"#;
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
        assert!((9_500..20_000).contains(&taken.as_millis()), "ended after {taken:?}");
        // As the end of the only client shuts the daemon down, the idle one sees the end too, but only now.
        expect_end_without_success(&mut idle);
        assert!(begin.elapsed() >= taken);
    });
}

#[test]
fn a_line_that_begins_with_blanks_or_nuls_has_no_more_time_and_what_follows_an_end_begins_none() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut polite = daemon.control();
        polite.write(b"{\"cmd\":\"status\"}\r\n\0\0");
        polite.expect_text(STATUS);
        let slow = [&b" "[..], b"\0", b"{\"cmd\":\"status\"}\n \t", b"\n\0 \n  \0{"].map(|begun| {
            let mut client = daemon.control();
            let begin = Instant::now();
            client.write(begun);
            (client, begin)
        });
        for (mut client, begin) in slow {
            assert!(client.ends_within(Duration::from_secs(20).saturating_sub(begin.elapsed())));
            assert!(begin.elapsed() > Duration::from_millis(9_500), "ended after {:?}", begin.elapsed());
        }
        polite.expect_no_event();
    });
}
