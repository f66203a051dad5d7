//! What can go wrong between a program and its Ethernet interface.

use std::fmt;
use std::io::{self, ErrorKind};
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use hypertap_wire::ethernet::HEADER;
use hypertap_wire::frames::FrameError;

use crate::Address;

/// Why a call on an interface did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TapError {
    /// There is no way to the server.
    #[error("cannot connect to the server at {address}: {source}; {}", remedy(source, address))]
    Connect {
        /// Where it was looked for.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// The program that makes the interface cannot be started.
    #[error("cannot start {}: {source}; install hypertap, or say where the program is", program.display())]
    Start {
        /// Which program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The program could not make the interface.
    #[error("cannot make the interface: {0}")]
    Refused(ProgramEnd),
    /// The interface was not there in time.
    #[error("the interface is not there after {0:?}; the machine is busy, or the program is too old")]
    NotReady(Duration),
    /// The other end closed the connection: the interface is gone.
    #[error("the server closed the connection")]
    Closed,
    /// The program that holds the interface ended, and the interface with it.
    #[error("the interface is gone: {0}")]
    Ended(ProgramEnd),
    /// A frame that cannot be sent; nothing of it was.
    #[error(
        "a frame of {length} bytes cannot be sent: {HEADER} to {limit} bytes can, by the MTU that was said"
    )]
    Length {
        /// The frame's length in bytes.
        length: usize,
        /// The longest frame in bytes.
        limit: usize,
    },
    /// A frame whose length its receiver could not work out, on a stream without lengths; nothing of it was
    /// sent.
    #[error("a frame of {length} bytes does not tell its own length; use a framing with lengths")]
    Unsizable {
        /// The frame's length in bytes.
        length: usize,
    },
    /// A frame that came did not fit and is lost.
    #[error("a frame of {length} bytes was lost: the buffer has room for {room}")]
    Cut {
        /// The frame's length in bytes.
        length: usize,
        /// The buffer's.
        room: usize,
    },
    /// What came is no frame. The connection is of no more use.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// A socket failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the machine said.
        source: io::Error,
    },
}

impl TapError {
    /// The error of a call on a socket, or that of its end.
    pub(crate) fn of(doing: &'static str, source: io::Error) -> Self {
        match source.kind() {
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => Self::Closed,
            _ => Self::Io { doing, source },
        }
    }
}

/// What to do where connecting failed.
fn remedy(source: &io::Error, address: &Address) -> String {
    match source.kind() {
        ErrorKind::PermissionDenied => {
            "the socket is another user's: start the server with --socket-owner, --socket-group or --socket-mode"
                .to_owned()
        }
        _ => format!("start one: sudo hypertap tap --listen={address} --use-framed-protocol"),
    }
}

/// How the program that holds an interface ended, and what it said last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramEnd {
    /// Its exit code (`hypertap --help` lists them); `None` where a signal ended it, or it runs still.
    pub code: Option<i32>,
    /// Its last sentence; empty where it said none.
    pub text: String,
}

impl ProgramEnd {
    pub(crate) fn new(status: Option<ExitStatus>, text: String) -> Self {
        Self { code: status.and_then(|status| status.code()), text }
    }
}

impl fmt::Display for ProgramEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.text.as_str(), self.code) {
            ("", Some(code)) => write!(f, "its program ended with code {code} and said nothing"),
            ("", None) => f.write_str("its program was killed"),
            (text, _) => f.write_str(text),
        }
    }
}
