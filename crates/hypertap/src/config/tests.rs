use std::collections::HashSet;
use std::io::ErrorKind;
use std::time::Duration;

use hypertap_engine::services::registry::Registry;
use serde_json::{Value, json};

use super::*;

/// The published test keys and their ids.
const KEY: &str =
    "z23jhTbcjBgHmxFeeC11RXxeXb32Ce9eMvMy75ke2TrCsXpNrNvVsH98qSumzxPBbF7TqyBsd7macsAYfnVQzUApd51ZgC";
const OWN: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";
const OTHER_KEY: &str =
    "z23jhTbwi6M5cGWn1GeC7eXV2TbJpFhgmtVpsUjKshKKrSCy2seByS6da3epoBtEsMc8HA5oToay8RVG2w9nACHdt5WUge";
const OTHER: &str = "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46";

fn read(text: &str) -> Result<Parsed, Vec<String>> {
    let outcome = parse(text, |_| Err(ErrorKind::NotFound.into()));
    outcome.map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

/// A configuration with the key, and these keys besides.
fn with(rest: Value) -> Result<Parsed, Vec<String>> {
    let mut object = serde_json::Map::from_iter([("privateKey".to_owned(), json!(KEY))]);
    object.extend(serde_json::from_value::<serde_json::Map<_, _>>(rest).unwrap());
    read(&Value::Object(object).to_string())
}

fn config(rest: Value) -> Config {
    with(rest).unwrap().config
}

#[test]
fn a_key_alone_is_a_configuration_with_the_usual_values() {
    let config = config(json!({}));
    assert_eq!(config.private_key.peer_id().to_string(), OWN);
    assert_eq!(config.listen_addresses.len(), 4);
    assert_eq!(config.bootstrap_peers.len(), 6);
    assert_eq!(config.domain, "hyprspace");
    assert!(!config.filter_private_addresses && config.peers.is_empty() && config.services.is_empty());
    assert_eq!(config.local_services_ipv4.to_string(), "198.18.0.0/15");
    assert_eq!(config.limits, Limits { connections: 131_072, buffered: 512 << 20 });
}

#[test]
fn every_key_says_what_it_says() {
    let config = config(json!({
        "peers": [{
            "id": OTHER,
            "name": "Gate",
            "routes": [{"net": "10.1.2.3/16"}, {"net": "2001:db8::/32"}, {"net": "10.1.0.0/16"}],
            "addresses": ["/ip4/192.0.2.1/tcp/8001"]
        }],
        "services": {
            "web": "/tcp/8080",
            "DB": {
                "target": "/unix/run/db.sock",
                "acl": {"enableWhitelist": true, "whitelist": ["@gate"], "blacklist": ["12D3KooWNf"]},
                "proxyProtocol": true,
                "check": {"intervalSeconds": 60}
            }
        },
        "listenAddresses": ["/ip4/0.0.0.0/tcp/9"],
        "bootstrapPeers": [],
        "domain": "VPN.Internal",
        "filterPrivateAddresses": true,
        "localServiceNetwork": "10.99.0.0/16",
        "limits": {"connections": 100, "bufferMebibytes": 2}
    }));
    let [peer] = config.peers.as_slice() else { panic!("{:?}", config.peers) };
    assert_eq!((peer.id.to_string().as_str(), peer.name.as_ref().unwrap().as_str()), (OTHER, "gate"));
    assert_eq!(peer.routes, ["10.1.0.0/16", "2001:db8::/32"].map(|net| net.parse().unwrap()));
    assert_eq!(peer.addresses.len(), 1);
    let [db, web] = config.services.as_slice() else { panic!("{:?}", config.services) };
    assert_eq!((db.name.as_str(), db.target.to_string().as_str()), ("db", "/unix/run/db.sock"));
    assert!(db.proxy_protocol && !web.proxy_protocol);
    assert_eq!((db.check_interval, web.check_interval), (Some(Duration::from_secs(60)), None));
    assert!(!db.acl.permits(&peer.id) && web.acl.permits(&peer.id));
    assert_eq!(config.listen_addresses.len(), 1);
    assert!(config.bootstrap_peers.is_empty() && config.filter_private_addresses);
    assert_eq!(
        (config.domain.as_str(), config.local_services_ipv4.to_string().as_str()),
        ("vpn.internal", "10.99.0.0/16")
    );
    assert_eq!(config.limits, Limits { connections: 100, buffered: 2 << 20 });
    assert!(Registry::new(config.services.iter().cloned()).is_ok());
    assert_eq!(config.peer_table().peers().len(), 1);
}

#[test]
fn a_file_as_the_go_program_writes_it_is_read_as_it_is() {
    let first = json!({
        "privateKey": KEY,
        "peers": null,
        "services": null,
        "listenAddresses": [
            "/ip4/0.0.0.0/tcp/8001", "/ip4/0.0.0.0/udp/8001/quic-v1", "/ip6/::/tcp/8001", "/ip6/::/udp/8001/quic-v1"
        ],
        "bootstrapPeers": null,
        "domain": "",
        "filterPrivateAddresses": false
    });
    let full = json!({
        "bootstrapPeers": [
            "/ip4/152.67.75.145/tcp/110/p2p/12D3KooWQWsHPUUeFhe4b6pyCaD1hBoj8j6Z7S7kTznRTh1p1eVt",
            "/ip4/152.67.75.145/udp/995/quic-v1/p2p/QmbrAHuh4RYcyN9fWePCZMVmQjbaNXtyvrDCWz4VrchbXh",
            "/dnsaddr/bootstrap.libp2p.io/p2p/QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN"
        ],
        "domain": "hyprspace",
        "filterPrivateAddresses": false,
        "listenAddresses": ["/ip4/0.0.0.0/tcp/8001"],
        "peers": [
            {"id": OTHER, "name": "", "routes": []},
            {"id": OWN, "name": "self", "routes": [{"net": "10.20.0.0/16"}]},
            {"id": "12D3KooWQWsHPUUeFhe4b6pyCaD1hBoj8j6Z7S7kTznRTh1p1eVt", "name": "My_Node", "routes": [{"net": "10.10.0.1/16"}]}
        ],
        "privateKey": KEY,
        "services": {
            "www-local": {"target": "/tcp/8080", "acl": {"enableWhitelist": false, "whitelist": [], "blacklist": []}},
            "games": {"target": "/ip4/10.0.0.2/tcp/27015", "acl": {"enableWhitelist": true, "whitelist": ["@my_node", OTHER], "blacklist": null}}
        }
    });
    for file in [first, full] {
        let parsed = read(&file.to_string()).unwrap();
        assert_eq!(parsed.warnings, []);
    }
}

#[test]
fn this_node_may_be_in_the_list_and_is_no_peer() {
    let config = config(json!({
        "peers": [{"id": OWN, "name": "me", "routes": [{"net": "10.0.0.0/8"}]}, {"id": OTHER, "name": "other"}],
        "services": {"web": {"target": "/tcp/80", "acl": {"blacklist": ["@me", "@other"]}}}
    }));
    assert_eq!(config.peers.len(), 1);
    assert_eq!((config.name.as_ref().unwrap().as_str(), config.routes.len()), ("me", 1));
    let table = config.peer_table();
    assert_eq!((table.own().name().unwrap().as_str(), table.own().routes().len()), ("me", 1));
}

/// Each value with the one fault that it has.
#[test]
fn every_fault_is_named_by_its_key_its_value_and_what_is_expected() {
    let peer = |rest: Value| {
        let mut peer = json!({ "id": OTHER });
        peer.as_object_mut().unwrap().extend(serde_json::from_value::<serde_json::Map<_, _>>(rest).unwrap());
        json!({ "peers": [{ "id": OWN }, peer] })
    };
    let service = |rest: Value| json!({ "peers": [{ "id": OTHER }], "services": { "web": rest } });
    for (rest, words) in [
        (json!({"privatekey": "x"}), &["privatekey: ", "did you mean \"privateKey\"?"][..]),
        (json!({"interface": {"name": "hs0"}}), &["interface: there is no such key, only privateKey, "]),
        (json!({"privateKey": "zz"}), &["privateKey: ", "hypertap keygen"]),
        (json!({"privateKeyFile": "k"}), &["privateKeyFile: \"k\"", "privateKey is there too"]),
        (json!({"peers": {}}), &["peers: {}: expected a list"]),
        (json!({"peers": [OTHER]}), &["peers[0]: ", OTHER, "expected an object"]),
        (json!({"peers": [{"name": "a"}]}), &["peers[0].id: the key is missing: Its peer id"]),
        (json!({"peers": [{"id": "abc"}]}), &["peers[0].id: \"abc\": ", "12D3Koo"]),
        (json!({"peers": [{"id": OTHER}, {"id": OTHER}]}), &["peers: ", OTHER, "one peer"]),
        (peer(json!({"nam": "a"})), &["peers[1].nam", "did you mean \"name\"?"]),
        (peer(json!({"name": "a b"})), &["peers[1].name: \"a b\": ", "letters"]),
        (
            peer(json!({"name": "k51qzi5uqu5dl3ltvga8v4lfks12np6tetprha6va60q6okkujw46kptfju1cx"})),
            &["peers[1].name: ", "peer id"],
        ),
        (
            peer(json!({"routes": ["10.0.0.0/8"]})),
            &["peers[1].routes[0]: \"10.0.0.0/8\": expected an object"],
        ),
        (
            peer(json!({"routes": [{"net": "10.0.0.0/8"}, {"net": "10.0.0.1"}]})),
            &["peers[1].routes[1].net: \"10.0.0.1\": ", "10.10.0.0/16"],
        ),
        (peer(json!({"routes": [{"net": "100.64.0.0/24"}]})), &["peers: ", "100.64.0.0/24", "100.64.0.0/16"]),
        (
            peer(json!({"addresses": ["192.0.2.1:8001"]})),
            &["peers[1].addresses[0]: \"192.0.2.1:8001\": ", "/ip4/192.0.2.1/tcp/8001"],
        ),
        (
            peer(json!({"addresses": ["/ip4/100.64.1.2/tcp/1"]})),
            &["peers[1].addresses[0]: ", "inside this network"],
        ),
        (service(json!(80)), &["services.web: 80: expected a text in quotes or an object"]),
        (service(json!("80")), &["services.web: \"80\": ", "/tcp/8080"]),
        (service(json!({})), &["services.web.target: the key is missing: Where its connections go"]),
        (service(json!({"target": "/tcp/0"})), &["services.web.target: \"/tcp/0\": ", "1 to 65535"]),
        (service(json!({"target": "/tcp/1", "Acl": {}})), &["services.web.Acl", "did you mean \"acl\"?"]),
        (
            service(json!({"target": "/tcp/1", "acl": {"whitelist": ["@bob"]}})),
            &["services.web.acl.whitelist[0]: \"@bob\": names no peer: expected @NAME"],
        ),
        (
            service(json!({"target": "/tcp/1", "acl": {"blacklist": ["12D3"]}})),
            &["services.web.acl.blacklist[0]: \"12D3\": names several peers", OTHER],
        ),
        (
            service(json!({"target": "/udp/1", "proxyProtocol": true})),
            &["services.web.proxyProtocol: ", "UDP"],
        ),
        (service(json!({"target": "/udp/1", "check": {}})), &["services.web.check: ", "leave it out"]),
        (service(json!({"target": "/tcp/*", "check": {}})), &["services.web.check: ", "leave it out"]),
        (
            service(json!({"target": "/tcp/1", "check": {"intervalSeconds": 0}})),
            &["services.web.check.intervalSeconds: 0: ", "from 1 to 86400"],
        ),
        (
            service(json!({"target": "/tcp/1", "check": {"intervalSeconds": 1.5}})),
            &["services.web.check.intervalSeconds: 1.5: ", "whole number"],
        ),
        (
            json!({"services": {"a.b": "/tcp/1"}}),
            &["services[\"a.b\"]: of the name, it has the character '.'"],
        ),
        (
            json!({"services": {"web": "/tcp/1", "WEB": "/tcp/2"}}),
            &["services: the service web is there already"],
        ),
        (
            json!({"services": {"ftp": "/tcp/1", "ntp": "/tcp/2"}}),
            &["services: ", "ftp and ntp", "one service id", "rename"],
        ),
        (json!({"listenAddresses": ["/tcp/1"]}), &["listenAddresses[0]: \"/tcp/1\": ", "/ip4/A"]),
        (json!({"bootstrapPeers": ["/ip4/192.0.2.1/tcp/1"]}), &["bootstrapPeers[0]: ", "/p2p/ID"]),
        (json!({"domain": "a..b"}), &["domain: \"a..b\": ", "vpn.internal"]),
        (
            json!({"filterPrivateAddresses": "yes"}),
            &["filterPrivateAddresses: \"yes\": expected true or false"],
        ),
        (
            json!({"localServiceNetwork": "fd00::/64"}),
            &["localServiceNetwork: \"fd00::/64\": ", "198.18.0.0/15"],
        ),
        (json!({"limits": {"connections": 0}}), &["limits.connections: 0: ", "from 1 to"]),
    ] {
        let faults = with(rest.clone()).expect_err(&rest.to_string());
        let [fault] = faults.as_slice() else { panic!("{rest}: {faults:?}") };
        for word in words {
            assert!(fault.contains(word), "{rest}: {word:?} is not in {fault}");
        }
    }
}

#[test]
fn two_peers_whose_addresses_would_be_the_same_are_refused_with_both_named() {
    let id = |order: [usize; 4]| {
        let mut public = [7; 32];
        for (place, number) in order.into_iter().zip(1..) {
            public[place] = number;
        }
        PeerId::from_ed25519(&public).to_string()
    };
    // Bytes four apart go into one of the node id's bytes, bytes two apart into one of the IPv4 address's.
    for (other, word) in [(id([4, 1, 2, 3]), "one node id"), (id([2, 1, 0, 3]), "one IPv4 address")] {
        let first = id([0, 1, 2, 3]);
        let faults = with(json!({"peers": [{"id": first}, {"id": other, "name": "b"}]})).unwrap_err();
        let [fault] = faults.as_slice() else { panic!("{faults:?}") };
        assert!([word, &first, "@b"].iter().all(|word| fault.contains(word)), "{fault}");
    }
}

#[test]
fn all_faults_are_named_at_once() {
    let faults = with(json!({
        "peers": [{"id": "x"}, {"id": OTHER, "name": "-"}],
        "services": {"a": "x", "b b": "/tcp/1"},
        "domain": "-",
        "listenAddresses": ["x", "y"]
    }));
    let paths: Vec<String> =
        faults.unwrap_err().iter().map(|fault| fault.split(": ").next().unwrap().to_owned()).collect();
    let expected = [
        "peers[0].id",
        "peers[1].name",
        "services.a",
        "services[\"b b\"]",
        "listenAddresses[0]",
        "listenAddresses[1]",
        "domain",
    ];
    assert_eq!(paths, expected);
    let faults = with(json!({"a": 1, "peers": 1, "domain": []})).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:?}");
}

