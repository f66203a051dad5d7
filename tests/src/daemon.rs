//! The real binary, started, watched and ended.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::client::Client;
use crate::machine::{executable_by_all, scratch};
use crate::namespaces::end_within;
use crate::wait::{TIME, eventually, left};

/// The Unix command socket of a first instance.
pub const CONTROL: &str = "/run/hypertap/control.sock";

/// The binary under test, where every user can execute it: `HYPERTAP_BIN`, else `HYPERTAP`, else what `cargo build` put beside the tests.
pub fn binary() -> PathBuf {
    let named = ["HYPERTAP_BIN", "HYPERTAP"].iter().find_map(env::var_os).map(PathBuf::from);
    let path = named.unwrap_or_else(|| {
        let test = env::current_exe().expect("a test knows its own file");
        // target/debug/deps/TEST-HASH
        test.ancestors().nth(2).expect("it is in a target folder").join("hypertap")
    });
    assert!(path.is_file(), "{} is missing: run `cargo build -p hypertap` first", path.display());
    executable_by_all(&path)
}

/// How a daemon is to be started.
#[derive(Debug)]
pub struct Setup {
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    ids: Option<(u32, u32)>,
    wrapper: Option<Command>,
    port: u16,
}

impl Default for Setup {
    fn default() -> Self {
        Self { args: vec!["tunnel".into()], env: Vec::new(), ids: None, wrapper: None, port: 5500 }
    }
}

impl Setup {
    /// As somebody would start it at first: `hypertap tunnel`.
    pub fn new() -> Self {
        Self::default()
    }

    /// Another command than `tunnel`.
    pub fn of(command: &str) -> Self {
        Self { args: vec![command.into()], ..Self::default() }
    }

