//! The commands of the protocol's table but `start` and `stop`: replies, events, refusals.

use hypertap_tests::{Daemon, Setup, in_namespaces, json, machine};

/// What the protocol refuses before the tunnel is connected.
const NEED_A_TUNNEL: [&str; 7] = [
    "addIncludedRoutes",
    "removeIncludedRoutes",
    "addExcludedRoutes",
    "removeExcludedRoutes",
    "turnOnDNS",
    "turnOffDNS",
    "getName",
];

#[test]
fn the_greeting_is_two_events_before_any_reply() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.silent_client();
        client.write(b"{\"cmd\":\"status\"}\n");
        client.expect_text(r#"{"cmd":"event","event":"vpnApproved"}"#);
        client.expect_text(r#"{"cmd":"event","event":"extensionApproved"}"#);
        client.expect_text(r#"{"ok":true,"status":"disconnected"}"#);
    });
}

#[test]
fn op_is_an_alias_of_cmd() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.send(&json!({"op": "status"}));
        client.expect_text(r#"{"ok":true,"status":"disconnected"}"#);
        client.send(&json!({"op": "start", "myIPv4Address": "5.5.5.5"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"tunnelStarted"}"#);
    });
}

#[test]
fn shutdown_replies_first_and_ends_the_process_with_0() {
    in_namespaces(|| {
        for with_tunnel in [false, true] {
            let mut daemon = Daemon::start();
            let mut client = daemon.client();
            if with_tunnel {
                client.start();
            }
            client.send(&json!({"cmd": "shutdown"}));
            client.expect_text(r#"{"ok":true}"#);
            if with_tunnel {
                client.expect_stopped("stoppedByUser");
            }
            client.expect_end();
            daemon.assert_ends_well();
            assert!(!machine::is_link("hypertap0"));
        }
    });
}

#[test]
fn load_config_with_the_right_there_tells_approved() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.send(&json!({"cmd": "loadConfig"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"vpnApproved"}"#);
    });
}

#[test]
fn load_extension_with_the_driver_there_tells_approved() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.send(&json!({"cmd": "loadExtension"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"extensionApproved"}"#);
    });
}

#[test]
fn open_extension_settings_fails_where_there_is_no_desktop() {
    in_namespaces(|| {
        let daemon = Setup::new().env("DISPLAY", "").env("WAYLAND_DISPLAY", "").start();
        let mut client = daemon.client();
        client.refused(&json!({"cmd": "openExtensionSettings"}));
        client.expect_no_event();
    });
}

#[test]
fn show_version_says_three_numbers() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let reply = client.ok(&json!({"cmd": "showVersion"}));
        let version = reply["version"].as_str().expect("a text");
        let numbers: Vec<_> = version.split('.').map(str::parse::<u32>).collect();
        assert!(numbers.len() == 3 && numbers.iter().all(Result::is_ok), "{reply}");
        assert_eq!(reply.as_object().map(serde_json::Map::len), Some(2), "{reply}");
    });
}

#[test]
fn before_start_the_commands_that_need_a_tunnel_say_to_start_first() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for cmd in NEED_A_TUNNEL {
            let (text, _) = client.refused(&json!({"cmd": cmd, "routes": ["10.0.0.0/8"]}));
            assert!(text.contains("start"), "{cmd}: {text}");
        }
        client.expect_no_event();
        client.start();
        client.plain(&json!({"cmd": "stop"}));
        for cmd in NEED_A_TUNNEL {
            let (text, _) = client.refused(&json!({"cmd": cmd, "routes": ["10.0.0.0/8"]}));
            assert!(text.contains("start"), "{cmd} after stop: {text}");
        }
    });
}

