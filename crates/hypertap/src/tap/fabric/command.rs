//! What the fabric's thread is told.

use std::os::fd::OwnedFd;
use std::time::Duration;

use hypertap_engine::modem::ModemSettings;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::queue::PacketQueue;
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::frames::Framing;
use tokio::sync::oneshot;

use super::{ClientId, ListenId, Place, PortReport, Report};

/// As the methods of [`super::Fabric`].
pub(super) enum Command {
    AttachHost(Box<dyn PacketQueue>, MacAddress),
    AttachStream { client: ClientId, place: Place, stream: OwnedFd, framing: Option<Framing> },
    AttachModem { client: ClientId, place: Place, stream: OwnedFd, settings: Box<ModemSettings> },
    AttachGuests { listen: ListenId, socket: GuestSocket },
    AttachMessages { client: ClientId, place: Place, socket: GuestSocket },
    Detach(ClientId, oneshot::Sender<PortReport>),
    FreeDead(oneshot::Sender<Option<Duration>>),
    Report(oneshot::Sender<Report>),
}