#[test]
fn all_services_that_cannot_be_told_apart_are_named_at_once() {
    let services = json!({"ftp": "/tcp/1", "ntp": "/tcp/2", "a": "/tcp/3", "c": "/tcp/4", "web": "/tcp/5"});
    let faults = with(json!({"services": services})).unwrap_err();
    let [first, second] = faults.as_slice() else { panic!("{faults:?}") };
    assert!(first.contains("a and c") && second.contains("ftp and ntp"), "{faults:?}");
}

#[test]
fn what_is_no_json_object_is_refused_with_its_place() {
    for (text, words) in [
        ("", "it is not JSON: EOF"),
        ("{\n \"domain\": }", "line 2 column"),
        ("{} {}", "trailing"),
        ("[]", "expected an object"),
        ("null", "expected an object"),
        (&"[".repeat(100_000), "recursion limit"),
        ("{}", "privateKey: the key is missing: `hypertap keygen`"),
        ("{\"domain\":\"a\",\"domain\":\"b\"}", "domain: the key is there twice"),
        ("{\"peers\":[{\"id\":\"a\",\"id\":\"b\"}]}", "peers[0].id: the key is there twice"),
    ] {
        let faults = read(text).unwrap_err();
        assert!(faults[0].contains(words), "{text:.40}: {faults:?}");
    }
}

