//! Printing: whoever reads may go, a disk may be full, and what was begun is finished all the same.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{run, scratch};
use hypertap_tests::{Daemon, Setup, in_namespaces};
use nix::fcntl::OFlag;
use nix::unistd::mkfifo;

/// What prints, where a daemon runs.
const PRINTERS: [&str; 14] = [
    "doctor",
    "doctor --json",
    "status",
    "status --json",
    "recover",
    "recover --json",
    "install --root /run/test/root",
    "uninstall --root /run/test/root",
    "uninstall --root /run/test/root",
    "config schema",
    "keygen",
    "--help",
    "tunnel --help",
    "--version",
];

/// The exit code of a command, and what it complained of, where its output goes to `out`.
fn to(out: Stdio, words: &str) -> (Option<i32>, String) {
    of(&binary(), out, words)
}

fn of(program: &Path, out: Stdio, words: &str) -> (Option<i32>, String) {
    let mut command = Command::new(program);
    command.args(words.split(' ')).stdin(Stdio::null()).stdout(out).stderr(Stdio::piped());
    let output = command.spawn().and_then(std::process::Child::wait_with_output).expect("it is a program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn full() -> Stdio {
    OpenOptions::new().write(true).open("/dev/full").expect("Linux has it").into()
}

/// A pipe that nobody reads from any more.
fn unread() -> Stdio {
    std::io::pipe().expect("two descriptors").1.into()
}

#[test]
fn a_reader_that_has_gone_is_no_failure() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        for words in PRINTERS {
            // The ports are taken, as this daemon runs.
            let code = if words.starts_with("doctor") { 4 } else { 0 };
            let (got, said) = to(unread(), words);
            assert_eq!(got, Some(code), "{words}: {said}");
            assert!(said.is_empty() || said.contains("cannot start here"), "{words}: {said}");
        }
        drop(daemon);
    });
}

#[test]
fn a_full_disk_is_said_in_one_sentence_and_ends_with_1() {
    in_namespaces(|| {
        let _daemon = Daemon::start();
        for words in PRINTERS {
            let (code, said) = to(full(), words);
            assert_eq!(code, Some(1), "{words}: {said}");
            assert!(said.contains("standard output") && said.lines().count() == 1, "{words}: {said}");
        }
    });
}

#[test]
fn the_demo_goes_on_without_a_reader_and_says_where_its_disk_is_full() {
    in_namespaces(|| {
        // The demo has a /run of its own, and the program may be in this test's.
        run("mount", &["-t", "tmpfs", "none", "/mnt"]);
        let program = Path::new("/mnt/hypertap");
        fs::copy(binary(), program).expect("ours");
        for words in ["demo --seconds 1", "demo --seconds 1 --json"] {
            assert_eq!(of(program, unread(), words), (Some(0), String::new()), "{words}");
            let (code, said) = of(program, full(), words);
            assert_eq!((code, said.lines().count()), (Some(1), 1), "{words}: {said}");
        }
    });
}

#[test]
fn neither_installing_nor_removing_stops_half_way_where_nothing_can_be_printed() {
    in_namespaces(|| {
        let root = scratch("root");
        for out in [unread as fn() -> Stdio, full] {
            let hypertap = |word: &str| {
                let mut command = Command::new(binary());
                command.args([word, "--root"]).arg(&root).stdin(Stdio::null()).stdout(out()).stderr(out());
                command.status().expect("it is a program").code()
            };
            assert!(hypertap("install").is_some_and(|code| code < 2));
            for path in ["usr/local/bin/hypertap", "etc/systemd/system/hypertap.socket"] {
                assert!(root.join(path).exists(), "{path}");
            }
            assert!(hypertap("uninstall").is_some_and(|code| code < 2));
            assert_eq!(fs::read_dir(&root).expect("it is there").count(), 0);
        }
    });
}

/// A daemon whose log goes where `redirection` of sh(1) says.
fn logging_to(redirection: &str, options: &[&str]) -> Setup {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" {redirection}"), "sh"]);
    Setup::new().through(shell).args(&["--on-disconnect=stop", "--log=debug"]).args(options)
}

/// Has a daemon do what it has log lines for, and end.
fn assert_works(daemon: &mut Daemon) {
    for _ in 0..2 {
        let mut client = daemon.client();
        client.start();
        run("ip", &["link", "set", "hypertap0", "down"]);
        client.expect_stopped("vpnDisabled");
        client.start();
    }
    daemon.signal(nix::sys::signal::Signal::SIGTERM);
    daemon.assert_ends_well();
}

#[test]
fn a_log_that_cannot_be_written_ends_nothing() {
    in_namespaces(|| {
        for options in [&[][..], &["--user=nobody"], &["--log-format=json"]] {
            assert_works(&mut logging_to("2>/dev/full", options).start());
        }
    });
}

#[test]
fn a_log_whose_reader_goes_ends_nothing() {
    in_namespaces(|| {
        for options in [&[][..], &["--user=nobody"], &["--log-format=json"]] {
            let path = scratch("log.fifo");
            let _ = fs::remove_file(&path);
            mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).expect("ours");
            let reader = read_without_waiting(&path);
            let mut daemon = logging_to(&format!("2>{}", path.display()), options).start();
            drop(reader);
            assert_works(&mut daemon);
        }
    });
}

fn read_without_waiting(path: &Path) -> File {
    OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path).expect("it is there")
}
