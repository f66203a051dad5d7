//! The privileged jobs, done in this process.
//!
//! What one tunnel puts on the machine: a TUN link, a slot of rules and tables ([`rules`]), routes
//! in them, and a word to systemd-resolved. Each is in the journal before it is there (but the link, which
//! goes with the process until others have its descriptors), and each is
//! removed by number, and only if it is still the thing that we made: [`undo_page`] is the one way
//! out, whether the tunnel is closed, its half is dropped, or a later start finds what a dead
//! process left ([`super::recovery`]). What cannot be removed is tried again at the next opening, closing
//! and dropping.
//!
//! Whatever only asks the kernel does not await, so it cannot be cancelled half-way; it takes from
//! microseconds to some tens of milliseconds (deleting a link; ten thousand routes). What waits for
//! others (the journal's lock, the kernel's background work, systemd-resolved) awaits.

mod dns;
mod make;

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use ipnet::IpNet;

use self::dns::Dns;
use super::journal::{Journal, Namespace, Page};
use super::netlink::Netlink;
use super::recovery::undo_page;
use super::routes::Place;
use super::rules::Slot;
use super::{links, resolved, rights, routes, rules, tap};
use crate::privileged::{Gone, MachineError, Privileged, RouteChange, RouteKind, Tap, TapSpec, Tun, TunSpec};

/// With so many tunnels that could not be removed, no other is made.
const MOST_LEFT: usize = 16;
/// How long `modprobe` may take.
const LOADING: Duration = Duration::from_secs(8);

/// The jobs of [`Privileged`], done in this process, in the calling thread's network namespace.
/// What they put on the machine is written down under `state_dir` first. Needs no right itself.
///
/// The result's asynchronous functions need a tokio runtime with I/O and time.
///
/// # Errors
/// When `state_dir` cannot be made, or belongs to somebody else.
pub fn in_process(state_dir: &Path) -> io::Result<Box<dyn Privileged>> {
    let mut machine = Machine {
        netlink: Netlink::open()?,
        journal: Journal::open(state_dir)?,
        open: None,
        left: Vec::new(),
    };
    machine.namespace()?;
    Ok(Box::new(machine))
}

/// The in-process half.
struct Machine {
    netlink: Netlink,
    journal: Journal,
    open: Option<Open>,
    /// Of tunnels that are closed, but could not be removed entirely.
    left: Vec<Page>,
}

/// A tunnel that is open.
struct Open {
    name: String,
    index: u32,
    slot: Slot,
    addresses: Vec<IpAddr>,
    bypass_mark: u32,
    /// As they were asked for, whatever became of them: what they are put back from.
    routes: BTreeMap<IpNet, RouteKind>,
    dns: Dns,
    /// Whether systemd-resolved failed to forget the link, and may have done it since.
    resolver_is_unclear: bool,
    page: Page,
}

impl Open {
    fn routes_place(&self) -> Place<'_> {
        Place { table: self.slot.routes_table(), index: self.index, name: &self.name }
    }

    fn dns_place(&self) -> Place<'_> {
        Place { table: self.slot.dns_table(), index: self.index, name: &self.name }
    }
}

impl Machine {
    fn namespace(&mut self) -> io::Result<Namespace> {
        Namespace::current(self.netlink.namespace_cookie())
    }

    /// Takes everything of the open tunnel off the machine, and what is left of earlier ones.
    fn unmake(&mut self) -> Result<(), MachineError> {
        self.left.extend(self.open.take().map(|open| open.page));
        self.remove_left()
    }

    /// Removes what is left of tunnels.
    fn remove_left(&mut self) -> Result<(), MachineError> {
        let mut outcome = Ok(());
        for mut page in std::mem::take(&mut self.left) {
            if let Some(error) = undo_page(&mut self.netlink, &self.journal, &mut page, false).error {
                outcome = outcome.and(Err(error));
                // It stays in the journal as well, for a later start.
                self.left.push(page);
            }
        }
        outcome
    }

