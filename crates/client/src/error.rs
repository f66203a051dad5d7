//! What can go wrong between a program and its daemon.

use std::io;

use hypertap_wire::line::MAX_LINE;

use crate::Address;

/// A result of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call did not succeed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The daemon said no. Nothing was changed.
    #[error("{text}")]
    Refused {
        /// What the daemon said.
        text: String,
        /// The class of the refusal, the same numbers as the exit codes of `hypertap`; the
        /// protocol's own fixed texts have none.
        code: Option<i64>,
    },
    /// There is no way to the daemon.
    #[error("cannot connect to the daemon at {address}: {source}; is `hypertap tunnel` running?")]
    Connect {
        /// Where it was looked for.
        address: Address,
        /// Why not.
        source: io::Error,
    },
    /// The daemon closed the connection.
    #[error("the daemon closed the connection")]
    Closed,
    /// The daemon did not answer in the time that it was given. A late answer is thrown away.
    #[error("the daemon did not answer in time")]
    TimedOut,
    /// A socket failed.
    #[error("cannot {doing}: {source}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// What the machine said.
        source: io::Error,
    },
    /// What came is not what the protocol says (docs/tunnel.md). The connection is of no more use.
    #[error(transparent)]
    Protocol(#[from] Violation),
    /// The request is longer than the protocol allows; nothing was sent.
    #[error("the request is longer than {MAX_LINE} bytes; split it")]
    RequestTooLong,
}

/// How the other end broke the protocol.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// A line that is no JSON object.
    #[error("the other end is no hypertap daemon: it said {0:?}")]
    NotAnObject(String),
    /// A line that does not end.
    #[error("the daemon sent a line of more than {MAX_LINE} bytes")]
    LineTooLong,
    /// A reply to nothing.
    #[error("the daemon answered a request that was not sent")]
    UnexpectedReply,
    /// Requests that it takes and does not answer.
    #[error("the daemon owes the replies to {0} requests")]
    Unanswered(usize),
    /// A reply without what was asked for.
    #[error("the daemon's reply to {verb} has no usable {field:?}")]
    Field {
        /// The command.
        verb: &'static str,
        /// What its reply should hold.
        field: &'static str,
    },
    /// A reply to `start` without the device's descriptor.
    #[error("the daemon's reply to start brought no descriptor")]
    NoDescriptor,
}
