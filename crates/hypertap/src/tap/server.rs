//! Who is there: clients and guests, and the interface that is made for them.

mod admission;
mod waiting;

use std::collections::{BTreeMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_engine::modem::ModemSettings;
use hypertap_platform::Privileged;
use hypertap_platform::program::{has_hung_up, is_readable};
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use super::command::Program;
use super::fabric::{ClientEnd, ClientId, Fabric, FabricEvent, Places, PortReport};
use super::host::Host;
use super::listen::{Arrival, Doors, Newcomer};
use super::passed::Passed;
use super::refusals::Refusals;
use super::settings::Protocol;
use super::startup::Prepared;
use crate::exit::{Exit, Failure};
use crate::socket_file::SocketFile;
use crate::tunnel::signals::Signals;

/// How long is waited to hear how a program ended whose socket is closed.
const PROGRAM_TIME: Duration = Duration::from_millis(500);
/// How often a program's socket is looked at, a millisecond apart, for what it sent before its end.
const LAST_READS: usize = 20;

/// A tap server that runs.
pub struct Server<'a> {
    fabric: &'a Fabric,
    events: mpsc::Receiver<FabricEvent>,
    places: Places,
    arrivals: mpsc::Receiver<Arrival>,
    accepting: JoinSet<()>,
    doors: Doors,
    /// Whether it goes on when nobody is there any more, since somebody may come.
    keep: bool,
    /// Whether whoever breaks the framing ends it.
    ends_on_broken: bool,
    host: Option<Host>,
    modem: Option<ModemSettings>,
    helper: Option<Box<dyn Privileged>>,
    program: Option<Program>,
    /// Until when it does not end, for the program may be about to say how it ended.
    hearing: Option<Instant>,
    signals: Signals,
    report: Signal,
    clients: BTreeMap<ClientId, Client>,
    /// Those that came before another's end was seen, whose place they get.
    waiting: VecDeque<Newcomer>,
    /// When dead guests can be looked for, whose places those may get who wait.
    look: Option<Instant>,
    refusals: Refusals,
    /// Those that could not be served.
    failures: Refusals,
}

/// A client that is there.
#[derive(Debug)]
struct Client {
    by: String,
    protocol: Protocol,
    since: Instant,
    /// Its connection once more, to see whether it has gone.
    connection: OwnedFd,
    is_program: bool,
}

/// What there is to do.
enum Task {
    End,
    Report,
    Event(Option<FabricEvent>),
    Arrival(Arrival),
    MakeAgain,
    ProgramEnded,
    HeardEnough,
    Look,
}

impl<'a> Server<'a> {
    /// Begins to accept.
    ///
    /// # Errors
    /// When no descriptor is left, or there are more clients already than there may be.
    pub fn new(
        prepared: Prepared,
        fabric: &'a Fabric,
        events: mpsc::Receiver<FabricEvent>,
        places: Places,
    ) -> Result<Self, Failure> {
        let Prepared { settings, mut doors, host, helper, program, signals, report } = prepared;
        let there = doors.connected.len();
        if there > settings.max_clients {
            let text = anyhow!("--max-clients {}: there are {there} clients already", settings.max_clients);
            return Err(Failure::new(Exit::Usage, text));
        }
        let keep = settings.keep && doors.is_open();
        for (listen, protocol) in doors.names() {
            tracing::info!(listen, framing = %protocol, "listening");
        }
        let (accepting, arrivals) = doors.accept().context("cannot accept clients")?;
        Ok(Self {
            fabric,
            events,
            places,
            arrivals,
            accepting,
            doors,
            keep,
            ends_on_broken: !keep,
            host,
            modem: settings.modem,
            helper,
            program,
            hearing: None,
            signals,
            report,
            clients: BTreeMap::new(),
            waiting: VecDeque::new(),
            look: None,
            refusals: Refusals::default(),
            failures: Refusals::default(),
        })
    }

