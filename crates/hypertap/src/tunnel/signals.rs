//! The signals that end the daemon.

use std::future::pending;
use std::io;

use hypertap_platform::process::is_ignored;
use nix::sys::signal::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM, SIGINT and SIGHUP: each ends the daemon in good order. The last two do nothing where whoever started it
/// has them ignored, as nohup(1) does, and a shell without job control for what it starts in the background.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Option<Signal>,
    hang_up: Option<Signal>,
}

impl Signals {
    /// Catches them from now on. To be called once.
    pub fn new() -> io::Result<Self> {
        let unless_ignored = |number, kind| (!is_ignored(number)).then(|| signal(kind)).transpose();
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: unless_ignored(Number::SIGINT, SignalKind::interrupt())?,
            hang_up: unless_ignored(Number::SIGHUP, SignalKind::hangup())?,
        })
    }

    /// Completes when one has come. Cancel-safe.
    pub async fn recv(&mut self) {
        let name = tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            () = next(&mut self.interrupt) => "SIGINT",
            () = next(&mut self.hang_up) => "SIGHUP",
        };
        tracing::info!(signal = name, "ending");
    }
}

async fn next(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => pending().await,
    }
}
