//! What clients see: their requests, who sent them, what they are told. While a job of the
//! privileged half is under way, too.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::time::SystemTime;

use hypertap_wire::command::Verb;
use hypertap_wire::event::{Event, Refusal, Status, StopReason};
use tokio::sync::mpsc;
use tokio::time::{Duration, sleep};

use super::clients::Clients;
use super::commands::status_fields;
use super::history::History;
use super::session::Ask;
use super::signals::Signals;
use crate::exit::Exit;

/// How long a job of the privileged half is waited for. A half in this process asks the kernel without
/// letting go of the thread, so only a helper's jobs can be cut short.
pub const JOB_TIME: Duration = Duration::from_secs(10);

/// The requests, who sent them, and what they are told.
pub struct Front {
    pub(super) clients: Clients,
    pub(super) history: History,
    asks: mpsc::Receiver<Ask>,
    /// Requests that wait for a job to end. A session waits for the answer before it asks on, so there
    /// are no more than a few a session.
    set_aside: VecDeque<Ask>,
    signals: Signals,
    /// Whether one has come, so that the daemon is to end.
    signalled: bool,
}

/// Why a job was not waited for to its end. It may still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfinished {
    /// It took too long.
    Slow,
    /// A signal ends the daemon.
    Signal,
}

impl Unfinished {
    /// The refusal for a command whose job this was: what was being done, and what follows where it took
    /// too long.
    pub fn refusal(self, doing: &str, follows: &str) -> Refusal {
        let text = match self {
            Self::Slow => format!("{doing} took longer than {} s; {follows}", JOB_TIME.as_secs()),
            Self::Signal => format!("{doing} was not waited for: a signal ends hypertap"),
        };
        Refusal::with_code(text, Exit::Other as u8)
    }

    /// Why a tunnel stops that is in an unknown state for this.
    pub fn reason(self) -> StopReason {
        match self {
            Self::Slow => StopReason::TimedOut,
            Self::Signal => StopReason::StoppedByUser,
        }
    }
}

impl Front {
    /// A front without clients.
    ///
    /// # Errors
    /// When signals cannot be caught.
    pub fn new(asks: mpsc::Receiver<Ask>) -> std::io::Result<Self> {
        Ok(Self {
            clients: Clients::default(),
            history: History::default(),
            asks,
            set_aside: VecDeque::new(),
            signals: Signals::new()?,
            signalled: false,
        })
    }

    /// Waits for the next request; `None` once a signal ends the daemon. Cancel-safe.
    pub async fn next(&mut self) -> Option<Ask> {
        if self.signalled {
            return None;
        }
        if let Some(ask) = self.set_aside.pop_front() {
            return Some(ask);
        }
        tokio::select! {
            Some(ask) = self.asks.recv() => Some(ask),
            () = self.signals.recv() => None,
        }
    }

    /// Tells every client, and remembers.
    pub fn tell(&mut self, event: Event) {
        tracing::info!(event = event.name(), reason = event.reason().map(StopReason::name), "event");
        self.history.enter(SystemTime::now(), event);
        self.clients.tell_all(event);
    }

    /// Runs a job to its end and answers meanwhile what the job does not touch.
    pub async fn while_serving<T>(&mut self, status: Status, job: impl Future<Output = T>) -> T {
        let never = std::future::pending::<Infallible>();
        serve(&mut self.asks, &mut self.set_aside, status, job, never)
            .await
            .unwrap_or_else(|never| match never {})
    }

    /// The same, with a job that somebody else does and that may take for ever.
    ///
    /// # Errors
    /// When it takes longer than 10 s, or a signal ends the daemon.
    pub async fn wait_for<T>(
        &mut self,
        status: Status,
        job: impl Future<Output = T>,
    ) -> Result<T, Unfinished> {
        let Self { asks, set_aside, signals, signalled, .. } = self;
        let give_up = async {
            tokio::select! {
                biased;
                () = sleep(JOB_TIME) => Unfinished::Slow,
                () = signals.recv() => Unfinished::Signal,
            }
        };
        let outcome = serve(asks, set_aside, status, job, give_up).await;
        *signalled |= matches!(outcome, Err(Unfinished::Signal));
        outcome
    }
}

/// Runs a job until it ends or is given up, and meanwhile sets aside what is asked, but for the status.
async fn serve<T, E>(
    asks: &mut mpsc::Receiver<Ask>,
    set_aside: &mut VecDeque<Ask>,
    status: Status,
    job: impl Future<Output = T>,
    give_up: impl Future<Output = E>,
) -> Result<T, E> {
    tokio::pin!(job, give_up);
    loop {
        tokio::select! {
            biased;
            done = &mut job => return Ok(done),
            why = &mut give_up => return Err(why),
            Some(ask) = asks.recv() => set_aside.extend(unless_status(ask, status)),
        }
    }
}

/// Answers a request for the status; any other thing that is asked is handed back.
fn unless_status(ask: Ask, status: Status) -> Option<Ask> {
    match ask {
        Ask::Request { request, answer, .. } if request.verb == Verb::Status => {
            answer.send(Ok(status_fields(status)));
            None
        }
        other => Some(other),
    }
}
