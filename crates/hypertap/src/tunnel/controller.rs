//! The tunnel's life: one task that owns the interface and decides everything.
//!
//! Clients' requests, the kernel's news, the data plane's end and the signals arrive here one at a
//! time. While the privileged half is at a job, which may take long, [`Front`] goes on answering what
//! needs no answer from the job, and sets the rest aside in its order.

use std::net::UdpSocket;
use std::sync::Arc;

use hypertap_platform::helper::{Helper, HelperStart};
use hypertap_platform::monitor::{LinkEvent, LinkMonitor};
use hypertap_platform::process::effective_uid;
use hypertap_platform::rights::{Driver, driver};
use hypertap_platform::session::{SessionEvent, SessionWatch, is_user_service};
use hypertap_platform::{Errno, Footprint, Gone, MachineError, Privileged, is_left};
use hypertap_wire::event::{Event, Status, StopReason};
use nix::libc::{EMFILE, ENFILE};
use tokio::sync::mpsc;
use tokio::time::{Duration, timeout};

use super::clients::{ClientId, Transport};
use super::front::{Front, JOB_TIME};
use super::guard::Guard;
use super::live::Live;
use super::session::Ask;
use super::startup::Settings;
use crate::cli::tunnel::OnDisconnect;
use crate::plane::PlaneEnd;
use crate::plane::stats::Stats;

/// What to do about what nobody is left to remove.
pub const REMEDY: &str = "run `sudo hypertap recover`, or start hypertap again as root";

/// The task's state.
pub struct Controller {
    pub(super) settings: Settings,
    pub(super) front: Front,
    pub(super) half: Option<Box<dyn Privileged>>,
    /// Whether the half is a helper, with rights that this process lacks.
    pub(super) has_helper: bool,
    /// Whether the rights were given up, so that no half can be had again.
    pub(super) dropped: bool,
    pub(super) live: Option<Live>,
    pub(super) data: UdpSocket,
    pub(super) guard: Arc<Guard>,
    pub(super) stats: Arc<Stats>,
    pub(super) plane_ended: mpsc::Sender<PlaneEnd>,
    pub(super) approvals: mpsc::Sender<Result<Helper, HelperStart>>,
    pub(super) asking: Option<tokio::task::JoinHandle<()>>,
    pub(super) monitor: LinkMonitor,
    pub(super) plane_ends: mpsc::Receiver<PlaneEnd>,
    approved: mpsc::Receiver<Result<Helper, HelperStart>>,
    /// The login sessions of the user whose service this is, if it is one's and there is a logind.
    sessions: Option<SessionWatch>,
    pub(super) ending: Option<Ending>,
    /// Tunnels of which something is on the machine still, whose half is gone.
    left: Vec<Footprint>,
}

/// What ends the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// An `uninstall` that was carried out.
    Uninstalled,
    /// Anything else.
    Other,
}

/// How the daemon ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// Whether `uninstall` was carried out.
    pub uninstalled: bool,
    /// Whether rules or routes of a tunnel are on the machine still.
    pub leaves_something: bool,
}

/// How a tunnel was taken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenDown {
    /// The privileged half was asked to.
    ByUs,
    /// The privileged half has ended, and undid what it had made.
    ByHalfsEnd,
}

/// One thing that happened.
enum News {
    Ask(Box<Ask>),
    Link(LinkEvent),
    PlaneEnd(PlaneEnd),
    HalfGone(Gone),
    Approval(Box<Result<Helper, HelperStart>>),
    ReassertDue,
    Session(SessionEvent),
    Signal,
}

