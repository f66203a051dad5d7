//! A daemon without rights, the question for them, and a daemon that gave its own up.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use hypertap_tests::daemon::wait_until_gone;
use hypertap_tests::machine::{is_link, open_device, ping, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::peer::{OTHER, peer_program};
use hypertap_tests::{
    Client, Daemon, Dump, Responder, Setup, UdpProgram, Value, eventually, in_namespaces, json,
};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};

const PENDING: &str = r#"{"cmd":"event","event":"vpnPending"}"#;
const APPROVED: &str = r#"{"cmd":"event","event":"vpnApproved"}"#;
const DRIVER: &str = r#"{"cmd":"event","event":"extensionApproved"}"#;

/// Where pkexec is looked for first.
const PKEXEC: &str = "/usr/bin/pkexec";

/// Leaves the TUN device to root alone, in this test's sight, as some servers do.
fn close_device() {
    let folder = scratch("dev");
    fs::create_dir_all(&folder).expect("ours");
    run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), folder.as_os_str()]);
    let device = folder.join("tun");
    run("mknod", &[device.as_os_str(), "c".as_ref(), "10".as_ref(), "200".as_ref()]);
    fs::set_permissions(&device, Permissions::from_mode(0o600)).expect("ours");
    run("mount", &["--bind".as_ref(), device.as_os_str(), "/dev/net/tun".as_ref()]);
}

/// A folder for programs, in which root's set-user-id bit counts, before all others in PATH.
fn set_pkexec(program: Option<&Path>, mode: u32) -> String {
    let folder = scratch("bin");
    fs::create_dir_all(&folder).expect("ours");
    run("mount", &["-t".as_ref(), "tmpfs".as_ref(), "tmpfs".as_ref(), folder.as_os_str()]);
    let ours = folder.join("pkexec");
    match program {
        Some(program) => fs::copy(program, &ours).map(drop).expect("ours"),
        // Not executable, hence no program.
        None => fs::write(&ours, "").expect("ours"),
    }
    fs::set_permissions(&ours, Permissions::from_mode(mode)).expect("ours");
    if Path::new(PKEXEC).exists() {
        run("mount", &["--bind".as_ref(), ours.as_os_str(), PKEXEC.as_ref()]);
    }
    format!("{}:/usr/bin:/bin:/usr/sbin:/sbin", folder.display())
}

/// A pkexec that says no, with the exit code of pkexec(1).
fn pkexec_that_exits(code: u8) -> String {
    let script = scratch("pkexec.sh");
    fs::write(&script, format!("#!/bin/sh\nexit {code}\n")).expect("ours");
    set_pkexec(Some(&script), 0o755)
}

/// A daemon of an ordinary user. The tests' client is root, who is always allowed.
fn ordinary(path: &str) -> Daemon {
    Setup::new().run_by(OTHER).env("PATH", path).start()
}

fn pending_client(daemon: &Daemon) -> Client {
    let mut client = daemon.silent_client();
    client.expect_text(PENDING);
    client.expect_text(DRIVER);
    client
}

#[test]
fn without_rights_the_greeting_is_pending_the_status_invalid_and_start_is_refused() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let daemon = ordinary(&set_pkexec(None, 0o644));
        let mut client = pending_client(&daemon);
        assert_eq!(client.status(), "invalid");
        let (text, code) = client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        assert_eq!(code, Some(3), "{text}");
        client.expect_no_event();
        client.plain(&json!({"cmd": "stop"}));
        client.ok(&json!({"cmd": "showVersion"}));
    });
}

#[test]
fn a_device_that_cannot_be_opened_is_told_in_the_greeting() {
    in_namespaces(|| {
        needs_root();
        close_device();
        let daemon = ordinary(&set_pkexec(None, 0o644));
        let mut client = daemon.silent_client();
        client.expect_text(PENDING);
        client.expect_text(r#"{"cmd":"event","event":"extensionNotApproved"}"#);
        client.send(&json!({"cmd": "loadExtension"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"extensionNotApproved"}"#);
    });
}

#[test]
fn what_only_has_the_drivers_name_is_no_driver() {
    in_namespaces(|| {
        let other = scratch("other");
        fs::write(&other, "").expect("ours");
        for other in [other.as_path(), Path::new("/dev/null")] {
            run("mount", &["--bind".as_ref(), other.as_os_str(), "/dev/net/tun".as_ref()]);
            let daemon = Daemon::start();
            let mut client = daemon.silent_client();
            client.expect_text(PENDING);
            client.expect_text(r#"{"cmd":"event","event":"extensionNotApproved"}"#);
            assert_eq!(client.status(), "invalid");
            let (text, code) = client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
            assert_eq!(code, Some(3), "{text}");
            assert!(text.contains("/dev/net/tun"), "{text}");
            client.expect_no_event();
        }
    });
}

#[test]
fn status_is_answered_while_start_waits_for_another_hypertap() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let lock = fs::File::open("/run/hypertap/journal/lock").expect("it is there");
        let lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).expect("nobody has it");
        let mut observer = daemon.control();
        client.send(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        // It is no more, once it has given up.
        eventually("it is at work", || observer.status() == "connecting");
        drop(lock);
        client.expect_text(r#"{"ok":true}"#);
        client.expect_event("tunnelStarted");
    });
}

#[test]
fn a_journal_that_cannot_be_kept_is_an_error_that_names_the_file_and_the_cure() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let lock = fs::File::open("/run/hypertap/journal/lock").expect("it is there");
        let _lock = Flock::lock(lock, FlockArg::LockExclusiveNonblock).expect("nobody has it");
        let (text, _) = client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        assert!(text.contains("/run/hypertap/journal/lock") && text.contains("5s"), "{text}");
        assert!(text.contains("try again"), "{text}");
    });
}

