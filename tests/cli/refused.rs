//! What a tunnel is not started with: the exit code, and what the sentence has to say.

use std::os::unix::net::UnixListener;
use std::process::Command;

use hypertap_tests::machine::scratch;
use hypertap_tests::{Dump, Setup, in_namespaces};

use super::said;

#[track_caller]
fn assert_refused(options: &[&str], code: i32, words: &[&str]) {
    let before = Dump::now();
    let (got, log) = Setup::new().args(options).run_to_end();
    assert_eq!(got, Some(code), "{options:?}: {log}");
    for word in words {
        assert!(log.contains(word), "{options:?}: {word:?} is not in {log}");
    }
    before.assert_same();
}

#[test]
fn root_is_no_user_to_drop_rights_to() {
    in_namespaces(|| assert_refused(&["--user", "root"], 2, &["--user root", "ordinary user"]));
}

#[test]
fn a_path_too_long_for_a_socket_is_refused_by_the_option_that_mends_it() {
    in_namespaces(|| {
        let long = format!("/run/{}", "x".repeat(110));
        assert_refused(&["--control", &long], 2, &["--control", "shorter"]);
        assert_refused(&["--state-dir", &long], 2, &["--state-dir", "shorter"]);
        assert!(!std::path::Path::new(&long).exists());
    });
}

#[test]
fn a_state_directory_that_is_none_is_refused() {
    in_namespaces(|| {
        for path in ["/etc/passwd", "/etc/passwd/below"] {
            assert_refused(&["--state-dir", path], 4, &[path, "/etc/passwd is no directory", "--state-dir"]);
        }
    });
}

#[test]
fn an_address_with_a_name_in_it_is_refused_with_one_that_would_do() {
    for option in ["--command", "--data"] {
        let (code, _, err) = said(&["tunnel", option, "localhost:5500"]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("127.0.0.1:5500"), "{err}");
    }
}

#[test]
fn a_name_that_is_kept_for_something_else_is_named_among_those() {
    for name in ["default", "all"] {
        let (code, _, err) = said(&["tunnel", "--name", name]);
        assert_eq!(code, Some(2), "{err}");
        assert!(err.contains("none of \".\", \"..\", \"all\" and \"default\""), "{err}");
    }
}

#[test]
fn a_daemon_that_does_not_answer_is_said_so_once() {
    in_namespaces(|| {
        let path = scratch("stale.sock");
        drop(UnixListener::bind(&path).expect("ours"));
        let path = path.display().to_string();
        let (code, _, err) = said(&["status", "--control", &path]);
        assert_eq!(code, Some(1), "{err}");
        assert!(err.contains("hypertap tunnel"), "{err}");
        for once in ["refused", &path] {
            assert_eq!(err.matches(once).count(), 1, "{err}");
        }
    });
}

#[test]
fn a_descriptor_that_was_announced_and_not_passed_is_named() {
    in_namespaces(|| {
        let mut wrapper = Command::new("sh");
        wrapper.args(["-c", "export LISTEN_PID=$$ LISTEN_FDS=1; exec \"$@\" 3<&-", "sh"]);
        let (code, log) = Setup::new().through(wrapper).run_to_end();
        assert_eq!(code, Some(2), "{log}");
        assert!(log.contains("LISTEN_FDS is 1, and descriptor 3"), "{log}");
    });
}
