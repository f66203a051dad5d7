//! The texts of a configuration and of names: what is read is written back the same, and the addresses
//! that follow from it are where they belong.
//!
//! Input: a text.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use hypertap_wire::label::{Label, MAX_LABEL};
use hypertap_wire::peer_id::{PeerId, PrivateKey};
use hypertap_wire::service_address::{NodeId, ServiceId, dns_listener, is_inside, node_ipv4};
use hypertap_wire::target::{Host, Target};
use libfuzzer_sys::fuzz_target;

fn check_label(text: &str) {
    let is_label = (1..=63).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        && !text.starts_with('-')
        && !text.ends_with('-');
    let label = Label::new(text);
    assert_eq!(label.is_ok(), is_label);
    let Ok(label) = label else { return };
    assert_eq!(label.as_str(), text.to_lowercase());
    assert_eq!(Label::new(&text.to_uppercase()), Ok(label.clone()));

    // The rule as it is written down.
    let mut id = [0xff, 0xfe];
    for (index, byte) in label.as_str().bytes().enumerate() {
        let [.., low] = (usize::from(byte) * index % 256).to_be_bytes();
        id[index % 2] ^= low;
    }
    assert_eq!(ServiceId::of(&label), ServiceId(id));
}

fn check_peer(text: &str, peer: &PeerId) {
    let (base58, base36) = (peer.to_string(), peer.to_base36());
    assert!(text == base58 || text.to_lowercase() == base36, "another text of the same id");
    assert_eq!(base58.parse(), Ok(*peer));
    assert_eq!(base36.to_uppercase().parse(), Ok(*peer));
    assert_eq!(PeerId::from_multihash(peer.as_bytes()), Ok(*peer));
    assert!(peer.ed25519().is_none() || Label::new(&base36).is_ok_and(|it| it.as_str().len() <= MAX_LABEL));

    let node = NodeId::of(peer);
    assert!(is_inside(IpAddr::V4(node_ipv4(peer))) && is_inside(IpAddr::V6(node.ipv6())));
    assert_eq!(NodeId::of_ipv6(node.ipv6()), Some(node));
    let service = node.service_ipv6(ServiceId([0xab, 0xcd]));
    assert!(is_inside(IpAddr::V6(service)) && node.service_net().contains(&service));
    assert_eq!(ServiceId::of_ipv6(service), Some((node, ServiceId([0xab, 0xcd]))));
}

fn check_target(text: &str, target: &Target) {
    let written = target.to_string();
    assert_eq!(written.parse().as_ref(), Ok(target));
    match target {
        Target::Unix(path) => {
            assert!(path.starts_with('/') && !path.ends_with('/') && path.len() < 104);
            assert!(!path.contains('\0'));
        }
        Target::Tcp(host, _) | Target::Udp(host, _) => match host {
            Host::Ip(IpAddr::V4(address)) => {
                assert!(text.starts_with("/ip4/") || *address == Ipv4Addr::LOCALHOST);
            }
            Host::Ip(IpAddr::V6(_)) => assert!(text.starts_with("/ip6/")),
            Host::Dns(name) => assert!(name.split('.').all(|label| Label::new(label).is_ok())),
        },
    }
}

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    check_label(text);
    if let Ok(peer) = text.parse::<PeerId>() {
        check_peer(text, &peer);
    }
    if let Ok(key) = text.parse::<PrivateKey>() {
        let written = key.to_multibase();
        assert_eq!(written.parse().as_ref(), Ok(&key));
        assert_eq!(key.peer_id().ed25519(), Some(key.public()));
        assert!(!format!("{key:?}").contains(&written));
    }
    if let Ok(target) = text.parse::<Target>() {
        check_target(text, &target);
    }
    let listener = dns_listener(text);
    assert!(listener.ip().is_loopback() && (5000..45_000).contains(&listener.port()) || text.is_empty());
});