#[test]
fn load_config_without_anybody_to_ask_is_denied() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let mut daemon = ordinary(&set_pkexec(None, 0o644));
        let mut client = pending_client(&daemon);
        client.send(&json!({"cmd": "loadConfig"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_text(r#"{"cmd":"event","event":"vpnDenied"}"#);
        assert_eq!(client.status(), "invalid");
        client.expect_no_event();
        daemon.assert_runs();
    });
}

#[test]
fn load_config_that_is_refused_is_denied() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let daemon = ordinary(&pkexec_that_exits(127));
        let mut client = pending_client(&daemon);
        client.plain(&json!({"cmd": "loadConfig"}));
        client.expect_event("vpnDenied");
        client.expect_no_event();
    });
}

#[test]
fn a_question_that_is_dismissed_is_authentication_cancelled_and_denied() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let daemon = ordinary(&pkexec_that_exits(126));
        let mut client = pending_client(&daemon);
        client.plain(&json!({"cmd": "loadConfig"}));
        let mut events = [client.event(), client.event()];
        events.sort_by_key(Value::to_string);
        let cancelled =
            json!({"cmd": "event", "event": "tunnelStopped", "reason": "authenticationCancelled"});
        assert_eq!(events, [cancelled, json!({"cmd": "event", "event": "vpnDenied"})]);
        client.expect_no_event();
        assert_eq!(client.status(), "invalid");
    });
}

#[test]
fn load_config_that_is_granted_is_approved_and_everything_works() {
    in_namespaces(|| {
        needs_root();
        close_device();
        let before = Dump::now();
        let mut daemon = ordinary(&set_pkexec(Some(&peer_program()), 0o4755));
        let mut client = daemon.silent_client();
        client.expect_text(PENDING);
        client.next_line(hypertap_tests::TIME);
        client.plain(&json!({"cmd": "loadConfig"}));
        client.expect_event("vpnApproved");
        assert_eq!(client.status(), "disconnected");
        let helper = daemon.helper();
        let responder = Responder::start(UdpProgram::bind(), ping_reply);
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        assert!(ping("10.9.0.1", &[]));
        drop(responder);
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        wait_until_gone(helper);
        before.assert_same();
    });
}

#[test]
fn a_granted_daemon_whose_helper_is_lost_needs_not_ask_again_unless_its_keeper_is_too() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let before = Dump::now();
        let daemon = ordinary(&set_pkexec(Some(&peer_program()), 0o4755));
        let mut client = pending_client(&daemon);
        client.plain(&json!({"cmd": "loadConfig"}));
        client.expect_event("vpnApproved");
        for (process, status) in [(daemon.helper(), "disconnected"), (daemon.keeper(), "invalid")] {
            client.start();
            client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
            kill(process, Signal::SIGKILL).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            assert_eq!(client.status(), status);
            before.assert_same();
        }
        client.plain(&json!({"cmd": "loadConfig"}));
        client.expect_event("vpnApproved");
        client.start();
    });
}

#[test]
fn a_granted_daemon_that_is_killed_leaves_nothing() {
    in_namespaces(|| {
        needs_root();
        open_device();
        let before = Dump::now();
        let mut daemon = ordinary(&set_pkexec(Some(&peer_program()), 0o4755));
        let mut client = pending_client(&daemon);
        client.plain(&json!({"cmd": "loadConfig"}));
        client.expect_event("vpnApproved");
        client.start();
        client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
        client.plain(&json!({"cmd": "turnOnDNS"}));
        let helper = daemon.helper();
        daemon.kill();
        wait_until_gone(helper);
        before.assert_same();
    });
}

#[test]
fn with_user_the_daemon_has_no_rights_and_the_tunnel_works() {
    in_namespaces(|| {
        needs_root();
        let daemon = Setup::new().args(&["--user", "nobody"]).start();
        let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("it runs");
        for line in ["Uid:", "Gid:"] {
            let ids = status.lines().find_map(|all| all.strip_prefix(line)).expect("there");
            assert_eq!(ids.split_whitespace().collect::<Vec<_>>(), ["65534"; 4], "{line}");
        }
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            let bits = status.lines().find_map(|all| all.strip_prefix(set)).expect("there").trim();
            assert_eq!(bits, "0000000000000000", "{set}");
        }
        let groups = status.lines().find_map(|all| all.strip_prefix("Groups:")).expect("there").trim();
        assert!(groups.is_empty() || groups == "65534", "groups {groups}");

        let mut client = daemon.client();
        for plane in ["udp", "unix", "stream"] {
            client.start_with(json!({"dataPlane": plane, "myIPv6Address": "fd00::5"}));
            client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd77::/16"]}));
            client.plain(&json!({"cmd": "turnOnDNS"}));
            if plane == "udp" {
                let _responder = Responder::start(UdpProgram::bind(), ping_reply);
                assert!(ping("10.9.0.1", &[]) && ping("fd77::1", &[]));
            }
            client.plain(&json!({"cmd": "stop"}));
            client.expect_stopped("stoppedByUser");
            assert!(!is_link("hypertap0"));
        }
    });
}

#[test]
fn with_user_the_greeting_is_approved_byte_for_byte() {
    in_namespaces(|| {
        needs_root();
        let daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.silent_client();
        client.expect_text(APPROVED);
        client.expect_text(DRIVER);
    });
}