#[test]
fn a_key_is_never_shown() {
    let other: PrivateKey = OTHER_KEY.parse().unwrap();
    let own: PrivateKey = KEY.parse().unwrap();
    let mixed = PrivateKey::new(*own.seed(), *other.public()).to_multibase();
    for key in [mixed.as_str(), &KEY[..60], &KEY[1..]] {
        let faults = read(&json!({ "privateKey": key }).to_string()).unwrap_err().join("\n");
        assert!(faults.starts_with("privateKey: ") && !faults.contains(&key[10..20]), "{faults}");
    }
    let faults = read(&json!({ "privateKey": [KEY], "PrivateKey": KEY }).to_string()).unwrap_err().join("\n");
    assert!(!faults.contains(&KEY[10..20]), "{faults}");
    assert!(!format!("{:?}", config(json!({}))).contains(&KEY[10..20]));
}

#[test]
fn the_key_may_be_in_a_file_of_its_own() {
    let from = |content: io::Result<String>| {
        let text = json!({"privateKeyFile": "keys/own"}).to_string();
        parse(&text, |path| {
            assert_eq!(path, Path::new("keys/own"));
            content
        })
    };
    assert_eq!(from(Ok(format!("{KEY}\n"))).unwrap().config.private_key.peer_id().to_string(), OWN);
    for content in [Ok(String::new()), Ok(KEY[..50].to_owned()), Err(ErrorKind::NotFound.into())] {
        let faults = from(content).unwrap_err();
        let text = listed("file", &faults);
        assert!(
            text.starts_with("file: privateKeyFile: \"keys/own\": ") && !text.contains(&KEY[10..20]),
            "{text}"
        );
    }
}

