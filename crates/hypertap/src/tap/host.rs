//! The host's interface: made, lost, made again.

use std::thread;
use std::time::Duration;

use anyhow::anyhow;
use hypertap_platform::queue::{PacketQueue, TapQueue};
use hypertap_platform::{Gone, MachineError, Privileged, TapName, TapSpec};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::advertisements::WithoutAdvertisements;
use super::fabric::Fabric;
use super::overlap::warn_of_overlaps;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// The pause before the second try; each is twice the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// An interface that stood so long was no part of a quarrel about it.
const STOOD: Duration = Duration::from_secs(10);
/// So many tries in vain, which take some 11 s, are enough to know.
const TRIES: u32 = 7;
/// How long the interface's name may take to be printed before it is used.
const PRINTING: Duration = Duration::from_millis(200);

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
    /// How often it could not be made again since it was there last.
    failures: u32,
    /// Whether it was to be there already.
    wanted: bool,
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
            failures: 0,
            wanted: false,
            print_name,
        }
    }

    /// Makes the interface for the first client; does nothing once that was tried, whatever became of it.
    ///
    /// Where it is dropped before its end there may be an interface or none.
    ///
    /// # Errors
    /// Why there can be none now. It is tried again later as if it had been lost.
    pub async fn make_first(&mut self, fabric: &Fabric) -> Result<(), Failure> {
        if std::mem::replace(&mut self.wanted, true) {
            return Ok(());
        }
        warn_of_overlaps(&self.spec);
        let made = self.make(fabric).await;
        if made.is_err() {
            self.failures = 1;
            self.put_off(Instant::now());
        }
        made.map_err(failure)
    }

    /// Notes that the interface is gone, and when it is to be made again.
    pub fn lost(&mut self, now: Instant) {
        if self.made.take().is_some_and(|made| now.duration_since(made) >= STOOD) {
            self.pause = FIRST_PAUSE;
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
    /// Why it cannot be made: when that was tried often enough, where later tries go on all the same; and when its
    /// maker is gone for good, once.
    pub async fn make_again(&mut self, fabric: &Fabric) -> Result<(), Failure> {
        self.due = None;
        if !self.half_serves {
            return Err(failure(MachineError::HelperGone));
        }
        match self.make(fabric).await {
            Ok(()) => {
                tracing::info!(interface = self.name(), "the interface is there again");
                Ok(())
            }
            Err(error) => {
                let failure = failure(error);
                self.failures = self.failures.saturating_add(1);
                if self.failures < TRIES {
                    let (error, pause) = (failure.sentence(), self.pause);
                    tracing::warn!(error, ?pause, "cannot make the interface again; trying it later");
                }
                self.put_off(Instant::now());
                if self.failures == TRIES { Err(failure) } else { Ok(()) }
            }
        }
    }

    fn on_half_gone(&mut self, gone: Gone) {
        match gone {
            Gone::Restarted => tracing::info!("the privileged helper was lost and is there again"),
            Gone::ForGood => {
                self.half_serves = false;
                // Nothing is to be waited for any more.
                self.due = self.due.map(|_| Instant::now());
                if self.made.is_some() {
                    tracing::warn!(
                        "the privileged helper is gone: the interface stays, but cannot be made again if it is lost"
                    );
                }
            }
        }
    }

    fn put_off(&mut self, now: Instant) {
        self.due = Some(if self.half_serves { now + self.pause } else { now });
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
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
            print_name(tap.name.clone()).await;
        }
        let mut queue: Box<dyn PacketQueue> =
            Box::new(TapQueue::new(tap.descriptor, tap.offload, self.spec.mtu));
        if !self.spec.accept_ra {
            queue = Box::new(WithoutAdvertisements(queue));
        }
        // The next one shall be found under the same name.
        self.spec.name = TapName::Exact(tap.name);
        fabric.attach_host(queue, self.spec.mac).await;
        self.made = Some(Instant::now());
        self.failures = 0;
        Ok(())
    }
}

/// Prints the interface's name, and waits until that is done, but not for long: nobody may be reading.
async fn print_name(name: String) {
    let (tell, printed) = oneshot::channel();
    let print = move || {
        let mut output = Output::standard();
        output.line(name);
        let _ = tell.send(output.finish());
    };
    let error = match thread::Builder::new().name("print-name".to_owned()).spawn(print) {
        Err(error) => error.to_string(),
        Ok(_) => match timeout(PRINTING, printed).await {
            Ok(Ok(Err(failure))) => failure.sentence(),
            Ok(_) => return,
            Err(_) => "nobody reads standard output".to_owned(),
        },
    };
    tracing::warn!(error, "the interface's name is not told");
}

/// The sentence for an interface that cannot be made.
pub fn failure(error: MachineError) -> Failure {
    match error {
        MachineError::NameTaken(name) => name_taken(&name),
        MachineError::NotPermitted { doing } => no_right(&format!("not permitted to {doing}")),
        MachineError::HelperGone => Failure::new(
            Exit::Other,
            anyhow!(
                "the privileged helper has ended, and no interface can be made without it: its log says why"
            ),
        ),
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
