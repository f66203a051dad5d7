//! Another instance wants the interface.

use std::time::Instant;

use hypertap_tests::machine::{add_link, ip, is_link, run};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::wait::JOB_TIME;
use hypertap_tests::{Client, Daemon, Dump, Scene, Setup, eventually, json, with_daemon, with_daemon_as};

/// A second instance, started with `args`, takes the interface of the first, which goes on without it.
fn take_over_with(args: &[&str], old: &mut Client, first: &mut Daemon, before: &Dump) {
    old.start_with(json!({"name": "shared"}));
    let mut second = Setup::new().ports(6500).args(&["--replace"]).args(args).start();
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

fn take_over(old: &mut Client, first: &mut Daemon, before: &Dump) {
    take_over_with(&[], old, first, before);
}

#[test]
fn an_interface_is_taken_over_whoever_holds_it_and_whatever_rights_the_second_gave_up() {
    let user: &[&str] = &["--user", "nobody"];
    for (holder, second) in [(&[][..], user), (user, &[]), (user, user)] {
        let setup = move || {
            needs_root();
            Setup::new().args(holder)
        };
        with_daemon_as(setup, |Scene { client, daemon, before }| {
            take_over_with(second, client, daemon, before)
        });
    }
}

#[test]
fn without_a_name_it_is_the_first_ones_that_is_taken_over() {
    for args in [&["--replace"][..], &["--replace", "--user", "nobody"]] {
        with_daemon(|Scene { client: old, .. }| {
            needs_root();
            old.start();
            let second = Setup::new().ports(6500).args(args).start();
            let mut new = second.client();
            new.start();
            old.expect_stopped("superseded");
            assert_eq!(new.name(), "hypertap0");
        });
    }
}

#[test]
fn an_instance_that_takes_over_never_asks_itself() {
    for args in [&["--replace"][..], &["--replace", "--user", "nobody"]] {
        let setup = || {
            needs_root();
            Setup::new().args(args)
        };
        with_daemon_as(setup, |Scene { client, daemon, .. }| {
            // A link of that name makes it ask whoever there is.
            add_link("shared");
            client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "shared"}));
            client.expect_stopped("invalidVPN");
            assert!(!daemon.log().contains("not every instance answers"), "{}", daemon.log());
            client.start();
            ip("link del shared");
        });
    }
}

#[test]
fn an_instance_that_cannot_be_asked_keeps_its_interface_and_the_refusal_says_why() {
    for args in [&["--no-control"][..], &["--state-dir", "/run/other"]] {
        let setup = || Setup::new().args(args);
        with_daemon_as(setup, |Scene { client: old, .. }| {
            old.start_with(json!({"name": "shared"}));
            let second = Setup::new().ports(6500).args(&["--replace"]).start();
            let (text, code) = second
                .client()
                .refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.6", "name": "shared"}));
            assert_eq!(code, Some(5), "{text}");
            for word in ["shared", "--no-control", "--state-dir"] {
                assert!(text.contains(word), "{text}");
            }
            assert!(!text.contains("--replace"), "{text}");
            old.expect_no_event();
        });
    }
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
        let (text, code) =
            client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "name": "shared"}));
        assert_eq!(code, Some(5));
        assert!(text.contains("another program's") && !text.contains("--replace"), "{text}");
        assert!(is_link("shared"));
    });
}