    /// Puts back what is missing of the open tunnel; what fails does not keep the rest from being tried.
    fn restore(&mut self) -> Result<bool, MachineError> {
        let open = self.open.as_ref().ok_or(MachineError::NoTun)?;
        let netlink = &mut self.netlink;
        let of = |what: &str, outcome: io::Result<usize>| {
            outcome.map_err(|error| MachineError::of(format!("put the {what} of {} back", open.name), error))
        };
        // Addresses first: with its last one a link loses its routes. Rules last, as they lead to the routes.
        let addresses = links::restore_addresses(netlink, open.index, open.addresses.iter().copied());
        let mut outcomes =
            vec![of("addresses", addresses), routes::restore(netlink, open.routes_place(), &open.routes)];
        let dns = open.dns == Dns::On;
        if dns {
            outcomes.push(of("DNS routes", routes::restore_defaults(netlink, open.dns_place())));
        }
        outcomes.push(of("rules", rules::restore(netlink, open.slot, open.bypass_mark, dns)));
        outcomes.into_iter().sum::<Result<usize, _>>().map(|restored| restored > 0)
    }
}

#[async_trait]
impl Privileged for Machine {
    async fn open_tun(&mut self, spec: &TunSpec) -> Result<Tun, MachineError> {
        if self.open.is_some() {
            return Err(MachineError::TunExists);
        }
        match self.remove_left() {
            Err(error) if self.left.len() >= MOST_LEFT => return Err(error),
            Err(error) => tracing::warn!(%error, "not everything of an earlier tunnel could be removed"),
            Ok(()) => {}
        }
        let journal = |error| MachineError::of("keep the journal", error);
        self.journal.renew().map_err(journal)?;
        let guard = self.journal.lock().await.map_err(journal)?;
        let tun = self.make(&guard, spec)?;
        drop(guard);
        if let Some(address) = spec.ipv6 {
            // Should this future be dropped here, closing the tunnel undoes what was done.
            links::wait_for_delivery(&mut self.netlink, address).await;
        }
        Ok(tun)
    }

    async fn close_tun(&mut self) -> Result<(), MachineError> {
        let mut pages = self.left.iter().chain(self.open.iter().map(|open| &open.page));
        let asked_resolver = pages.any(|page| page.entry.resolver);
        let unmade = self.unmake();
        if asked_resolver {
            resolved::flush().await;
        }
        unmade
    }

    async fn change_routes(&mut self, change: &RouteChange) -> Result<(), MachineError> {
        let open = self.open.as_mut().ok_or(MachineError::NoTun)?;
        routes::apply(&mut self.netlink, open.routes_place(), change)?;
        for (net, _) in &change.remove {
            open.routes.remove(&net.trunc());
        }
        open.routes.extend(change.add.iter().map(|(net, kind)| (net.trunc(), *kind)));
        Ok(())
    }

    async fn capture_dns(&mut self, on: bool) -> Result<(), MachineError> {
        self.capture(on).await
    }

    async fn reassert(&mut self) -> Result<bool, MachineError> {
        self.restore()
    }

    async fn open_tap(&mut self, spec: &TapSpec) -> Result<Tap, MachineError> {
        let tap = tap::create(&mut self.netlink, spec)?;
        if let Some((address, _)) = spec.ipv6 {
            links::wait_for_delivery(&mut self.netlink, address).await;
        }
        Ok(tap)
    }

    async fn load_driver(&mut self) -> Result<(), MachineError> {
        let Err(missing) = rights::probe_driver() else { return Ok(()) };
        let mut modprobe = tokio::process::Command::new("/sbin/modprobe");
        modprobe.args(["--quiet", "tun"]).stdin(std::process::Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(LOADING, modprobe.output()).await {
            Ok(Ok(output)) => tracing::debug!(status = %output.status, "ran modprobe tun"),
            Ok(Err(error)) => tracing::debug!(%error, "cannot run modprobe"),
            Err(_) => tracing::debug!("modprobe tun did not end in 8 s"),
        }
        rights::probe_driver().map_err(|_| MachineError::NoDriver(missing))
    }

    async fn serve_bypass(&mut self, listener: OwnedFd, mark: u32, uid: u32) -> Result<(), MachineError> {
        crate::bypass::serve(listener, mark, uid)
            .map_err(|error| MachineError::of("mark the sockets of a bypassing program", error))
    }

    async fn gone(&mut self) -> Gone {
        std::future::pending().await
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Err(error) = self.unmake() {
            tracing::warn!(%error, "not everything of the tunnel could be removed");
        }
    }
}
