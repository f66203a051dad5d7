//! `hypertap recover`, by hand and as the service's last word.

use std::os::unix::process::CommandExt;
use std::process::Command;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{is_link, output};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::{Daemon, Dump, Value, in_namespaces, json};

const SERVICE: &str = include_str!("../../packaging/systemd/hypertap.service");

fn said(command: &mut Command) -> (Option<i32>, String, String) {
    let output = output(command);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn recover(words: &[&str]) -> (Option<i32>, String, String) {
    said(Command::new(binary()).arg("recover").args(words))
}

/// Has a daemon make a tunnel, and kills it. The interface goes with it, the rules stay.
fn kill_a_tunnel() -> u32 {
    let mut daemon = Daemon::start();
    let mut client = daemon.client();
    client.start();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["10.9.9.0/24"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
    daemon.kill();
    daemon.pid().as_raw().unsigned_abs()
}

#[test]
fn recover_undoes_what_a_killed_tunnel_left_and_says_what() {
    in_namespaces(|| {
        let before = Dump::now();
        let pid = kill_a_tunnel();
        before.assert_changed();
        let (code, out, err) = recover(&[]);
        assert_eq!(code, Some(0), "{out}{err}");
        assert!(out.contains("rules") && out.contains(&pid.to_string()), "{out}");
        before.assert_same();
        let folders = std::fs::read_dir("/run/hypertap").expect("there").flatten();
        let instances: Vec<_> =
            folders.filter(|f| f.file_name().to_string_lossy().starts_with("instance")).collect();
        assert!(instances.is_empty(), "{instances:?}");

        let (code, out, err) = recover(&[]);
        assert_eq!((code, out.trim()), (Some(0), "nothing was left in /run/hypertap"), "{err}");
    });
}

#[test]
fn recover_says_in_json_what_it_undid() {
    in_namespaces(|| {
        let (code, out, err) = recover(&["--json"]);
        assert_eq!((code, out.trim()), (Some(0), "[]"), "{err}");
        assert!(!std::path::Path::new("/run/hypertap").exists(), "looking makes nothing");
        let pid = kill_a_tunnel();
        let (code, out, err) = recover(&["--json"]);
        assert_eq!(code, Some(0), "{err}");
        let list: Value = serde_json_from(&out);
        assert_eq!(list.as_array().map(Vec::len), Some(1), "{list}");
        assert_eq!((&list[0]["pid"], &list[0]["interface"]), (&json!(pid), &json!("hypertap0")), "{list}");
        assert!(list[0]["rules"].as_u64() > Some(0), "{list}");
    });
}

fn serde_json_from(text: &str) -> Value {
    text.parse().expect("JSON")
}

#[test]
fn recover_leaves_a_running_tunnel_alone() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        let before = Dump::now();
        let (code, out, err) = recover(&[]);
        assert!(code == Some(0) && out.contains("nothing"), "{code:?} {out}{err}");
        before.assert_same();
        assert!(is_link("hypertap0"));
        client.expect_no_event();
        daemon.assert_runs();
    });
}

#[test]
fn recover_without_rights_ends_with_3_and_says_what_to_run() {
    in_namespaces(|| {
        needs_root();
        let (code, out, err) = said(Command::new(binary()).arg("recover").uid(65_534).gid(65_534));
        assert!(code == Some(3) && err.contains("sudo hypertap recover"), "{code:?} {out}{err}");
    });
}

#[test]
fn what_the_service_runs_after_its_end_undoes_what_is_left_when_all_of_it_is_killed() {
    in_namespaces(|| {
        let before = Dump::now();
        kill_a_tunnel();
        before.assert_changed();
        let line = SERVICE.lines().find_map(|line| line.strip_prefix("ExecStopPost=")).expect("there is one");
        // The minus: where the program is uninstalled already, the unit has not failed.
        let words = line.strip_prefix("-/usr/local/bin/hypertap ").expect("it is the installed program");
        let (code, out, err) = said(Command::new(binary()).args(words.split(' ')));
        assert_eq!(code, Some(0), "{out}{err}");
        before.assert_same();
    });
}
