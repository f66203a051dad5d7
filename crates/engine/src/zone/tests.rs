mod protocol;
mod reverse;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_address::LOCAL_SERVICES_IPV4;
use hypertap_wire::service_stream::ServiceNames;

use super::*;
use crate::services::registry::Service;
use crate::services::samples::{FIRST, FIRST_BASE36, SECOND, SECOND_BASE36, entry, id, label, made_up};

const FIRST_V4: &str = "100.64.132.22";
const FIRST_V6: &str = "fd00:6879:7072:7370:6163:6500:f26:ea70";
const FIRST_WEB: &str = "fd00:6879:7072:7370:7376:f26:ea70:3b9b";
const SECOND_V4: &str = "100.64.4.143";
const SECOND_V6: &str = "fd00:6879:7072:7370:6163:6500:b497:d158";
const SECOND_WEB: &str = "fd00:6879:7072:7370:7376:b497:d158:3b9b";

/// The first node is this one, on the machine `host`, with the service `web`. The second is `bob`; the
/// third has no name.
struct World {
    suffix: Suffix,
    hostname: Label,
    peers: PeerTable,
    registry: Registry,
    told: Told,
    local_ipv4: LocalIpv4,
    now: Duration,
}

impl World {
    fn new() -> Self {
        let peers = [entry(id(SECOND), "bob", &[]), entry(third(), "", &[])];
        let web = Service::new(label("web"), "/tcp/80".parse().expect("a target"));
        Self {
            suffix: Suffix::new("hypertap", "hyprspace").expect("a zone"),
            hostname: label("host"),
            peers: PeerTable::new(id(FIRST), None, peers, LOCAL_SERVICES_IPV4).expect("a good list"),
            registry: Registry::new([web]).expect("one service"),
            told: Told::new(),
            local_ipv4: LocalIpv4::new(LOCAL_SERVICES_IPV4, 100),
            now: Duration::ZERO,
        }
    }

    /// Has bob tell of his services.
    fn told(mut self, names: &[&str]) -> Self {
        let names = ServiceNames::new(names.iter().map(|name| label(name)).collect()).expect("few");
        assert!(self.told.replace(&self.peers, &id(SECOND), names));
        self
    }

    fn answer(&mut self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let Self { suffix, hostname, peers, registry, told, local_ipv4, now } = self;
        let (hostname, now) = (Some(&*hostname), *now);
        let mut zone = Zone { suffix, hostname, peers, registry, told, local_ipv4, now };
        zone.answer(query, transport)
    }

    fn exchange(&mut self, query: &Message, transport: Transport) -> Message {
        let answer = self.answer(&query.to_vec().expect("a message"), transport).expect("an answer");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!((answer.id, answer.message_type), (query.id, MessageType::Response));
        answer
    }

    fn ask(&mut self, name: &str, kind: RecordType) -> Message {
        self.exchange(&query(name, kind), Transport::Udp)
    }

    /// The answers as text, each `NAME TTL TYPE DATA`.
    fn answers(&mut self, name: &str, kind: RecordType) -> Vec<String> {
        let answer = self.ask(name, kind);
        assert_eq!(answer.response_code, ResponseCode::NoError, "{name} {kind}");
        assert!(answer.authoritative && answer.authorities.is_empty(), "{name} {kind}");
        shown(&answer)
    }

    fn code(&mut self, name: &str, kind: RecordType) -> ResponseCode {
        self.ask(name, kind).response_code
    }
}

fn third() -> PeerId {
    made_up(&[3])
}

/// The name of these labels, of whatever characters. A vertical bar is a dot within a label.
fn name(text: &str) -> Name {
    let labels = text.split('.').filter(|label| !label.is_empty());
    Name::from_labels(labels.map(|label| label.replace('|', ".").into_bytes())).expect("a name")
}

fn query(text: &str, kind: RecordType) -> Message {
    let mut message = Message::new(0x1234, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(name(text), kind));
    message
}

fn shown(answer: &Message) -> Vec<String> {
    let shown = |record: &Record| {
        let data = match &record.data {
            RData::A(address) => address.0.to_string(),
            RData::AAAA(address) => address.0.to_string(),
            RData::CNAME(name) => name.0.to_ascii(),
            RData::PTR(name) => name.0.to_ascii(),
            RData::NS(name) => name.0.to_ascii(),
            RData::SOA(soa) => soa.mname.to_ascii(),
            other => panic!("{other:?} is not of this zone"),
        };
        format!("{} {} {} {data}", record.name.to_ascii(), record.ttl, record.record_type())
    };
    answer.answers.iter().map(shown).collect()
}

