//! `--log` and `--log-format`, in the daemon and in the processes that it starts.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{output, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::peer::OTHER;
use hypertap_tests::{Setup, Value, eventually, in_namespaces, json};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// What is logged when the helper of a daemon with these options is killed.
fn log_of_a_loss(options: &[&str]) -> String {
    needs_root();
    let daemon = Setup::new().args(&["--user=nobody", "--on-disconnect=stop"]).args(options).start();
    let mut client = daemon.client();
    client.start();
    let lost = daemon.helper();
    kill(lost, Signal::SIGKILL).expect("it runs");
    client.expect_stopped("providerDisabled");
    eventually("another helper is there", || daemon.helper() != lost);
    daemon.log()
}

#[test]
fn the_helper_logs_in_the_daemons_format() {
    in_namespaces(|| {
        let log = log_of_a_loss(&["--log-format=json"]);
        for line in log.lines() {
            assert!(
                serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()),
                "{line}\nin {log}"
            );
        }
        assert!(log.contains("another undoes what it left"), "{log}");
    });
}

#[test]
fn the_helper_logs_no_more_than_the_daemon() {
    in_namespaces(|| {
        assert_eq!(log_of_a_loss(&["--log=error"]), "");
        assert!(log_of_a_loss(&["--log=warn"]).contains("another undoes what it left"));
    });
}

#[test]
fn a_level_that_is_none_is_refused_wherever_it_stands() {
    let mut command = Command::new(binary());
    let refused = output(command.arg("status").env("HYPERTAP_LOG", "loud"));
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("loud") && said.contains("error, warn, info, debug or trace"), "{said}");
    let mut command = Command::new(binary());
    let taken = output(command.arg("doctor").env("HYPERTAP_LOG", ""));
    assert_ne!(taken.status.code(), Some(2), "a variable that is set to nothing says nothing");
}

/// A pkexec that notes what it is to run, and says that the person said no.
const PKEXEC: &str = "#!/bin/sh\necho \"$@\" > \"$HYPERTAP_TEST_NOTE\"\nexit 127\n";

#[test]
fn a_helper_that_a_person_allows_logs_as_the_daemon_does() {
    in_namespaces(|| {
        needs_root();
        let (script, note) = (scratch("pkexec"), scratch("note/words"));
        fs::write(&script, PKEXEC).expect("ours");
        fs::set_permissions(&script, Permissions::from_mode(0o755)).expect("ours");
        fs::create_dir(scratch("note")).expect("ours");
        fs::set_permissions(scratch("note"), Permissions::from_mode(0o777)).expect("ours");
        let standard = Path::new("/usr/bin/pkexec");
        if standard.exists() {
            run("mount", &["--bind".as_ref(), script.as_os_str(), standard.as_os_str()]);
        }
        let path = format!("{}:/usr/bin:/bin", scratch("").display());
        let setup = Setup::new().run_by(OTHER).env("PATH", path).env("HYPERTAP_TEST_NOTE", &note);
        let daemon = setup.args(&["--log-format=json", "--log=warn"]).start();
        let mut client = daemon.silent_client();
        client.send(&json!({"cmd": "loadConfig"}));
        eventually("pkexec was asked", || fs::read_to_string(&note).is_ok_and(|words| words.ends_with('\n')));
        let words = fs::read_to_string(&note).expect("it is there");
        assert!(words.trim_end().ends_with(" helper --log-format json --log warn"), "{words}");
    });
}

/// A pipe that takes one page, and is not read; and what is to start a daemon that logs into it.
fn unread_pipe() -> (File, Command) {
    let path = scratch("pipe");
    // Of an earlier one.
    let _ = fs::remove_file(&path);
    mkfifo(&path, Mode::from_bits_truncate(0o600)).expect("ours");
    let mut options = OpenOptions::new();
    let pipe =
        options.read(true).write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&path).expect("ours");
    fcntl(&pipe, FcntlArg::F_SETPIPE_SZ(4096)).expect("a page");
    let mut wrapper = Command::new("sh");
    wrapper.arg("-c").arg(format!("exec \"$@\" 2>{}", path.display())).arg("sh");
    (pipe, wrapper)
}

/// Fills the pipe with what is no line of the daemon's.
fn fill(pipe: &mut File) {
    while pipe.write(b"\n").is_ok() {}
}

#[test]
fn a_log_that_is_not_read_holds_up_neither_the_daemon_nor_its_end() {
    in_namespaces(|| {
        for user in [&[][..], &["--user=nobody"]] {
            let (mut pipe, wrapper) = unread_pipe();
            let setup = Setup::new().through(wrapper).args(&["--on-disconnect=stop"]);
            let mut daemon = setup.args(user).start();
            let mut client = daemon.client();
            fill(&mut pipe);
            // Each is logged.
            for _ in 0..300 {
                client.status();
            }
            let before = Instant::now();
            daemon.signal(Signal::SIGTERM);
            daemon.assert_ends_well();
            // It gives the reader a second.
            assert!(before.elapsed() < Duration::from_secs(8), "{:?}", before.elapsed());
        }
    });
}

#[test]
fn a_log_that_is_read_again_says_how_much_was_lost() {
    in_namespaces(|| {
        let (mut pipe, wrapper) = unread_pipe();
        let daemon = Setup::new().through(wrapper).args(&["--on-disconnect=stop"]).start();
        let mut client = daemon.client();
        fill(&mut pipe);
        for _ in 0..15_000 {
            client.status();
        }
        let mut log = Vec::new();
        eventually("the log says so", || {
            client.status();
            let _ = pipe.read_to_end(&mut log);
            String::from_utf8_lossy(&log).contains("log lines before this one were lost")
        });
    });
}
