use super::*;
use crate::services::samples::{
    FIRST, FIRST_BASE36, SECOND, SECOND_BASE36, entry, id, label, made_up, table,
};
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
use proptest::prelude::*;

fn list(peers: Vec<PeerEntry>) -> Result<PeerTable, PeerTableError> {
    PeerTable::new(id(FIRST), None, peers, LOCAL_SERVICES_IPV4)
}

fn refusal(peers: Vec<PeerEntry>) -> String {
    list(peers).expect_err("a bad list").to_string()
}

#[test]
fn a_peer_is_found_by_whatever_it_is_called() {
    let table = table();
    let bob = table.by_id(&id(SECOND)).expect("bob");
    let found = |text: &str| table.find(text).map(Peer::id) == Some(bob.id());
    for text in ["bob", "BOB", SECOND, SECOND_BASE36, &SECOND_BASE36.to_uppercase()] {
        assert!(found(text), "{text}");
    }
    for text in ["", "bo", "@bob", FIRST, &SECOND.to_lowercase(), &SECOND[..20]] {
        assert!(!found(text), "{text}");
    }
    assert_eq!(table.by_node(bob.node()), Some(bob));
    assert_eq!(table.by_address("100.64.4.143".parse().unwrap()), Some(bob));
    let address: Ipv6Addr = "fd00:6879:7072:7370:6163:6500:b497:d158".parse().unwrap();
    assert_eq!((table.by_address(address.into()), bob.ipv6()), (Some(bob), address));
    let web = "fd00:6879:7072:7370:7376:b497:d158:3b9b".parse().unwrap();
    assert_eq!(table.by_service_address(web), Some((bob, ServiceId([0x3b, 0x9b]))));
    assert_eq!(table.by_route("2001:db8:1::1".parse().unwrap()), Some(bob));
    assert_eq!(table.peers().len(), 2);
}

#[test]
fn this_node_is_no_peer_but_has_name_and_networks() {
    let table = table();
    assert!(table.is_own(&id(FIRST)) && table.peers().iter().all(|peer| !table.is_own(peer.id())));
    for text in ["alice", FIRST, FIRST_BASE36] {
        assert_eq!(table.find(text), Some(table.own()), "{text}");
    }
    assert_eq!(table.by_route("10.1.2.3".parse().unwrap()), Some(table.own()));
    let named =
        PeerTable::new(id(FIRST), Some(label("home")), [entry(id(FIRST), "alice", &[])], LOCAL_SERVICES_IPV4)
            .expect("a good list");
    assert_eq!(named.own().name(), Some(&label("home")));
    assert_eq!(named.find("alice"), None);
}

#[test]
fn a_reference_is_a_name_or_the_beginning_of_one_id() {
    let table = table();
    let meant = |text: &str| table.reference(text).map(Peer::id);
    for text in ["@bob", "@Bob", SECOND, &SECOND[..10], SECOND_BASE36, &SECOND_BASE36[..20].to_uppercase()] {
        assert_eq!(meant(text), Ok(&id(SECOND)), "{text}");
    }
    for text in ["", "@", "bob", "@carol", "12D3KooWx", &SECOND.to_lowercase(), &made_up(&[9]).to_string()] {
        assert_eq!(
            meant(text),
            Err(ReferenceError { text: text.to_owned(), problem: ReferenceProblem::Nobody })
        );
    }
    for text in ["1", "12D3Koo", "k", "k51qzi5uqu5d"] {
        let error = meant(text).expect_err("several").to_string();
        assert!(
            error.contains(&format!("\"{text}\" names several peers")) && error.contains("@alice"),
            "{error}"
        );
    }
}

#[test]
fn two_of_one_id_or_name_are_refused_naming_both() {
    let twice = refusal(vec![entry(id(SECOND), "bob", &[]), entry(id(SECOND), "rob", &[])]);
    assert!(twice.contains("@bob") && twice.contains("@rob") && twice.contains(SECOND), "{twice}");
    let named = refusal(vec![entry(id(SECOND), "bob", &[]), entry(made_up(&[3]), "Bob", &[])]);
    assert!(named.contains(SECOND) && named.contains(&made_up(&[3]).to_string()), "{named}");
    let own = refusal(vec![entry(id(FIRST), "bob", &[]), entry(id(SECOND), "bob", &[])]);
    assert!(own.contains(FIRST) && own.contains(SECOND), "{own}");
    assert!(refusal(vec![entry(id(FIRST), "", &[]), entry(id(FIRST), "", &[])]).contains("one peer"));
}

