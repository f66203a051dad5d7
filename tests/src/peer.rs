//! A process of another user, or in another namespace: what it is told to do is in `bin/peer.rs`.

use std::env;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::machine::executable_by_all;
use crate::namespaces::end_within;
use crate::wait::TIME;

/// A user with no rights and no part in anything (`nobody`).
pub const STRANGER: u32 = 65534;
/// Another one, who is in the group of the same number (`daemon`).
pub const OTHER: u32 = 1;

/// A running peer. It is killed when this is dropped.
#[derive(Debug)]
pub struct Peer {
    child: Child,
    out: BufReader<ChildStdout>,
}

/// The peer's program, where every user can execute it.
pub fn peer_program() -> PathBuf {
    let test = env::current_exe().expect("a test knows its own file");
    let built = test.ancestors().nth(2).expect("it is in a target folder").join("hypertap-test-peer");
    assert!(built.is_file(), "{} is missing: run `cargo build -p hypertap-tests` first", built.display());
    executable_by_all(&built)
}

/// A command that runs a peer as this user.
pub fn peer_command<S: AsRef<str>>(args: &[S]) -> Command {
    let mut command = Command::new(peer_program());
    command.args(args.iter().map(AsRef::as_ref));
    command
}

impl Peer {
    /// As the user `uid`, whose only group is that of the same number.
    #[track_caller]
    pub fn run_by<S: AsRef<str>>(uid: u32, args: &[S]) -> Self {
        let mut command = peer_command(args);
        command.uid(uid).gid(uid);
        Self::start(command)
    }

    /// As this user, in a network namespace of `ip netns`.
    #[track_caller]
    pub fn in_namespace<S: AsRef<str>>(name: &str, args: &[S]) -> Self {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", name]).arg(peer_program()).args(args.iter().map(AsRef::as_ref));
        Self::start(command)
    }

    /// Starts a command and reads its lines.
    #[track_caller]
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("it is a program");
        let out = BufReader::new(child.stdout.take().expect("it is piped"));
        Self { child, out }
    }

    /// The next line that it prints; `None` when it has ended. A peer ends by itself in 10 s at most
    /// when nothing happens to it.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.out.read_line(&mut line).expect("a pipe can be read");
        (count > 0).then(|| line.trim_end_matches('\n').to_owned())
    }

    /// The next line must be this.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line));
    }

    /// All further lines, until its end.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }

    /// Waits for its end, which must be a good one.
    #[track_caller]
    pub fn finish(mut self) -> Vec<String> {
        let lines = self.rest();
        let status = end_within(&mut self.child, TIME).expect("its output has ended, so does it");
        assert!(status.success(), "{status}: {lines:?}");
        lines
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
