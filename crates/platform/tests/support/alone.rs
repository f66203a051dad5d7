//! A network namespace for a test.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use hypertap_platform::namespace::{Spaces, enter_new};
use hypertap_platform::process::is_root;
use nix::sched::{CloneFlags, unshare};

/// Runs a test on a thread that is in a new network namespace, which ends with it.
///
/// An ordinary user may make one only in a user namespace, and into that no thread can go alone: then this
/// test program is started once more, for this test only, in a user namespace where it is root. The
/// machine's TUN device may be closed to it; one that is open in `HYPERTAP_TEST_TUN` is used instead.
pub fn alone(test: impl FnOnce() + Send + 'static) {
    if !is_root() {
        return in_user_namespace();
    }
    let thread = thread::spawn(move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("root may make a network namespace");
        test();
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// Runs the test that this thread is once more. (The test harness names its threads by their tests.)
fn in_user_namespace() {
    let thread = thread::current();
    let name = thread.name().expect("a test's thread has its name");
    let mut command = Command::new(env::current_exe().expect("a test knows its own file"));
    command.args([name, "--exact", "--nocapture"]);
    let device = env::var_os("HYPERTAP_TEST_TUN").map(PathBuf::from);
    let binds = device.map(|device| (device, Path::new("/dev/net/tun").to_owned())).into_iter().collect();
    enter_new(&mut command, &Spaces { user: true, net: true, mount: true, binds, ..Spaces::default() })
        .expect("paths without NUL");
    let ended = command.output().unwrap_or_else(|error| {
        panic!("cannot make namespaces: {error} (may ordinary users make user namespaces here? root may)")
    });
    let output = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    // A test that was not found is no test that passed.
    assert!(ended.status.success() && output.contains("1 passed"), "in a user namespace:\n{output}");
}

/// Fails a test that gives files or sockets to another user, which only the machine's root can.
#[allow(dead_code, reason = "not every program of tests has such a one")]
pub fn needs_root() {
    let map = std::fs::read_to_string("/proc/self/uid_map").expect("proc is there");
    assert_ne!(map.split_whitespace().nth(2), Some("1"), "this test acts for other users: run it as root");
}