/// There is the name, but nothing of that type.
fn is_no_data(answer: &Message) -> bool {
    answer.response_code == ResponseCode::NoError && has_soa(answer)
}

fn has_soa(answer: &Message) -> bool {
    answer.authoritative
        && answer.authorities.len() == 1
        && answer.authorities[0].record_type() == RecordType::SOA
}

#[test]
fn a_peers_name_is_a_cname_for_its_id_which_has_its_addresses() {
    let mut world = World::new();
    let cname = format!("bob.hyprspace. 0 CNAME {SECOND_BASE36}.hyprspace.");
    let address = |kind, address| format!("{SECOND_BASE36}.hyprspace. 86400 {kind} {address}");
    assert_eq!(world.answers("bob.hyprspace", RecordType::A), [cname.clone(), address("A", SECOND_V4)]);
    assert_eq!(world.answers("bob.hyprspace", RecordType::AAAA), [cname.clone(), address("AAAA", SECOND_V6)]);
    assert_eq!(world.answers("bob.hyprspace", RecordType::CNAME), std::slice::from_ref(&cname));
    assert_eq!(world.answers("bob.hyprspace", RecordType::ANY), [cname]);
}

#[test]
fn an_id_in_base36_has_the_addresses_itself() {
    let mut world = World::new();
    let name = format!("{FIRST_BASE36}.hyprspace");
    let [a, aaaa] = [("A", FIRST_V4), ("AAAA", FIRST_V6)]
        .map(|(kind, address)| format!("{name}. 86400 {kind} {address}"));
    assert_eq!(world.answers(&name, RecordType::A), std::slice::from_ref(&a));
    assert_eq!(world.answers(&name, RecordType::AAAA), std::slice::from_ref(&aaaa));
    assert_eq!(world.answers(&name, RecordType::ANY), [a, aaaa]);
    assert!(is_no_data(&world.ask(&name, RecordType::CNAME)));
    let unnamed = format!("{}.hyprspace", third().to_base36());
    assert_eq!(world.answers(&unnamed, RecordType::A).len(), 1);
}

#[test]
fn an_id_in_base58_is_known_in_its_own_case_only() {
    let mut world = World::new();
    let answers = world.answers(&format!("{SECOND}.hyprspace"), RecordType::A);
    assert_eq!(answers[0], format!("{SECOND}.hyprspace. 0 CNAME {SECOND_BASE36}.hyprspace."));
    let folded = format!("{}.hyprspace", SECOND.to_lowercase());
    assert_eq!(world.code(&folded, RecordType::A), ResponseCode::NXDomain);
}

#[test]
fn the_host_name_is_this_nodes_unless_a_node_is_called_so() {
    let mut world = World::new();
    assert_eq!(
        world.answers("host.hyprspace", RecordType::A),
        [
            format!("host.hyprspace. 0 CNAME {FIRST_BASE36}.hyprspace."),
            format!("{FIRST_BASE36}.hyprspace. 86400 A {FIRST_V4}")
        ]
    );
    world.hostname = label("bob");
    assert!(world.answers("bob.hyprspace", RecordType::A)[1].ends_with(SECOND_V4));
    assert_eq!(world.code("host.hyprspace", RecordType::A), ResponseCode::NXDomain);
}

#[test]
fn case_says_nothing_and_the_question_comes_back_as_asked() {
    let mut world = World::new();
    for asked in ["WEB.hOsT.HyprSpace.", &format!("wEb.{}.HYPRSPACE.", FIRST_BASE36.to_uppercase())] {
        let answer = world.ask(asked, RecordType::AAAA);
        assert_eq!(answer.queries[0].name().to_ascii(), asked);
        assert_eq!(answer.answers[0].name.to_ascii(), asked);
        assert!(shown(&answer).last().expect("an address").ends_with(FIRST_WEB), "{answer}");
    }
}

#[test]
fn a_service_has_its_computed_ipv6_and_a_local_ipv4_address() {
    let mut world = World::new();
    let cname = format!("web.bob.hyprspace. 0 CNAME web.{SECOND_BASE36}.hyprspace.");
    let owner = format!("web.{SECOND_BASE36}.hyprspace.");
    assert_eq!(
        world.answers("web.bob.hyprspace", RecordType::AAAA),
        [cname.clone(), format!("{owner} 86400 AAAA {SECOND_WEB}")]
    );
    assert!(world.local_ipv4.is_empty(), "who asks for IPv6 needs none");
    assert_eq!(
        world.answers("web.bob.hyprspace", RecordType::A),
        [cname, format!("{owner} 60 A 198.18.0.1")]
    );
    assert_eq!(
        world.answers("db.bob.hyprspace", RecordType::A)[1].split(' ').next_back(),
        Some("198.18.0.2")
    );
    assert_eq!(world.answers(&owner, RecordType::A), [format!("{owner} 60 A 198.18.0.1")], "and it stays");
    assert_eq!(world.answers(&owner, RecordType::ANY).len(), 2);
    let given = world.local_ipv4.service(Ipv4Addr::new(198, 18, 0, 1)).expect("given");
    assert_eq!(given.name, Some(label("web")));
}

