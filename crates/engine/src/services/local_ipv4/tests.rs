use super::*;
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
use proptest::prelude::*;

fn service(number: u16) -> LocalService {
    LocalService { node: NodeId([1, 2, 3, 4]), service: ServiceId(number.to_be_bytes()), name: None }
}

const START: Duration = Duration::ZERO;
/// When what was asked for at the start may be given again.
const LATER: Duration = KEPT_UNUSED;

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

#[test]
fn a_service_keeps_its_address() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, DEFAULT_LIMIT);
    let first = local.allocate(&service(1), START).expect("room");
    let second = local.allocate(&service(2), START).expect("room");
    assert_eq!([first, second], [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2)]);
    assert_eq!(local.allocate(&service(1), START), Some(first));
    assert_eq!(local.service(first), Some(&service(1)));
    assert_eq!(local.address(&service(2)), Some(second));
    assert_eq!((local.len(), local.revision()), (2, 2));
}

#[test]
fn two_names_with_one_id_have_two_addresses() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, DEFAULT_LIMIT);
    let named = |name: &str| LocalService { name: Some(name.parse().expect("a label")), ..service(7) };
    assert_ne!(local.allocate(&named("ai"), START), local.allocate(&named("ci"), START));
    assert_ne!(local.allocate(&service(7), START), local.allocate(&named("ci"), START));
    let name_of = |service| local.name_of(NodeId([1, 2, 3, 4]), service).map(Label::as_str);
    assert_eq!(name_of(ServiceId([0, 7])), Some("ai"));
    assert_eq!(name_of(ServiceId([0, 6])), None);
}

#[test]
fn the_least_recently_asked_for_address_is_given_again_when_all_are() {
    // .0 and .7 are the network's own.
    let mut local = LocalIpv4::new(net("10.0.0.0/29"), DEFAULT_LIMIT);
    let given: Vec<_> = (0..6).map(|number| local.allocate(&service(number), START).expect("room")).collect();
    assert_eq!(given.iter().map(|address| address.octets()[3]).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    assert_eq!(local.allocate(&service(0), START), Some(given[0]));
    assert_eq!(local.allocate(&service(6), LATER), Some(given[1]));
    assert_eq!(local.address(&service(1)), None);
    assert_eq!(local.service(given[1]), Some(&service(6)));
    assert_eq!(local.len(), 6);
}

#[test]
fn an_address_that_a_program_may_have_is_given_to_no_other() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, 2);
    let given: Vec<_> = (0..2).map(|number| local.allocate(&service(number), START).expect("room")).collect();
    let before = Duration::from_secs(119);
    assert_eq!(local.allocate(&service(2), before), None);
    assert_eq!(local.allocate(&service(0), before), Some(given[0]), "it is asked for again");
    local.touch(given[1], before);
    assert_eq!(local.allocate(&service(2), KEPT_UNUSED), None);
    assert_eq!(local.allocate(&service(2), KEPT_UNUSED * 2), Some(given[0]));
    local.touch(given[0], KEPT_UNUSED * 2);
    assert_eq!(local.allocate(&service(3), KEPT_USED), None, "connections use both");
    assert_eq!(local.allocate(&service(3), KEPT_USED + KEPT_UNUSED), Some(given[1]));
}

#[test]
fn who_asks_for_all_names_takes_no_address_that_a_connection_used() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, 100);
    let used = local.allocate(&service(0), START).expect("room");
    local.touch(used, START);
    for number in 1..1000 {
        let now = KEPT_USED * 2 + KEPT_UNUSED * number.into();
        assert_ne!(local.allocate(&service(number), now), Some(used), "{number}");
    }
    assert_eq!(local.address(&service(0)), Some(used));
    assert_eq!(local.service(used), Some(&service(0)));
}

#[test]
fn no_more_addresses_are_given_than_is_allowed() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, 2);
    let times = [START, START, LATER, LATER];
    let given: Vec<_> =
        (0..).zip(times).map(|(number, now)| local.allocate(&service(number), now).expect("room")).collect();
    assert_eq!((given[2], given[3]), (given[0], given[1]));
    assert_eq!(LocalIpv4::new(LOCAL_SERVICES_IPV4, 0).allocate(&service(1), START), None);
}

#[test]
fn a_network_without_room_has_no_addresses() {
    for tiny in ["10.0.0.1/32", "10.0.0.0/31", "255.255.255.255/32"] {
        assert_eq!(LocalIpv4::new(net(tiny), 9).allocate(&service(1), START), None, "{tiny}");
    }
    let mut whole = LocalIpv4::new(net("0.0.0.0/0"), 9);
    assert_eq!(whole.allocate(&service(1), START), Some(Ipv4Addr::new(0, 0, 0, 1)));
    let mut last = LocalIpv4::new(net("255.255.255.252/30"), 9);
    let given: Vec<_> = (0..)
        .zip([START, START, LATER])
        .map(|(number, now)| last.allocate(&service(number), now).expect("room").octets()[3])
        .collect();
    assert_eq!(given, [253, 254, 253]);
}

