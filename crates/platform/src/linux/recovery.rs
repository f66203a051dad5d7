//! Takes off the machine what a tunnel put on it: the live one's that ends, and the ones that dead
//! processes left.

use std::io;
use std::path::Path;

use super::journal::{Entry, Found, Guard, Journal, LinkId, Namespace, Page};
use super::netlink::Netlink;
use super::{links, resolved, routes, rules};
use crate::privileged::{Footprint, MachineError};
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

/// Whether rules of a tunnel are on the machine, in this network namespace, be they that of one that ended
/// or of a later one that has its numbers. Needs no right. Where the kernel does not say, there are none.
pub fn is_left(footprint: Footprint) -> bool {
    Netlink::open().and_then(|mut netlink| rules::are_there(&mut netlink, footprint)).unwrap_or_else(
        |error| {
            tracing::debug!(%error, "nobody knows whether rules are left");
            false
        },
    )
}

fn sweep(
    netlink: &mut Netlink,
    journal: &Journal,
    guard: &Guard,
) -> io::Result<(Vec<Recovered>, Option<MachineError>, bool)> {
    let here = Namespace::current(netlink.namespace_cookie())?;
    let (mut dead, mut live) = (Vec::new(), Vec::new());
    let (mut recovered, mut failed, mut asked_resolver) = (Vec::new(), None, false);
    for found in journal.pages(guard)? {
        match found {
            Found::Dead(page) => dead.push(page),
            Found::Live(entry) => live.extend(entry.filter(|entry| entry.namespace.is(&here))),
            Found::Unclear(error) => {
                failed.get_or_insert(of_journal(error));
            }
        }
    }
    for mut page in dead {
        if page.entry.is_of_another_boot()? || page.entry.namespace.is_over(&here) {
            if let Err(error) = journal.remove(&page) {
                failed.get_or_insert(of_journal(error));
            }
            continue;
        }
        if !page.entry.namespace.is(&here) {
            continue;
        }
        // A page may outlive what it names, where it could not be removed. Others' things are theirs.
        page.entry.slot = page.entry.slot.filter(|slot| live.iter().all(|other| other.slot != Some(*slot)));
        let (pid, link) = (page.entry.pid, page.entry.link.as_ref().map(|link| link.name.clone()));
        asked_resolver |= page.entry.resolver;
        // Without the cookie the namespace could be another; the name must be right as well then.
        let undone = undo_page(netlink, journal, &mut page, here.cookie.is_none());
        failed = failed.or(undone.error);
        let Undone { deleted_link, rules, routes, .. } = undone;
        recovered.push(Recovered { pid, link, deleted_link, rules, routes });
    }
    Ok((recovered, failed, asked_resolver))
}

fn of_journal(error: io::Error) -> MachineError {
    MachineError::of("keep the journal", error)
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

/// Removes what a page names, as far as it is there and ours, and then the page. Where not all of that can
/// be done, the page stays, without what is no longer there: its numbers may be given to others.
///
/// With `check_name` the interface must still have the name that it was made with.
pub(crate) fn undo_page(
    netlink: &mut Netlink,
    journal: &Journal,
    page: &mut Page,
    check_name: bool,
) -> Undone {
    let mut undone = undo(netlink, &mut page.entry, check_name);
    if undone.error.is_some() {
        // Should this fail too, it names too much, which live owners' pages protect them from.
        if let Err(error) = journal.write(page) {
            tracing::debug!(%error, "the journal names what is no longer there");
        }
    } else if let Err(error) = journal.remove(page) {
        undone.error = Some(of_journal(error));
    }
    undone
}

/// Removes what an entry names, and takes it out of the entry.
fn undo(netlink: &mut Netlink, entry: &mut Entry, check_name: bool) -> Undone {
    let mut undone = Undone::default();
    let mut error = None;
    let mut note = |doing: String, failure| {
        error.get_or_insert(MachineError::of(doing, failure));
    };
    if let Some(LinkId { name, index }) = entry.link.take() {
        match links::delete_tun(netlink, index, check_name.then_some(&name)) {
            Ok(deleted) => undone.deleted_link = deleted,
            Err(failure) => {
                note(format!("delete interface {name}"), failure);
                entry.link = Some(LinkId { name, index });
            }
        }
    }
    if let Some(slot) = entry.slot.take() {
        match rules::remove_all(netlink, slot) {
            Ok(count) => undone.rules = count,
            Err(failure) => {
                note(format!("remove the rules that lead to table {}", slot.routes_table()), failure);
                entry.slot = Some(slot);
            }
        }
        for table in [slot.routes_table(), slot.dns_table()] {
            match routes::flush(netlink, table) {
                Ok(count) => undone.routes += count,
                Err(failure) => {
                    note(format!("empty routing table {table}"), failure);
                    entry.slot = Some(slot);
                }
            }
        }
    }
    undone.error = error;
    undone
}
