//! Another instance wants the interface.

use std::time::Instant;

use hypertap_tests::machine::{add_link, is_link, run};
use hypertap_tests::wait::JOB_TIME;
use hypertap_tests::{Client, Daemon, Dump, Scene, Setup, eventually, json, with_daemon, with_daemon_as};

/// A second instance takes the interface of the first, which goes on without it.
fn take_over(old: &mut Client, first: &mut Daemon, before: &Dump) {
    old.start_with(json!({"name": "shared"}));
    let mut second = Setup::new().ports(6500).args(&["--replace"]).start();
    let mut new = second.client();
    let begin = Instant::now();
    new.start_with(json!({"name": "shared"}));
    assert!(begin.elapsed() < JOB_TIME, "the first one let go: {:?}", begin.elapsed());
    old.expect_stopped("superseded");
    old.expect_no_event();
    new.expect_no_event();
    assert_eq!(old.status(), "disconnected");
    // The first one's rules went away, so the second has a look at its own.
    eventually("it has had its look", || new.status() == "connected");
    assert!(is_link("shared"));
    old.start();
    old.plain(&json!({"cmd": "shutdown"}));
    first.assert_ends_well();
    assert_eq!(new.status(), "connected");
    new.plain(&json!({"cmd": "shutdown"}));
    second.assert_ends_well();
    before.assert_same();
}

#[test]
fn another_instance_that_takes_the_interface_over_supersedes_the_first() {
    let setup = || {
        run("mount", &["-t", "sysfs", "sysfs", "/sys"]);
        Setup::new()
    };
    with_daemon_as(setup, |Scene { client, daemon, before }| take_over(client, daemon, before));
}

#[test]
fn an_interface_is_taken_over_where_sys_shows_another_namespace_too() {
    with_daemon(|Scene { client, daemon, before }| take_over(client, daemon, before));
}

#[test]
fn without_replace_a_taken_name_is_an_error_with_code_5() {
    with_daemon(|Scene { client: old, .. }| {
        old.start_with(json!({"name": "shared"}));
        let second = Setup::new().ports(6500).start();
        let mut new = second.client();
        let (text, code) =
            new.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.6", "name": "shared"}));
        assert!(text.contains("shared"), "{text}");
        assert_eq!(code, Some(5));
        assert_eq!((old.status().as_str(), new.status().as_str()), ("connected", "disconnected"));
        old.expect_no_event();
    });
}

#[test]
fn replace_takes_no_interface_that_is_no_hypertaps() {
    let setup = || Setup::new().args(&["--replace"]);
    with_daemon_as(setup, |Scene { client, .. }| {
        add_link("shared");
        let (_, code) =
            client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "shared"}));
        assert_eq!(code, Some(5));
        assert!(is_link("shared"));
    });
}