#[test]
fn a_whitelist_that_counts_for_nothing_is_warned_of() {
    let parsed = with(json!({
        "peers": [{"id": OTHER}],
        "services": {"web": {"target": "/tcp/1", "acl": {"whitelist": [OTHER]}}}
    }));
    let warnings = parsed.unwrap().warnings;
    assert_eq!((warnings.len(), warnings[0].path.as_str()), (1, "services.web.acl.whitelist"));
}

#[test]
fn a_service_of_its_own_is_checked_as_one_of_the_file() {
    let table = config(json!({"peers": [{"id": OTHER, "name": "b"}]})).peer_table();
    let service = |value: Value| service("web", value, &table);
    assert_eq!(service(json!("/tcp/80")).unwrap().target.to_string(), "/ip4/127.0.0.1/tcp/80");
    assert!(service(json!({"target": "/tcp/80", "acl": {"blacklist": ["@b"]}})).is_ok());
    for (value, path) in [
        (json!("80"), "services.web"),
        (json!({"target": "/tcp/80", "x": 1}), "services.web.x"),
        (json!({"target": "/tcp/80", "acl": {"blacklist": ["@c"]}}), "services.web.acl.blacklist[0]"),
    ] {
        assert_eq!(service(value).unwrap_err()[0].path, path);
    }
}

