//! The networks behind nodes.

use super::{Both, PeerTable, PeerTableError};

impl PeerTable {
    /// Has a node's networks found, unless they are another's or the network's own.
    pub(super) fn index_routes(&mut self, at: usize) -> Result<(), PeerTableError> {
        let mut routes = std::mem::take(&mut self.all[at].routes);
        for route in &mut routes {
            *route = route.trunc();
        }
        routes.sort_unstable();
        routes.dedup();
        for route in &routes {
            if let Some(range) = self.inside(*route) {
                let named = self.all[at].named().into();
                return Err(PeerTableError::RouteInside(named, *route, range));
            }
            if let Some(other) = self.routes.insert(*route, at) {
                let both = Both::of(&self.all[other], &self.all[at]);
                return Err(PeerTableError::SameRoute(both, *route));
            }
        }
        self.all[at].routes = routes;
        Ok(())
    }
}
