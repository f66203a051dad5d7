//! Making a tunnel.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::dns::Dns;
use super::{Machine, Open};
use crate::linux::journal::{Entry, Guard, LinkId, Page};
use crate::linux::recovery::undo_page;
use crate::linux::rules::{Census, Slot};
use crate::linux::{ipv6, links, rules, tun};
use crate::privileged::{MachineError, Tun, TunSpec};

impl Machine {
    /// Makes a tunnel: whole, or not at all.
    pub(super) fn make(&mut self, guard: &Guard, spec: &TunSpec) -> Result<Tun, MachineError> {
        let journal = |error| MachineError::of("keep the journal", error);
        let namespace = self.namespace().map_err(journal)?;
        let mut page = self.journal.new_page(guard, Entry::new(namespace).map_err(journal)?);
        // Until its descriptors leave this function, the link goes when the process does.
        let mut tun = tun::create(&mut self.netlink, spec)?;
        page.entry.link = Some(LinkId { name: tun.name.clone(), index: tun.index });
        let made = self.furnish(spec, &tun, guard, &mut page);
        match made {
            Ok(slot) => {
                tun.footprint = slot.footprint(self.netlink.port());
                self.open = Some(Open {
                    name: tun.name.clone(),
                    index: tun.index,
                    slot,
                    addresses: addresses(spec).collect(),
                    bypass_mark: spec.bypass_mark,
                    routes: BTreeMap::new(),
                    dns: Dns::Off,
                    resolver_is_unclear: false,
                    page,
                });
                Ok(tun)
            }
            Err(error) => {
                if undo_page(&mut self.netlink, &self.journal, &mut page, false).error.is_some() {
                    self.left.push(page);
                }
                Err(error)
            }
        }
    }

    /// Gives a new link its addresses and settings, and claims and fills its slot.
    fn furnish(
        &mut self,
        spec: &TunSpec,
        tun: &Tun,
        guard: &Guard,
        page: &mut Page,
    ) -> Result<Slot, MachineError> {
        let Tun { name, index, .. } = tun;
        let of = |doing: &str| {
            let doing = format!("{doing} {name}");
            move |error| MachineError::of(doing, error)
        };
        self.journal.write(page).map_err(of("write down interface"))?;
        let netlink = &mut self.netlink;
        links::set_mtu(netlink, *index, spec.mtu)
            .map_err(|error| MachineError::of(format!("set MTU {} on {name}", spec.mtu), error))?;
        ipv6::allow(name);
        if spec.ipv6.is_none() {
            links::forbid_autoconfiguration(netlink, *index, name)
                .map_err(of("switch IPv6 autoconfiguration off on"))?;
        }
        for address in addresses(spec) {
            links::add_address(netlink, *index, address)
                .map_err(|error| MachineError::of(format!("give {name} the address {address}"), error))?;
        }
        links::set_up(netlink, *index).map_err(of("set up interface"))?;
        let slot = self.claim_slot(guard, page)?;
        rules::add_base(&mut self.netlink, slot, spec.bypass_mark).map_err(of("add the routing rules of"))?;
        Ok(slot)
    }

    fn claim_slot(&mut self, _guard: &Guard, page: &mut Page) -> Result<Slot, MachineError> {
        let failed = |error| MachineError::of("claim a routing table", error);
        let census = Census::take(&mut self.netlink).map_err(failed)?;
        for slot in Slot::all() {
            if !census.has_free(&mut self.netlink, slot).map_err(failed)? {
                continue;
            }
            page.entry.slot = Some(slot);
            self.journal.write(page).map_err(failed)?;
            match rules::claim(&mut self.netlink, slot) {
                Ok(()) => return Ok(slot),
                Err(error) => {
                    // Not ours to undo.
                    page.entry.slot = None;
                    if error.raw_os_error() != Some(libc::EEXIST) {
                        return Err(failed(error));
                    }
                }
            }
        }
        Err(failed(io::Error::from_raw_os_error(libc::ENOSPC)))
    }
}

/// The addresses that an interface is given.
fn addresses(spec: &TunSpec) -> impl Iterator<Item = IpAddr> {
    [Some(IpAddr::V4(spec.ipv4)), spec.ipv6.map(IpAddr::V6)].into_iter().flatten()
}
