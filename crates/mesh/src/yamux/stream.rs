//! What a session knows of one stream.

use std::task::Waker;
use std::time::Duration;

use hypertap_wire::yamux::{Flags, INITIAL_WINDOW};

use super::received::Received;
use super::turns::Turn;
use super::window::ReceiveWindow;

/// How far the peer is with its direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerEnd {
    Open,
    /// It has sent FIN.
    Finished,
    /// It has sent RST, which ends both directions.
    Reset,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// SYN or ACK, until a frame of the stream has carried it.
    pub(super) due: Flags,
    /// Opened by us, and the peer has not said that it accepts it.
    pub(super) is_unacknowledged: bool,
    /// Opened by the peer and not yet taken from the queue.
    pub(super) is_unaccepted: bool,
    pub(super) received: Received,
    pub(super) window: ReceiveWindow,
    pub(super) peer_end: PeerEnd,
    /// How many bytes we may send.
    pub(super) send_window: u32,
    /// Whether we have sent FIN.
    pub(super) is_finished: bool,
    pub(super) turn: Turn,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Stream {
    /// One that we open.
    pub(super) fn outbound(now: Duration) -> Self {
        Self { due: Flags::SYN, is_unacknowledged: true, is_unaccepted: false, ..Self::inbound(now) }
    }

    /// One that the peer has opened.
    pub(super) fn inbound(now: Duration) -> Self {
        Self {
            due: Flags::ACK,
            is_unacknowledged: false,
            is_unaccepted: true,
            received: Received::default(),
            window: ReceiveWindow::new(now),
            peer_end: PeerEnd::Open,
            send_window: INITIAL_WINDOW,
            is_finished: false,
            turn: Turn::None,
            reader: None,
            writer: None,
        }
    }

    /// What the next frame of the stream has to carry besides `flags`.
    pub(super) fn take_due(&mut self, flags: Flags) -> Flags {
        std::mem::take(&mut self.due) | flags
    }

    /// Whether both ends are closed, so that nothing remains to be said.
    pub(super) fn is_over(&self) -> bool {
        match self.peer_end {
            PeerEnd::Open => false,
            PeerEnd::Finished => self.is_finished,
            PeerEnd::Reset => true,
        }
    }
}
