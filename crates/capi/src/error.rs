//! Errors as C has them: a number and a text.

use hypertap_client::TapError;

/// `enum hypertap_error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Code {
    Argument = -1,
    Connect = -2,
    Start = -3,
    Refused = -4,
    NotReady = -5,
    Closed = -6,
    Length = -7,
    Room = -8,
    Protocol = -9,
    Io = -10,
    Internal = -11,
}

/// Why a call failed.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: Code,
    pub(crate) text: String,
}

impl Failure {
    /// An argument that is wrong.
    pub(crate) fn argument(text: impl Into<String>) -> Self {
        Self { code: Code::Argument, text: text.into() }
    }

    /// A panic.
    pub(crate) fn internal() -> Self {
        Self {
            code: Code::Internal,
            text: "a defect of libhypertap, which standard error says more of".to_owned(),
        }
    }
}

impl From<TapError> for Failure {
    fn from(error: TapError) -> Self {
        let code = match &error {
            TapError::Connect { .. } => Code::Connect,
            TapError::Start { .. } => Code::Start,
            TapError::Refused(_) => Code::Refused,
            TapError::NotReady(_) => Code::NotReady,
            TapError::Closed | TapError::Ended(_) => Code::Closed,
            TapError::Length { .. } | TapError::Unsizable { .. } => Code::Length,
            TapError::Cut { .. } => Code::Room,
            TapError::Frame(_) => Code::Protocol,
            // What a later version of the client adds has no number yet.
            _ => Code::Io,
        };
        Self { code, text: error.to_string() }
    }
}
