//! The command line: exit codes, and sentences that say what to do.

mod doctor;
mod logs;
mod node_config;
mod output;
mod refused;

use std::process::Command;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{Uplink, output, scratch};
use hypertap_tests::{Daemon, Dump, Setup, Value, in_namespaces, json};

fn said(words: &[&str]) -> (Option<i32>, String, String) {
    let output = output(Command::new(binary()).args(words));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn a_wrong_command_line_ends_with_2_and_names_the_word() {
    for words in [
        &["tunel"][..],
        &["tunnel", "--no-such-option"],
        &["tunnel", "--command", "nonsense"],
        &["tunnel", "--command", "localhost:5500"],
        &["tunnel", "--data", "127.0.0.1"],
        &["tunnel", "--data", "0.0.0.0:5501"],
        &["tunnel", "--data", "[::]:5501"],
        &["tunnel", "--data", "192.0.2.1:5501"],
        &["tunnel", "--data", "127.0.0.1:5502"],
        &["tunnel", "--data", "127.0.0.1:6000", "--receive-port", "6000"],
        &["tunnel", "--receive-port", "0"],
        &["tunnel", "--receive-port", "70000"],
        &["tunnel", "--mtu", "65508"],
        &["tunnel", "--mtu", "x"],
        &["tunnel", "--name", "sixteen-letters!"],
        &["tunnel", "--name", "default"],
        &["tunnel", "--log", "loud"],
        &["doctor", "--log", "hypertap"],
        &["tunnel", "--log", "hypertap=loud"],
        &["tunnel", "--log", "info,other=debug"],
        &["tunnel", "--on-disconnect", "never"],
        &["tunnel", "--bypass-mark", "0"],
        &["tunnel", "--bypass-mark", "zero"],
        &["tunnel", "extra"],
        &["bypass"],
    ] {
        let (code, out, err) = said(words);
        assert_eq!(code, Some(2), "{words:?}: {out}{err}");
        assert!(out.is_empty(), "{words:?}: errors go to standard error: {out}");
        let word = words.last().expect("not empty");
        assert!(err.contains(word) || err.contains("Usage"), "{words:?}: {err}");
    }
}

#[test]
fn unknown_users_and_groups_end_with_2_and_are_named() {
    in_namespaces(|| {
        for option in ["--user", "--group"] {
            let (code, log) = Setup::new().args(&[option, "no-such-name"]).run_to_end();
            assert_eq!(code, Some(2), "{option}: {log}");
            assert!(log.contains("no-such-name"), "{option}: {log}");
        }
    });
}

#[test]
fn help_and_version_end_with_0_on_standard_output() {
    for words in [&["--help"][..], &["tunnel", "--help"], &["bypass", "--help"], &["--version"]] {
        let (code, out, err) = said(words);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{words:?}");
        assert!(!out.is_empty(), "{words:?}");
    }
}

#[test]
fn the_version_of_the_command_line_is_that_of_the_protocol() {
    in_namespaces(|| {
        let (_, out, _) = said(&["--version"]);
        let daemon = Daemon::start();
        let version = daemon.client().ok(&json!({"cmd": "showVersion"}))["version"].clone();
        assert_eq!(out.trim(), format!("hypertap {}", version.as_str().expect("text")));
    });
}

#[test]
fn the_helper_without_its_socket_says_who_starts_it() {
    let (code, _, err) = said(&["helper"]);
    assert_eq!(code, Some(2), "{err}");
    assert!(err.contains("hypertap tunnel"), "{err}");
}

#[test]
fn bypass_without_a_daemon_says_what_to_start() {
    in_namespaces(|| {
        let (code, _, err) = said(&["bypass", "--", "true"]);
        assert!(code != Some(0) && err.contains("hypertap tunnel"), "{code:?} {err}");
    });
}

#[test]
fn an_address_that_is_not_the_machines_ends_with_4() {
    in_namespaces(|| {
        let (code, log) = Setup::new().args(&["--command", "192.0.2.1:5500"]).run_to_end();
        assert_eq!(code, Some(4), "{log}");
        assert!(log.contains("192.0.2.1:5500"), "{log}");
    });
}

#[test]
fn commands_from_another_machine_are_not_permitted_whatever_the_address() {
    in_namespaces(|| {
        let uplink = Uplink::connect();
        let mut daemon = Setup::new().args(&["--command", "0.0.0.0:5500"]).start();
        let before = Dump::now();
        let line = json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}).to_string();
        let mut neighbour = uplink.peer(&["tcp-lines", "192.0.2.1:5500", &line]);
        neighbour.expect(r#"{"ok":false,"error":"not permitted"}"#);
        neighbour.finish();
        before.assert_same();
        let mut client = daemon.client();
        client.start();
        daemon.assert_runs();
    });
}

#[test]
fn completions_do_not_offer_what_the_help_hides() {
    in_namespaces(|| {
        let folder = scratch("completions");
        let (code, _, err) = said(&["generate", "completions", &folder.display().to_string()]);
        assert_eq!(code, Some(0), "{err}");
        let mut files = 0;
        for file in std::fs::read_dir(&folder).expect("made").flatten() {
            let text = std::fs::read_to_string(file.path()).expect("text");
            files += 1;
            assert!(text.contains("uninstall") && text.contains("on-disconnect"), "{file:?}");
            for hidden in ["generate", "inside", "remove="] {
                assert!(!text.contains(hidden), "{file:?} offers {hidden}");
            }
            assert!(!text.contains("--remove") && !text.contains("-l remove"), "{file:?} offers --remove");
        }
        assert!(files >= 4);
    });
}

#[test]
fn status_shows_a_running_tunnel_and_disturbs_nobody() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let (code, out, err) = said(&["status"]);
        assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
        for word in ["connected", "hypertap0", "10.9.0.0/16"] {
            assert!(out.contains(word), "{word} is not in {out}");
        }
        let (code, out, _) = said(&["status", "--json"]);
        let value: Value = serde_json::from_str(&out).expect("JSON");
        assert!(code == Some(0) && value.to_string().contains("hypertap0"), "{out}");
        client.expect_no_event();
        daemon.assert_runs();
    });
}
