//! Nodes for tests: two whose addresses are known by the network, and made-up ones.

use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;

use super::peers::{PeerEntry, PeerTable};

/// 100.64.132.22, `fd00:6879:7072:7370:6163:6500:f26:ea70`.
pub(crate) const FIRST: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
pub(crate) const FIRST_BASE36: &str = "k51qzi5uqu5dl3ltvga8v4lfks12np6tetprha6va60q6okkujw46kptfju1cx";
/// 100.64.4.143, `fd00:6879:7072:7370:6163:6500:b497:d158`.
pub(crate) const SECOND: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";
pub(crate) const SECOND_BASE36: &str = "k51qzi5uqu5dkxtt5jitjh0pdwwdjaq2d6omasr3ust9yokfv3fbpfxgbwdran";

pub(crate) fn id(text: &str) -> PeerId {
    text.parse().expect("a peer id")
}

pub(crate) fn label(text: &str) -> Label {
    text.parse().expect("a label")
}

/// A made-up peer: the key's first bytes.
pub(crate) fn made_up(bytes: &[u8]) -> PeerId {
    let mut key = [0; 32];
    key[..bytes.len()].copy_from_slice(bytes);
    PeerId::from_ed25519(&key)
}

pub(crate) fn entry(id: PeerId, name: &str, routes: &[&str]) -> PeerEntry {
    PeerEntry {
        id,
        name: (!name.is_empty()).then(|| label(name)),
        routes: routes.iter().map(|route| route.parse().expect("a route")).collect(),
    }
}

/// The first is this node, `alice` with 10.1.0.0/16; the second is `bob` with 10.2.0.0/16 and `2001:db8::/32`;
/// a third has no name and the rest of 10.0.0.0/8.
pub(crate) fn table() -> PeerTable {
    let peers = [
        entry(id(FIRST), "alice", &["10.1.0.0/16"]),
        entry(id(SECOND), "bob", &["10.2.0.0/16", "2001:db8::/32"]),
        entry(made_up(&[3]), "", &["10.0.0.0/8"]),
    ];
    PeerTable::new(id(FIRST), None, peers, LOCAL_SERVICES_IPV4).expect("a good list")
}
