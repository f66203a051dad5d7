//! DNS queries to the zone: whatever comes is answered with a message that reads again, is of a size that
//! the client takes, is about what was asked, and gives addresses of the network alone. An answer is not
//! answered.
//!
//! Input: a byte whose lowest bit says whether the peer has told of its services, then the query.
#![no_main]

use std::net::IpAddr;
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use hypertap_engine::services::local_ipv4::LocalIpv4;
use hypertap_engine::services::peers::{PeerEntry, PeerTable};
use hypertap_engine::services::registry::{Registry, Service};
use hypertap_engine::services::told::Told;
use hypertap_engine::zone::{MAX_UDP, Suffix, Transport, Zone};
use hypertap_wire::service_address::{LOCAL_SERVICES_IPV4, is_inside};
use hypertap_wire::service_stream::ServiceNames;
use libfuzzer_sys::fuzz_target;

const OWN: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
const BOB: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";

/// The answers by UDP and by TCP, asked in this order of a zone that nobody has asked before.
fn ask(query: &[u8], has_told: bool) -> [Option<Vec<u8>>; 2] {
    let (own, bob) = (OWN.parse().expect("an id"), BOB.parse().expect("an id"));
    let label = |text: &str| text.parse().expect("a label");
    let entry = PeerEntry { id: bob, name: Some(label("bob")), routes: Vec::new() };
    let peers = PeerTable::new(own, None, [entry], LOCAL_SERVICES_IPV4).expect("two nodes");
    let web = Service::new(label("web"), "/tcp/80".parse().expect("a target"));
    let registry = Registry::new([web]).expect("one service");
    let mut told = Told::new();
    if has_told {
        told.replace(&peers, &bob, ServiceNames::new(vec![label("ssh")]).expect("one name"));
    }
    let suffix = Suffix::new("hypertap", "hyprspace").expect("a zone");
    let mut local_ipv4 = LocalIpv4::new(LOCAL_SERVICES_IPV4, 4);
    [Transport::Udp, Transport::Tcp].map(|transport| {
        let mut zone = Zone {
            now: Duration::ZERO,
            suffix: &suffix,
            hostname: Some(&label("host")),
            peers: &peers,
            registry: &registry,
            told: &told,
            local_ipv4: &mut local_ipv4,
        };
        let answer = zone.answer(query, transport)?;
        assert_eq!(zone.answer(&answer, transport), None, "answered an answer");
        Some(answer)
    })
}

fn check(query: &[u8], udp: &[u8], tcp: &[u8]) {
    let [short, whole] = [udp, tcp].map(|bytes| Message::from_vec(bytes).expect("an answer reads again"));
    assert!(udp.len() <= usize::from(MAX_UDP) && !whole.truncation);
    assert!(short.edns.is_some() || udp.len() <= 512, "more than who speaks no EDNS takes");
    assert_eq!(short.truncation, udp != tcp, "it is whole, or said not to be");
    assert!(!short.truncation || short.all_sections().next().is_none());

    assert_eq!(whole.message_type, MessageType::Response);
    assert_eq!(whole.id.to_be_bytes(), query[..2]);
    assert_eq!(u8::from(whole.op_code), query[2] >> 3 & 15);
    if let ([asked], Ok(query)) = (whole.queries.as_slice(), Message::from_vec(query)) {
        assert!(query.queries[0].name().eq_case(asked.name()), "the question came back changed");
        assert_eq!(query.queries[0], *asked);
        assert_eq!(query.edns.is_some(), whole.edns.is_some());
    }
    let is_about = whole.queries.first().zip(whole.answers.first());
    assert!(is_about.is_none_or(|(asked, answer)| *asked.name() == answer.name), "about something else");
    assert!(whole.authoritative || whole.all_sections().next().is_none());
    match whole.response_code {
        ResponseCode::NoError => {
            let kind = whole.queries[0].query_type();
            let is_asked = |answer: &Record| kind == RecordType::ANY || kind == answer.record_type();
            let has_data = whole.answers.iter().any(is_asked);
            assert_eq!(has_data, whole.authorities.is_empty(), "it is empty just when it says why");
        }
        ResponseCode::NXDomain => assert!(whole.answers.is_empty() && whole.authorities.len() == 1),
        _ => assert!(whole.all_sections().next().is_none() && !whole.authoritative),
    }
    for answer in &whole.answers {
        match &answer.data {
            RData::A(address) => {
                assert!(is_inside(IpAddr::V4(address.0)) || LOCAL_SERVICES_IPV4.contains(&address.0));
            }
            RData::AAAA(address) => assert!(is_inside(IpAddr::V6(address.0))),
            RData::CNAME(_) | RData::NS(_) | RData::PTR(_) | RData::SOA(_) => {}
            other => panic!("the zone has no {other:?}"),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((choice, query)) = input.split_first() else { return };
    let answers = ask(query, choice & 1 == 1);
    let is_query = query.len() >= 12 && query[2] & 0x80 == 0;
    assert!(answers.iter().all(|answer| answer.is_some() == is_query));
    if let [Some(udp), Some(tcp)] = answers {
        check(query, &udp, &tcp);
    }
});
