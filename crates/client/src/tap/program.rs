//! The program that makes an interface for this one: `hypertap tap`, at the other end of a socket pair.
//!
//! Its standard input is its end of the pair (`--fd=0`), and on its standard output, a pipe, it says the
//! interface's name once that is there and configured (`--print-name`); no descriptor has to be inherited
//! by number. What it says on its standard error is kept, for its last sentence is the reason where
//! something fails. When our end of the pair is closed, however that comes about, it removes the
//! interface and ends.

use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::event::PollFlags;

use super::{ProgramEnd, TapError, TapSpec};
use crate::socket::{Deadline, Socket, wait};

/// How long removing an interface may take before the program is killed, and the kernel removes it.
const END: Duration = Duration::from_secs(5);

/// How much of what the program says is kept, in bytes.
const KEPT: usize = 16 << 10;

/// The longest name of an interface in bytes, with the end of its line.
const LONGEST_NAME: usize = 64;

/// The running program. Dropping it waits for its end, and ends it where that does not come.
#[derive(Debug)]
pub(crate) struct Program {
    child: Child,
    errors: ChildStderr,
    said: Vec<u8>,
}

/// A program whose interface is there.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) program: Program,
    pub(crate) socket: Socket,
    pub(crate) name: String,
}

impl Program {
    /// Starts it and waits until the interface is there.
    ///
    /// # Errors
    /// `Start`, `Refused`, `NotReady`, `Io`.
    pub(crate) fn start(spec: &TapSpec) -> Result<Started, TapError> {
        let deadline = Deadline::after(Some(spec.timeout));
        let io = |doing| move |source| TapError::Io { doing, source };
        let (ours, theirs) = UnixStream::pair().map_err(io("make a socket pair"))?;
        let socket = Socket::unix(ours).map_err(io("set up a socket"))?;
        let (ready, theirs_ready) = io::pipe().map_err(io("make a pipe"))?;
        let mut command = Command::new(&spec.program);
        command.args(["tap", "--fd=0", "--print-name", "--framing=le16"]).args(spec.arguments());
        command.stdin(OwnedFd::from(theirs)).stdout(theirs_ready).stderr(Stdio::piped());
        // What is typed at a terminal is for this program, which may want its interface for its last words.
        command.process_group(0);
        let mut child =
            command.spawn().map_err(|source| TapError::Start { program: spec.program.clone(), source })?;
        // It holds the program's ends of the pairs, without which their ends would not be seen.
        drop(command);
        let errors = child.stderr.take().expect("it is piped");
        let mut program = Self { child, errors, said: Vec::new() };
        match read_line(ready, deadline) {
            Ok(Some(name)) => Ok(Started { program, socket, name }),
            outcome => {
                // The program ends with its socket.
                drop(socket);
                match outcome {
                    Err(source) => Err(TapError::Io { doing: "hear from the program", source }),
                    Ok(_) if deadline.is_past() => Err(TapError::NotReady(spec.timeout)),
                    Ok(_) => Err(TapError::Refused(program.end())),
                }
            }
        }
    }

    /// How it ended, after its socket's end was seen or made.
    pub(crate) fn end(&mut self) -> ProgramEnd {
        let status = self.wait();
        ProgramEnd::new(status, last_sentence(&String::from_utf8_lossy(&self.said)))
    }

    /// Waits for its end, and kills it when that does not come.
    fn wait(&mut self) -> Option<ExitStatus> {
        if !self.hear_out(Deadline::after(Some(END))) {
            // It can only have ended meanwhile.
            let _ = self.child.kill();
        }
        self.child.wait().ok()
    }

    /// Reads what it says until it has no more to say. Returns whether it was so before the deadline.
    fn hear_out(&mut self, deadline: Deadline) -> bool {
        let mut piece = [0; 4096];
        while wait(self.errors.as_fd(), PollFlags::IN, deadline).unwrap_or(false) {
            match self.errors.read(&mut piece) {
                Ok(0) => return true,
                Ok(count) => {
                    self.said.extend(piece.iter().take(count));
                    let excess = self.said.len().saturating_sub(KEPT);
                    self.said.drain(..excess);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        false
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.wait();
    }
}

/// The first line that comes out of the pipe; `None` when there is none, or the deadline came first.
fn read_line(mut pipe: PipeReader, deadline: Deadline) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    while line.len() <= LONGEST_NAME && wait(pipe.as_fd(), PollFlags::IN, deadline)? {
        let mut byte = [0];
        match pipe.read(&mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => return Ok(Some(String::from_utf8_lossy(&line).into_owned())),
            Ok(_) => line.extend(byte),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// The sentence with which a program ends: ours, else the one that says that the command line is wrong,
/// else its last line.
fn last_sentence(said: &str) -> String {
    let begins = |mark: &str| said.lines().rev().find_map(|line| line.strip_prefix(mark));
    let last = || said.lines().rev().map(str::trim).find(|line| !line.is_empty());
    begins("hypertap: ").or_else(|| begins("error: ")).or_else(last).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests;
