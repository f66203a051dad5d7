//! How the program ends: the exit codes that every command shares, and the one sentence before them.

use std::process::ExitCode;

use hypertap_platform::MachineError;

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
}

impl Exit {
    /// The code of an error of the privileged half.
    pub fn of(error: &MachineError) -> Self {
        match error {
            MachineError::NotPermitted { .. } | MachineError::NoDriver(_) | MachineError::HelperGone => {
                Self::Right
            }
            MachineError::NameTaken(_) => Self::NameTaken,
            MachineError::BadName(_) => Self::Usage,
            MachineError::HelperProtocol(_) => Self::Protocol,
            MachineError::NoTun
            | MachineError::TunExists
            | MachineError::Kernel { .. }
            | MachineError::Failed { .. }
            | MachineError::Resolver { .. } => Self::Other,
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

    /// Prints the sentence and yields the code.
    pub fn report(&self) -> ExitCode {
        eprintln!("hypertap: {:#}", self.error);
        ExitCode::from(self.exit as u8)
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
