//! Why a connection to a service did not come about, and how its program learns it.

use crate::icmp::Unreachable;

/// Why a connection to a service did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The node has no service with that id.
    NoSuchService,
    /// The client may not use it.
    NotAuthorised,
    /// The target refused the connection.
    TargetRefused,
    /// There is no way to the target.
    TargetUnreachable,
    /// The target, or the peer, did not answer in time.
    TimedOut,
    /// The target is known to be down: its check fails.
    CheckFailing,
    /// The service is TCP and was asked for over UDP, or the other way.
    WrongProtocol,
    /// The server has all the connections that it can have.
    Busy,
    /// A reason of a later version, by its code.
    Other(u8),
}

/// What the packet that asked for a connection is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    /// RST for TCP, port unreachable for UDP.
    Reset,
    /// An ICMP error.
    Unreachable(Unreachable),
}

impl Refusal {
    const KNOWN: [Self; 8] = [
        Self::NoSuchService,
        Self::NotAuthorised,
        Self::TargetRefused,
        Self::TargetUnreachable,
        Self::TimedOut,
        Self::CheckFailing,
        Self::WrongProtocol,
        Self::Busy,
    ];

    /// Its number on the wire, from 1 in the order of the variants; never 0 unless `Other` holds that.
    pub fn code(self) -> u8 {
        match self {
            Self::NoSuchService => 1,
            Self::NotAuthorised => 2,
            Self::TargetRefused => 3,
            Self::TargetUnreachable => 4,
            Self::TimedOut => 5,
            Self::CheckFailing => 6,
            Self::WrongProtocol => 7,
            Self::Busy => 8,
            Self::Other(code) => code,
        }
    }

    /// The refusal with a number; `None` for 0, which is none.
    pub fn from_code(code: u8) -> Option<Self> {
        let known = Self::KNOWN.into_iter().find(|known| known.code() == code);
        known.or((code != 0).then_some(Self::Other(code)))
    }

    /// What the client's program is to see.
    pub fn answer(self) -> Answer {
        match self {
            Self::NotAuthorised => Answer::Unreachable(Unreachable::Prohibited),
            Self::TargetUnreachable | Self::TimedOut => Answer::Unreachable(Unreachable::Host),
            _ => Answer::Reset,
        }
    }
}