#[test]
fn without_a_local_ipv4_address_a_service_has_its_ipv6_one() {
    let mut world = World::new();
    world.local_ipv4 = LocalIpv4::new(LOCAL_SERVICES_IPV4, 0);
    let answer = world.ask("web.bob.hyprspace", RecordType::A);
    assert!(is_no_data(&answer) && answer.answers.len() == 1, "{answer}");
}

#[test]
fn who_asks_for_every_name_takes_no_local_address_that_somebody_may_have() {
    let mut world = World::new();
    let last = |answers: Vec<String>| answers.last().cloned().expect("an answer");
    let web = last(world.answers("web.bob.hyprspace", RecordType::A));
    for number in 1..100 {
        world.answers(&format!("s{number}.bob.hyprspace"), RecordType::A);
    }
    let answer = world.ask("s100.bob.hyprspace", RecordType::A);
    assert!(is_no_data(&answer), "{answer}");
    let both = [RecordType::AAAA, RecordType::ANY];
    for kind in both {
        let name = format!("s100.{SECOND_BASE36}.hyprspace");
        let answers = world.answers(&name, kind);
        assert!(answers.len() == 1 && answers[0].contains(" 86400 AAAA "), "{answers:?}");
    }
    assert_eq!(last(world.answers("web.bob.hyprspace", RecordType::A)), web);

    world.now = Duration::from_secs(2 * 60);
    assert_eq!(last(world.answers("web.bob.hyprspace", RecordType::A)), web);
    let answers = world.answers("s100.bob.hyprspace", RecordType::A);
    assert!(last(answers).ends_with(" 60 A 198.18.0.2"), "that of the name that nobody asks for any longer");
}

#[test]
fn anything_before_a_service_has_the_services_address() {
    let mut world = World::new();
    for asked in
        ["x.web.bob.hyprspace.", "a.b.web.bob.hyprspace.", "*.web.bob.hyprspace.", "\0 é.web.bob.hyprspace."]
    {
        let answers = world.answers(asked, RecordType::AAAA);
        assert_eq!(answers[0], format!("{} 0 CNAME web.{SECOND_BASE36}.hyprspace.", name(asked).to_ascii()));
        assert_eq!(answers[1], format!("web.{SECOND_BASE36}.hyprspace. 86400 AAAA {SECOND_WEB}"));
    }
    let direct = format!("x.web.{SECOND_BASE36}.hyprspace.");
    assert_eq!(world.answers(&direct, RecordType::AAAA), [format!("{direct} 86400 AAAA {SECOND_WEB}")]);
    assert_eq!(world.answers(&direct, RecordType::A), [format!("{direct} 60 A 198.18.0.1")]);
    assert_eq!(
        world.answers("web.bob.hyprspace", RecordType::A)[1].split(' ').next_back(),
        Some("198.18.0.1")
    );
    assert_eq!(world.code("x.ssh.host.hyprspace", RecordType::AAAA), ResponseCode::NXDomain);
}

#[test]
fn our_services_and_those_of_who_told_are_there_or_not() {
    let mut world = World::new().told(&["ssh", "ai"]);
    for (asked, code) in [
        ("web.host.hyprspace", ResponseCode::NoError),
        ("ssh.host.hyprspace", ResponseCode::NXDomain),
        ("ssh.bob.hyprspace", ResponseCode::NoError),
        ("web.bob.hyprspace", ResponseCode::NXDomain),
        ("ci.bob.hyprspace", ResponseCode::NXDomain),
        ("x.web.bob.hyprspace", ResponseCode::NXDomain),
    ] {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::TXT, RecordType::ANY] {
            assert_eq!(world.code(asked, kind), code, "{asked}");
        }
    }
}

