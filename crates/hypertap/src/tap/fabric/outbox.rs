//! Events on their way to the async side, which may be slow: the thread never waits for it.

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use super::FabricEvent;

/// Events that can always be told besides clients' ends: the host's.
const SPARE: usize = 4;
/// Room for events that may be lost.
const NEWS: usize = 256;

/// The sending end of the channel. Each client has a place until its end was read, so with as much room as there
/// are places no end can be lost; the rest is news, told while it does not take that room.
pub(super) struct Outbox {
    sender: mpsc::Sender<FabricEvent>,
    reserved: usize,
}

impl Outbox {
    /// An outbox for as many clients as there are `places`, and its other end.
    pub(super) fn new(places: usize) -> (Self, mpsc::Receiver<FabricEvent>) {
        let reserved = places + SPARE;
        let (sender, receiver) = mpsc::channel(reserved + NEWS);
        (Self { sender, reserved }, receiver)
    }

    /// Tells what must not be lost.
    pub(super) fn tell(&self, event: FabricEvent) {
        if let Err(TrySendError::Full(event)) = self.sender.try_send(event) {
            tracing::error!(?event, "there is no room for an event of the fabric");
        }
    }

    /// Tells what may be lost while nobody listens.
    pub(super) fn tell_news(&self, event: FabricEvent) {
        if self.sender.capacity() > self.reserved {
            self.tell(event);
        }
    }
}
