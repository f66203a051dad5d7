//! Processes that end with the run, whatever ends it.
//!
//! Each is on a list while it runs. A signal makes a thread of its own end all that are on the list; the measurement
//! then fails like any other, and the main thread cleans up on its one way out. A process leaves the list in the same
//! critical section that reaps it, so no number is signalled that the kernel may have given to someone else. Should
//! this program be killed outright, the kernel ends the processes (`setpriv --pdeathsig`).

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::signal::unix::{SignalKind, signal};

static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Turns SIGINT, SIGTERM and SIGHUP into an orderly end.
pub(crate) fn end_on_signals() -> Result<()> {
    // Handlers, not a blocked mask: a mask would pass to the children and make them deaf to SIGTERM.
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("start a runtime")?;
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let handlers = runtime
        .block_on(async { Ok::<_, io::Error>([signal(kinds[0])?, signal(kinds[1])?, signal(kinds[2])?]) });
    let handlers = handlers.context("install signal handlers")?;
    let serve = move || runtime.block_on(end_on_each(handlers));
    thread::Builder::new().name("signals".into()).spawn(serve).context("start the signal thread")?;
    Ok(())
}

async fn end_on_each([mut interrupt, mut terminate, mut hangup]: [tokio::signal::unix::Signal; 3]) {
    loop {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
        INTERRUPTED.store(true, Ordering::SeqCst);
        for pid in running().iter() {
            let _ = kill(*pid, Signal::SIGTERM);
        }
    }
}

/// An error once the run was interrupted.
pub(crate) fn check() -> Result<()> {
    if INTERRUPTED.load(Ordering::SeqCst) {
        bail!("interrupted");
    }
    Ok(())
}

/// Sleeps, in short steps that end with an interruption.
pub(crate) fn rest(time: Duration) -> Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        check()?;
        thread::sleep(Duration::from_millis(20).min(end - Instant::now()));
    }
    Ok(())
}

fn running() -> MutexGuard<'static, Vec<Pid>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A process in a namespace; dropping it ends it.
pub(crate) struct Process {
    child: Child,
    pid: Pid,
    name: String,
    logs: PathBuf,
    ended: Option<ExitStatus>,
}

impl Process {
    /// Starts `words` in the namespace; output goes to files in `dir`.
    pub(crate) fn start<S: AsRef<str>>(dir: &Path, namespace: &str, words: &[S]) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
        let program = words.first().context("no program named")?;
        let name =
            Path::new(program).file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let logs = dir.join(format!("{}-{name}", COUNT.fetch_add(1, Ordering::Relaxed)));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, "setpriv", "--pdeathsig", "KILL", "--"]).args(&words);
        command.stdin(Stdio::null());
        command.stdout(File::create(logs.with_extension("out"))?);
        command.stderr(File::create(logs.with_extension("err"))?);
        let mut list = running();
        check()?;
        let child = command.spawn().context("start ip netns exec")?;
        let pid = Pid::from_raw(i32::try_from(child.id()).expect("a pid fits pid_t"));
        list.push(pid);
        Ok(Self { child, pid, name, logs, ended: None })
    }

    /// Its number, which stays the same through `ip` and `setpriv`: each runs the next in its place.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Waits for the end; an error past `limit`, or when it failed.
    pub(crate) fn finish(&mut self, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        while !self.reap() {
            check()?;
            if Instant::now() > end {
                bail!("{} did not end within {limit:?}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
        match self.ended {
            Some(status) if status.success() => Ok(self.said("out")),
            _ => Err(self.last_words()),
        }
    }

    /// Waits for the first line that it writes, at most so long.
    pub(crate) fn first_line(&mut self, limit: Duration) -> Result<String> {
        let end = Instant::now() + limit;
        loop {
            self.alive()?;
            if let Some((line, _)) = self.said("out").split_once('\n') {
                return Ok(line.to_owned());
            }
            if Instant::now() > end {
                bail!("{} said nothing within {limit:?}", self.name);
            }
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// An error with what it wrote when it has ended.
    pub(crate) fn alive(&mut self) -> Result<()> {
        check()?;
        if self.reap() { Err(self.last_words()) } else { Ok(()) }
    }

    fn last_words(&self) -> anyhow::Error {
        let status = self.ended.map_or_else(String::new, |status| status.to_string());
        let mut said = self.said("err") + &self.said("out");
        said.truncate(said.char_indices().nth(2000).map_or(said.len(), |(at, _)| at));
        anyhow!("{} ended ({status}): {}", self.name, said.trim())
    }

    fn said(&self, which: &str) -> String {
        fs::read_to_string(self.logs.with_extension(which)).unwrap_or_default()
    }

    fn reap(&mut self) -> bool {
        if self.ended.is_none() {
            let mut list = running();
            self.ended = self.child.try_wait().unwrap_or_default();
            if self.ended.is_some() {
                list.retain(|pid| *pid != self.pid);
            }
        }
        self.ended.is_some()
    }

    fn signal_and_wait(&mut self, signal: Signal, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        if self.reap() {
            return true;
        }
        let _ = kill(self.pid, signal);
        while !self.reap() && Instant::now() < end {
            thread::sleep(Duration::from_millis(2));
        }
        self.ended.is_some()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.signal_and_wait(Signal::SIGTERM, Duration::from_secs(5)) {
            eprintln!("bench: {} did not end by SIGTERM within 5 s, killed", self.name);
            self.signal_and_wait(Signal::SIGKILL, Duration::from_secs(5));
        }
    }
}
