//! An ordinary user's daemon asks for its right: the real polkitd and the real pkexec, installed with
//! our action in the test's own view of `/usr`, on a system bus of the test's own.
//!
//! polkitd, pkexec and what they are linked with are Debian's packages, fetched once into the target
//! folder and unpacked, never installed. The person is played by an agent on the bus (the interface
//! org.freedesktop.PolicyKit1.AuthenticationAgent, as a desktop has one), which answers in place of
//! the password dialog: everything between `loadConfig` and the dialog is real.

#[path = "polkit/agent.rs"]
mod agent;
#[path = "polkit/setup.rs"]
mod setup;

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use hypertap_tests::daemon::wait_until_gone;
use hypertap_tests::machine::{Uplink, is_device_open, ping, scratch};
use hypertap_tests::namespaces::{end_within, in_namespaces_of};
use hypertap_tests::packet::ping_reply;
use hypertap_tests::{Client, Dump, Responder, Scene, Setup, TIME, UdpProgram, in_namespaces, json};
use nix::sys::signal::{Signal, kill};

use agent::{Person, agent};
use setup::{PROGRAM, Polkit, packages};

/// The ordinary user: `nobody`.
const USER: u32 = 65534;

/// A rule of an administrator's that lets everybody do our action, and none that asks for another.
const ALLOW: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "org.hypertap.helper" && subject.user == "nobody") return polkit.Result.YES;
});"#;
const FORBID: &str = r#"polkit.addRule(function(action, subject) {
    if (action.id == "org.hypertap.helper") return polkit.Result.NO;
});"#;
/// Our action's own defaults hold.
const NO_RULE: &str = "";