impl Controller {
    /// A controller with nothing up.
    pub async fn new(
        settings: Settings,
        half: Option<Box<dyn Privileged>>,
        dropped: bool,
        data: UdpSocket,
        asks: mpsc::Receiver<Ask>,
    ) -> std::io::Result<Self> {
        let (plane_ended, plane_ends) = mpsc::channel(8);
        let (approvals, approved) = mpsc::channel(1);
        let sessions = if is_user_service() { SessionWatch::new(effective_uid()).await } else { None };
        Ok(Self {
            guard: Arc::new(Guard::new(Arc::clone(&settings.allowed), data.local_addr()?)),
            front: Front::new(asks)?,
            monitor: LinkMonitor::new().await?,
            sessions,
            stats: Arc::new(Stats::default()),
            settings,
            half,
            // Rights are dropped only for a helper.
            has_helper: dropped,
            dropped,
            live: None,
            data,
            plane_ended,
            approvals,
            asking: None,
            plane_ends,
            approved,
            ending: None,
            left: Vec::new(),
        })
    }

    /// Runs until a command, a client's end or a signal ends the daemon; the tunnel is down then.
    pub async fn run(mut self) -> Ended {
        while self.ending.is_none() {
            match self.next().await {
                News::Ask(ask) => self.on_ask(*ask).await,
                News::Link(event) => self.on_link(event).await,
                News::PlaneEnd(end) => self.on_plane_end(end).await,
                News::HalfGone(gone) => self.on_half_gone(gone).await,
                News::Approval(outcome) => self.on_approval(*outcome),
                News::ReassertDue => self.reassert().await,
                News::Session(event) => self.on_session(event).await,
                News::Signal => self.end().await,
            }
        }
        if let Some(asking) = self.asking.take() {
            asking.abort();
        }
        self.front.clients.dismiss_all();
        // Somebody may have removed it since.
        let leaves_something = self.left.iter().any(|footprint| is_left(*footprint));
        Ended { uninstalled: self.ending == Some(Ending::Uninstalled), leaves_something }
    }

    /// Waits for the next thing that happens. Cancel-safe parts only, so nothing is lost between turns.
    async fn next(&mut self) -> News {
        loop {
            let half_gone = async {
                match &mut self.half {
                    Some(half) => half.gone().await,
                    None => std::future::pending().await,
                }
            };
            let session = async {
                match &mut self.sessions {
                    Some(sessions) => sessions.next().await,
                    None => std::future::pending().await,
                }
            };
            let due = self.live.as_ref().and_then(|live| live.reassert_due);
            let reassert_due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            return tokio::select! {
                ask = self.front.next() => ask.map_or(News::Signal, |ask| News::Ask(Box::new(ask))),
                Some(end) = self.plane_ends.recv() => News::PlaneEnd(end),
                Some(outcome) = self.approved.recv() => News::Approval(Box::new(outcome)),
                gone = half_gone => News::HalfGone(gone),
                () = reassert_due => News::ReassertDue,
                event = session => News::Session(event),
                event = self.monitor.next() => match event {
                    Ok(event) => News::Link(event),
                    Err(error) => {
                        tracing::warn!(%error, "cannot watch the machine's links");
                        match LinkMonitor::new().await {
                            Ok(monitor) => self.monitor = monitor,
                            Err(_) => tokio::time::sleep(Duration::from_secs(1)).await,
                        }
                        continue;
                    }
                },
            };
        }
    }

    async fn on_ask(&mut self, ask: Ask) {
        match ask {
            Ask::Admit { transport, uid, out, admitted } => {
                let outcome = self.front.clients.admit(transport, uid, out);
                let client = outcome.as_ref().ok().copied();
                let taken = admitted.send(outcome).is_ok();
                match client {
                    Some(client) if taken => self.greet(client, transport),
                    Some(client) => self.front.clients.remove(client),
                    None => {}
                }
            }
            Ask::Gone { client, counts } => {
                if self.front.clients.disown(client) && counts {
                    self.on_owner_gone().await;
                }
                self.front.clients.remove(client);
            }
            Ask::Request { client, request, descriptor, answer } => {
                self.on_request(client, *request, descriptor, answer).await;
            }
        }
    }

    /// Tells a new client the state of the right and the driver.
    fn greet(&mut self, client: ClientId, transport: Transport) {
        tracing::info!(client, ?transport, "client connected");
        let approved = if self.has_right() { Event::VpnApproved } else { Event::VpnPending };
        self.front.clients.tell(client, approved);
        self.front.clients.tell(client, self.driver_event());
    }

