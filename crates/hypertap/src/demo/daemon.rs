//! The daemon of the demo: this program, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};

use anyhow::{Context, anyhow, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Where daemons keep what outlives them: nothing does.
const STATE: &str = "/run/hypertap-state";

/// A running daemon; killed if the demo fails.
pub struct Daemon {
    child: Child,
    log: BufReader<ChildStderr>,
}

impl Daemon {
    /// Starts one with these words on its command line, and waits until it listens.
    pub fn start(words: &[&str]) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(program)
            .args(words)
            .args(["--log", "info", "--log-format", "json"])
            .env("STATE_DIRECTORY", STATE)
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("cannot start the daemon")?;
        let stderr = child.stderr.take().context("its log")?;
        let mut daemon = Self { child, log: BufReader::new(stderr) };
        let mut said = String::new();
        while !said.contains("\"listening\"") {
            if daemon.log.read_line(&mut said)? == 0 {
                return Err(anyhow!("the daemon ended at once: {}", said.trim()));
            }
        }
        Ok(daemon)
    }

    /// Asks it to end, which must be a good one.
    pub fn stop(self) -> anyhow::Result<()> {
        let pid = i32::try_from(self.child.id()).context("a process id")?;
        kill(Pid::from_raw(pid), Signal::SIGTERM).context("cannot end the daemon")?;
        self.ends()
    }

    /// Waits for its end, which must be a good one.
    pub fn ends(mut self) -> anyhow::Result<()> {
        let mut rest = String::new();
        while self.log.read_line(&mut rest)? > 0 {}
        let status = self.child.wait()?;
        ensure!(status.success(), "the daemon ended with {status}: {rest}");
        Ok(())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Already ended, unless a step failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