/// A validator of the schema.
fn is_valid(value: &Value) -> bool {
    let mut schemas = boon::Schemas::new();
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("config.json", schema()).unwrap();
    let index = compiler.compile("config.json", &mut schemas).unwrap();
    schemas.validate(value, index).is_ok()
}

#[test]
fn the_schema_takes_what_the_node_takes_and_refuses_what_has_another_form() {
    for good in [
        json!({ "privateKey": KEY }),
        json!({ "privateKeyFile": "k", "peers": null }),
        json!({ "privateKey": KEY, "peers": [{"id": OTHER, "name": "a", "routes": [{"net": "10.0.0.0/8"}], "addresses": []}] }),
        json!({ "privateKey": KEY, "services": {"a": "/tcp/1", "b": {"target": "/tcp/2", "acl": {}, "check": {"intervalSeconds": 1}}} }),
    ] {
        assert!(is_valid(&good), "{good}");
    }
    for bad in [
        json!([]),
        json!({ "key": KEY }),
        json!({ "privateKey": 1 }),
        json!({ "peers": [{}] }),
        json!({ "peers": [{"id": OTHER, "nick": "a"}] }),
        json!({ "peers": [{"id": OTHER, "routes": ["10.0.0.0/8"]}] }),
        json!({ "services": {"a": 1} }),
        json!({ "services": {"a": {}} }),
        json!({ "services": {"a": {"target": "/tcp/1", "check": {"intervalSeconds": 0}}} }),
        json!({ "services": {"a": {"target": "/tcp/1", "acl": {"enableWhitelist": 1}}} }),
        json!({ "limits": {"connections": -1} }),
    ] {
        assert!(!is_valid(&bad), "{bad}");
        assert!(read(&bad.to_string()).is_err(), "{bad}");
    }
}

const PAGE: &str = include_str!("../../../../docs/services-config.md");

#[test]
fn every_sample_on_the_page_is_a_configuration() {
    let samples: Vec<&str> =
        PAGE.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(samples.len() >= 3);
    for sample in samples {
        let parsed = parse(sample, |_| Ok(KEY.to_owned())).map_err(|faults| listed(sample, &faults)).unwrap();
        assert_eq!(parsed.warnings, [], "{sample}");
        assert!(is_valid(&serde_json::from_str(sample).unwrap()), "{sample}");
    }
}

#[test]
fn every_key_is_on_the_page() {
    fn keys(schema: &Value, found: &mut HashSet<String>) {
        for (name, schema) in schema["properties"].as_object().into_iter().flatten() {
            found.insert(name.clone());
            keys(schema, found);
        }
        keys_in(&schema["items"], found);
        keys_in(&schema["additionalProperties"], found);
        for branch in schema["anyOf"].as_array().into_iter().flatten() {
            keys(branch, found);
        }
    }
    fn keys_in(schema: &Value, found: &mut HashSet<String>) {
        if schema.is_object() {
            keys(schema, found);
        }
    }
    let mut found = HashSet::new();
    keys(&schema(), &mut found);
    assert!(found.len() > 20, "{found:?}");
    for key in found {
        assert!(PAGE.contains(&format!("`{key}`")), "{key} is not on the page");
    }
}