#[test]
fn the_fixed_texts_are_exact_and_carry_no_code() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for (line, text) in [
            ("hello", "invalid json"),
            ("{", "invalid json"),
            ("[]", "invalid json"),
            ("\"status\"", "invalid json"),
            ("7", "invalid json"),
            ("null", "invalid json"),
            ("{\"cmd\":\"status\"} x", "invalid json"),
            ("{\"cmd\":\"status\"}{\"cmd\":\"status\"}", "invalid json"),
            ("{}", "missing cmd"),
            ("{\"command\":\"status\"}", "missing cmd"),
            ("{\"cmd\":\"stauts\"}", "unknown cmd"),
            ("{\"cmd\":\"Status\"}", "unknown cmd"),
            ("{\"cmd\":\"\"}", "unknown cmd"),
        ] {
            client.write(format!("{line}\n").as_bytes());
            client.expect_text(&format!(r#"{{"ok":false,"error":"{text}"}}"#));
        }
        client.write(b"{\"cmd\":\"\xff\xfe\"}\n");
        client.expect_text(r#"{"ok":false,"error":"invalid json"}"#);
        client.expect_no_event();
    });
}

#[test]
fn json_that_is_nested_deeply_is_refused_and_hurts_nobody() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let deep = format!("{{\"cmd\":\"status\",\"x\":{}{}}}\n", "[".repeat(200_000), "]".repeat(200_000));
        client.write(deep.as_bytes());
        assert!(client.reply()["ok"].is_boolean());
        assert_eq!(client.status(), "disconnected");
    });
}

#[test]
fn an_id_is_echoed_in_replies_and_refusals() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        for id in [json!(1), json!("a"), json!([1, {"b": null}]), json!(1.5), json!(false)] {
            let reply = client.ask(&json!({"cmd": "status", "id": id}));
            assert_eq!(reply, json!({"ok": true, "status": "disconnected", "id": id}));
            let reply = client.ask(&json!({"cmd": "nonsense", "id": id}));
            assert_eq!(reply, json!({"ok": false, "error": "unknown cmd", "id": id}));
            let reply = client.ask(&json!({"cmd": "start", "id": id}));
            assert_eq!(reply, json!({"ok": false, "error": "No value provided for myIPv4Address", "id": id}));
        }
    });
}

#[test]
fn stats_count_from_nothing() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        let stats = client.stats();
        for direction in ["toProgram", "fromProgram"] {
            assert!(stats[direction]["packets"].is_u64(), "{stats}");
            assert!(stats[direction]["bytes"].is_u64(), "{stats}");
            assert!(stats[direction]["dropped"].is_object(), "{stats}");
        }
        assert_eq!(stats["fromProgram"]["packets"], 0);
    });
}

#[test]
fn help_lists_the_commands_and_events_the_past_ones() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        let help = client.ok(&json!({"cmd": "help"})).to_string();
        for cmd in
            NEED_A_TUNNEL.iter().chain(&["start", "stop", "shutdown", "status", "uninstall", "loadConfig"])
        {
            assert!(help.contains(&format!("\"{cmd}\"")), "{cmd} is not in {help}");
        }
        let events = client.ok(&json!({"cmd": "events"}));
        assert!(events.to_string().contains("tunnelStarted"), "{events}");
    });
}

#[test]
fn supersede_says_what_is_wrong_with_its_name() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.control();
        client.start();
        for (command, wanted) in [
            (json!({"cmd": "supersede"}), "name is missing"),
            (json!({"cmd": "supersede", "name": 7}), "name is 7"),
            (json!({"cmd": "supersede", "name": "other0"}), "no interface named other0"),
        ] {
            let (text, _) = client.refused(&command);
            assert!(text.contains(wanted), "{command}: {text}");
        }
        client.expect_no_event();
        client.plain(&json!({"cmd": "supersede", "name": "hypertap0"}));
        client.expect_stopped("superseded");
    });
}

#[test]
fn uninstall_replies_takes_the_tunnel_down_and_ends_the_process() {
    in_namespaces(|| {
        // What is really installed on the machine that runs this test is out of reach.
        machine::run("mount", &["-t", "tmpfs", "tmpfs", "/var/lib"]);
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.send(&json!({"cmd": "uninstall"}));
        client.expect_text(r#"{"ok":true}"#);
        daemon.assert_ends_well();
        assert!(!machine::is_link("hypertap0"));
    });
}
