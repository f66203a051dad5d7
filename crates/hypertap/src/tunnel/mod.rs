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
mod replacing;
mod session;
pub mod signals;
pub mod sockets;
mod start;
pub mod startup;
mod strangers;
mod supersede;

use std::fs;
use std::sync::Arc;

use anyhow::{Context, anyhow};
use hypertap_platform::service_manager::{self, Stage};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{Duration, timeout};

use self::controller::{Controller, REMEDY};
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
/// What keeps it from starting, or what it leaves on the machine.
pub async fn run(prepared: Prepared) -> Result<(), Failure> {
    let Prepared { settings, sockets, half, dropped } = prepared;
    let sockets::Sockets { command, control, data } = sockets;
    let address = command.local_addr().context("the command socket")?;
    let (asks, asked) = mpsc::channel(ASKS);
    let (draining, drain) = watch::channel(false);
    let allowed = Arc::clone(&settings.allowed);
    let (state_dir, instance_dir) = (settings.state_dir.clone(), settings.instance_dir.clone());
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
            control.path().map(std::path::Path::to_owned)
        }
        None => None,
    };
    tracing::info!(command = %address, data = %data_address, control = path.as_deref().map(|path| tracing::field::display(path.display())), "listening");
    notify(Stage::Ready);

    let ended = controller.run().await;

    notify(Stage::Stopping);
    doors.shutdown().await;
    draining.send_replace(true);
    if timeout(DRAIN_TIME, door.sessions_end()).await.is_err() {
        tracing::warn!("a client did not read its last lines in time");
    }
    drop(control);
    // Empty unless somebody put something there, and not ours to remove once rights were dropped.
    let _ = fs::remove_dir(instance_dir);
    if ended.uninstalled {
        // The rest of it went with what was installed, unless somebody uses it.
        let _ = fs::remove_dir(state_dir);
    }
    if ended.leaves_something {
        return Err(anyhow!("rules and routes of the tunnel are left on this machine; {REMEDY}").into());
    }
    Ok(())
}

/// Tells the service manager, where there is one.
fn notify(stage: Stage) {
    if let Err(error) = service_manager::tell(stage) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