    /// More words on the command line.
    #[must_use]
    pub fn args<S: AsRef<OsStr>>(mut self, args: &[S]) -> Self {
        self.args.extend(args.iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// Ports of its own: `first` for commands, the two after it for packets.
    #[must_use]
    pub fn ports(mut self, first: u16) -> Self {
        self.port = first;
        let (command, data) = (format!("127.0.0.1:{first}"), format!("127.0.0.1:{}", first + 1));
        self.args(&["--command", &command, "--data", &data, "--receive-port", &(first + 2).to_string()])
    }

    /// A variable of its environment.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// Started by another user, with a state folder that is that user's.
    #[must_use]
    pub fn run_by(mut self, uid: u32) -> Self {
        let state = scratch(&format!("state-{uid}"));
        fs::create_dir_all(&state).expect("the folder is ours");
        std::os::unix::fs::chown(&state, Some(uid), Some(uid)).expect("root may");
        self.ids = Some((uid, uid));
        self.args(&["--state-dir".as_ref(), state.as_os_str()])
    }

    /// Started by another user.
    #[must_use]
    pub fn by(mut self, uid: u32) -> Self {
        self.ids = Some((uid, uid));
        self
    }

    /// Started through `wrapper`, which is to execute the words that follow.
    #[must_use]
    pub fn through(mut self, wrapper: Command) -> Self {
        self.wrapper = Some(wrapper);
        self
    }

    /// Starts it, and returns when it says that it is ready.
    ///
    /// The word is `READY=1` to the service manager (`sd_notify(3)`), so waiting takes no time of its own.
    #[track_caller]
    pub fn start(self) -> Daemon {
        let (notify, path) = notify_socket();
        let mut daemon = self.env("NOTIFY_SOCKET", path).spawn();
        let deadline = Instant::now() + TIME;
        let mut word = [0; 4096];
        loop {
            let said = notify.recv(&mut word).map(|count| word[..count].to_vec()).unwrap_or_default();
            if said.split(|&byte| byte == b'\n').any(|line| line == b"READY=1") {
                return daemon;
            }
            if let Some(status) = daemon.child.try_wait().expect("it is our child") {
                panic!("it ended instead of getting ready ({status}):\n{}", daemon.log());
            }
            assert!(left(deadline).is_some(), "it is not ready after {TIME:?}:\n{}", daemon.log());
        }
    }

    /// Starts it and waits for its end: its exit code and what it said.
    #[track_caller]
    pub fn run_to_end(self) -> (Option<i32>, String) {
        let mut daemon = self.spawn();
        let status = daemon.wait_for_end();
        (status.code(), daemon.log())
    }

    fn spawn(self) -> Daemon {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let log = scratch(&format!("log-{number}"));
        let file = File::create(&log).expect("the folder is ours");
        let program = binary();
        let mut command = if let Some(mut wrapper) = self.wrapper {
            wrapper.arg(program);
            wrapper
        } else {
            let mut command = Command::new(program);
            command.stdin(Stdio::null()).stdout(file.try_clone().expect("a descriptor"));
            command
        };
        command.stderr(file);
        command
            .args(self.args)
            .env("HYPERTAP_LOG", "debug")
            .env("STATE_DIRECTORY", scratch("state"))
            .envs(self.env);
        if let Some((uid, gid)) = self.ids {
            command.uid(uid).gid(gid);
        }
        let child = command.spawn().expect("it is a program");
        Daemon { child, log, port: self.port, number }
    }
}

/// A socket as a service manager has one, and its path; waiting on it ends often enough to look elsewhere.
fn notify_socket() -> (UnixDatagram, PathBuf) {
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let path = scratch(&format!("notify-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
    let socket = UnixDatagram::bind(&path).expect("the folder is ours");
    fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("it is ours");
    socket.set_read_timeout(Some(Duration::from_millis(20))).expect("not zero");
    (socket, path)
}

/// A running daemon. One that still runs when this is dropped is killed.
#[derive(Debug)]
pub struct Daemon {
    child: Child,
    log: PathBuf,
    port: u16,
    number: u32,
}

impl Daemon {
    /// One without options.
    #[track_caller]
    pub fn start() -> Self {
        Setup::new().start()
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).expect("a process id"))
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// What it has said so far, once this is part of it: its lines are written by a thread of their own.
    #[track_caller]
    pub fn log_with(&self, text: &str) -> String {
        eventually(&format!("{text:?} is said"), || self.log().contains(text));
        self.log()
    }

    /// A client on TCP that has been greeted as one who may do everything.
    #[track_caller]
    pub fn client(&self) -> Client {
        let mut client = self.silent_client();
        client.expect_greeting();
        client
    }

    /// A client on TCP that has not read anything.
    #[track_caller]
    pub fn silent_client(&self) -> Client {
        Client::tcp(self.port)
    }

    /// A greeted client on the first instance's Unix socket.
    #[track_caller]
    pub fn control(&self) -> Client {
        let mut client = Client::unix(Path::new(CONTROL));
        client.expect_greeting();
        client
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).expect("it runs");
    }

    /// Its keeper, the process that starts its helpers.
    #[track_caller]
    pub fn keeper(&self) -> Pid {
        only_child(self.pid()).expect("it has a keeper")
    }

    /// Its helper, the process that has the rights and does the work. While one takes the place of
    /// another, the next is waited for.
    #[track_caller]
    pub fn helper(&self) -> Pid {
        let keeper = self.keeper();
        let mut helper = None;
        eventually("it has a helper", || {
            helper = only_child(keeper);
            helper.is_some()
        });
        helper.expect("it was waited for")
    }

    /// How much memory it holds, in KiB (`VmRSS` of proc(5)).
    #[track_caller]
    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// Fails if it has ended.
    #[track_caller]
    pub fn assert_runs(&mut self) {
        let ended = self.child.try_wait().expect("it is our child");
        assert!(ended.is_none(), "it has ended ({ended:?}):\n{}", self.log());
    }

    /// Waits for its end.
    #[track_caller]
    pub fn wait_for_end(&mut self) -> ExitStatus {
        let status = end_within(&mut self.child, TIME);
        status.unwrap_or_else(|| panic!("it has not ended after {TIME:?}:\n{}", self.log()))
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn assert_ends_well(&mut self) {
        let status = self.wait_for_end();
        assert_eq!(status.code(), Some(0), "{status}:\n{}", self.log());
    }

    /// Kills it, as a machine that is out of memory does.
    #[track_caller]
    pub fn kill(&mut self) {
        self.signal(Signal::SIGKILL);
        assert_eq!(self.wait_for_end().signal(), Some(Signal::SIGKILL as i32));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended long ago.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- log of daemon {}:\n{}---", self.number, self.log());
        }
    }
}

/// The one child of a process with one thread that makes processes; none, where there is none.
#[track_caller]
fn only_child(pid: Pid) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).expect("it runs");
    let children: Vec<&str> = children.split_whitespace().collect();
    assert!(children.len() < 2, "wanted one child, there are {children:?}");
    children.first().map(|child| Pid::from_raw(child.parse().expect("a process id")))
}

/// Waits until a process that is not our child has ended (a zombie has).
#[track_caller]
pub fn wait_until_gone(pid: Pid) {
    eventually("the process has ended", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_none_or(|rest| rest.is_empty() || rest.starts_with(" Z"))
    });
}
