use super::*;
use hickory_proto::op::Edns;
use hickory_proto::rr::DNSClass;
use proptest::prelude::*;

fn with_edns(mut message: Message, size: u16) -> Message {
    let mut edns = Edns::new();
    edns.set_max_payload(size);
    message.set_edns(edns);
    message
}

/// A question whose answer, of a CNAME and an SOA, is longer than 512 bytes.
fn long() -> Message {
    let before = format!("{x}.{x}.{y}", x = "x".repeat(63), y = "y".repeat(50));
    query(&format!("{before}.{}.bob.hyprspace", "w".repeat(60)), RecordType::TXT)
}

#[test]
fn what_has_no_header_is_not_answered() {
    let mut world = World::new();
    let whole = query("bob.hyprspace", RecordType::A).to_vec().expect("a message");
    for len in 0..12 {
        assert_eq!(world.answer(&whole[..len], Transport::Udp), None, "{len}");
    }
}

#[test]
fn an_answer_is_not_answered() {
    let mut world = World::new();
    let answer = world.ask("bob.hyprspace", RecordType::A).to_vec().expect("a message");
    assert_eq!(world.answer(&answer, Transport::Udp), None);
}

#[test]
fn what_is_cut_is_a_format_error() {
    let mut world = World::new();
    let whole = with_edns(query("bob.hyprspace", RecordType::A), 4096).to_vec().expect("a message");
    for len in 12..whole.len() {
        let answer = world.answer(&whole[..len], Transport::Udp).expect("an answer");
        let answer = Message::from_vec(&answer).expect("a message");
        assert_eq!((answer.id, answer.response_code), (0x1234, ResponseCode::FormErr), "{len}");
    }
}

#[test]
fn there_is_one_question_and_nothing_else() {
    let mut world = World::new();
    let mut none = query("bob.hyprspace", RecordType::A);
    none.queries.clear();
    let mut two = query("bob.hyprspace", RecordType::A);
    two.add_query(two.queries[0].clone());
    let mut answered = query("bob.hyprspace", RecordType::A);
    answered.answers = world.ask("bob.hyprspace", RecordType::A).answers;
    let mut two_edns = with_edns(query("bob.hyprspace", RecordType::A), 512);
    two_edns.add_additional(Record::from(&Edns::new()));
    for bad in [none, two, answered, two_edns, query("bob.hyprspace", RecordType::OPT)] {
        let answer = world.exchange(&bad, Transport::Udp);
        assert_eq!(answer.response_code, ResponseCode::FormErr, "{bad}");
        assert!(answer.answers.is_empty() && !answer.authoritative);
    }
}

#[test]
fn other_operations_and_classes_are_not_implemented() {
    let mut world = World::new();
    for code in [1, 2, 4, 5, 15] {
        let mut message = query("bob.hyprspace", RecordType::A);
        message.metadata.op_code = OpCode::from_u8(code);
        let answer = world.exchange(&message, Transport::Udp);
        assert_eq!((answer.response_code, answer.op_code), (ResponseCode::NotImp, OpCode::from_u8(code)));
    }
    for class in [DNSClass::CH, DNSClass::HS, DNSClass::ANY, DNSClass::NONE, DNSClass::Unknown(9)] {
        let mut message = query("bob.hyprspace", RecordType::A);
        message.queries[0].set_query_class(class);
        let answer = world.exchange(&message, Transport::Udp);
        assert_eq!((answer.response_code, answer.queries), (ResponseCode::NotImp, message.queries));
    }
}

#[test]
fn there_are_no_zone_transfers() {
    for kind in [RecordType::AXFR, RecordType::IXFR] {
        let answer = World::new().exchange(&query("hyprspace", kind), Transport::Tcp);
        assert_eq!((answer.response_code, answer.answers.len()), (ResponseCode::Refused, 0));
    }
}

#[test]
fn the_answer_says_whether_recursion_was_asked_for_and_that_there_is_none() {
    let mut message = query("bob.hyprspace", RecordType::A);
    for desired in [true, false] {
        message.metadata.recursion_desired = desired;
        let answer = World::new().exchange(&message, Transport::Udp);
        assert_eq!((answer.recursion_desired, answer.recursion_available), (desired, false));
        assert!(answer.authoritative && !answer.authentic_data);
    }
}

