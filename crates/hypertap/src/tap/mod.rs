//! The tap door: an Ethernet interface for programs at ordinary sockets.
//!
//! ```text
//! client ── listen ──▶ server ──▶ privileged half (TAP)
//!    │                   │  ▲ events
//!    └────── frames ──▶ fabric (thread) ◀── frames ── interface
//! ```
//!
//! One task, the server, owns who is there: it takes connections from the tasks that accept them, has the
//! interface made when the first comes, and hands both to the fabric, whose thread moves the frames. What goes
//! wrong comes back to it as events.

mod advertisements;
mod command;
mod dump;
pub(crate) mod fabric;
mod host;
mod listen;
mod open_files;
mod overlap;
mod passed;
mod refusals;
mod server;
pub mod settings;
pub mod startup;

use anyhow::Context;
use hypertap_platform::service_manager::{self, Stage};

use self::dump::{Dump, Showing};
use self::fabric::{Fabric, FabricSettings, FrameObserver, Places};
use self::server::Server;
use self::startup::Prepared;
use crate::exit::Failure;

/// Runs a prepared server until its clients have gone or a signal ends it.
///
/// # Errors
/// What the interface or a client ended it with.
pub async fn run(prepared: Prepared) -> Result<(), Failure> {
    let settings = &prepared.settings;
    let places = Places::new(settings.max_clients);
    let (observer, shown) = match Dump::start(settings.show_data, settings.show_size_warnings)? {
        Some((observer, shown)) => (Some(Box::new(observer) as Box<dyn FrameObserver>), Some(shown)),
        None => (None, None),
    };
    let fabric = FabricSettings { mtu: settings.mtu, places: places.clone(), observer };
    let (fabric, events) = Fabric::start(fabric).context("cannot start moving frames")?;

    let mut server = Server::new(prepared, &fabric, events, places)?;
    tell(Stage::Ready);
    let ended = server.run().await;
    tell(Stage::Stopping);

    let files = server.close().await;
    // With it the interface goes, and the connections.
    fabric.stop();
    drop(files);
    let missing = shown.map_or(0, Showing::finish);
    if missing > 0 {
        tracing::warn!(missing, "frames at the end are not shown, for nobody read");
    }
    ended
}

/// Tells the service manager, where there is one.
fn tell(stage: Stage) {
    if let Err(error) = service_manager::tell(stage) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
