//! Programs under `hypertap shim`, run by a user without rights.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{executable_by_all, run, scratch};
use hypertap_tests::namespaces::end_within;
use hypertap_tests::peer::STRANGER;
use hypertap_tests::tap::{self, FrameClient, Wire};
use hypertap_tests::{Daemon, TIME, eventually};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// A program under the shim. It is killed when this is dropped.
pub struct Shim {
    child: Child,
    log: PathBuf,
}

impl Shim {
    /// Starts `program` with the shim's own `options`, in the namespace `far` or in this one.
    #[track_caller]
    pub fn start<S: AsRef<str>>(far: bool, options: &[&str], program: &[S]) -> Self {
        Self::start_in(Path::new(""), far, options, program)
    }

    /// The same, where the user's own files that are for now are in `runtime`, unless that is empty.
    #[track_caller]
    pub fn start_in<S: AsRef<str>>(runtime: &Path, far: bool, options: &[&str], program: &[S]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = scratch(&format!("shim-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&log).expect("the folder is ours");
        let mut command = Command::new(binary());
        if far {
            command = Command::new("ip");
            command.args(["netns", "exec", "far", "setpriv", "--clear-groups"]);
            command.args([format!("--reuid={STRANGER}"), format!("--regid={STRANGER}")]).arg(binary());
        } else {
            command.uid(STRANGER).gid(STRANGER);
        }
        command.arg("shim").args(options).arg("--").args(program.iter().map(AsRef::as_ref));
        command
            .env("HYPERTAP_LOG", "debug")
            .env("XDG_RUNTIME_DIR", runtime)
            .current_dir("/")
            .stdin(Stdio::null());
        command.stdout(file.try_clone().expect("a descriptor")).stderr(file);
        Self { child: command.spawn().expect("it is a program"), log }
    }

    /// What program and shim have said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until one of them says something.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        eventually(&format!("{text:?} is said, but\n{}", self.log()), || self.log().contains(text));
    }

    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// Waits for its end.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.end_within(TIME)
    }

    /// Waits for its end, which may take so long.
    #[track_caller]
    pub fn end_within(&mut self, limit: Duration) -> ExitStatus {
        let ended = end_within(&mut self.child, limit);
        ended.unwrap_or_else(|| panic!("it has not ended after {limit:?}:\n{}", self.log()))
    }
}

impl Drop for Shim {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- log of a program under the shim:\n{}---", self.log());
        }
    }
}

/// A switch without a host, at whose other port we are.
pub struct Switch {
    pub server: Daemon,
    pub station: FrameClient,
    pub path: String,
}

impl Switch {
    /// Starts one that stays when its clients go.
    #[track_caller]
    pub fn start() -> Self {
        let path = scratch("lan").to_string_lossy().into_owned();
        let server = tap::start(&[
            &format!("--listen={path},framing=le16"),
            "--socket-mode=0666",
            "--keep",
            "--max-clients=8",
            "--no-host",
        ]);
        let station = FrameClient::unix(&path, Wire::Le16);
        Self { server, station, path }
    }

    /// Runs a program that asks for a TAP.
    #[track_caller]
    pub fn shim<S: AsRef<str>>(&self, program: &[S]) -> Shim {
        Shim::start(false, &[&format!("--tap={}", self.path)], program)
    }
}

/// A tap server for everybody at `path` with an interface of that address, in the namespace `far` or in
/// this one.
#[track_caller]
pub fn server(far: bool, path: &Path, address: &str) -> Daemon {
    let listen = format!("--listen={},framing=le16", path.display());
    let address = format!("--ip-address={address}");
    let setup = tap::tap(&[listen.as_str(), "--socket-mode=0666", "--keep", &address]);
    if far { setup.through(in_far()).start() } else { setup.start() }
}

/// What runs a command in the namespace `far`.
pub fn in_far() -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", "far"]);
    command
}

/// Compiles the echo program in C, statically.
#[track_caller]
pub fn echo_in_c() -> String {
    let program = scratch("echo-c");
    let source = source("echo.c");
    run(
        "gcc",
        &["-static".as_ref(), "-Wall".as_ref(), "-o".as_ref(), program.as_os_str(), source.as_os_str()],
    );
    executable_by_all(&program).to_string_lossy().into_owned()
}

/// Compiles the one in Go, without a C library.
#[track_caller]
pub fn echo_in_go() -> String {
    let program = scratch("echo-go");
    let go = if Path::new("/usr/local/go/bin/go").exists() { "/usr/local/go/bin/go" } else { "go" };
    let mut command = Command::new(go);
    command.arg("build").arg("-o").arg(&program).arg(source("echo.go"));
    command.env("CGO_ENABLED", "0").env("GO111MODULE", "off").env("GOCACHE", scratch("go-cache"));
    assert!(command.status().expect("Go is installed").success());
    program.to_string_lossy().into_owned()
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop/shim").join(name)
}
