//! Who is there: clients and guests, and the interface that is made for them.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, anyhow};
use hypertap_engine::modem::ModemSettings;
use hypertap_platform::Privileged;
use hypertap_platform::program::has_hung_up;
use tokio::signal::unix::Signal;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::command::Program;
use super::fabric::{ClientEnd, ClientId, Fabric, FabricEvent, Place, Places};
use super::host::Host;
use super::listen::{Arrival, Door, Doors, Newcomer};
use super::refusals::Refusals;
use super::settings::Protocol;
use super::startup::Prepared;
use crate::exit::{Exit, Failure};
use crate::socket_file::SocketFile;
use crate::tunnel::signals::Signals;

/// How long is waited to hear how a program ended whose socket is closed.
const PROGRAM_TIME: Duration = Duration::from_millis(500);

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
    signals: Signals,
    report: Signal,
    clients: BTreeMap<ClientId, Client>,
    guests: BTreeSet<ClientId>,
    /// Those that came before another's end was seen, whose place they get.
    waiting: VecDeque<Newcomer>,
    refusals: Refusals,
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
            ends_on_broken: !settings.keep,
            host,
            modem: settings.modem,
            helper,
            program,
            signals,
            report,
            clients: BTreeMap::new(),
            guests: BTreeSet::new(),
            waiting: VecDeque::new(),
            refusals: Refusals::default(),
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
                Task::ProgramEnded => self.on_program_end().await,
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
        let program = async {
            match &mut self.program {
                Some(program) => program.wait().await,
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
            Some(arrival) = self.arrivals.recv() => Task::Arrival(arrival),
            () = host => Task::MakeAgain,
            () = program => Task::ProgramEnded,
        }
    }

    /// Lets a client in, or turns it away. False when a signal came meanwhile.
    async fn let_in(&mut self, newcomer: Newcomer) -> Result<bool, Failure> {
        if let Some(place) = self.places.take() {
            return self.admit(newcomer, place).await;
        }
        // One that has gone holds its place until that was seen: whoever connects anew at once gets it then.
        let leaving = self.clients.values().filter(|client| has_hung_up(&client.connection)).count();
        if self.waiting.len() < leaving {
            self.waiting.push_back(newcomer);
        } else if let Some(refused) = self.refusals.count(Instant::now()) {
            let most = self.places.all();
            tracing::warn!(by = newcomer.by, refused, "no more than {most} at once (--max-clients): closed");
        }
        Ok(true)
    }

    /// Makes a client a port. False when a signal came meanwhile.
    async fn admit(&mut self, newcomer: Newcomer, place: Place) -> Result<bool, Failure> {
        let connection = match newcomer.stream.try_clone() {
            Ok(connection) => connection,
            Err(error) => {
                tracing::warn!(%error, by = newcomer.by, "cannot serve a client: closed");
                return Ok(true);
            }
        };
        if !self.make_interface().await? {
            return Ok(false);
        }
        let Newcomer { stream, protocol, by, is_program } = newcomer;
        let client = ClientId::next();
        tracing::info!(%client, by, framing = %protocol, "a client came");
        match protocol {
            Protocol::Stream(framing) => self.fabric.attach_stream(client, place, stream, framing).await,
            Protocol::Modem => {
                // Whoever is a modem was told to be by the same option.
                let Some(modem) = self.modem.clone() else { return Ok(true) };
                self.fabric.attach_modem(client, place, stream, modem).await;
            }
            // It has no connections, and is refused as that of a program or descriptor.
            Protocol::Datagram => return Ok(true),
        }
        self.clients.insert(client, Client { by, protocol, since: Instant::now(), connection, is_program });
        Ok(true)
    }

    async fn let_guests_in(&mut self, door: Door) -> Result<bool, Failure> {
        if !self.make_interface().await? {
            return Ok(false);
        }
        let attached = self.fabric.attach_guests(door.id, door.socket).await;
        attached.with_context(|| format!("cannot serve guests on {}", self.doors.name_of(door.id)))?;
        Ok(true)
    }

    /// Has the interface made, unless it was once. False when a signal came meanwhile.
    async fn make_interface(&mut self) -> Result<bool, Failure> {
        let Some(host) = &mut self.host else { return Ok(true) };
        tokio::select! {
            biased;
            made = host.make_first(self.fabric) => made.map(|()| true),
            () = self.signals.recv() => Ok(false),
        }
    }

    /// Has the interface made once more. False when a signal came meanwhile.
    async fn make_again(&mut self) -> Result<bool, Failure> {
        let Some(host) = &mut self.host else { return Ok(true) };
        let made = tokio::select! {
            biased;
            made = host.make_again(self.fabric) => made,
            () = self.signals.recv() => return Ok(false),
        };
        match made {
            Err(failure) if !self.keep => Err(failure),
            Err(failure) => {
                let error = failure.sentence();
                tracing::error!(error, "the interface cannot be made again; clients reach each other only");
                Ok(true)
            }
            Ok(()) => Ok(true),
        }
    }

    /// Takes note of an event. False when nobody is there any more and nobody is waited for.
    async fn on_event(&mut self, event: FabricEvent) -> Result<bool, Failure> {
        match event {
            FabricEvent::ClientEnded { client, end, place } => {
                // Free before the next is let in.
                drop(place);
                return self.on_client_end(client, end).await;
            }
            FabricEvent::GuestCame { listen, guest, name } => {
                tracing::info!(client = %guest, by = self.doors.name_of(listen), name, "a guest came");
                self.guests.insert(guest);
            }
            FabricEvent::GuestWent { guest } => {
                tracing::info!(client = %guest, "a guest went");
                self.guests.remove(&guest);
                return Ok(!self.is_done());
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
        Ok(true)
    }

    async fn on_client_end(&mut self, client: ClientId, end: ClientEnd) -> Result<bool, Failure> {
        let Some(gone) = self.clients.remove(&client) else { return Ok(true) };
        let served = gone.since.elapsed();
        match &end {
            ClientEnd::Closed => tracing::info!(%client, by = gone.by, ?served, "a client went"),
            end => {
                tracing::warn!(%client, by = gone.by, ?served, reason = %end, "a client's connection was closed")
            }
        }
        if gone.is_program {
            self.hear_of_program().await;
        }
        if let ClientEnd::Broke(error) = end
            && self.ends_on_broken
        {
            let by = format!("client {client} ({}) broke the framing {}", gone.by, gone.protocol);
            return Err(Failure::new(Exit::Protocol, anyhow::Error::from(error).context(by)));
        }
        drop(gone);
        while !self.waiting.is_empty() {
            let Some(place) = self.places.take() else { break };
            let Some(newcomer) = self.waiting.pop_front() else { break };
            if !self.admit(newcomer, place).await? {
                return Ok(false);
            }
        }
        Ok(!self.is_done())
    }

    /// Whether nobody is there any more, and nobody is waited for.
    fn is_done(&self) -> bool {
        !self.keep && self.clients.is_empty() && self.guests.is_empty() && self.waiting.is_empty()
    }

    /// The program has ended: its client has too, whoever else holds its socket.
    async fn on_program_end(&mut self) -> bool {
        let client = self.clients.iter().find(|(_, client)| client.is_program).map(|(id, _)| *id);
        let Some(client) = client else { return true };
        // What it sent before its end is read first, where that is to be seen.
        if self.clients.get(&client).is_some_and(|client| has_hung_up(&client.connection)) {
            return true;
        }
        self.fabric.detach(client).await;
        self.clients.remove(&client);
        tracing::info!(%client, "the program's client was ended with it");
        !self.is_done()
    }

    /// Waits a moment to hear how a program ended whose socket is closed.
    async fn hear_of_program(&mut self) {
        if let Some(program) = &mut self.program {
            let _ = timeout(PROGRAM_TIME, program.wait()).await;
        }
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
