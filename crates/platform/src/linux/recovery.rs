//! Takes off the machine what a tunnel put on it: the live one's that ends, and the ones that dead
//! processes left.

use std::io;
use std::path::Path;

use super::journal::{Entry, Found, Guard, Journal, LinkId, Namespace};
use super::netlink::Netlink;
use super::{links, resolved, routes, rules};
use crate::privileged::MachineError;
use crate::recovery::Recovered;

/// Undoes what dead processes left in this network namespace, as written down under `state_dir`.
/// What belongs to a live process, or to a network namespace other than ours, is left alone.
/// Files that are no entries are renamed to end in `.bad`, with a warning.
///
/// # Errors
/// [`MachineError`] of the first thing that could not be removed; the rest was still tried.
pub async fn recover(state_dir: &Path) -> Result<Vec<Recovered>, MachineError> {
    let doing = || format!("read the journal under {}", state_dir.display());
    let mut netlink = Netlink::open().map_err(|error| MachineError::of("open rtnetlink", error))?;
    let journal = Journal::open(state_dir).map_err(|error| MachineError::of(doing(), error))?;
    let guard = journal.lock().await.map_err(|error| MachineError::of(doing(), error))?;
    let swept = sweep(&mut netlink, &journal, &guard).map_err(|error| MachineError::of(doing(), error));
    drop(guard);
    let (recovered, error, asked_resolver) = swept?;
    if asked_resolver {
        resolved::flush().await;
    }
    error.map_or(Ok(recovered), Err)
}

fn sweep(
    netlink: &mut Netlink,
    journal: &Journal,
    guard: &Guard,
) -> io::Result<(Vec<Recovered>, Option<MachineError>, bool)> {
    let here = Namespace::current(netlink.namespace_cookie())?;
    let (mut recovered, mut failed, mut asked_resolver) = (Vec::new(), None, false);
    for found in journal.pages(guard)? {
        let Found::Dead(page) = found else { continue };
        let entry = &page.entry;
        if entry.is_of_another_boot()? || entry.namespace.is_over(&here) {
            journal.remove(&page)?;
            continue;
        }
        if !entry.namespace.is(&here) {
            continue;
        }
        // Without the cookie the namespace could be another; the name must be right as well then.
        let undone = undo(netlink, entry, here.cookie.is_none());
        asked_resolver |= entry.resolver;
        match undone.error {
            Some(error) => failed = failed.or(Some(error)),
            None => journal.remove(&page)?,
        }
        let (pid, link) = (entry.pid, entry.link.as_ref().map(|link| link.name.clone()));
        let Undone { deleted_link, rules, routes, .. } = undone;
        recovered.push(Recovered { pid, link, deleted_link, rules, routes });
    }
    Ok((recovered, failed, asked_resolver))
}

/// What [`undo`] did.
#[derive(Default)]
pub(crate) struct Undone {
    deleted_link: bool,
    rules: usize,
    routes: usize,
    /// The first thing that could not be removed.
    pub(crate) error: Option<MachineError>,
}

/// Removes what an entry names, as far as it is there and ours. With `check_name` the interface
/// must still have the name that it was made with.
pub(crate) fn undo(netlink: &mut Netlink, entry: &Entry, check_name: bool) -> Undone {
    let mut undone = Undone::default();
    let mut error = None;
    let mut note = |doing: String, failure| {
        error.get_or_insert(MachineError::of(doing, failure));
    };
    if let Some(LinkId { name, index }) = &entry.link {
        match links::delete_tun(netlink, *index, check_name.then_some(name)) {
            Ok(deleted) => undone.deleted_link = deleted,
            Err(failure) => note(format!("delete interface {name}"), failure),
        }
    }
    if let Some(slot) = entry.slot {
        match rules::remove_all(netlink, slot) {
            Ok(count) => undone.rules = count,
            Err(failure) => {
                note(format!("remove the rules that lead to table {}", slot.routes_table()), failure);
            }
        }
        for table in [slot.routes_table(), slot.dns_table()] {
            match routes::flush(netlink, table) {
                Ok(count) => undone.routes += count,
                Err(failure) => note(format!("empty routing table {table}"), failure),
            }
        }
    }
    undone.error = error;
    undone
}
