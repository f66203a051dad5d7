//! Capturing DNS: rules and their routes, and a word to systemd-resolved.
//!
//! Rules come first and go first: they can be put back where systemd-resolved refuses or does not answer, and
//! the other way round cannot be counted on.

use super::Machine;
use crate::linux::netlink::Netlink;
use crate::linux::{resolved, routes, rules};
use crate::privileged::MachineError;

/// What there is of the rules and routes of captured DNS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Dns {
    Off,
    On,
    /// Some: a change failed, and so did going back.
    Torn,
}

impl Machine {
    /// As [`Privileged::capture_dns`](crate::Privileged::capture_dns).
    pub(super) async fn capture(&mut self, on: bool) -> Result<(), MachineError> {
        let open = self.open.as_ref().ok_or(MachineError::NoTun)?;
        let told = open.page.entry.resolver;
        // Should one of these futures be dropped, another call or closing the tunnel undoes what was done.
        match (on, open.dns) {
            (true, Dns::On) if !open.resolver_is_unclear => Ok(()),
            (false, Dns::Off) if !told => Ok(()),
            (true, was) => self.start_capture(was).await,
            (false, _) => self.end_capture(told).await,
        }
    }

    async fn start_capture(&mut self, was: Dns) -> Result<(), MachineError> {
        self.note_resolver(true)?;
        if was != Dns::On {
            self.set_dns_rules(true).inspect_err(|_| self.forget_resolver())?;
        }
        let open = self.open.as_mut().ok_or(MachineError::NoTun)?;
        match resolved::capture(open.index, &open.name).await {
            Ok(told) => {
                open.resolver_is_unclear = false;
                if !told {
                    self.forget_resolver();
                }
                Ok(())
            }
            Err(error) => {
                if was != Dns::On {
                    self.take_back_dns_rules(false);
                    self.forget_resolver();
                }
                Err(error)
            }
        }
    }

    async fn end_capture(&mut self, told: bool) -> Result<(), MachineError> {
        self.set_dns_rules(false)?;
        if !told {
            return Ok(());
        }
        let open = self.open.as_mut().ok_or(MachineError::NoTun)?;
        let reverted = resolved::revert(open.index, &open.name).await;
        // One that did not answer may yet do it.
        open.resolver_is_unclear = reverted.is_err();
        reverted.inspect_err(|_| self.take_back_dns_rules(true))?;
        self.note_resolver(false)
    }

    /// Makes or removes the rules of captured DNS and their routes. When that fails they are as they were,
    /// unless that fails too.
    fn set_dns_rules(&mut self, on: bool) -> Result<(), MachineError> {
        let open = self.open.as_mut().ok_or(MachineError::NoTun)?;
        let (netlink, slot, place) = (&mut self.netlink, open.slot, open.dns_place());
        let remove = |netlink: &mut Netlink| {
            rules::remove_dns(netlink, slot)?;
            routes::flush(netlink, slot.dns_table()).map(drop)
        };
        // Routes first: a rule to an empty table captures nothing, and the other way round loses nothing.
        let add = |netlink: &mut Netlink| {
            routes::add_defaults(netlink, place)?;
            rules::add_dns(netlink, slot)
        };
        let outcome = match (on, open.dns) {
            (true, Dns::Torn) => remove(netlink).and_then(|()| add(netlink)),
            (true, _) => add(netlink),
            (false, _) => remove(netlink),
        };
        let doing = if on { "send DNS queries to" } else { "stop sending DNS queries to" };
        let outcome = outcome.map_err(|error| MachineError::of(format!("{doing} {}", place.name), error));
        let now = match (&outcome, open.dns) {
            (Ok(()), _) => Some(if on { Dns::On } else { Dns::Off }),
            (Err(_), Dns::Off) => remove(netlink).is_ok().then_some(Dns::Off),
            (Err(_), Dns::On) => {
                let back = routes::restore_defaults(netlink, place);
                let back = back.and_then(|_| rules::restore(netlink, slot, open.bypass_mark, true));
                back.is_ok().then_some(Dns::On)
            }
            (Err(_), Dns::Torn) => None,
        };
        open.dns = now.unwrap_or(Dns::Torn);
        outcome
    }

    /// Goes back from a change of DNS capture of which the rest failed.
    fn take_back_dns_rules(&mut self, to: bool) {
        if let Err(error) = self.set_dns_rules(to) {
            tracing::warn!(%error, "DNS capture is neither on nor off; the tunnel's end, or turning it off, mends that");
            self.open.iter_mut().for_each(|open| open.dns = Dns::Torn);
        }
    }

    /// Writes down that resolved was not told. Should this fail, its caches are emptied once more than needed.
    fn forget_resolver(&mut self) {
        let _ = self.note_resolver(false);
    }

    /// Writes down whether resolved is told about the link.
    fn note_resolver(&mut self, told: bool) -> Result<(), MachineError> {
        let open = self.open.as_mut().ok_or(MachineError::NoTun)?;
        open.page.entry.resolver = told;
        self.journal
            .renew()
            .and_then(|()| self.journal.write(&mut open.page))
            .map_err(|error| MachineError::of("keep the journal", error))
    }
}
