//! A program that is started as a client, with its end of a socket pair.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::process::ExitStatus;

use anyhow::Context;
use hypertap_platform::inherited::pair_for_program;
use hypertap_platform::process::hear_of_children;
use tokio::process::{Child, Command};

use crate::exit::Failure;

/// What stands for the descriptor's number in the arguments.
const PLACE: &[u8] = b"{fd}";

/// A program that runs.
#[derive(Debug)]
pub struct Program {
    child: Child,
    name: String,
    /// Whether its end was seen.
    ended: bool,
}

impl Program {
    /// Starts a program, which is left alone when this is dropped; our end of its socket comes with it, a stream's
    /// or of datagrams.
    ///
    /// # Errors
    /// When it cannot be started, naming it.
    pub fn start(words: &[OsString], of_datagrams: bool) -> Result<Option<(Self, OwnedFd)>, Failure> {
        let Some((program, arguments)) = words.split_first() else { return Ok(None) };
        let name = program.to_string_lossy().into_owned();
        hear_of_children().context("cannot hear of the program's end")?;
        let (ours, theirs) = pair_for_program(of_datagrams).context("cannot make a socket pair")?;
        let number = theirs.as_raw_fd();
        let arguments = arguments.iter().map(|word| with_number(word, number));
        let child = Command::new(program).args(arguments).spawn();
        let child = child.with_context(|| format!("cannot start {name}"))?;
        Ok(Some((Self { child, name, ended: false }, ours)))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its end was not seen yet.
    pub fn runs(&self) -> bool {
        !self.ended
    }

    /// Completes when it ends, and says how it did; never again. Cancel-safe.
    pub async fn wait(&mut self) {
        if self.ended {
            return std::future::pending().await;
        }
        let status = self.child.wait().await;
        self.ended = true;
        match status {
            Ok(status) => self.tell(status),
            Err(error) => tracing::warn!(%error, program = self.name, "cannot tell how the program ended"),
        }
    }

    fn tell(&self, status: ExitStatus) {
        if status.success() {
            tracing::info!(program = self.name, "the program has ended");
        } else {
            tracing::warn!(program = self.name, %status, "the program has ended");
        }
    }
}

/// An argument with the number in each of its places.
fn with_number(word: &OsStr, number: i32) -> OsString {
    let mut rest = word.as_bytes();
    let mut made = Vec::with_capacity(rest.len());
    while let Some(first) = rest.first() {
        if let Some(after) = rest.strip_prefix(PLACE) {
            made.extend(number.to_string().bytes());
            rest = after;
        } else {
            made.push(*first);
            rest = &rest[1..];
        }
    }
    OsString::from_vec(made)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_stands_in_each_of_its_places() {
        for (word, wanted) in [
            ("{fd}", "7"),
            ("socket,id=n,fd={fd}", "socket,id=n,fd=7"),
            ("{fd}{fd}", "77"),
            ("{fd", "{fd"),
            ("{{fd}}", "{7}"),
            ("", ""),
        ] {
            assert_eq!(with_number(word.as_ref(), 7), wanted, "{word}");
        }
    }
}
