//! Who is who in a fabric, and what it tells of them.

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use hypertap_wire::frames::FrameError;
use serde::Serialize;

use super::Place;

/// A client or guest, for as long as the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub(crate) struct ClientId(u64);

impl ClientId {
    /// One that nobody has had yet.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A datagram socket that guests come in by: the caller's number for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub(crate) struct ListenId(pub(crate) usize);

/// Where a frame comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Origin {
    /// The host's interface.
    Host,
    /// A client or guest.
    Client(ClientId),
}

/// What a fabric tells.
#[derive(Debug)]
pub(crate) enum FabricEvent {
    /// A client went, and its port with it.
    ClientEnded {
        /// Who.
        client: ClientId,
        /// Why.
        end: ClientEnd,
        /// Its place, which is free once this is dropped.
        place: Place,
    },
    /// A guest's first datagram came.
    GuestCame {
        /// By which socket.
        listen: ListenId,
        /// Who it is from now on.
        guest: ClientId,
        /// Its address, to show.
        name: String,
    },
    /// A guest's socket is gone, and its place is free.
    GuestWent {
        /// Who.
        guest: ClientId,
    },
    /// The host's interface is gone, and its port with it. Clients stay.
    HostGone(io::Error),
    /// Frames come back: somebody outside joins two ports, or what is behind one port.
    Looping {
        /// Who first sent such a frame.
        first: Origin,
        /// By whom the copies come; the same port when the loop is beyond it.
        by: Origin,
        /// How many copies were dropped since the last word on it.
        dropped: u64,
    },
}

/// Why a client went.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientEnd {
    /// It closed its connection, or its sending half.
    #[error("the client went away")]
    Closed,
    /// It sent what is not in frames. All whole frames before that were delivered.
    #[error(transparent)]
    Broke(FrameError),
    /// Its connection failed.
    #[error("the client's connection failed: {0}")]
    Io(#[source] io::Error),
}