    /// Serves until the last client has gone or a signal comes.
    ///
    /// # Errors
    /// Why there is no interface, or who broke the framing.
    pub async fn run(&mut self) -> Result<(), Failure> {
        for newcomer in std::mem::take(&mut self.doors.connected) {
            if !self.let_in(newcomer).await? {
                return Ok(());
            }
        }
        loop {
            let goes_on = match self.next().await {
                Task::End => false,
                Task::Report => self.tell_report().await,
                Task::Event(Some(event)) => self.on_event(event).await?,
                Task::Event(None) => {
                    return Err(anyhow!("the thread that moves frames has ended; its log says why").into());
                }
                Task::Arrival(Arrival::Client(newcomer)) => self.let_in(newcomer).await?,
                Task::Arrival(Arrival::Guests(door)) => self.let_guests_in(door).await?,
                Task::MakeAgain => self.make_again().await?,
                Task::ProgramEnded => self.on_program_end().await?,
                Task::Look => self.admit_waiting(None).await?,
                Task::HeardEnough => {
                    self.hearing = None;
                    !self.is_done()
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
    }

    /// Stops accepting and lets all go but the sockets' files, which go last.
    pub async fn close(mut self) -> (Vec<SocketFile>, Option<Host>, Option<Box<dyn Privileged>>) {
        self.accepting.shutdown().await;
        (std::mem::take(&mut self.doors.files), self.host, self.helper)
    }

    /// The next thing to do.
    async fn next(&mut self) -> Task {
        let has_room = self.has_room();
        let program = async {
            match &mut self.program {
                Some(program) => program.wait().await,
                None => std::future::pending().await,
            }
        };
        let hearing = async {
            match self.hearing {
                Some(end) => sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        let look = async {
            match self.look {
                Some(time) => sleep_until(time).await,
                None => std::future::pending().await,
            }
        };
        let host = async {
            match &mut self.host {
                Some(host) => host.due().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = self.signals.recv() => Task::End,
            _ = self.report.recv() => Task::Report,
            event = self.events.recv() => Task::Event(event),
            Some(arrival) = self.arrivals.recv(), if has_room => Task::Arrival(arrival),
            () = host => Task::MakeAgain,
            () = program => Task::ProgramEnded,
            () = hearing => Task::HeardEnough,
            () = look => Task::Look,
        }
    }

    /// Takes note of an event. False when nobody is there any more and nobody is waited for.
    async fn on_event(&mut self, event: FabricEvent) -> Result<bool, Failure> {
        match event {
            FabricEvent::ClientEnded { client, end, counters, place } => {
                self.on_client_end(client, end, &counters)?;
                if !self.admit_waiting(Some(place)).await? {
                    return Ok(false);
                }
            }
            FabricEvent::GuestCame { listen, guest, name } => {
                tracing::info!(client = %guest, by = self.doors.name_of(listen), name, "a guest came");
            }
            FabricEvent::GuestWent { guest, counters } => {
                tracing::info!(client = %guest, passed = %Passed(&counters), "a guest went");
                if !self.admit_waiting(None).await? {
                    return Ok(false);
                }
            }
            FabricEvent::HostGone(error) => {
                tracing::warn!(%error, "somebody removed the interface; it is made again");
                if let Some(host) = &mut self.host {
                    host.lost(Instant::now());
                }
            }
            FabricEvent::Looping { first, by, dropped } => {
                tracing::warn!(
                    ?first,
                    ?by,
                    dropped,
                    "frames come back: somebody joins two ports; copies are dropped"
                );
            }
        }
        // A guest may have gone without a word while there were too many others.
        Ok(!self.is_done())
    }

    fn on_client_end(
        &mut self,
        client: ClientId,
        end: ClientEnd,
        counters: &PortReport,
    ) -> Result<(), Failure> {
        let Some(gone) = self.clients.remove(&client) else { return Ok(()) };
        let (by, served, passed) = (&gone.by, gone.since.elapsed(), Passed(counters));
        match &end {
            ClientEnd::Closed => tracing::info!(%client, by, ?served, %passed, "a client went"),
            end => {
                tracing::warn!(%client, by, ?served, %passed, reason = %end, "a client's connection was closed")
            }
        }
        if gone.is_program {
            self.hearing = self
                .program
                .as_ref()
                .and_then(|program| program.runs().then(|| Instant::now() + PROGRAM_TIME));
        }
        if let ClientEnd::Broke(error) = end
            && self.ends_on_broken
        {
            let by = format!("client {client} ({}) broke the framing {}", gone.by, gone.protocol);
            return Err(Failure::new(Exit::Protocol, anyhow::Error::from(error).context(by)));
        }
        Ok(())
    }

    /// Whether nobody is there any more, and nobody is waited for.
    fn is_done(&self) -> bool {
        let is_empty = self.clients.is_empty() && self.waiting.is_empty() && self.places.are_all_free();
        !self.keep && is_empty && self.events.is_empty() && self.hearing.is_none()
    }

    /// The program has ended: its client has too, whoever else holds its socket.
    async fn on_program_end(&mut self) -> Result<bool, Failure> {
        let client = self.clients.iter().find(|(_, client)| client.is_program).map(|(id, _)| *id);
        let Some(client) = client else { return Ok(self.hearing.take().is_none() || !self.is_done()) };
        // What it sent before its end is read first.
        if self.clients.get(&client).is_some_and(|client| has_hung_up(&client.connection)) {
            return Ok(true);
        }
        for _ in 0..LAST_READS {
            if !self.clients.get(&client).is_some_and(|client| is_readable(&client.connection)) {
                break;
            }
            // The answer comes from the thread: it has had a turn since the look.
            self.fabric.report().await;
            sleep(Duration::from_millis(1)).await;
        }
        let counters = self.fabric.detach(client).await;
        self.clients.remove(&client);
        let passed = counters.as_ref().map(Passed).map(tracing::field::display);
        tracing::info!(%client, passed, "the program's client was ended with it");
        Ok(self.admit_waiting(None).await? && !self.is_done())
    }

    /// Writes what went through to the log.
    async fn tell_report(&self) -> bool {
        match self.fabric.report().await {
            None => tracing::warn!("there is no report: the thread that moves frames has ended"),
            Some(report) => {
                for port in &report.ports {
                    let line = serde_json::to_string(port).unwrap_or_default();
                    tracing::info!(port = line, "report");
                }
                tracing::info!(
                    ports = report.ports.len(),
                    addresses = report.addresses,
                    strangers = report.strangers,
                    cut = report.cut,
                    "report",
                );
            }
        }
        true
    }
}