#[test]
fn the_state_outlives_the_process_as_json() {
    let mut local = LocalIpv4::new(net("10.0.0.0/29"), DEFAULT_LIMIT);
    let given: Vec<_> = (0..3).map(|number| local.allocate(&service(number), START).expect("room")).collect();
    local.touch(given[0], START);
    let text = serde_json::to_string(&local.state()).expect("json");
    let state: LocalIpv4State = serde_json::from_str(&text).expect("its own json");
    assert_eq!(state, local.state());

    let mut same = LocalIpv4::restore(net("10.0.0.0/29"), DEFAULT_LIMIT, state.clone());
    assert_eq!(same.state(), local.state());
    assert_eq!(same.revision(), 0);
    assert_eq!(same.allocate(&service(2), START), Some(given[2]));
    assert_eq!(
        same.allocate(&service(9), START),
        Some(Ipv4Addr::new(10, 0, 0, 4)),
        "what is free goes first"
    );

    let fewer = LocalIpv4::restore(net("10.0.0.0/29"), 2, state.clone());
    assert_eq!(fewer.address(&service(1)), None, "the least recently used");
    assert_eq!((fewer.address(&service(0)), fewer.address(&service(2))), (Some(given[0]), Some(given[2])));
    assert!(LocalIpv4::restore(net("10.1.0.0/29"), 9, state).is_empty(), "another network");
}

#[test]
fn a_bad_state_costs_its_bad_entries_alone() {
    let entry = |address: [u8; 4], number: u16| StateEntry {
        address: address.into(),
        node: [1, 2, 3, 4],
        service: number.to_be_bytes(),
        name: None,
        used: false,
    };
    let state = LocalIpv4State(vec![
        entry([10, 0, 0, 0], 1),
        entry([10, 0, 0, 7], 2),
        entry([10, 0, 0, 3], 3),
        entry([10, 0, 0, 3], 4),
        entry([10, 0, 0, 4], 3),
    ]);
    let local = LocalIpv4::restore(net("10.0.0.0/29"), 9, state);
    assert_eq!(local.state(), LocalIpv4State(vec![entry([10, 0, 0, 3], 3)]));
}

#[derive(Clone, Debug)]
enum Step {
    Allocate(u16),
    Touch(u8),
    Wait(u32),
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u16..24).prop_map(Step::Allocate),
        4 => (0_u8..18).prop_map(Step::Touch),
        2 => prop_oneof![0_u32..200, 3000_u32..4000].prop_map(Step::Wait),
        1 => Just(Step::Restart),
    ]
}

/// An address that is given, as the model has it.
#[derive(Clone, Debug)]
struct Entry {
    service: LocalService,
    address: Ipv4Addr,
    used: bool,
    at: Duration,
}

/// Takes the first of a kind out of the model, if it is not kept.
fn first_not_kept(model: &mut Vec<Entry>, used: bool, now: Duration) -> Option<Ipv4Addr> {
    let at = model.iter().position(|entry| entry.used == used)?;
    let kept = if used { KEPT_USED } else { KEPT_UNUSED };
    (now >= model[at].at + kept).then(|| model.remove(at).address)
}

proptest! {
    /// The model: a list of services and addresses, least recently used first.
    #[test]
    fn it_agrees_with_a_list(limit in 0_usize..20, steps in prop::collection::vec(step(), 0..120)) {
        let net = net("10.0.0.16/28");
        let most = limit.min(14);
        let mut local = LocalIpv4::new(net, limit);
        let mut model: Vec<Entry> = Vec::new();
        let mut now = START;
        for step in steps {
            match step {
                Step::Allocate(number) => {
                    let service = service(number);
                    let given = local.allocate(&service, now);
                    let known = model.iter().position(|known| known.service == service);
                    let known = known.map(|at| model.remove(at));
                    let expected = match &known {
                        Some(entry) => Some(entry.address),
                        None if model.len() == most => first_not_kept(&mut model, false, now)
                            .or_else(|| first_not_kept(&mut model, true, now)),
                        None => net.hosts().find(|host| model.iter().all(|entry| entry.address != *host)),
                    };
                    prop_assert_eq!(given, expected);
                    let used = known.is_some_and(|entry| entry.used);
                    model.extend(given.map(|address| Entry { service, address, used, at: now }));
                }
                Step::Touch(last) => {
                    let address = Ipv4Addr::new(10, 0, 0, 16 + last);
                    local.touch(address, now);
                    if let Some(at) = model.iter().position(|known| known.address == address) {
                        let entry = model.remove(at);
                        model.push(Entry { used: true, at: now, ..entry });
                    }
                }
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Restart => {
                    local = LocalIpv4::restore(net, limit, local.state());
                    now = START;
                    model.sort_by_key(|entry| entry.used);
                    for entry in &mut model {
                        entry.at = START;
                    }
                }
            }
            prop_assert_eq!(local.len(), model.len());
            for Entry { service, address, .. } in &model {
                prop_assert_eq!(local.address(service), Some(*address));
                prop_assert_eq!(local.service(*address), Some(service));
            }
        }
    }
}
