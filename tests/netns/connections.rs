//! How many clients there are, who is none, and what a client's end brings about.

use std::time::Duration;

use hypertap_tests::{Client, Daemon, Setup, TIME, eventually, in_namespaces, json, machine};

const BUSY: &str = r#"{"ok":false,"error":"Another client is already connected"}"#;

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
fn a_tcp_client_is_a_second_one_while_a_unix_client_owns_the_tunnel() {
    in_namespaces(|| {
        let mut daemon = Setup::new().args(&["--on-disconnect=keep"]).start();
        let mut owner = daemon.control();
        owner.start();
        let mut second = daemon.silent_client();
        second.expect_text(BUSY);
        second.expect_end();
        owner.expect_no_event();
        drop(owner);
        assert_eq!(free_place(&daemon).status(), "connected");
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
fn a_tls_hello_is_closed_unread_and_ends_nothing() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        // A record of 512 bytes that holds a ClientHello, with and without a byte that ends a line.
        let hello = [&b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03"[..], &[7; 506]].concat();
        let mut with_line = hello.clone();
        with_line.extend(b"\n{\"cmd\":\"shutdown\"}\n");
        for sent in [&hello[..], &with_line, &hello[..2]] {
            let mut browser = free_place(&daemon);
            // It may close before all is written.
            let _ = browser.try_write(sent);
            assert!(browser.ends_within(Duration::from_secs(5)), "it waits for the end of a line");
            expect_no_reply(&mut browser);
            daemon.assert_runs();
        }
        assert_eq!(free_place(&daemon).status(), "disconnected");
    });
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
fn the_end_of_a_client_that_did_nothing_shuts_down_too() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        drop(daemon.client());
        daemon.assert_ends_well();
    });
}

#[test]
fn a_client_that_only_ends_its_writing_side_still_reads_its_replies_and_the_tunnels_end() {
    in_namespaces(|| {
        for (policy, by_unix) in [("exit", false), ("exit", true), ("stop", false), ("stop", true)] {
            let mut daemon = Setup::new().args(&["--on-disconnect", policy]).start();
            let mut client = if by_unix { daemon.control() } else { daemon.client() };
            client.write(b"{\"cmd\":\"start\",\"myIPv4Address\":\"5.5.5.5\"}\n{\"cmd\":\"getName\"}\n");
            client.end_writing();
            assert_eq!(client.reply(), json!({"ok": true}));
            assert_eq!(client.reply()["name"], "hypertap0");
            client.expect_event("tunnelStarted");
            client.expect_stopped("stoppedByUser");
            client.expect_end();
            assert!(!machine::is_link("hypertap0"));
            if policy == "stop" {
                assert_eq!(free_place(&daemon).status(), "disconnected");
                daemon.assert_runs();
            } else {
                daemon.assert_ends_well();
            }
        }
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
fn the_end_of_a_client_that_read_none_of_its_replies_is_noticed() {
    in_namespaces(|| {
        for by_unix in [false, true] {
            let mut daemon = Daemon::start();
            let mut client = if by_unix { daemon.control() } else { daemon.client() };
            client.start();
            client.write_until_full(&b"{\"cmd\":\"help\"}\n".repeat(2000), 500);
            drop(client);
            daemon.assert_ends_well();
            assert!(!machine::is_link("hypertap0"));
        }
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
