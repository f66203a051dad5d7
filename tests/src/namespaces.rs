//! A machine of its own for each test.
//!
//! A test function runs twice. Outside, it starts its own test binary again, with only itself
//! chosen, in new network, mount and process namespaces (and a user namespace, if the tests are run
//! by an ordinary user); inside, its body runs. So tests may run at the same time, each has the
//! ports 5500 to 5502, and all that a test starts ends with it, however it ends: it is the first
//! process of its namespace.

use std::any::type_name;
use std::env;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use hypertap_platform::namespace::{Spaces, enter_new, tun_usable};

use crate::wait::holds_within;

/// How long a test may take.
const LIMIT: Duration = Duration::from_secs(60);

/// Says in the environment which test is inside already.
const INSIDE: &str = "HYPERTAP_TEST_INSIDE";

/// A folder for a test's own files, empty when it begins, that every user may look into.
pub const SCRATCH: &str = "/run/test";

/// Runs the body of a test in namespaces of its own, for at most a minute. To be called as the
/// only statement of a `#[test]` function.
pub fn in_namespaces<F: FnOnce()>(body: F) {
    in_namespaces_within(LIMIT, body);
}

/// As [`in_namespaces`], with another time limit.
pub fn in_namespaces_within<F: FnOnce()>(limit: Duration, body: F) {
    within::<F>(limit, body);
}

/// As [`in_namespaces`], for what prepares something and then calls `F`, the test's own closure.
pub fn in_namespaces_of<F>(body: impl FnOnce()) {
    within::<F>(LIMIT, body);
}

/// Runs the body, or all of the test inside, whose closure is `F`.
fn within<F>(limit: Duration, body: impl FnOnce()) {
    let name = test_name(type_name::<F>());
    if env::var(INSIDE).is_ok_and(|inside| inside == name) {
        fs::create_dir_all(SCRATCH).expect("/run is writable inside");
        if let Err(error) = tun_usable() {
            panic!("this test needs a TUN device: {error}");
        }
        return body();
    }
    run_inside(name, limit);
}

/// The name of a test by that of the closure in it: `file::module::test::{{closure}}`.
fn test_name(closure: &'static str) -> &'static str {
    let inner = closure.strip_suffix("::{{closure}}").unwrap_or(closure);
    inner.split_once("::").map_or(inner, |(_crate, test)| test)
}

fn run_inside(name: &str, limit: Duration) {
    let program = env::current_exe().expect("a test knows its own file");
    let mut log = tempfile::tempfile().expect("a temporary file");
    let out = |file: &File| Stdio::from(file.try_clone().expect("a file descriptor"));
    // Whoever runs the tests may have signals ignored, as nohup(1) and shells do for what they put in the background.
    let mut command = Command::new("env");
    command.arg("--default-signal=HUP,INT,CHLD").arg(program);
    command.args([name, "--exact", "--nocapture", "--test-threads=1"]);
    command.env(INSIDE, name).stdin(Stdio::null()).stdout(out(&log)).stderr(out(&log));
    let spaces = Spaces { pid: true, binds: own_device(), ..Spaces::node() };
    enter_new(&mut command, &spaces).expect("paths without NUL");
    let mut child = command.spawn().unwrap_or_else(|error| {
        panic!("cannot make namespaces: {error} (may ordinary users make user namespaces here?)")
    });
    let ended = end_within(&mut child, limit);
    let mut output = String::new();
    log.rewind().and_then(|()| log.read_to_string(&mut output)).expect("the log can be read");
    match ended {
        None => panic!("not done after {limit:?}, killed; its output:\n{output}"),
        Some(status) if !status.success() => panic!("failed inside ({status}); its output:\n{output}"),
        // A test that was not found is no test that passed.
        Some(_) => assert!(output.contains("1 passed"), "{name} was not run; the output:\n{output}"),
    }
}

/// Waits for the end of a child for at most `limit`, then kills it.
pub fn end_within(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let mut status = None;
    holds_within(limit, || {
        status = child.try_wait().expect("it is our child");
        status.is_some()
    });
    if status.is_none() {
        // It can only have ended meanwhile.
        let _ = child.kill();
        let _ = child.wait();
    }
    status
}

/// The TUN device of the machine may be closed to an ordinary user; one that was prepared in
/// `HYPERTAP_TEST_TUN` is then used instead.
fn own_device() -> Vec<(PathBuf, PathBuf)> {
    let device = env::var_os("HYPERTAP_TEST_TUN").map(PathBuf::from);
    device.map(|device| (device, Path::new("/dev/net/tun").to_owned())).into_iter().collect()
}

/// Fails a test that needs other users' identities, which only root can take: the machine's, or that of a
/// user namespace with several users.
pub fn needs_root() {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let users: u64 = map.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse::<u64>().ok()).sum();
    assert!(users > 1, "this test acts as other users: run `cargo xtask test --only system`, or be root");
}
