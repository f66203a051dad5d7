//! Running programs from the repository's root, for as long as they may take.

use std::cell::Cell;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process_tree::Process;

/// The repository's root: the directory above this crate.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().expect("xtask is a directory of the repository").to_owned()
}

/// Where cargo builds: `CARGO_TARGET_DIR`, else `target` in the root.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// A command that will run in the repository's root.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that runs us.
pub(crate) fn cargo() -> Command {
    command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

thread_local! {
    /// Until when the programs that this thread runs may take; forever when there is none.
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Does a job whose programs may take this long together. One that still runs then is killed, with all
/// that it has started, and is an error.
pub(crate) fn within<T>(limit: Duration, job: impl FnOnce() -> T) -> T {
    let before = DEADLINE.replace(Some(Instant::now() + limit));
    let done = job();
    DEADLINE.set(before);
    done
}

/// Prints the command, runs it with our own input and output, and waits for it.
///
/// # Errors
/// It could not be started, took too long, or did not exit with 0.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    println!("$ {}", line_of(command));
    let status = in_time(command, |mut child| child.wait())?;
    if !status.success() {
        bail!("`{}` ended with {status}", line_of(command));
    }
    Ok(())
}

/// Runs a command quietly and returns what it wrote to its standard output.
///
/// # Errors
/// It could not be started, took too long, or did not exit with 0; its standard error is in the message.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = in_time(command, Child::wait_with_output)?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("`{}` ended with {}: {}", line_of(command), output.status, said.trim());
    }
    String::from_utf8(output.stdout).context("output is not UTF-8")
}

/// Starts the command and waits for its end, which a watching thread brings about at the deadline.
fn in_time<T>(command: &mut Command, wait: impl FnOnce(Child) -> io::Result<T>) -> Result<T> {
    let child = command.spawn().with_context(|| format!("cannot run {}", command.get_program().display()))?;
    let deadline = DEADLINE.get();
    let root = Process::of(&child);
    let (ended, is_over) = mpsc::sync_channel::<()>(1);
    let watch = move || {
        let Some(deadline) = deadline else { return false };
        let left = deadline.saturating_duration_since(Instant::now());
        let is_late = is_over.recv_timeout(left) == Err(RecvTimeoutError::Timeout);
        if let Some(root) = root.filter(|_| is_late) {
            root.kill_tree();
        }
        is_late
    };
    let (result, is_late) = thread::scope(|scope| {
        let watching = scope.spawn(watch);
        let result = wait(child);
        drop(ended);
        (result, watching.join().expect("it does not panic"))
    });
    if is_late {
        bail!("`{}` took too long and was killed", line_of(command));
    }
    result.with_context(|| format!("cannot wait for {}", command.get_program().display()))
}

/// Whether a program of this name is on PATH, or where Debian keeps the administrator's programs.
pub(crate) fn is_on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    std::env::split_paths(&path).chain(sbin).any(|dir| dir.join(program).is_file())
}

/// Every file under `dir` whose name ends with `.extension`, sorted; nothing where there is no
/// such directory. Build output and hidden directories are passed over.
///
/// # Errors
/// A directory cannot be read.
pub(crate) fn files_under(dir: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![dir.to_owned()];
    while let Some(dir) = open.pop() {
        if !dir.is_dir() {
            continue;
        }
        for entry in std::fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

fn line_of(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    let words: Vec<_> = words.map(|word| word.to_string_lossy()).collect();
    if words.len() > 16 {
        return format!("{} … ({} arguments)", words[..12].join(" "), words.len() - 1);
    }
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_command_is_an_error_that_names_it() {
        let error = run(&mut command("false")).expect_err("false fails");
        assert!(error.to_string().starts_with("`false` ended with exit status: 1"), "{error}");
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let error = run(&mut command("no-such-program")).expect_err("cannot start");
        assert!(error.to_string().contains("no-such-program"), "{error}");
        assert!(!is_on_path("no-such-program"));
    }

    #[test]
    fn what_takes_too_long_is_killed_with_all_that_it_started() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let script = r#"sh -c 'sleep 1000 & echo $! >"$0"; wait' "$0"/pid"#;
        let begin = Instant::now();
        let job = || run(command("sh").args(["-c", script]).arg(dir.path()));
        let error = within(Duration::from_secs(5), job).expect_err("it sleeps for longer");
        assert!(error.to_string().ends_with("took too long and was killed"), "{error}");
        assert!(begin.elapsed() < Duration::from_secs(100), "{:?}", begin.elapsed());
        let pid = std::fs::read_to_string(dir.path().join("pid")).expect("the shell wrote it");
        let stat = Path::new("/proc").join(pid.trim()).join("stat");
        // A zombie, until somebody reaps it, is no longer alive.
        let is_alive = || std::fs::read_to_string(&stat).is_ok_and(|stat| !stat.contains(") Z "));
        while is_alive() {
            assert!(begin.elapsed() < Duration::from_secs(100), "{} lives", pid.trim());
            thread::yield_now();
        }
    }

    #[test]
    fn a_program_whose_output_is_read_is_killed_too() {
        let job = || output(command("sh").args(["-c", "sleep 1000 & sleep 1000"]));
        assert!(within(Duration::from_millis(100), job).is_err());
        assert_eq!(output(command("echo").arg("after it")).expect("no limit is left"), "after it\n");
    }

    #[test]
    fn build_output_and_hidden_directories_are_passed_over() {
        let dir = tempfile::tempdir().expect("temporary directory");
        for path in ["a/one.rs", "target/two.rs", ".git/three.rs", "a/four.txt"] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().expect("parent")).expect("mkdir");
            std::fs::write(path, "").expect("write");
        }
        assert_eq!(files_under(dir.path(), "rs").expect("list"), [dir.path().join("a/one.rs")]);
    }
}
