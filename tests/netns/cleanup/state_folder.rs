//! The state folder: what is left in it, and what happens where it goes.

use std::fs;
use std::path::Path;

use hypertap_tests::machine::run;
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::{Daemon, Setup, in_namespaces, json};
use nix::sys::signal::{Signal, kill};

use super::{full, furnished, left_in_state_folder, pages, recover};

#[test]
fn with_user_what_a_killed_keeper_would_have_removed_goes_by_recover_and_by_the_next_start() {
    in_namespaces(|| {
        needs_root();
        let (_uplink, before) = furnished();
        for by_recover in [true, false] {
            let mut daemon = Setup::new().ports(6500).args(&["--user", "nobody"]).start();
            let mut client = daemon.client();
            full(&mut client);
            kill(daemon.keeper(), Signal::SIGKILL).expect("it runs");
            client.expect_stopped("providerDisabled");
            client.expect_event("vpnRemoved");
            before.assert_same();
            client.plain(&json!({"cmd": "shutdown"}));
            daemon.assert_ends_well();
            assert_ne!(left_in_state_folder(), Vec::<String>::new(), "it may not remove it");
            if by_recover {
                recover();
            } else {
                // With other ports, so that it has no use for the old socket itself.
                let mut next = Daemon::start();
                next.signal(Signal::SIGTERM);
                next.assert_ends_well();
            }
            assert_eq!(left_in_state_folder(), Vec::<String>::new());
        }
    });
}

#[test]
fn recover_leaves_the_sockets_of_the_living_and_of_others_alone() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let other = std::os::unix::net::UnixListener::bind("/run/hypertap/other.sock").expect("ours");
        drop(other);
        let left = left_in_state_folder();
        recover();
        assert_eq!(left_in_state_folder(), left);
        daemon.control();
    });
}

#[test]
fn a_state_folder_that_somebody_removed_is_made_anew() {
    in_namespaces(|| {
        let (_uplink, before) = furnished();
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        for plane in ["udp", "stream"] {
            clear_folder();
            client.start_with(json!({"dataPlane": plane}));
            client.plain(&json!({"cmd": "turnOnDNS"}));
            assert_eq!(pages().len(), 1);
            client.plain(&json!({"cmd": "stop"}));
            client.expect_stopped("stoppedByUser");
            before.assert_same();
        }
        client.plain(&json!({"cmd": "shutdown"}));
        daemon.assert_ends_well();
        assert_eq!(left_in_state_folder(), Vec::<String>::new());
    });
}

#[test]
fn with_user_a_removed_state_folder_costs_the_data_sockets_and_says_so() {
    in_namespaces(|| {
        needs_root();
        let daemon = Setup::new().args(&["--user", "nobody"]).start();
        let mut client = daemon.client();
        clear_folder();
        client.start();
        client.plain(&json!({"cmd": "stop"}));
        client.expect_stopped("stoppedByUser");
        let (text, _) =
            client.refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5", "dataPlane": "stream"}));
        assert!(text.contains("/run/hypertap/instance-") && text.contains("restart hypertap"), "{text}");
    });
}

/// Removes all that is in the state folder, as a careless administrator does.
fn clear_folder() {
    for entry in fs::read_dir("/run/hypertap").expect("it is there").flatten() {
        let path = entry.path();
        let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        removed.expect("root may");
    }
}

#[test]
fn a_daemon_that_was_told_to_uninstall_leaves_no_state_folder() {
    in_namespaces(|| {
        needs_root();
        // An installation of nothing, in this test's sight.
        run("mount", &["-t", "tmpfs", "tmpfs", "/var/lib"]);
        fs::create_dir("/var/lib/hypertap").expect("ours");
        let manifest = json!({"files": [], "directories": [], "group": null});
        fs::write("/var/lib/hypertap/manifest.json", manifest.to_string()).expect("ours");
        let mut daemon = Daemon::start();
        let mut client = daemon.client();
        client.start();
        client.plain(&json!({"cmd": "uninstall"}));
        daemon.assert_ends_well();
        assert!(!Path::new("/run/hypertap").exists(), "{:?}", left_in_state_folder());
    });
}
