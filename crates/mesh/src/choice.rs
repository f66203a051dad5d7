//! Which of several connections to a peer a new stream takes.
//!
//! The best transport that is up, and among equals the newest. Both ends see connections come up in
//! their own order, so they may choose differently for a while. That is no harm: a superseded connection
//! is closed by the lower peer id alone, once it carries no stream (`peers`).

use crate::status::{Transport, Why};

/// What the choice depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Merit {
    pub(crate) transport: Transport,
    /// Counts up with each connection that this node has had.
    pub(crate) order: u64,
}

/// The place of the best, and why it is.
pub(crate) fn best(connections: impl Iterator<Item = Merit>) -> Option<(usize, Why)> {
    let all: Vec<Merit> = connections.collect();
    let (place, best) = all.iter().enumerate().max_by_key(|(_, merit)| **merit)?;
    let why = if all.len() == 1 {
        Why::Only
    } else if all.iter().filter(|merit| merit.transport == best.transport).count() == 1 {
        Why::BestTransport
    } else {
        Why::Newest
    };
    Some((place, why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Transport::{Quic, Relayed, Tcp};

    fn chosen(connections: &[(Transport, u64)]) -> Option<(usize, Why)> {
        best(connections.iter().map(|&(transport, order)| Merit { transport, order }))
    }

    #[test]
    fn nothing_is_chosen_of_nothing() {
        assert_eq!(chosen(&[]), None);
    }

    #[test]
    fn the_only_one_is_chosen() {
        assert_eq!(chosen(&[(Relayed, 7)]), Some((0, Why::Only)));
    }

    #[test]
    fn tcp_goes_before_quic_and_quic_before_a_relay() {
        assert_eq!(chosen(&[(Relayed, 3), (Tcp, 1), (Quic, 2)]), Some((1, Why::BestTransport)));
        assert_eq!(chosen(&[(Relayed, 3), (Quic, 2)]), Some((1, Why::BestTransport)));
    }

    #[test]
    fn among_equals_the_newest_is_chosen() {
        assert_eq!(chosen(&[(Tcp, 1), (Tcp, 5), (Quic, 9), (Tcp, 4)]), Some((1, Why::Newest)));
    }
}
