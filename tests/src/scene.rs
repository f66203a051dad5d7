//! What most tests begin with: one daemon, and the client that it serves.

use crate::client::Client;
use crate::daemon::{Daemon, Setup};
use crate::dump::Dump;
use crate::namespaces::in_namespaces_of;

/// A daemon with a client, and the machine as it was before them. The connection ends before the daemon.
#[derive(Debug)]
pub struct Scene {
    /// The client, which has been greeted as one who may do everything.
    pub client: Client,
    /// The daemon, which has no tunnel yet.
    pub daemon: Daemon,
    /// The machine before the daemon came.
    pub before: Dump,
}

impl Scene {
    /// Starts the daemon as `setup` says, and connects.
    #[track_caller]
    pub fn begin(setup: Setup) -> Self {
        let before = Dump::now();
        let daemon = setup.start();
        Self { client: daemon.client(), daemon, before }
    }
}

/// As [`in_namespaces`](crate::in_namespaces), beside a daemon without options.
pub fn with_daemon<F: FnOnce(&mut Scene)>(body: F) {
    with_daemon_as(Setup::new, body);
}

/// As [`with_daemon`], with the daemon that `setup` yields; it is called inside.
pub fn with_daemon_as<F: FnOnce(&mut Scene)>(setup: impl FnOnce() -> Setup, body: F) {
    in_namespaces_of::<F>(|| body(&mut Scene::begin(setup())));
}
