use super::*;
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
use proptest::prelude::*;

fn service(number: u16) -> LocalService {
    LocalService { node: NodeId([1, 2, 3, 4]), service: ServiceId(number.to_be_bytes()), name: None }
}

fn net(text: &str) -> Ipv4Net {
    text.parse().expect("a network")
}

#[test]
fn a_service_keeps_its_address() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, DEFAULT_LIMIT);
    let first = local.allocate(&service(1)).expect("room");
    let second = local.allocate(&service(2)).expect("room");
    assert_eq!([first, second], [Ipv4Addr::new(198, 18, 0, 1), Ipv4Addr::new(198, 18, 0, 2)]);
    assert_eq!(local.allocate(&service(1)), Some(first));
    assert_eq!(local.service(first), Some(&service(1)));
    assert_eq!(local.address(&service(2)), Some(second));
    assert_eq!((local.len(), local.revision()), (2, 2));
}

#[test]
fn two_names_with_one_id_have_two_addresses() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, DEFAULT_LIMIT);
    let named = |name: &str| LocalService { name: Some(name.parse().expect("a label")), ..service(7) };
    assert_ne!(local.allocate(&named("ai")), local.allocate(&named("ci")));
    assert_ne!(local.allocate(&service(7)), local.allocate(&named("ci")));
    let name_of = |service| local.name_of(NodeId([1, 2, 3, 4]), service).map(Label::as_str);
    assert_eq!(name_of(ServiceId([0, 7])), Some("ai"));
    assert_eq!(name_of(ServiceId([0, 6])), None);
}

#[test]
fn the_least_recently_used_address_is_given_again_when_all_are() {
    // .0 and .7 are the network's own.
    let mut local = LocalIpv4::new(net("10.0.0.0/29"), DEFAULT_LIMIT);
    let given: Vec<_> = (0..6).map(|number| local.allocate(&service(number)).expect("room")).collect();
    assert_eq!(given.iter().map(|address| address.octets()[3]).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    local.touch(given[0]);
    assert_eq!(local.allocate(&service(6)), Some(given[1]));
    assert_eq!(local.address(&service(1)), None);
    assert_eq!(local.service(given[1]), Some(&service(6)));
    assert_eq!(local.len(), 6);
}

#[test]
fn no_more_addresses_are_given_than_is_allowed() {
    let mut local = LocalIpv4::new(LOCAL_SERVICES_IPV4, 2);
    let given: Vec<_> = (0..4).map(|number| local.allocate(&service(number)).expect("room")).collect();
    assert_eq!((given[2], given[3]), (given[0], given[1]));
    assert_eq!(LocalIpv4::new(LOCAL_SERVICES_IPV4, 0).allocate(&service(1)), None);
}

#[test]
fn a_network_without_room_has_no_addresses() {
    for tiny in ["10.0.0.1/32", "10.0.0.0/31", "255.255.255.255/32"] {
        assert_eq!(LocalIpv4::new(net(tiny), 9).allocate(&service(1)), None, "{tiny}");
    }
    let mut whole = LocalIpv4::new(net("0.0.0.0/0"), 9);
    assert_eq!(whole.allocate(&service(1)), Some(Ipv4Addr::new(0, 0, 0, 1)));
    let mut last = LocalIpv4::new(net("255.255.255.252/30"), 9);
    let given: Vec<_> =
        (0..3).map(|number| last.allocate(&service(number)).expect("room").octets()[3]).collect();
    assert_eq!(given, [253, 254, 253]);
}

#[test]
fn the_state_outlives_the_process_as_json() {
    let mut local = LocalIpv4::new(net("10.0.0.0/29"), DEFAULT_LIMIT);
    let given: Vec<_> = (0..3).map(|number| local.allocate(&service(number)).expect("room")).collect();
    local.touch(given[0]);
    let text = serde_json::to_string(&local.state()).expect("json");
    let state: LocalIpv4State = serde_json::from_str(&text).expect("its own json");
    assert_eq!(state, local.state());

    let mut same = LocalIpv4::restore(net("10.0.0.0/29"), DEFAULT_LIMIT, state.clone());
    assert_eq!(same.state(), local.state());
    assert_eq!(same.revision(), 0);
    assert_eq!(same.allocate(&service(2)), Some(given[2]));
    assert_eq!(same.allocate(&service(9)), Some(Ipv4Addr::new(10, 0, 0, 4)), "what is free goes first");

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
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0_u16..24).prop_map(Step::Allocate),
        4 => (0_u8..18).prop_map(Step::Touch),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// The model: a list of services and addresses, least recently used first.
    #[test]
    fn it_agrees_with_a_list(limit in 0_usize..20, steps in prop::collection::vec(step(), 0..120)) {
        let net = net("10.0.0.16/28");
        let most = limit.min(14);
        let mut local = LocalIpv4::new(net, limit);
        let mut model: Vec<(LocalService, Ipv4Addr)> = Vec::new();
        for step in steps {
            match step {
                Step::Allocate(number) => {
                    let key = service(number);
                    let given = local.allocate(&key);
                    let known = model.iter().position(|(known, _)| *known == key);
                    let expected = match known {
                        Some(at) => Some(model.remove(at).1),
                        None if most == 0 => None,
                        None if model.len() == most => Some(model.remove(0).1),
                        None => net.hosts().find(|host| model.iter().all(|(_, address)| address != host)),
                    };
                    prop_assert_eq!(given, expected);
                    model.extend(given.map(|address| (key, address)));
                }
                Step::Touch(last) => {
                    let address = Ipv4Addr::new(10, 0, 0, 16 + last);
                    local.touch(address);
                    if let Some(at) = model.iter().position(|(_, known)| *known == address) {
                        let entry = model.remove(at);
                        model.push(entry);
                    }
                }
                Step::Restart => local = LocalIpv4::restore(net, limit, local.state()),
            }
            prop_assert_eq!(local.len(), model.len());
            for (key, address) in &model {
                prop_assert_eq!(local.address(key), Some(*address));
                prop_assert_eq!(local.service(*address), Some(key));
            }
        }
    }
}
