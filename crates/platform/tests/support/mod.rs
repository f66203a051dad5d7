//! What the tests with a real service of the system share: Debian's package of it, unpacked and not
//! installed, and a `/run` with a bus of its own.

mod bus;

use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

/// How long a thing that happens at once may take on a machine that is busy.
pub const TIME: Duration = Duration::from_secs(10);

/// The unpacked package: the folder in the environment's `variable`, else Debian's, which is fetched once
/// into the target folder.
pub fn unpacked(package: &str, variable: &str) -> PathBuf {
    if let Some(root) = std::env::var_os(variable) {
        return root.into();
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(package);
    let script = include_str!("../../../../tests/src/debian.sh");
    run(Command::new("sh").args(["-c", script, "debian.sh"]).arg(&folder).arg(package));
    folder.join("root")
}

/// Puts this thread into namespaces of its own, those of `more` and one of mounts, with an empty `/run`.
pub fn own_run(more: CloneFlags) {
    unshare(CloneFlags::CLONE_NEWNS | more).expect("this test needs root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("run"), "/run", Some("tmpfs"), MsFlags::empty(), Some("mode=755")).unwrap();
}

/// A process that is killed when this is dropped.
pub struct Service(Child);

impl Service {
    /// Starts it.
    pub fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A system bus in [`own_run`], on which everybody may do everything.
pub fn bus() -> Service {
    let bus = Service::start(&mut bus::command());
    wait("the bus", bus::listens);
    bus
}

/// Runs a program to its end, which must be a good one.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Waits for a condition, for at most [`TIME`].
pub fn wait(what: &str, done: impl Fn() -> bool) {
    let end = Instant::now() + TIME;
    while !done() {
        assert!(Instant::now() < end, "waited for {what} for {TIME:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
