//! The host's interface: made, lost, made again.

use std::time::Duration;

use anyhow::anyhow;
use hypertap_platform::queue::TapQueue;
use hypertap_platform::{Gone, MachineError, Privileged, TapName, TapSpec};
use tokio::time::Instant;

use super::fabric::Fabric;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The pause before the second try; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An interface that stood so long was no part of a quarrel about it.
const STOOD: Duration = Duration::from_secs(10);
/// So many tries in vain are enough to know.
const TRIES: u32 = 8;

/// The host's interface, and who makes it.
pub struct Host {
    spec: TapSpec,
    half: Box<dyn Privileged>,
    /// Whether the half can still do anything.
    half_serves: bool,
    /// When the interface was made, where it is there.
    made: Option<Instant>,
    /// When it is to be tried again.
    due: Option<Instant>,
    pause: Duration,
    tries: u32,
    /// Whether the name is still to be printed.
    print_name: bool,
}

impl Host {
    /// An interface that is not there yet, and whether its name is printed once it is.
    pub fn new(spec: TapSpec, half: Box<dyn Privileged>, print_name: bool) -> Self {
        Self {
            spec,
            half,
            half_serves: true,
            made: None,
            due: None,
            pause: FIRST_PAUSE,
            tries: 0,
            print_name,
        }
    }

    /// Makes the interface for the first client; does nothing once that was done, whatever became of it.
    ///
    /// Where it is dropped before its end there may be an interface or none.
    ///
    /// # Errors
    /// Why there can be none.
    pub async fn make_first(&mut self, fabric: &Fabric) -> Result<(), Failure> {
        if self.made.is_some() || self.due.is_some() || self.tries > 0 {
            return Ok(());
        }
        self.make(fabric).await.map_err(failure)
    }

    /// Notes that the interface is gone, and when it is to be made again.
    pub fn lost(&mut self, now: Instant) {
        if self.made.take().is_some_and(|made| now.duration_since(made) >= STOOD) {
            self.pause = FIRST_PAUSE;
            self.tries = 0;
        }
        self.put_off(now);
    }

    /// Completes when the interface is to be tried again, and meanwhile sees whether its maker is there.
    /// Cancel-safe.
    pub async fn due(&mut self) {
        loop {
            let Self { half, half_serves, due, .. } = self;
            let due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(*due).await,
                    None => std::future::pending().await,
                }
            };
            let gone = async { if *half_serves { half.gone().await } else { std::future::pending().await } };
            tokio::select! {
                () = due => return,
                gone = gone => self.on_half_gone(gone),
            }
        }
    }

    /// Tries to make it again.
    ///
    /// # Errors
    /// Why it cannot be made, when that was tried often enough; later tries go on all the same.
    pub async fn make_again(&mut self, fabric: &Fabric) -> Result<(), Failure> {
        self.due = None;
        match self.make(fabric).await {
            Ok(()) => {
                tracing::info!(interface = self.name(), "the interface is there again");
                Ok(())
            }
            Err(error) => {
                if self.tries < TRIES {
                    tracing::warn!(%error, pause = ?self.pause, "cannot make the interface again; trying it later");
                }
                self.put_off(Instant::now());
                if self.tries == TRIES { Err(failure(error)) } else { Ok(()) }
            }
        }
    }

    fn on_half_gone(&mut self, gone: Gone) {
        match gone {
            Gone::Restarted => tracing::info!("the privileged helper was lost and is there again"),
            Gone::ForGood => {
                self.half_serves = false;
                tracing::warn!(
                    "the privileged helper is gone: the interface stays, but cannot be made again if it is lost"
                );
            }
        }
    }

    fn put_off(&mut self, now: Instant) {
        self.due = Some(now + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        self.tries = self.tries.saturating_add(1);
    }

    fn name(&self) -> &str {
        match &self.spec.name {
            TapName::Exact(name) => name,
            TapName::Free => "tap",
        }
    }

    async fn make(&mut self, fabric: &Fabric) -> Result<(), MachineError> {
        let tap = self.half.open_tap(&self.spec).await?;
        tracing::info!(
            interface = tap.name, index = tap.index, mac = %self.spec.mac, mtu = self.spec.mtu,
            offload = ?tap.offload, "the interface is up",
        );
        if std::mem::take(&mut self.print_name) {
            let mut output = Output::standard();
            output.line(&tap.name);
            if let Err(failure) = output.finish() {
                tracing::warn!(error = failure.sentence(), "the interface's name is not told");
            }
        }
        // The next one shall be found under the same name.
        self.spec.name = TapName::Exact(tap.name);
        let queue = TapQueue::new(tap.descriptor, tap.offload, self.spec.mtu);
        fabric.attach_host(Box::new(queue), self.spec.mac).await;
        self.made = Some(Instant::now());
        Ok(())
    }
}

/// The sentence for an interface that cannot be made.
pub fn failure(error: MachineError) -> Failure {
    match error {
        MachineError::NameTaken(name) => name_taken(&name),
        MachineError::NotPermitted { doing } => no_right(&format!("not permitted to {doing}")),
        error => error.into(),
    }
}

/// The sentence for a name that another interface has.
pub fn name_taken(name: &str) -> Failure {
    let remedy = "choose another with --name or --network-device-number";
    Failure::new(Exit::NameTaken, anyhow!("an interface named {name} exists already; {remedy}"))
}

/// The sentence for a missing right.
pub fn no_right(what: &str) -> Failure {
    let remedy = "run it as root (sudo), or with --no-host, where clients reach each other only";
    Failure::new(Exit::Right, anyhow!("{what}: making an interface needs CAP_NET_ADMIN; {remedy}"))
}