#[test]
fn edns_is_answered_with_our_size_and_only_when_asked() {
    let mut world = World::new();
    assert_eq!(world.ask("bob.hyprspace", RecordType::A).edns, None);
    for name in ["bob.hyprspace", "carol.hyprspace", "example.com"] {
        for is_dnssec in [false, true] {
            let mut message = with_edns(query(name, RecordType::A), 4096);
            message.edns.as_mut().expect("set").set_dnssec_ok(is_dnssec);
            let edns = world.exchange(&message, Transport::Udp).edns.expect("EDNS");
            assert_eq!((edns.version(), edns.max_payload()), (0, 1232));
            assert_eq!(edns.flags().dnssec_ok, is_dnssec);
        }
    }
}

#[test]
fn a_version_of_edns_that_is_not_known_is_told_so() {
    let mut message = with_edns(query("bob.hyprspace", RecordType::A), 4096);
    message.edns.as_mut().expect("set").set_version(1);
    let answer = World::new().exchange(&message, Transport::Udp);
    assert_eq!(u16::from(answer.response_code), u16::from(ResponseCode::BADVERS), "16 has two names");
    assert!(answer.answers.is_empty() && !answer.authoritative);
    assert_eq!(answer.edns.expect("EDNS").version(), 0);
}

#[test]
fn what_is_longer_than_the_client_takes_is_left_out_and_that_said() {
    let mut world = World::new();
    let whole = world.exchange(&long(), Transport::Tcp);
    let len = whole.to_vec().expect("a message").len();
    assert!(len > 512 && !whole.truncation && whole.answers.len() == 1 && has_soa(&whole), "{len}");

    for (asked, is_cut) in
        [(None, true), (Some(0), true), (Some(512), true), (Some(1232), false), (Some(65535), false)]
    {
        let message = asked.map_or_else(long, |size| with_edns(long(), size));
        let answer = world.exchange(&message, Transport::Udp);
        assert_eq!((answer.truncation, answer.answers.is_empty()), (is_cut, is_cut), "{asked:?}");
        assert_eq!(answer.edns.is_some(), asked.is_some());
        assert_eq!(answer.queries, long().queries);
        let limit = usize::from(asked.unwrap_or(512).clamp(512, MAX_UDP));
        assert!(answer.to_vec().expect("a message").len() <= limit);
    }
}

#[test]
fn the_longest_names_are_answered() {
    let mut world = World::new();
    // 244 characters before ".hyprspace.", 255 bytes on the wire.
    let longest = format!("{x}.{x}.{x}.{}.bob", "z".repeat(46), x = "x".repeat(63));
    for kind in [RecordType::A, RecordType::AAAA, RecordType::ANY] {
        let answer =
            world.exchange(&with_edns(query(&format!("{longest}.hyprspace"), kind), 1232), Transport::Udp);
        assert_eq!(answer.response_code, ResponseCode::NoError, "{kind}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_answered_with_a_message_of_the_size(
        mut bytes in prop::collection::vec(any::<u8>(), 0..80),
        is_like_a_query in any::<bool>(),
        is_tcp in any::<bool>(),
    ) {
        if is_like_a_query && bytes.len() >= 12 {
            bytes[2] &= 1;
            let additionals = bytes[11] & 1;
            bytes[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, additionals]);
        }
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        let answer = World::new().answer(&bytes, transport);
        prop_assert_eq!(answer.is_some(), bytes.len() >= 12 && bytes[2] & 0x80 == 0);
        if let Some(answer) = answer {
            prop_assert!(is_tcp || answer.len() <= usize::from(MAX_UDP));
            let answer = Message::from_vec(&answer).expect("a message");
            prop_assert_eq!(answer.id, u16::from_be_bytes([bytes[0], bytes[1]]));
        }
    }

    #[test]
    fn no_name_panics(labels in prop::collection::vec("[a-z0-9]{1,3}|web|bob|hyprspace|arpa|in-addr|ip6|100|64|[\\x00-\\xff]{1,30}", 0..40)) {
        let labels: Vec<Vec<u8>> = labels.into_iter().map(String::into_bytes).filter(|label| label.len() < 64).collect();
        if let Ok(name) = Name::from_labels(labels) {
            let mut message = query("x", RecordType::ANY);
            message.queries[0].set_name(name);
            let _ = World::new().exchange(&message, Transport::Udp);
        }
    }
}
