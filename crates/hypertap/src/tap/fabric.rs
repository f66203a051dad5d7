//! The fabric: the one thread that moves frames between the host's interface and the clients.
//!
//! Every port is an end of an engine switch: the host, stream clients, modem clients, datagram guests. The
//! thread, named `tap`, sleeps in the kernel until a port or a command has something for it; while nobody sends
//! and no modem waits, nothing wakes it. Batches are the unit: what one read brought is cut into runs of frames
//! with the same two addresses, the switch decides once a run, and a run goes out with one write.
//!
//! No port can hold up another. Nothing blocks; what a port does not take waits in a bounded buffer of its own,
//! then its newest frames are dropped whole and counted; and each turn reads once from every port that has
//! something. What a port sends is read whether or not it reads.

mod command;
mod door;
mod event;
mod guest;
mod incoming;
mod lan;
mod messages;
mod modem;
mod outbox;
mod outgoing;
mod place;
mod port;
mod report;
mod turn;
mod waiting;

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use hypertap_engine::modem::ModemSettings;
use hypertap_platform::guest_socket::GuestSocket;
use hypertap_platform::poller::{Poller, Waker};
use hypertap_platform::queue::PacketQueue;
use hypertap_wire::ethernet::{HEADER, MacAddress, TAG};
use hypertap_wire::frames::Framing;
use tokio::sync::{mpsc, oneshot};

use self::command::Command;
use self::outbox::Outbox;
use self::turn::{Start, run};

pub(crate) use self::event::{ClientEnd, ClientId, FabricEvent, ListenId, Origin};
pub(crate) use self::place::{Place, Places};
pub(crate) use self::report::{DropReason, PortReport, Report};

/// What a fabric is made of.
pub(crate) struct FabricSettings {
    /// The interface's MTU in bytes; a frame may be longer by its header and two tags.
    pub(crate) mtu: u32,
    /// Room for clients and guests together.
    pub(crate) places: Places,
    /// Shown every frame as it comes in; nothing costs nothing.
    pub(crate) observer: Option<Box<dyn FrameObserver>>,
}

impl FabricSettings {
    /// The longest frame in bytes.
    fn max_frame(&self) -> usize {
        const TAGS: usize = 2;
        self.mtu as usize + HEADER + TAGS * TAG
    }
}

/// Somebody who is shown frames.
pub(crate) trait FrameObserver: Send {
    /// A frame that came in from `origin`, before the switch decides about it.
    fn frame(&mut self, origin: Origin, frame: &[u8]);
}

/// A running fabric; dropping it ends its thread and closes every port.
///
/// Its methods return when the thread has been told, not when it has done so, unless they say so. Once the thread has ended, which
/// the event channel's end tells, they do nothing.
pub(crate) struct Fabric {
    commands: mpsc::Sender<Command>,
    waker: Waker,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    max_frame: usize,
}

/// Commands that may wait for the thread, which is a matter of a turn.
const COMMANDS: usize = 64;

impl Fabric {
    /// Starts the thread. Events must be read: while nobody does, the places of clients that went stay taken.
    ///
    /// # Errors
    /// When a descriptor or the thread could not be made.
    pub(crate) fn start(settings: FabricSettings) -> io::Result<(Self, mpsc::Receiver<FabricEvent>)> {
        let (commands, commanded) = mpsc::channel(COMMANDS);
        let (outbox, events) = Outbox::new(settings.places.all());
        let max_frame = settings.max_frame();
        let (waker, stop) = (Waker::new()?, Arc::new(AtomicBool::new(false)));
        let start = Start {
            settings,
            commands: commanded,
            outbox,
            waker: waker.clone(),
            stop: Arc::clone(&stop),
            poller: Poller::new()?,
        };
        let thread = thread::Builder::new().name("tap".to_owned()).spawn(|| run(start))?;
        Ok((Self { commands, waker, stop, thread: Some(thread), max_frame }, events))
    }

    /// Makes the host's interface a port, in place of one that is there. `mac` is its address.
    pub(crate) async fn attach_host(&self, queue: Box<dyn PacketQueue>, mac: MacAddress) {
        self.command(Command::AttachHost(queue, mac)).await;
    }

    /// Makes a connection a port. No framing means that the client's first frame tells. The socket (or any
    /// descriptor that can be polled) is made non-blocking. Its end is told by [`FabricEvent::ClientEnded`].
    pub(crate) async fn attach_stream(
        &self,
        client: ClientId,
        place: Place,
        stream: OwnedFd,
        framing: Option<Framing>,
    ) {
        self.command(Command::AttachStream { client, place, stream, framing }).await;
    }

    /// Makes a connection whose messages are PPP in HDLC frames a port: of the station that stands for its guest.
    pub(crate) async fn attach_modem(
        &self,
        client: ClientId,
        place: Place,
        stream: OwnedFd,
        settings: ModemSettings,
    ) {
        self.command(Command::AttachModem { client, place, stream, settings: Box::new(settings) }).await;
    }

    /// Lets guests come in by a bound Unix datagram socket; each is a port from its first datagram on.
    ///
    /// # Errors
    /// That this system cannot, or what the kernel says of the socket.
    pub(crate) async fn attach_guests(&self, listen: ListenId, socket: OwnedFd) -> io::Result<()> {
        let socket = GuestSocket::new(socket, self.max_frame)?;
        self.command(Command::AttachGuests { listen, socket }).await;
        Ok(())
    }

    /// Makes a connection that keeps messages apart a port: each message is a frame, and empty ones are none. A
    /// datagram socket's other end is known to be gone when something is sent to it, not before.
    ///
    /// # Errors
    /// That this system cannot, or what the kernel says of the socket.
    pub(crate) async fn attach_messages(
        &self,
        client: ClientId,
        place: Place,
        socket: OwnedFd,
    ) -> io::Result<()> {
        let socket = GuestSocket::connected(socket, self.max_frame)?;
        self.command(Command::AttachMessages { client, place, socket }).await;
        Ok(())
    }

    /// Closes a client's or guest's port, a client's without an event, and waits until its place is free. Returns
    /// what went through it; nothing when it was not there any more.
    pub(crate) async fn detach(&self, client: ClientId) -> Option<PortReport> {
        let (answer, counters) = oneshot::channel();
        self.command(Command::Detach(client, answer)).await;
        counters.await.ok()
    }

    /// Frees the places of guests whose sockets are gone, of which nobody is told before something is sent to them, and
    /// waits until that is done. It is done once a second: asked for sooner it returns how long it is until then.
    pub(crate) async fn free_dead_guests(&self) -> Option<Duration> {
        let (answer, done) = oneshot::channel();
        self.command(Command::FreeDead(answer)).await;
        done.await.ok().flatten()
    }

    /// What went through; nothing when the thread has ended.
    pub(crate) async fn report(&self) -> Option<Report> {
        let (answer, report) = oneshot::channel();
        self.command(Command::Report(answer)).await;
        report.await.ok()
    }

    /// Ends the thread and waits for it, which is a matter of the turn that it is at.
    pub(crate) fn stop(self) {
        drop(self);
    }

    async fn command(&self, command: Command) {
        if self.commands.send(command).await.is_ok() {
            self.waker.wake();
        }
    }
}

impl Drop for Fabric {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the fabric's thread panicked");
        }
    }
}

#[cfg(test)]
mod tests;
