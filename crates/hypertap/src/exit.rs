//! How the program ends: the exit codes that every command shares, and the one sentence before them.

use std::process::ExitCode;

use hypertap_platform::MachineError;
use hypertap_platform::helper::HelperStart;

use crate::{cli, log};

/// Exit codes, the same for every command. A bad command line is 2 as well; clap says so itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Anything that has no code of its own.
    Other = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// A right or the driver is missing.
    Right = 3,
    /// An address, a port or a path is taken.
    Taken = 4,
    /// The interface's name is taken.
    NameTaken = 5,
    /// A peer broke the protocol.
    Protocol = 6,
    /// A program that was to be run is there, but cannot be, as env(1) says it.
    NotRunnable = 126,
    /// A program that was to be run is not there.
    NoProgram = 127,
}

impl Exit {
    /// The code of an error of the privileged half.
    pub fn of(error: &MachineError) -> Self {
        match error {
            MachineError::NotPermitted { .. } | MachineError::NoDriver(_) => Self::Right,
            MachineError::NameTaken(_) => Self::NameTaken,
            MachineError::BadName(_) => Self::Usage,
            MachineError::HelperProtocol(_) => Self::Protocol,
            // Another helper may be there already, so trying again may help.
            MachineError::HelperGone
            | MachineError::NoTun
            | MachineError::TunExists
            | MachineError::Kernel { .. }
            | MachineError::Failed { .. }
            | MachineError::Resolver { .. } => Self::Other,
        }
    }

    /// The code of a helper that did not come up.
    pub fn of_start(error: &HelperStart) -> Self {
        match error {
            HelperStart::Absent | HelperStart::Dismissed | HelperStart::Refused => Self::Right,
            HelperStart::Ended(status) if status.code() == Some(Self::Right as i32) => Self::Right,
            HelperStart::Ended(_) | HelperStart::Start { .. } => Self::Other,
            HelperStart::Machine(error) => Self::of(error),
        }
    }
}

/// An error that ends the program, with its exit code.
#[derive(Debug)]
pub struct Failure {
    /// What the process exits with.
    pub exit: Exit,
    /// What happened, to which thing, and what to do.
    pub error: anyhow::Error,
}

impl Failure {
    /// A failure with its sentence.
    pub fn new(exit: Exit, error: impl Into<anyhow::Error>) -> Self {
        Self { exit, error: error.into() }
    }

    /// Prints the sentence, as the log goes, lest a reader that does not read hold up the end, and yields the
    /// code.
    pub fn report(&self) -> ExitCode {
        log::complain(format_args!("{}: {}", cli::name(), self.sentence()));
        ExitCode::from(self.exit as u8)
    }

    /// The sentence: what happened, and then each cause that it does not name itself.
    pub fn sentence(&self) -> String {
        let mut text = String::new();
        for cause in self.error.chain().map(ToString::to_string) {
            if text.is_empty() {
                text = cause;
            } else if !text.contains(&cause) {
                text = format!("{text}: {cause}");
            }
        }
        text
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::new(Exit::Other, error)
    }
}

impl From<MachineError> for Failure {
    fn from(error: MachineError) -> Self {
        Self::new(Exit::of(&error), error)
    }
}

impl From<HelperStart> for Failure {
    fn from(error: HelperStart) -> Self {
        Self::new(Exit::of_start(&error), error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    #[test]
    fn a_sentence_names_each_cause_once() {
        let io = || std::io::Error::other("refused");
        let source = HelperStart::Start { program: "p".to_owned(), source: io() };
        let failure = Failure::new(Exit::Other, anyhow::Error::from(source).context("no daemon"));
        assert_eq!(failure.sentence(), "no daemon: cannot start the privileged helper p: refused");
        let failure = Failure::new(Exit::Other, anyhow::Error::from(io()).context("no daemon"));
        assert_eq!(failure.sentence(), "no daemon: refused");
    }

    #[test]
    fn a_helper_that_has_gone_is_a_missing_right_only_where_it_says_so() {
        assert_eq!(Exit::of(&MachineError::HelperGone), Exit::Other);
        let ended = |code: i32| Exit::of_start(&HelperStart::Ended(ExitStatus::from_raw(code << 8)));
        assert_eq!(ended(Exit::Right as i32), Exit::Right);
        assert_eq!(ended(Exit::Other as i32), Exit::Other);
        assert_eq!(Exit::of_start(&HelperStart::Refused), Exit::Right);
        assert_eq!(Exit::of_start(&HelperStart::Machine(MachineError::HelperGone)), Exit::Other);
    }
}
