//! Starting the helper process.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;

use tokio::sync::oneshot;

use super::Helper;
use crate::privileged::MachineError;
use crate::rights::pkexec_path;

/// pkexec(1): the person dismissed the question.
const DISMISSED: i32 = 126;
/// pkexec(1): not authorised, or nobody could be asked.
const NOT_AUTHORISED: i32 = 127;

/// The name under which the program has this command.
const NAME: &str = "hypertap";

/// How the helper comes to its rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It has ours.
    Direct,
    /// pkexec asks the person, and starts it as root.
    Pkexec,
}

/// Why there is no helper.
#[derive(Debug, thiserror::Error)]
pub enum HelperStart {
    /// There is no pkexec on this machine.
    #[error("there is no pkexec to ask for the right with (install polkit, or run hypertap as root)")]
    Absent,
    /// The person dismissed the question.
    #[error("the question for the right to configure the network was dismissed")]
    Dismissed,
    /// The person, or the machine's policy, said no, or nobody could be asked.
    #[error("the right to configure the network was refused")]
    Refused,
    /// It ended before it said anything.
    #[error("the privileged helper ended at once: {0} (its log says why)")]
    Ended(ExitStatus),
    /// It could not be started.
    #[error("cannot start the privileged helper {program}: {source}")]
    Start {
        /// What was started.
        program: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// It was started, and something is wrong with it.
    #[error(transparent)]
    Machine(#[from] MachineError),
}

/// A helper that was started and has not yet spoken.
#[derive(Debug)]
pub struct Starting {
    socket: OwnedFd,
    child: Child,
    via: Via,
}

/// Starts `program helper`, with the socket as its standard input: pkexec keeps no descriptor but
/// the standard three. Its log goes to our standard error. This only starts a process, and waits for nothing;
/// [`Starting::connect`] does, and needs a tokio runtime with I/O.
///
/// `state_dir` goes to it as `--state-dir` when it is started directly, where none means that it is to keep no
/// journal, for TAP interfaces only. Behind pkexec it is not passed on: root's helper must not take a path from
/// an ordinary user. `program` must be absolute then.
///
/// `leftovers` are files and empty directories that a helper started directly removes at its end, because
/// the daemon may not once it has dropped its rights. `more` are further arguments, as for its log.
///
/// # Errors
/// [`HelperStart::Absent`] and [`HelperStart::Start`].
pub fn spawn(
    program: &Path,
    via: Via,
    state_dir: Option<&Path>,
    leftovers: &[PathBuf],
    more: &[OsString],
) -> Result<Starting, HelperStart> {
    let mut command = match via {
        Via::Direct => {
            let mut command = Command::new(program);
            // By its own name the program may take other words.
            command.arg0(NAME).arg("helper");
            match state_dir {
                Some(directory) => command.arg("--state-dir").arg(directory),
                None => command.arg("--no-journal"),
            };
            command.args(leftovers.iter().flat_map(|path| [OsStr::new("--remove"), path.as_os_str()]));
            // A terminal's interrupt is for the daemon, which then ends the helper in its own order. pkexec
            // stays in our group, since it may have to ask on that terminal.
            command.process_group(0);
            command
        }
        Via::Pkexec => {
            let mut command = Command::new(pkexec_path().ok_or(HelperStart::Absent)?);
            command.arg(program).arg("helper");
            command
        }
    };
    command.args(more);
    start(command, via)
}

fn start(mut command: Command, via: Via) -> Result<Starting, HelperStart> {
    let started = UnixStream::pair().and_then(|(ours, theirs)| {
        let child =
            command.stdin(OwnedFd::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit()).spawn()?;
        Ok(Starting { socket: OwnedFd::from(ours), child, via })
    });
    // The command held the helper's end of the socket; while we hold it, its end is never seen.
    let program = command.get_program().to_string_lossy().into_owned();
    drop(command);
    started.map_err(|source| match source.kind() {
        io::ErrorKind::NotFound if via == Via::Pkexec => HelperStart::Absent,
        _ => HelperStart::Start { program, source },
    })
}

impl Starting {
    /// Waits until the helper speaks: through pkexec, until the person has answered. Then its process
    /// is waited for by a thread named `helper-wait`, so that it leaves no zombie. Needs a tokio runtime
    /// with I/O.
    ///
    /// Dropping this future closes the socket, which ends a helper that starts later.
    ///
    /// # Errors
    /// [`HelperStart`].
    pub async fn connect(self) -> Result<Helper, HelperStart> {
        let Self { socket, mut child, via } = self;
        let (tell, ended) = oneshot::channel();
        let waiting = thread::Builder::new().name("helper-wait".to_owned()).spawn(move || {
            // The receiver is gone when the helper came up, which is the rule.
            let _ = tell.send(child.wait());
        });
        waiting.map_err(|source| HelperStart::Start { program: "wait".to_owned(), source })?;
        match Helper::connect(socket).await {
            Ok(helper) => Ok(helper),
            Err(MachineError::HelperGone) => Err(match ended.await {
                Ok(Ok(status)) => why(via, status),
                Ok(Err(source)) => HelperStart::Start { program: "wait".to_owned(), source },
                Err(_) => HelperStart::Machine(MachineError::HelperGone),
            }),
            Err(error) => Err(error.into()),
        }
    }
}

fn why(via: Via, status: ExitStatus) -> HelperStart {
    match (via, status.code()) {
        (Via::Pkexec, Some(DISMISSED)) => HelperStart::Dismissed,
        (Via::Pkexec, Some(NOT_AUTHORISED)) => HelperStart::Refused,
        _ => HelperStart::Ended(status),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn outcome(script: &str, via: Via) -> HelperStart {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        start(command, via).expect("the shell starts").connect().await.expect_err("a shell is no helper")
    }

    #[tokio::test]
    async fn pkexec_says_by_its_exit_code_why_there_is_no_helper() {
        assert!(matches!(outcome("exit 126", Via::Pkexec).await, HelperStart::Dismissed));
        assert!(matches!(outcome("exit 127", Via::Pkexec).await, HelperStart::Refused));
        assert!(
            matches!(outcome("exit 1", Via::Pkexec).await, HelperStart::Ended(status) if status.code() == Some(1))
        );
        assert!(matches!(outcome("exit 126", Via::Direct).await, HelperStart::Ended(_)));
        assert!(matches!(outcome("kill -9 $$", Via::Pkexec).await, HelperStart::Ended(_)));
    }

    #[tokio::test]
    async fn a_program_that_does_not_speak_our_protocol_is_none_of_ours() {
        let outcome = outcome("printf 'hello there' >&0; cat >/dev/null", Via::Direct).await;
        assert!(matches!(outcome, HelperStart::Machine(MachineError::HelperProtocol(_))), "{outcome}");
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = spawn(Path::new("/nonexistent/hypertap"), Via::Direct, Some(Path::new("/")), &[], &[])
            .expect_err("no such program");
        assert!(error.to_string().contains("/nonexistent/hypertap"), "{error}");
    }
}
