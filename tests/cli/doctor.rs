//! `hypertap doctor`: what the machine allows, and what killed tunnels have left on it.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use hypertap_tests::{Daemon, Dump, Value, in_namespaces, json};

use super::said;

#[test]
fn doctor_says_whether_a_tunnel_can_be_started() {
    in_namespaces(|| {
        let (code, out, err) = said(&["doctor"]);
        assert_eq!(code, Some(0), "{out}{err}");
        let (code, out, _) = said(&["doctor", "--json"]);
        assert!(code == Some(0) && serde_json::from_str::<Value>(&out).is_ok(), "{out}");
        let _port = TcpListener::bind("127.0.0.1:5500").expect("free");
        let (code, out, err) = said(&["doctor"]);
        assert!(code == Some(4) && out.contains("5500"), "{code:?} {out}{err}");
    });
}

/// What doctor says of the journal.
fn journal() -> Value {
    let (_, out, err) = said(&["doctor", "--json"]);
    let list: Value = out.parse().unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    let mut findings = list.as_array().expect("a list").iter();
    findings.find(|finding| finding["thing"] == "journal").expect("it is looked at").clone()
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir("/run/hypertap/journal")
        .expect("there")
        .flatten()
        .map(|file| file.path())
        .collect();
    files.sort();
    files
}

#[test]
fn doctor_lists_what_killed_tunnels_left_and_leaves_it_there() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        daemon.kill();
        let pid = daemon.pid();
        let (before, pages) = (Dump::now(), files());

        let (code, out, err) = said(&["doctor"]);
        assert_eq!(code, Some(0), "a start undoes it, so it keeps none from starting: {out}{err}");
        assert!(out.contains(&format!("hypertap0 of process {pid}")), "{out}");
        assert!(out.contains("`sudo hypertap recover`"), "{out}");
        assert_eq!(journal()["state"], "note");
        before.assert_same();
        assert_eq!(files(), pages);

        let (code, out, err) = said(&["recover"]);
        assert_eq!(code, Some(0), "{out}{err}");
        let finding = journal();
        assert_eq!((&finding["state"], &finding["remedy"]), (&json!("good"), &Value::Null), "{finding}");
    });
}

#[test]
fn doctor_takes_no_running_tunnel_for_a_killed_one() {
    in_namespaces(|| {
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        assert_eq!(files().iter().filter(|file| file.extension().is_some()).count(), 1);
        assert_eq!(journal()["state"], "good");
        client.expect_no_event();
        daemon.assert_runs();
    });
}

#[test]
fn doctor_makes_no_journal_to_look_at() {
    in_namespaces(|| {
        assert_eq!(journal()["state"], "good");
        assert!(!Path::new("/run/hypertap").exists());
    });
}
