use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn id(number: u8) -> PeerId {
    PeerId::from_ed25519(&[number; 32])
}

fn address(text: &str) -> Multiaddr {
    text.parse().expect("a multiaddr")
}

fn tcp(port: u16) -> Multiaddr {
    address(&format!("/ip4/192.0.2.1/tcp/{port}"))
}

fn link(number: usize) -> Arc<Link> {
    Link::new(ConnectionId::new_unchecked(number)).0
}

fn connection(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

/// A table of the node `own` with the peer 5 at one address, and the time.
fn table(own: u8) -> (Table, Instant) {
    let now = Instant::now();
    let mut table = Table::new(id(own), |ip| ip.to_string().starts_with("100.64."), false);
    assert!(table.set(vec![(id(5), Role::Peer, vec![tcp(1)])], now).is_empty());
    (table, now)
}

/// One whose peer has an address of QUIC too, which is that.
fn table_with_quic() -> (Table, Instant, Multiaddr) {
    let (mut table, now) = table(1);
    let quic = address("/ip4/192.0.2.1/udp/1/quic-v1");
    table.set(vec![(id(5), Role::Peer, vec![quic.clone(), tcp(1)])], now);
    (table, now, quic)
}

fn due(table: &Table, now: Instant) -> bool {
    table.due(now).iter().any(|(peer, _)| *peer == id(5))
}

/// Dials and fails; returns the wait until the next dial in seconds.
fn fail(table: &mut Table, now: &mut Instant, number: usize) -> u64 {
    assert!(due(table, *now));
    table.on_dialling(&id(5), connection(number));
    assert!(!due(table, *now), "one dial at a time");
    table.on_dial_failed(&id(5), connection(number), "refused".to_owned(), *now);
    let next = table.deadline().expect("it is dialled again");
    let wait = next - *now;
    *now = next;
    wait.as_secs()
}

#[test]
fn a_peer_is_dialled_at_once_and_then_ever_less_often_up_to_every_15_s() {
    let (mut table, mut now) = table(1);
    let waits: Vec<u64> = (0..7).map(|number| fail(&mut table, &mut now, number)).collect();
    assert_eq!(waits, [1, 2, 4, 8, 15, 15, 15]);
    assert_eq!(table.status(now)[0].last_error.as_deref(), Some("refused"));
}

#[test]
fn a_connection_that_was_up_for_a_while_begins_anew() {
    let (mut table, mut now) = table(1);
    for number in 0..5 {
        fail(&mut table, &mut now, number);
    }
    table.on_connected(&id(5), tcp(1), link(9), now);
    assert!(!due(&table, now + 60 * SECOND), "it is connected");
    now += 60 * SECOND;
    assert!(table.on_closed(&id(5), connection(9), now).is_turn);
    assert!(!due(&table, now));
    assert!(due(&table, now + SECOND));
}

#[test]
fn another_address_of_this_machine_ends_the_waits_and_begins_anew() {
    let (mut table, mut now) = table(1);
    for number in 0..6 {
        fail(&mut table, &mut now, number);
    }
    now -= 15 * SECOND;
    for nothing_new in
        ["/ip4/127.0.0.1/tcp/1", "/ip6/fe80::1/tcp/1", "/ip4/169.254.1.1/tcp/1", "/ip4/100.64.1.1/tcp/1"]
    {
        table.on_listening(address(nothing_new), now);
    }
    assert!(!due(&table, now + 14 * SECOND));
    table.on_listening(address("/ip4/192.0.2.9/tcp/1"), now);
    assert_eq!(fail(&mut table, &mut now, 6), 2);
    now -= 2 * SECOND;
    table.on_listening(address("/ip4/192.0.2.9/udp/1/quic-v1"), now + 9 * SECOND);
    table.on_listening(address("/ip4/192.0.2.10/tcp/1"), now + SECOND);
    assert!(!due(&table, now + SECOND), "the same address, and too soon after another");
    assert!(due(&table, now + 2 * SECOND));
}

#[test]
fn a_peer_that_is_lost_while_a_better_connection_is_tried_is_dialled_again() {
    let (mut table, now, quic) = table_with_quic();
    table.on_connected(&id(5), quic, link(1), now);
    table.on_dialling(&id(5), connection(2));
    let lost = now + 6 * SECOND;
    table.on_closed(&id(5), connection(1), lost);
    assert_eq!(table.due(lost + SECOND)[0].1.len(), 2);
    table.on_dialling(&id(5), connection(3));
    assert!(!table.on_dial_failed(&id(5), connection(2), "refused".to_owned(), lost + SECOND));
    assert!(!due(&table, lost + 60 * SECOND), "one dial at a time");
}

#[test]
fn a_connection_that_broke_at_once_was_a_failure() {
    let (mut table, mut now) = table(1);
    for number in 0..3 {
        fail(&mut table, &mut now, number);
    }
    table.on_connected(&id(5), tcp(1), link(9), now);
    table.on_closed(&id(5), connection(9), now + SECOND);
    assert!(!due(&table, now + 8 * SECOND));
    assert!(due(&table, now + 9 * SECOND));
}

#[test]
fn a_peer_that_is_connected_by_quic_is_dialled_by_tcp_once_more() {
    let (mut table, now, quic) = table_with_quic();
    table.on_dialling(&id(5), connection(1));
    table.on_connected(&id(5), quic, link(1), now);
    assert_eq!(table.status(now)[0].retry_in, None, "it is connected");
    let later = table.deadline().expect("there is something to do");
    assert_eq!((table.due(now), table.due(later)), (Vec::new(), vec![(id(5), vec![tcp(1)])]));
    table.on_dialling(&id(5), connection(2));
    let mut refused = table;
    refused.on_dial_failed(&id(5), connection(2), "refused".to_owned(), later);
    assert!(!due(&refused, later + 600 * SECOND), "once");
    assert_eq!(refused.status(later)[0].last_error, None, "it is connected");
}

#[test]
fn a_failed_dial_of_a_connected_peer_is_not_tried_again() {
    let (mut table, now) = table(1);
    table.on_dialling(&id(5), connection(1));
    table.on_connected(&id(5), tcp(1), link(2), now);
    assert!(!table.on_dial_failed(&id(5), connection(1), "refused".to_owned(), now));
    assert!(!due(&table, now + 60 * SECOND));
}

#[test]
fn the_first_failure_alone_is_told() {
    let (mut table, now) = table(1);
    table.on_dialling(&id(5), connection(1));
    assert!(table.on_dial_failed(&id(5), connection(1), "refused".to_owned(), now));
    table.on_dialling(&id(5), connection(2));
    assert!(!table.on_dial_failed(&id(5), connection(2), "refused".to_owned(), now));
}

#[test]
fn a_peer_without_an_address_waits_for_one() {
    let (mut table, now) = table(1);
    table.set(vec![(id(5), Role::Peer, Vec::new())], now);
    assert_eq!((due(&table, now), table.deadline()), (false, None));
    table.on_mdns(&id(5), &tcp(7), true, now);
    assert_eq!(table.due(now), [(id(5), vec![tcp(7)])]);
    table.on_mdns(&id(5), &tcp(7), false, now);
    assert!(!due(&table, now));
}

#[test]
fn a_new_address_is_tried_at_once() {
    let (mut table, mut now) = table(1);
    for number in 0..5 {
        fail(&mut table, &mut now, number);
    }
    table.on_dialling(&id(5), connection(7));
    table.on_dial_failed(&id(5), connection(7), "refused".to_owned(), now);
    assert!(!due(&table, now));
    table.on_mdns(&id(5), &tcp(7), true, now);
    assert!(due(&table, now));
}

#[test]
fn only_peers_addresses_are_taken_from_mdns_and_none_inside_the_tunnel() {
    let (mut table, now) = table(1);
    table.set(vec![(id(5), Role::Peer, Vec::new()), (id(6), Role::Bootstrap, Vec::new())], now);
    for peer in [id(6), id(7)] {
        table.on_mdns(&peer, &tcp(7), true, now);
    }
    table.on_mdns(&id(5), &address("/ip4/100.64.1.2/tcp/1"), true, now);
    assert!(table.due(now).is_empty());
}

#[test]
fn what_a_peer_says_of_itself_is_dialled_too_but_for_what_is_inside_the_tunnel() {
    let (mut table, now) = table(1);
    table.on_connected(&id(5), tcp(1), link(1), now);
    let said = [tcp(2), address("/ip4/100.64.1.2/tcp/1"), address("/ip4/127.0.0.1/tcp/1"), tcp(1)];
    table.on_identified(&id(5), connection(1), &said);
    assert_eq!(table.status(now)[0].addresses, [tcp(1), tcp(2)]);
    table.on_identified(&id(5), connection(1), &[tcp(3)]);
    assert_eq!(table.status(now)[0].addresses, [tcp(1), tcp(3)]);
}

#[test]
fn the_lower_id_alone_lets_superseded_connections_go() {
    let (mut lower, now) = table(1);
    assert_eq!(lower.on_connected(&id(5), tcp(1), link(1), now).keep, []);
    assert_eq!(lower.on_connected(&id(5), tcp(1), link(2), now).keep, [(connection(1), false)]);
    let quic = address("/ip4/192.0.2.1/udp/1/quic-v1");
    assert_eq!(lower.on_connected(&id(5), quic, link(3), now).keep, [(connection(3), false)]);

    let (mut higher, now) = table(9);
    higher.on_connected(&id(5), tcp(1), link(1), now);
    assert_eq!(higher.on_connected(&id(5), tcp(1), link(2), now).keep, []);
}

#[test]
fn a_superseded_connection_is_kept_again_when_it_is_the_last() {
    let (mut table, now) = table(1);
    table.on_connected(&id(5), tcp(1), link(1), now);
    table.on_connected(&id(5), tcp(1), link(2), now);
    let settled = table.on_closed(&id(5), connection(2), now);
    assert_eq!(settled, Settled { keep: vec![(connection(1), true)], close: None, is_turn: false });
}

#[test]
fn the_oldest_of_too_many_connections_is_closed() {
    let (mut table, now) = table(1);
    let closed: Vec<_> = (0..=MAX_CONNECTIONS)
        .map(|number| table.on_connected(&id(5), tcp(1), link(number), now).close)
        .collect();
    assert!(closed[..MAX_CONNECTIONS].iter().all(Option::is_none));
    assert_eq!(closed[MAX_CONNECTIONS], Some(connection(0)));
}

#[test]
fn a_silent_connection_is_dead_and_a_busy_one_is_not() {
    let (mut table, now) = table(1);
    let (silent, busy, answering, mute) = (link(1), link(2), link(3), link(4));
    for link in [&silent, &busy, &answering, &mute] {
        table.on_connected(&id(5), tcp(1), Arc::clone(link), now);
    }
    table.on_ping(&id(5), mute.id, None, now);
    let later = now + SILENCE;
    assert_eq!(table.deadline(), Some(later));
    busy.hear(later);
    table.on_ping(&id(5), answering.id, Some(SECOND), later);
    assert_eq!(table.silent(later), [(id(5), silent.id)]);
    assert_eq!(table.silent(later), [], "once is enough");
    assert!(table.deadline() > Some(later), "there is nothing to do at once");
}

#[test]
fn those_that_are_gone_are_named_and_others_keep_their_connections() {
    let (mut table, now) = table(1);
    table.set(vec![(id(5), Role::Peer, vec![tcp(1)]), (id(6), Role::Peer, vec![tcp(2)])], now);
    for (number, peer) in [(1, id(5)), (2, id(6))] {
        table.on_connected(&peer, tcp(1), link(number), now);
    }
    assert_eq!(table.set(vec![(id(6), Role::Peer, vec![tcp(3)])], now), [id(5)]);
    assert!(table.is_connected(&id(6)));
    assert_eq!(table.on_closed(&id(5), connection(1), now), Settled::default());
    assert_eq!(
        table.set(vec![(id(6), Role::Bootstrap, vec![tcp(3)])], now),
        [id(6)],
        "it is another thing now"
    );
}

#[test]
fn our_own_id_is_passed_over() {
    let (mut table, now) = table(1);
    table.set(vec![(id(1), Role::Peer, vec![tcp(1)])], now);
    assert!(table.status(now).is_empty());
}

#[test]
fn what_others_tell_of_a_peer_is_dialled_within_bounds() {
    let (mut table, mut now) = table(1);
    fail(&mut table, &mut now, 0);
    fail(&mut table, &mut now, 1);
    now -= SECOND;
    let told = [
        "/ip4/100.64.1.2/tcp/1",
        "/ip4/127.0.0.1/tcp/1",
        "/dns/a.example/tcp/1",
        "/ip6/fe80::1/tcp/1",
        "/ip4/192.0.2.1/udp/1",
    ];
    table.on_told(&id(5), &told.map(address), now);
    table.on_told(&id(6), &[tcp(2)], now);
    assert!(!due(&table, now), "nothing of it may be dialled");
    table.on_told(&id(5), &[tcp(1), tcp(2)], now);
    assert_eq!(table.due(now), [(id(5), vec![tcp(1), tcp(2)])]);
    let many: Vec<_> = (3..1000).map(tcp).collect();
    table.on_told(&id(5), &many, now);
    assert!(table.status(now)[0].addresses.len() <= 17, "one is configured");
    table.filter_private = true;
    table.on_told(&id(5), &[address("/ip4/10.1.2.3/tcp/1"), address("/ip4/198.51.100.1/tcp/9")], now);
    let known = &table.status(now)[0].addresses;
    assert!(!known.contains(&address("/ip4/10.1.2.3/tcp/1")), "private ones are filtered");
    assert!(known.contains(&address("/ip4/198.51.100.1/tcp/9")));
}
