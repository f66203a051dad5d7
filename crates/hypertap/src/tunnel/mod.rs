//! The tunnel door: a TUN interface for a program that speaks JSON lines.
//!
//! ```text
//! client ── connection ── session ──▶ asks ──▶ controller ──▶ privileged half (TUN, routes, rules, DNS)
//!                            ◀── queue of lines ──┘   └──▶ data plane threads (packets)
//! ```
//!
//! [`run`] owns the tasks: one accepts TCP, one the Unix socket, one a session, one controls. They
//! end in this order: the controller (which takes the tunnel down), the doors, the sessions with a
//! deadline, the files.

mod clients;
mod commands;
mod connection;
mod controller;
mod desktop;
mod front;
mod guard;
mod history;
mod listen;
mod live;
mod outside;
mod session;
mod signals;
pub mod sockets;
mod start;
pub mod startup;
mod strangers;
mod supersede;

use std::fs;
use std::sync::Arc;

use anyhow::Context;
use sd_notify::NotifyState;
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use self::controller::Controller;
use self::listen::Door;
use self::startup::Prepared;
use crate::exit::Failure;

/// How long sessions may take to write what is queued for their clients.
const DRAIN_TIME: Duration = Duration::from_secs(5);
/// How many requests may wait for the controller.
const ASKS: usize = 64;

/// Runs a prepared daemon until its client, a command or a signal ends it.
///
/// # Errors
/// What keeps it from starting.
pub async fn run(prepared: Prepared) -> Result<(), Failure> {
    let Prepared { settings, sockets, half, dropped } = prepared;
    let sockets::Sockets { command, control, data } = sockets;
    let address = command.local_addr().context("the command socket")?;
    let (asks, asked) = mpsc::channel(ASKS);
    let (draining, drain) = watch::channel(false);
    let allowed = Arc::clone(&settings.allowed);
    let instance_dir = settings.instance_dir.clone();
    let data_address = data.local_addr().context("the data socket")?;
    let controller =
        Controller::new(settings, half, dropped, data, asked).await.context("cannot watch the machine")?;

    let door = Door::new(asks, drain, allowed);
    let mut doors = JoinSet::new();
    let tcp = TcpListener::from_std(command).context("the command socket")?;
    doors.spawn(door.clone().accept_tcp(tcp));
    let path = match &control {
        Some(control) => {
            let listener = control.listener.try_clone().and_then(UnixListener::from_std);
            doors.spawn(door.clone().accept_unix(listener.context("the control socket")?));
            control.path.clone()
        }
        None => None,
    };
    tracing::info!(command = %address, data = %data_address, control = path.as_deref().map(|path| tracing::field::display(path.display())), "listening");
    notify(&[NotifyState::Ready]);

    controller.run().await;

    notify(&[NotifyState::Stopping]);
    doors.shutdown().await;
    draining.send_replace(true);
    if timeout(DRAIN_TIME, door.sessions_end()).await.is_err() {
        tracing::warn!("a client did not read its last lines in time");
    }
    drop(control);
    // Empty unless somebody put something there, and not ours to remove once rights were dropped.
    let _ = fs::remove_dir(instance_dir);
    Ok(())
}

/// Tells the service manager, where there is one.
fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "the service manager cannot be told");
    }
}
