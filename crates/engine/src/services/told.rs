//! Which services peers have told of. Of a peer that has not, as one that does not speak the protocol,
//! nothing is known: any service may be there.

use std::collections::{BTreeSet, HashMap};

use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::ServiceId;
use hypertap_wire::service_stream::ServiceNames;

use super::peers::PeerTable;

/// What each peer last told of, of at most as many peers as there are configured.
#[derive(Clone, Debug, Default)]
pub struct Told {
    by_peer: HashMap<PeerId, BTreeSet<Label>>,
}

impl Told {
    /// Nobody has told of anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes what a peer tells, in place of all that it has told before. Says whether anything changed;
    /// who is no configured peer is not listened to.
    pub fn replace(&mut self, peers: &PeerTable, peer: &PeerId, names: ServiceNames) -> bool {
        if peers.is_own(peer) || peers.by_id(peer).is_none() {
            return false;
        }
        let names: BTreeSet<Label> = names.into_names().into_iter().collect();
        if self.by_peer.get(peer) == Some(&names) {
            return false;
        }
        self.by_peer.insert(*peer, names);
        true
    }

    /// Forgets what a peer has told.
    pub fn forget(&mut self, peer: &PeerId) {
        self.by_peer.remove(peer);
    }

    /// Forgets what all have told who are no longer configured.
    pub fn retain(&mut self, peers: &PeerTable) {
        self.by_peer.retain(|peer, _| peers.by_id(peer).is_some());
    }

    /// The services that this node may use of a peer. `None` when it has not told.
    pub fn knows(&self, peer: &PeerId) -> Option<&BTreeSet<Label>> {
        self.by_peer.get(peer)
    }

    /// The name of a peer's service, by its id.
    pub fn name_of(&self, peer: &PeerId, service: ServiceId) -> Option<&Label> {
        self.knows(peer)?.iter().find(|name| ServiceId::of(name) == service)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::samples::{FIRST, SECOND, id, label, made_up, table};

    fn names(names: &[&str]) -> ServiceNames {
        ServiceNames::new(names.iter().map(|name| label(name)).collect()).expect("few")
    }

    #[test]
    fn what_a_peer_tells_replaces_what_it_has_told() {
        let (mut told, table, bob) = (Told::new(), table(), id(SECOND));
        assert_eq!(told.knows(&bob), None);
        assert!(told.replace(&table, &bob, names(&["web", "ssh", "web"])));
        assert!(!told.replace(&table, &bob, names(&["ssh", "web"])), "nothing new");
        assert_eq!(told.name_of(&bob, ServiceId([0x3b, 0x9b])), Some(&label("web")));
        assert!(told.replace(&table, &bob, names(&[])));
        assert_eq!(told.knows(&bob), Some(&BTreeSet::new()), "it has told that there is nothing");
        assert_eq!(told.name_of(&bob, ServiceId([0x3b, 0x9b])), None);
        told.forget(&bob);
        assert_eq!(told.knows(&bob), None);
    }

    #[test]
    fn only_configured_peers_are_listened_to() {
        let (mut told, table) = (Told::new(), table());
        for stranger in [made_up(&[9]), id(FIRST)] {
            assert!(!told.replace(&table, &stranger, names(&["web"])));
            assert_eq!(told.knows(&stranger), None);
        }
    }

    #[test]
    fn who_is_no_longer_configured_is_forgotten() {
        let (mut told, before) = (Told::new(), table());
        told.replace(&before, &id(SECOND), names(&["web"]));
        told.replace(&before, &made_up(&[3]), names(&["web"]));
        let entries = [crate::services::samples::entry(id(SECOND), "bob", &[])];
        let after = PeerTable::new(id(FIRST), None, entries, before.local_net()).expect("one peer");
        told.retain(&after);
        assert!(told.knows(&id(SECOND)).is_some());
        assert_eq!(told.knows(&made_up(&[3])), None);
    }
}
