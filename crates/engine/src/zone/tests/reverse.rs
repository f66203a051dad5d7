use super::*;
use std::net::IpAddr;

fn reverse(address: &str) -> String {
    Name::from(address.parse::<IpAddr>().expect("an address")).to_ascii()
}

impl World {
    fn ptr(&mut self, address: &str) -> Vec<String> {
        let answers = self.answers(&reverse(address), RecordType::PTR);
        answers.into_iter().map(|answer| answer.split(' ').skip(1).collect::<Vec<_>>().join(" ")).collect()
    }
}

#[test]
fn a_nodes_addresses_have_its_name() {
    let mut world = World::new();
    for address in [SECOND_V4, SECOND_V6] {
        assert_eq!(world.ptr(address), ["0 PTR bob.hyprspace."]);
    }
    for address in [FIRST_V4, FIRST_V6] {
        assert_eq!(world.ptr(address), ["0 PTR host.hyprspace."]);
    }
    let unnamed = world.peers.by_id(&third()).expect("a peer").ipv4().to_string();
    assert_eq!(world.ptr(&unnamed), [format!("0 PTR {}.hyprspace.", third().to_base36())]);
    world.hostname = label("bob");
    assert_eq!(world.ptr(FIRST_V4), [format!("0 PTR {FIRST_BASE36}.hyprspace.")], "bob is another");
}

#[test]
fn a_services_addresses_have_its_name_if_that_is_known() {
    let mut world = World::new();
    assert_eq!(world.ptr(FIRST_WEB), ["0 PTR web.host.hyprspace."]);
    assert_eq!(world.code(&reverse(SECOND_WEB), RecordType::PTR), ResponseCode::NXDomain, "nobody told");
    world.ask("web.bob.hyprspace", RecordType::A);
    assert_eq!(world.ptr("198.18.0.1"), ["0 PTR web.bob.hyprspace."]);
    assert_eq!(world.ptr(SECOND_WEB), ["0 PTR web.bob.hyprspace."], "as somebody has asked for it");

    let mut world = World::new().told(&["web"]);
    assert_eq!(world.ptr(SECOND_WEB), ["0 PTR web.bob.hyprspace."]);
}

#[test]
fn an_address_of_nobody_has_no_name() {
    let mut world = World::new();
    for address in [
        "100.64.0.1",
        "198.19.0.1",
        "fd00:6879:7072:7370:6163:6500::1",
        "fd00:6879:7072:7370:7376:f26:ea70:1",
        "fd00:6879:7072:7370:7376::1",
    ] {
        let answer = world.ask(&reverse(address), RecordType::PTR);
        assert_eq!(answer.response_code, ResponseCode::NXDomain, "{address}");
        assert!(has_soa(&answer), "{address}");
    }
    for strange in [
        "x.22.132.64.100.in-addr.arpa",
        "022.132.64.100.in-addr.arpa",
        "+22.132.64.100.in-addr.arpa",
        "x.64.100.in-addr.arpa",
        "256.132.64.100.in-addr.arpa",
        &format!("1.{}", reverse(FIRST_V6)),
        &format!("{}{}", "1.".repeat(90), reverse(FIRST_V4)),
    ] {
        assert_eq!(world.code(strange, RecordType::PTR), ResponseCode::NXDomain, "{strange}");
    }
}

#[test]
fn a_known_address_without_the_type_has_no_data() {
    let mut world = World::new();
    for address in [FIRST_V4, FIRST_V6, FIRST_WEB] {
        assert!(is_no_data(&world.ask(&reverse(address), RecordType::TXT)), "{address}");
        assert_eq!(world.answers(&reverse(address), RecordType::ANY).len(), 1);
    }
}

#[test]
fn each_range_is_a_zone() {
    let mut world = World::new();
    for top in [
        "64.100.in-addr.arpa.",
        "18.198.in-addr.arpa.",
        "19.198.in-addr.arpa.",
        "0.0.5.6.3.6.1.6.0.7.3.7.2.7.0.7.9.7.8.6.0.0.d.f.ip6.arpa.",
        "6.7.3.7.0.7.3.7.2.7.0.7.9.7.8.6.0.0.d.f.ip6.arpa.",
    ] {
        assert_eq!(world.answers(top, RecordType::ANY).len(), 2, "SOA and NS of {top}");
        assert!(is_no_data(&world.ask(top, RecordType::PTR)), "{top}");
        let below = format!("1.{top}");
        let answer = world.ask(&below, RecordType::PTR);
        assert!(is_no_data(&answer), "there may be something below {below}");
        assert_eq!(answer.authorities[0].name.to_ascii(), top);
    }
}

#[test]
fn other_addresses_are_refused() {
    let mut world = World::new();
    for asked in [
        reverse("100.65.0.1"),
        reverse("192.168.0.1"),
        reverse("2001:db8::1"),
        "100.in-addr.arpa".to_owned(),
        "in-addr.arpa".to_owned(),
        "ip6.arpa".to_owned(),
        "d.f.ip6.arpa".to_owned(),
        "64.100.in-addr.example".to_owned(),
    ] {
        assert_eq!(world.code(&asked, RecordType::PTR), ResponseCode::Refused, "{asked}");
    }
}

#[test]
fn the_zones_of_addresses_are_those_that_answers_are_of() {
    for (local, count) in
        [("198.18.0.0/15", 2), ("10.0.0.0/8", 1), ("10.128.0.0/9", 128), ("10.1.2.32/27", 32)]
    {
        let mut world = World::new();
        let local = local.parse().expect("a network");
        world.peers = PeerTable::new(id(FIRST), None, [], local).expect("a good list");
        let zones = reverse_zones(&world.peers);
        assert_eq!(zones.len(), 3 + count, "{zones:?}");
        for zone in &zones {
            let answer = world.ask(zone, RecordType::SOA);
            assert_eq!(answer.answers.first().map(|soa| soa.name.to_ascii()).as_ref(), Some(zone));
        }
        let ranges = world.peers.ranges();
        for address in
            ranges.map(|range| range.addr()).into_iter().chain(ranges.map(|range| range.broadcast()))
        {
            let name = reverse(&address.to_string());
            assert!(
                zones.iter().any(|zone| format!(".{name}").ends_with(&format!(".{zone}"))),
                "{name} {zones:?}"
            );
        }
    }
}

#[test]
fn local_addresses_of_a_small_network_have_names_too() {
    let mut world = World::new();
    let local = "10.1.2.32/27".parse().expect("a network");
    world.peers =
        PeerTable::new(id(FIRST), None, [entry(id(SECOND), "bob", &[])], local).expect("a good list");
    world.local_ipv4 = LocalIpv4::new(local, 100);
    world.ask("web.bob.hyprspace", RecordType::A);
    assert_eq!(world.ptr("10.1.2.33"), ["0 PTR web.bob.hyprspace."]);
    assert_eq!(world.code(&reverse("10.1.2.34"), RecordType::PTR), ResponseCode::NXDomain);
    assert_eq!(world.code(&reverse("10.1.2.31"), RecordType::PTR), ResponseCode::Refused);
}
