//! What happens to the machine's links behind our back.
//!
//! A [`LinkMonitor`] listens to the kernel's announcements, which needs no right (rtnetlink(7)
//! multicast on Linux, the routing socket on macOS), and keeps what it has heard, so that each event
//! says what changed. When the kernel had to drop announcements, the monitor asks for the whole state
//! and reports the difference: a deletion is never lost, it comes late.
//!
//! A system's half hears and asks; what is known, and which events follow from what is heard, is here.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;

use crate::Footprint;
#[cfg(target_os = "linux")]
use crate::linux::monitor::Source;
#[cfg(target_os = "macos")]
use crate::macos::monitor::Source;

/// Listens to what happens to links and default routes in one network namespace.
pub struct LinkMonitor(Source);

/// Something that happened to a link or to the machine's way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// The link was set up, or appeared that way.
    Up {
        /// The interface index.
        index: u32,
    },
    /// The link was set down. Deleting a link that is up announces this first.
    Down {
        /// The interface index.
        index: u32,
    },
    /// The link was deleted, or moved to another network namespace.
    Deleted {
        /// The interface index.
        index: u32,
    },
    /// The link has another name.
    Renamed {
        /// The interface index.
        index: u32,
        /// What it is called now.
        name: String,
    },
    /// The main table's default route leads to another device, or there is none any more.
    DefaultRoute(Option<DefaultRoute>),
    /// Somebody else removed an address, rule or route of the tunnel that is watched
    /// ([`LinkMonitor::watch`]), or announcements that may have said so were dropped. Several removals
    /// that are heard of together are one event.
    Policy,
}

/// Where the main table's default route leads: IPv4's, else IPv6's; of several the one with the
/// lowest metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultRoute {
    /// The index of the interface.
    pub index: u32,
}

impl LinkMonitor {
    /// Starts listening in the calling thread's network namespace. Links and default route as they
    /// are now are known when this returns, and make no events.
    ///
    /// # Errors
    /// What the kernel said to the socket that is listened on.
    pub async fn new() -> io::Result<Self> {
        let mut source = Source::open().await?;
        source.known.events.clear();
        Ok(Self(source))
    }

    /// The default route as it was last heard of.
    pub fn default_route(&self) -> Option<DefaultRoute> {
        self.0.known.default
    }

    /// From now on, tells when somebody else removes an address, rule or route of this tunnel: its
    /// link's index, and its footprint. `None` ends that.
    pub fn watch(&mut self, tunnel: Option<(u32, Footprint)>) {
        #[cfg(target_os = "linux")]
        tunnel.iter().for_each(|(_, footprint)| self.0.ignore(*footprint));
        self.0.known.watched = tunnel;
        self.0.known.events.retain(|event| *event != LinkEvent::Policy);
    }

    /// Waits for the next event. Cancel-safe: an event that was not returned comes next time.
    ///
    /// # Errors
    /// What the kernel said, other than that it dropped announcements, which are then made up for.
    pub async fn next(&mut self) -> io::Result<LinkEvent> {
        loop {
            if let Some(event) = self.0.known.events.pop_front() {
                return Ok(event);
            }
            self.0.step().await?;
        }
    }
}

impl fmt::Debug for LinkMonitor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LinkMonitor").field(&self.0.known).finish()
    }
}

/// What was heard so far, and the events that followed from it.
#[derive(Debug, Default)]
pub(crate) struct Known {
    links: BTreeMap<u32, Link>,
    default: Option<DefaultRoute>,
    /// Events that were found and not yet handed out; at most what one step of a source brings.
    events: VecDeque<LinkEvent>,
    /// The tunnel whose addresses, rules and routes are watched: its link's index, and the rest.
    watched: Option<(u32, Footprint)>,
}

#[derive(Debug)]
struct Link {
    name: String,
    up: bool,
}