#[test]
fn two_with_one_node_id_or_ipv4_are_refused_naming_both() {
    // The key begins at byte 6 of the id: bytes four apart are folded into one byte, two apart into one of
    // the IPv4's.
    let (one, two, three) = (made_up(&[1]), made_up(&[0, 0, 0, 0, 1]), made_up(&[0, 0, 1]));
    assert!(NodeId::of(&one) == NodeId::of(&two) && NodeId::of(&one) != NodeId::of(&three));
    let error = refusal(vec![entry(one, "one", &[]), entry(two, "two", &[])]);
    assert!(error.contains("one node id") && error.contains("@one") && error.contains("@two"), "{error}");
    let error = refusal(vec![entry(one, "one", &[]), entry(three, "three", &[])]);
    assert!(
        error.contains("one IPv4 address") && error.contains("@one") && error.contains("@three"),
        "{error}"
    );
}

#[test]
fn a_route_within_the_networks_own_ranges_is_refused() {
    for (route, range) in [
        ("100.64.0.0/16", "100.64.0.0/16"),
        ("100.64.132.0/24", "100.64.0.0/16"),
        ("198.18.0.0/15", "198.18.0.0/15"),
        ("198.19.1.1/32", "198.18.0.0/15"),
        ("fd00:6879:7072:7370:7376::/80", "fd00:6879:7072:7370:7376::/80"),
        ("fd00:6879:7072:7370:6163:6500::/112", "fd00:6879:7072:7370:6163:6500::/96"),
    ] {
        let error = refusal(vec![entry(id(SECOND), "bob", &[route])]);
        assert!(error.contains("@bob") && error.contains(route) && error.contains(range), "{error}");
    }
}

#[test]
fn a_wider_route_is_taken_and_leaves_the_networks_own_ranges_alone() {
    let table = list(vec![entry(id(SECOND), "bob", &["0.0.0.0/0", "fd00::/8"])]).expect("a good list");
    let routed = |address: &str| table.by_route(address.parse().expect("an address")).map(Peer::id);
    for address in ["8.8.8.8", "100.65.0.1", "fd00::1"] {
        assert_eq!(routed(address), Some(&id(SECOND)), "{address}");
    }
    for address in ["100.64.9.9", "198.18.0.1", "fd00:6879:7072:7370:7376::1", "2001:db8::1"] {
        assert_eq!(routed(address), None, "{address}");
    }
}

#[test]
fn one_route_of_two_is_refused_naming_both() {
    let error = refusal(vec![
        entry(id(SECOND), "bob", &["10.2.0.0/16", "10.2.9.9/16"]),
        entry(made_up(&[3]), "carol", &["10.2.1.1/16"]),
    ]);
    assert!(error.contains("@bob") && error.contains("@carol") && error.contains("10.2.0.0/16"), "{error}");
    let own =
        refusal(vec![entry(id(SECOND), "bob", &["10.2.0.0/16"]), entry(id(FIRST), "", &["10.2.0.0/16"])]);
    assert!(own.contains("@bob") && own.contains(FIRST), "{own}");
}

#[test]
fn the_longest_route_wins() {
    let table = table();
    let routed = |address: &str| table.by_route(address.parse().expect("an address")).map(Peer::id);
    assert_eq!(routed("10.2.0.1"), Some(&id(SECOND)));
    assert_eq!(routed("10.3.0.1"), Some(&made_up(&[3])));
    assert_eq!(routed("11.0.0.1"), None);
}

proptest! {
    #[test]
    fn a_reference_means_one_node_exactly_when_one_begins_so(
        keys in prop::collection::hash_set((0_u8..8, 0_u8..8), 1..6),
        whose in any::<prop::sample::Index>(),
        len in 0_usize..53,
        is_base36 in any::<bool>(),
    ) {
        let ids: Vec<PeerId> = keys.into_iter().map(|(a, b)| made_up(&[a * 32, b])).collect();
        let mut nodes: Vec<_> = ids.iter().map(NodeId::of).collect();
        nodes.sort_unstable();
        nodes.dedup();
        let ipv4: std::collections::HashSet<_> = ids.iter().map(node_ipv4).collect();
        prop_assume!(nodes.len() == ids.len() && ipv4.len() == ids.len());

        let written = |id: &PeerId| if is_base36 { id.to_base36() } else { id.to_string() };
        let text: String = written(whose.get(&ids)).chars().take(len).collect();
        let peers = ids[1..].iter().map(|id| entry(*id, "", &[]));
        let table = PeerTable::new(ids[0], None, peers, LOCAL_SERVICES_IPV4).expect("distinct");
        let count = ids.iter().filter(|id| written(id).starts_with(&text)).count();
        match table.reference(&text) {
            Ok(peer) => {
                prop_assert_eq!(count, 1);
                prop_assert!(written(peer.id()).starts_with(&text));
            }
            Err(ReferenceError { problem: ReferenceProblem::Nobody, .. }) => prop_assert!(text.is_empty()),
            Err(ReferenceError { problem: ReferenceProblem::Several(..), .. }) => prop_assert!(count > 1),
        }
    }
}