/// Runs a test on a machine with polkit and this rule, where the ordinary user has started our installed
/// program without a terminal to be asked on, and a client knows that it has no right yet.
fn with_polkit<F: FnOnce(&mut Scene)>(rule: &str, body: F) {
    let packages = packages();
    in_namespaces_of::<F>(|| {
        let _polkit = Polkit::start(&packages, rule);
        let before = Dump::now();
        let mut wrapper = Command::new("sh");
        wrapper.args(["-c", &format!(r#"exec setsid {PROGRAM} "$@""#)]).stdout(Stdio::null());
        let daemon = Setup::new().through(wrapper).run_by(USER).env("SHELL", "/bin/sh").start();
        let mut client = daemon.silent_client();
        client.expect_text(r#"{"cmd":"event","event":"vpnPending"}"#);
        client.expect_event(if is_device_open() { "extensionApproved" } else { "extensionNotApproved" });
        assert_eq!(client.status(), "invalid");
        body(&mut Scene { client, daemon, before });
    });
}

fn load_config(client: &mut Client) {
    client.plain(&json!({"cmd": "loadConfig"}));
}

/// The right is there: what it is for works.
fn everything_works(client: &mut Client) {
    client.expect_event("vpnApproved");
    assert_eq!(client.status(), "disconnected");
    client.plain(&json!({"cmd": "loadExtension"}));
    client.expect_event("extensionApproved");
    client.start_with(json!({"myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd09::/16"]}));
    client.plain(&json!({"cmd": "addExcludedRoutes", "routes": ["10.9.9.0/24"]}));
    client.plain(&json!({"cmd": "turnOnDNS"}));
    let _responder = Responder::start(UdpProgram::bind(), ping_reply);
    assert!(ping("10.9.0.1", &[]), "no answer");
    assert!(ping("fd09::1", &[]), "no answer");
}

/// What root's helper has written down that must be undone.
fn journal() -> Vec<String> {
    let entries = fs::read_dir("/run/hypertap/journal").into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "lock").collect()
}

/// The right is not there, and nothing else has changed.
fn nothing_works(client: &mut Client) {
    client.expect_event("vpnDenied");
    client.expect_no_event();
    assert_eq!(client.status(), "invalid");
    let (_, code) = client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
    assert_eq!(code, Some(3));
}

#[test]
fn a_rule_that_allows_it_gives_the_right_and_a_killed_daemon_leaves_nothing() {
    with_polkit(ALLOW, |Scene { client, daemon, .. }| {
        let _uplink = Uplink::connect();
        let before = Dump::now();
        load_config(client);
        everything_works(client);
        before.assert_changed();
        let helper = daemon.helper();
        let owner = fs::read_to_string(format!("/proc/{helper}/status")).expect("it runs");
        assert!(owner.contains("Uid:\t0\t0\t0\t0"), "{owner}");
        assert!(!journal().is_empty());
        daemon.kill();
        wait_until_gone(helper);
        before.assert_same();
        assert_eq!(journal(), [""; 0]);
    });
}

#[test]
fn the_right_that_was_given_lasts_until_the_daemon_ends_or_the_helper_is_ended() {
    with_polkit(ALLOW, |Scene { client, daemon, before }| {
        for _ in 0..2 {
            load_config(client);
            everything_works(client);
            load_config(client);
            client.expect_event("vpnApproved");
            client.plain(&json!({"cmd": "stop"}));
            client.expect_stopped("stoppedByUser");
            before.assert_same();
            client.start();
            kill(daemon.keeper(), Signal::SIGTERM).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            assert_eq!(client.status(), "invalid");
            before.assert_same();
        }
        load_config(client);
        client.expect_event("vpnApproved");
        let helper = daemon.helper();
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        wait_until_gone(helper);
        before.assert_same();
    });
}

#[test]
fn a_person_who_authenticates_gives_the_right() {
    with_polkit(NO_RULE, |Scene { client, daemon, .. }| {
        let questions = agent(daemon, Person::Authenticates);
        load_config(client);
        everything_works(client);
        let question = questions.recv_timeout(TIME).expect("it was asked");
        assert!(
            question.contains("network interface"),
            "the packaged question, not pkexec's own: {question}"
        );
    });
}

#[test]
fn a_dismissed_question_is_authentication_cancelled_and_denied() {
    with_polkit(NO_RULE, |Scene { client, daemon, before }| {
        let _questions = agent(daemon, Person::Dismisses);
        for _ in 0..2 {
            load_config(client);
            client.expect_stopped("authenticationCancelled");
            nothing_works(client);
            before.assert_same();
        }
    });
}

#[test]
fn a_person_who_cannot_prove_it_is_denied() {
    with_polkit(NO_RULE, |Scene { client, daemon, .. }| {
        let questions = agent(daemon, Person::Fails);
        load_config(client);
        nothing_works(client);
        questions.recv_timeout(TIME).expect("it was asked");
    });
}

#[test]
fn with_nobody_to_ask_it_is_denied() {
    with_polkit(NO_RULE, |Scene { client, .. }| {
        for _ in 0..2 {
            load_config(client);
            nothing_works(client);
        }
    });
}

#[test]
fn a_rule_that_forbids_it_is_denied_without_a_question() {
    with_polkit(FORBID, |Scene { client, daemon, .. }| {
        let questions = agent(daemon, Person::Authenticates);
        load_config(client);
        nothing_works(client);
        assert!(questions.try_recv().is_err(), "nobody was asked");
    });
}

/// Runs pkexec as the ordinary user, with a socket as standard input; exit code and what it said.
fn pkexec(words: &[&str]) -> (Option<i32>, String) {
    let (_ours, theirs) = UnixStream::pair().expect("a pair");
    // It answers to nobody whose parent is process 1, which the test is.
    let mut command = Command::new("setsid");
    command
        .args(["sh", "-c", r#"pkexec "$@"; exit $?"#, "sh"])
        .args(words)
        .uid(USER)
        .gid(USER)
        .env("SHELL", "/bin/sh")
        .current_dir("/");
    command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("pkexec is installed");
    drop(command);
    let status = end_within(&mut child, TIME).expect("it ends");
    let mut said = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut said).expect("text");
    (status.code(), said)
}

#[test]
fn the_right_is_for_the_helper_alone_and_it_takes_no_paths() {
    let packages = packages();
    in_namespaces(|| {
        let _polkit = Polkit::start(&packages, ALLOW);
        let kept = scratch("kept");
        fs::write(&kept, "root's own").expect("the folder is ours");
        let (folder, file) = (scratch("journal"), kept.to_str().expect("text"));
        for words in [["--state-dir", folder.to_str().expect("text")], ["--remove", file]] {
            let (code, said) = pkexec(&[&[PROGRAM, "helper"][..], &words].concat());
            assert_eq!(code, Some(2), "{words:?}: {said}");
            assert!(said.contains("takes no paths"), "{words:?}: {said}");
        }
        assert!(!folder.exists());
        assert!(kept.exists());
        // Other words, and other programs, are other actions, which nobody allowed.
        for words in [&[PROGRAM, "tunnel"][..], &[PROGRAM, "uninstall"], &[PROGRAM], &["/usr/bin/id"]] {
            let (code, said) = pkexec(words);
            assert_eq!(code, Some(127), "{words:?}: {said}");
        }
    });
}