impl Known {
    /// There is a link like this. `true` when it is new, or was set up or down since.
    pub(crate) fn on_link(&mut self, index: u32, name: String, up: bool) -> bool {
        let before = self.links.get(&index);
        let (was_up, renamed) = (before.map(|link| link.up), before.is_some_and(|link| link.name != name));
        match (was_up, up) {
            (Some(false) | None, true) => self.events.push_back(LinkEvent::Up { index }),
            (Some(true), false) => self.events.push_back(LinkEvent::Down { index }),
            (Some(false) | None, false) | (Some(true), true) => {}
        }
        if renamed {
            self.events.push_back(LinkEvent::Renamed { index, name: name.clone() });
        }
        self.links.insert(index, Link { name, up });
        was_up != Some(up)
    }

    /// The link is gone.
    pub(crate) fn on_link_gone(&mut self, index: u32) {
        self.links.remove(&index);
        self.events.push_back(LinkEvent::Deleted { index });
    }

    /// These links there are and no others. `true` when one is gone.
    pub(crate) fn on_all_links(&mut self, is_there: impl Fn(u32) -> bool) -> bool {
        let gone: Vec<u32> = self.links.keys().copied().filter(|&index| !is_there(index)).collect();
        gone.iter().for_each(|&index| self.on_link_gone(index));
        !gone.is_empty()
    }

    /// The default route leads there. `true` when it led elsewhere before.
    pub(crate) fn on_default_route(&mut self, now: Option<DefaultRoute>) -> bool {
        let moved = now != self.default;
        if moved {
            self.default = now;
            self.events.push_back(LinkEvent::DefaultRoute(now));
        }
        moved
    }

    /// Somebody removed something; `hits` says whether it was of the tunnel that is watched.
    pub(crate) fn on_removal(&mut self, hits: impl FnOnce(u32, Footprint) -> bool) {
        let hit = self.watched.is_some_and(|(index, footprint)| hits(index, footprint));
        if hit && !self.events.contains(&LinkEvent::Policy) {
            self.events.push_back(LinkEvent::Policy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(known: &mut Known) -> Vec<LinkEvent> {
        known.events.drain(..).collect()
    }

    #[test]
    fn what_is_heard_again_is_no_event() {
        let mut known = Known::default();
        let route = Some(DefaultRoute { index: 2 });
        assert!(known.on_link(2, "eth0".to_owned(), true));
        assert!(known.on_default_route(route));
        let first = [LinkEvent::Up { index: 2 }, LinkEvent::DefaultRoute(route)];
        assert_eq!(events(&mut known), first);
        assert!(!known.on_link(2, "eth0".to_owned(), true));
        assert!(!known.on_default_route(route));
        assert!(!known.on_all_links(|index| index == 2));
        assert_eq!(events(&mut known), []);
    }

    #[test]
    fn each_change_of_a_link_is_an_event_of_its_own() {
        let mut known = Known::default();
        assert!(known.on_link(2, "eth0".to_owned(), false), "a link that is new and down makes no event");
        assert_eq!(events(&mut known), []);
        assert!(known.on_link(2, "lan".to_owned(), true));
        let renamed = LinkEvent::Renamed { index: 2, name: "lan".to_owned() };
        assert_eq!(events(&mut known), [LinkEvent::Up { index: 2 }, renamed]);
        assert!(known.on_all_links(|_| false));
        assert_eq!(events(&mut known), [LinkEvent::Deleted { index: 2 }]);
    }

    #[test]
    fn removals_that_are_heard_of_together_are_one_event() {
        let mut known = Known::default();
        known.on_removal(|_, _| true);
        assert_eq!(events(&mut known), [], "nothing is watched");
        known.watched = Some((7, Footprint::default()));
        known.on_removal(|index, _| index == 8);
        assert_eq!(events(&mut known), [], "it was another's");
        known.on_removal(|index, _| index == 7);
        known.on_removal(|index, _| index == 7);
        assert_eq!(events(&mut known), [LinkEvent::Policy]);
    }
}
