//! What signals ask of a node.

use std::future::pending;
use std::io;

use hypertap_platform::process::is_ignored;
use nix::sys::signal::Signal as Number;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT end the node; SIGHUP has it read its configuration anew. SIGINT does nothing where whoever
/// started it has it ignored, as a shell without job control does for what it starts in the background.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Option<Signal>,
    hang_up: Signal,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    End,
    /// To read the configuration anew.
    Reload,
}

impl Signals {
    /// Catches them from now on. To be called once.
    ///
    /// # Errors
    /// Of sigaction(2).
    pub fn new() -> io::Result<Self> {
        let interrupt = (!is_ignored(Number::SIGINT)).then(|| signal(SignalKind::interrupt())).transpose()?;
        let terminate = signal(SignalKind::terminate())?;
        Ok(Self { terminate, interrupt, hang_up: signal(SignalKind::hangup())? })
    }

    /// What the next one asks. Cancel-safe.
    pub async fn recv(&mut self) -> Asked {
        let interrupted = async {
            match &mut self.interrupt {
                Some(signal) => drop(signal.recv().await),
                None => pending().await,
            }
        };
        let (name, asked) = tokio::select! {
            _ = self.terminate.recv() => ("SIGTERM", Asked::End),
            () = interrupted => ("SIGINT", Asked::End),
            _ = self.hang_up.recv() => ("SIGHUP", Asked::Reload),
        };
        tracing::info!(signal = name, ?asked, "a signal came");
        asked
    }
}