#[test]
fn under_a_peer_that_has_not_told_every_valid_name_is_there() {
    let mut world = World::new();
    let longest = format!("{}.bob.hyprspace", "x".repeat(63));
    for asked in ["ssh.bob.hyprspace", "_x-1.bob.hyprspace", &longest] {
        assert_eq!(world.code(asked, RecordType::AAAA), ResponseCode::NoError, "{asked}");
    }
    for asked in ["-a.bob.hyprspace", "a b.bob.hyprspace", "*.bob.hyprspace", "é.bob.hyprspace"] {
        assert_eq!(world.code(asked, RecordType::AAAA), ResponseCode::NXDomain, "{asked}");
    }
}

#[test]
fn an_unknown_name_is_not_there_and_the_soa_says_for_how_long() {
    let mut world = World::new();
    let stranger = made_up(&[9]);
    for asked in [
        "carol.hyprspace",
        "web.carol.hyprspace",
        "bob.bob.carol.hyprspace",
        &format!("{stranger}.hyprspace"),
        &format!("{}.hyprspace", stranger.to_base36()),
        &format!("web.{}.hyprspace", stranger.to_base36()),
        "bo|b.hyprspace",
    ] {
        for kind in [RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::ANY, RecordType::SOA] {
            let answer = world.ask(asked, kind);
            assert_eq!(answer.response_code, ResponseCode::NXDomain, "{asked} {kind}");
            assert!(has_soa(&answer) && answer.answers.is_empty(), "{asked} {kind}");
            assert_eq!(
                (answer.authorities[0].name.to_ascii().as_str(), answer.authorities[0].ttl),
                ("hyprspace.", 0)
            );
        }
    }
}

#[test]
fn a_known_name_without_the_type_has_no_data() {
    let mut world = World::new();
    for asked in ["bob.hyprspace", "web.bob.hyprspace", "web.host.hyprspace", "x.web.host.hyprspace"] {
        for kind in
            [RecordType::MX, RecordType::TXT, RecordType::NS, RecordType::SOA, RecordType::Unknown(65)]
        {
            let answer = world.ask(asked, kind);
            assert!(is_no_data(&answer), "{asked} {kind}");
            assert_eq!(shown(&answer).len(), 1, "the name's CNAME: {asked} {kind}");
        }
    }
    let answer = world.ask(&format!("web.{FIRST_BASE36}.hyprspace"), RecordType::MX);
    assert!(is_no_data(&answer) && answer.answers.is_empty());
}

#[test]
fn the_zones_top_has_soa_and_ns() {
    let mut world = World::new();
    let record = |kind| format!("HyprSpace. 0 {kind} {FIRST_BASE36}.hyprspace.");
    let shown_as_ours = |answers: Vec<String>| -> Vec<String> {
        answers.into_iter().map(|answer| answer.replacen("hyprspace.", "HyprSpace.", 1)).collect()
    };
    assert_eq!(shown_as_ours(world.answers("HyprSpace", RecordType::SOA)), [record("SOA")]);
    assert_eq!(shown_as_ours(world.answers("hyprspace", RecordType::NS)), [record("NS")]);
    assert_eq!(shown_as_ours(world.answers("hyprspace", RecordType::ANY)), [record("SOA"), record("NS")]);
    for kind in [RecordType::A, RecordType::AAAA, RecordType::MX] {
        assert!(is_no_data(&world.ask("hyprspace", kind)), "{kind}");
    }
    assert_eq!(
        world.answers(&format!("{FIRST_BASE36}.hyprspace"), RecordType::A).len(),
        1,
        "the server's own"
    );
}

#[test]
fn names_outside_the_zone_are_refused() {
    let mut world = World::new();
    world.suffix = Suffix::new("hs1", "hyprspace").expect("a zone");
    assert_eq!(world.code("bob.hs1.hyprspace", RecordType::A), ResponseCode::NoError);
    for asked in [
        "bob.hyprspace",
        "hyprspace",
        "example.com",
        ".",
        "hs1",
        "xhs1.hyprspace",
        "hs1.hyprspace.org",
        "arpa",
    ] {
        let answer = world.ask(asked, RecordType::A);
        assert_eq!(answer.response_code, ResponseCode::Refused, "{asked}");
        assert!(!answer.authoritative && answer.all_sections().next().is_none(), "{asked}");
        assert_eq!(answer.queries, [Query::query(name(asked), RecordType::A)]);
    }
}

#[test]
fn every_address_of_a_service_is_in_its_nodes_net() {
    let mut world = World::new();
    let answers = world.ask(&format!("web.{SECOND_BASE36}.hyprspace"), RecordType::AAAA).answers;
    let RData::AAAA(address) = answers[0].data else { panic!("an address") };
    let address: Ipv6Addr = address.0;
    assert_eq!(world.peers.by_service_address(address).map(|(peer, _)| *peer.id()), Some(id(SECOND)));
}