    /// Whether interfaces can be made, as far as rights go.
    pub(super) fn has_right(&self) -> bool {
        self.half.is_some() && self.driver_event() == Event::ExtensionApproved
    }

    /// The event that says whether the TUN driver can be used.
    pub(super) fn driver_event(&self) -> Event {
        match self.missing_driver() {
            None => Event::ExtensionApproved,
            Some(_) => Event::ExtensionNotApproved,
        }
    }

    /// What the kernel says where the TUN driver cannot be used.
    pub(super) fn missing_driver(&self) -> Option<Errno> {
        // A helper opens the device in our stead: then it is enough that there is a driver.
        let is_helpers = self.half.is_some() && self.has_helper;
        match driver() {
            // Our own lack of descriptors says nothing about the driver.
            Driver::Ready | Driver::Missing(Errno(EMFILE | ENFILE)) => None,
            Driver::Refused(errno) => (!is_helpers).then_some(errno),
            Driver::Missing(errno) => Some(errno),
        }
    }

    /// What the tunnel is doing.
    pub(super) fn status(&self) -> Status {
        match &self.live {
            Some(live) if live.reassert_due.is_some() => Status::Reasserting,
            Some(_) => Status::Connected,
            None if self.has_right() => Status::Disconnected,
            None => Status::Invalid,
        }
    }

    async fn on_owner_gone(&mut self) {
        tracing::info!(policy = ?self.settings.on_disconnect, "the owning client has gone");
        match self.settings.on_disconnect {
            OnDisconnect::Exit => self.end().await,
            OnDisconnect::Stop => self.stop(StopReason::StoppedByUser).await,
            OnDisconnect::Keep => {}
        }
    }

    /// Takes the tunnel down, whatever brought that about, and tells why. Nothing happens without one.
    pub(super) async fn stop(&mut self, mut reason: StopReason) {
        if let Some(end) = self.take_down().await {
            use StopReason::{TunnelFailed, VpnDisabled, VpnRemoved};
            // A helper that is told to end removes the link first, which may be heard of before its end.
            if end == TakenDown::ByHalfsEnd && matches!(reason, TunnelFailed | VpnDisabled | VpnRemoved) {
                reason = StopReason::ProviderDisabled;
            }
            self.front.tell(Event::TunnelStopped(reason));
            if reason == StopReason::VpnRemoved {
                self.front.tell(Event::VpnRemoved);
            }
        }
    }

    /// Takes the tunnel down and leaves the telling to the caller. `None` when there was none.
    pub(super) async fn take_down(&mut self) -> Option<TakenDown> {
        let mut live = self.live.take()?;
        self.monitor.watch(None);
        let footprint = live.footprint;
        live.stop();
        let end = self.close_half().await;
        // A half that ends undoes what it made, unless all of it was killed at once.
        if end == TakenDown::ByHalfsEnd && is_left(footprint) {
            tracing::error!("the privileged helper ended and left rules and routes of the tunnel; {REMEDY}");
            self.left.push(footprint);
        }
        Some(end)
    }

    /// Has the privileged half undo what it made.
    pub(super) async fn close_half(&mut self) -> TakenDown {
        let Some(half) = &mut self.half else { return TakenDown::ByHalfsEnd };
        // Not cut short by a signal: this is what that would ask for.
        let close = timeout(JOB_TIME, half.close_tun());
        match self.front.while_serving(Status::Disconnecting, close).await {
            Ok(Ok(())) => {}
            Ok(Err(MachineError::HelperGone)) => return TakenDown::ByHalfsEnd,
            Ok(Err(error)) => tracing::warn!(%error, "not everything could be removed"),
            Err(_) => tracing::warn!("removing the interface takes longer than 10 s; going on"),
        }
        TakenDown::ByUs
    }

    /// Takes the tunnel down and ends the daemon.
    pub(super) async fn end(&mut self) {
        self.stop(StopReason::StoppedByUser).await;
        self.ending = Some(Ending::Other);
    }
}
