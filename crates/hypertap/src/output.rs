//! What commands print on standard output. What they complain of goes the way of the log ([`crate::log`]).
//!
//! To print never interrupts work that is half done. A reader that has gone, as in `hypertap doctor |
//! head -1`, has read what it wanted to, so nothing is said of it. Whatever else keeps a result from being
//! written is said once, at the end.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Stdout, Write};

use anyhow::Context;
use serde::Serialize;

use crate::exit::{Exit, Failure};

/// Standard output, or what stands for it.
#[derive(Debug)]
pub struct Output<W: Write = Stdout> {
    to: W,
    /// Why nothing is written any more.
    failed: Option<io::Error>,
}

impl Output {
    /// Standard output.
    pub fn standard() -> Self {
        Self::new(io::stdout())
    }
}

impl<W: Write> Output<W> {
    fn new(to: W) -> Self {
        Self { to, failed: None }
    }

    /// Prints a line.
    pub fn line(&mut self, text: impl Display) {
        if self.failed.is_none() {
            self.failed = writeln!(self.to, "{text}").err();
        }
    }

    /// Prints a value as JSON, for programs and for people.
    ///
    /// # Errors
    /// When it is none that JSON can hold.
    pub fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).context("JSON")?;
        self.line(text);
        Ok(())
    }

    /// To be called when the work is done.
    ///
    /// # Errors
    /// What kept the result from being written, unless its reader has gone.
    pub fn finish(mut self) -> Result<(), Failure> {
        said(self.failed.take().map_or_else(|| self.to.flush(), Err))
    }
}

/// What came of printing.
///
/// # Errors
/// What kept it from being done, unless the reader has gone.
pub fn said(printed: io::Result<()>) -> Result<(), Failure> {
    match printed {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let error = anyhow::Error::from(error).context("cannot write to standard output");
            Err(Failure::new(Exit::Other, error))
        }
        _ => Ok(()),
    }
}

/// Whether a stream is to be coloured: a person's terminal, unless he asked for none (no-color.org).
pub fn has_colours(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes one line, and fails at the next.
    struct Failing(ErrorKind, Vec<u8>);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.1.ends_with(b"\n") {
                return Err(self.0.into());
            }
            self.1.extend(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn outcome(kind: ErrorKind) -> Result<(), Failure> {
        let mut output = Output::new(Failing(kind, Vec::new()));
        output.line("one");
        output.line("two");
        output.line("three");
        assert_eq!(output.to.1, b"one\n", "after a failure nothing is tried again");
        output.finish()
    }

    #[test]
    fn only_a_reader_that_has_gone_is_no_failure() {
        assert!(outcome(ErrorKind::BrokenPipe).is_ok());
        let failure = outcome(ErrorKind::StorageFull).expect_err("it is full");
        assert_eq!(failure.exit, Exit::Other);
        assert!(
            failure.sentence().starts_with("cannot write to standard output: "),
            "{}",
            failure.sentence()
        );
    }
}
