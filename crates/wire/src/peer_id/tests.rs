use super::*;
use proptest::prelude::*;

const PEERS: [(&str, &str, &str); 2] = [
    (
        "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN",
        "k51qzi5uqu5dl3ltvga8v4lfks12np6tetprha6va60q6okkujw46kptfju1cx",
        "z23jhTbcjBgHmxFeeC11RXxeXb32Ce9eMvMy75ke2TrCsXpNrNvVsH98qSumzxPBbF7TqyBsd7macsAYfnVQzUApd51ZgC",
    ),
    (
        "12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46",
        "k51qzi5uqu5dkxtt5jitjh0pdwwdjaq2d6omasr3ust9yokfv3fbpfxgbwdran",
        "z23jhTbwi6M5cGWn1GeC7eXV2TbJpFhgmtVpsUjKshKKrSCy2seByS6da3epoBtEsMc8HA5oToay8RVG2w9nACHdt5WUge",
    ),
];
/// A node of the public network, with an RSA key.
const HASHED: &str = "QmNnooDu7bfjPFoTZYxMNLWUQJyrVwtbZg5gBMjTezGAJN";

#[test]
fn both_forms_of_an_id_are_one_id() {
    for (base58, base36, _) in PEERS {
        let id: PeerId = base58.parse().unwrap();
        assert_eq!(id.to_string(), base58);
        assert_eq!(id.to_base36(), base36);
        assert_eq!(base36.parse(), Ok(id));
        assert_eq!(base36.to_uppercase().parse(), Ok(id), "dns folds case");
        assert_eq!(id.as_bytes().len(), 38);
        assert_eq!(id.as_bytes()[..6], [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
        assert_eq!(PeerId::from_ed25519(id.ed25519().unwrap()), id);
    }
}

#[test]
fn a_private_key_tells_its_peer() {
    for (id, _, key) in PEERS {
        let parsed: PrivateKey = key.parse().unwrap();
        assert_eq!(parsed.peer_id().to_string(), id);
        assert_eq!(parsed.to_multibase(), key);
        assert_eq!(PrivateKey::new(*parsed.seed(), *parsed.public()), parsed);
    }
}

#[test]
fn a_private_keys_debug_form_shows_no_secret() {
    let key = PrivateKey::new([0xab; 32], [0xcd; 32]);
    let shown = format!("{key:?}");
    assert_eq!(shown, format!("PrivateKey(of {})", key.peer_id()));
}

#[test]
fn a_key_with_its_public_key_twice_is_the_same_key() {
    let key = PrivateKey::new([1; 32], [2; 32]);
    let mut long = [&[0x08, 1, 0x12, 96], [1; 32].as_slice(), &[2; 32], &[2; 32]].concat();
    assert_eq!(PrivateKey::from_protobuf(&long), Ok(key));
    long[99] ^= 1;
    assert_eq!(PrivateKey::from_protobuf(&long), Err(PrivateKeyError::Malformed));
}

#[test]
fn what_is_no_private_key_is_named() {
    let good = PEERS[0].2;
    for (text, error) in [
        ("", PrivateKeyError::NotBase58),
        (&good[1..], PrivateKeyError::NotBase58),
        ("z0", PrivateKeyError::BadDigits),
        ("z", PrivateKeyError::Malformed),
        (&good[..good.len() - 1], PrivateKeyError::Malformed),
        (&format!("{good}1"), PrivateKeyError::Malformed),
        (&format!("z{}", BASE58.encode(&[0x08, 0, 0x12, 1, 7])), PrivateKeyError::NotEd25519),
    ] {
        assert_eq!(text.parse::<PrivateKey>(), Err(error), "{text:?}");
    }
}

#[test]
fn an_id_that_is_a_hash_is_read_too() {
    let id: PeerId = HASHED.parse().unwrap();
    assert_eq!(id.to_string(), HASHED);
    assert_eq!(id.to_base36().parse(), Ok(id));
    assert_eq!(id.ed25519(), None);
}

#[test]
fn what_is_no_id_is_named() {
    let good = PEERS[0].0;
    for (text, error) in [
        ("", PeerIdError::UnknownForm),
        ("mynode", PeerIdError::UnknownForm),
        ("é", PeerIdError::UnknownForm),
        ("12D3KooW0", PeerIdError::BadDigits),
        ("k51é", PeerIdError::BadDigits),
        (&"1".repeat(1000), PeerIdError::BadDigits),
        (&good[..good.len() - 1], PeerIdError::BadMultihash),
        (&format!("{good}1"), PeerIdError::BadMultihash),
        ("11", PeerIdError::BadMultihash),
        ("k", PeerIdError::NotAKey),
        ("kernel", PeerIdError::NotAKey),
        (&good.to_lowercase(), PeerIdError::BadDigits),
    ] {
        assert_eq!(text.parse::<PeerId>(), Err(error), "{text:?}");
    }
}

#[test]
fn the_lengths_in_an_id_are_those_that_came() {
    let good = PeerId::from_ed25519(&[7; 32]);
    for at in 0..6 {
        let mut bytes = good.as_bytes().to_vec();
        bytes[at] ^= 0x10;
        assert_eq!(PeerId::from_multihash(&bytes), Err(PeerIdError::BadMultihash), "byte {at}");
    }
    assert_eq!(PeerId::from_multihash(&good.as_bytes()[..37]), Err(PeerIdError::BadMultihash));
    assert_eq!(PeerId::from_multihash(&[0; 200]), Err(PeerIdError::BadMultihash));
}

#[test]
fn an_id_is_a_string_in_json() {
    let id: PeerId = PEERS[0].0.parse().unwrap();
    let json = serde_json::to_string(&id).unwrap();
    assert_eq!(json, format!("{:?}", PEERS[0].0));
    assert_eq!(serde_json::from_str::<PeerId>(&json).unwrap(), id);
    assert!(serde_json::from_str::<PeerId>("\"me\"").unwrap_err().to_string().contains("12D3Koo"));
}

proptest! {
    #[test]
    fn every_key_has_an_id_that_reads_back(public: [u8; 32]) {
        let id = PeerId::from_ed25519(&public);
        prop_assert_eq!(id.ed25519(), Some(&public));
        prop_assert_eq!(id.to_string().parse(), Ok(id));
        prop_assert_eq!(id.to_base36().parse(), Ok(id));
        prop_assert!(id.to_base36().len() <= 63, "it fits a DNS label");
        prop_assert_eq!(PeerId::from_multihash(id.as_bytes()), Ok(id));
    }

    #[test]
    fn ids_are_ordered_as_their_bytes(left: [u8; 32], right: [u8; 32]) {
        let (left, right) = (PeerId::from_ed25519(&left), PeerId::from_ed25519(&right));
        prop_assert_eq!(left.cmp(&right), left.as_bytes().cmp(right.as_bytes()));
    }

    #[test]
    fn any_bytes_are_an_id_or_not(bytes in prop::collection::vec(0..40_u8, 0..50), text in "[1Qk].{0,80}") {
        if let Ok(id) = PeerId::from_multihash(&bytes) {
            prop_assert_eq!(id.as_bytes(), &bytes);
        }
        let _ = text.parse::<PeerId>();
        let _ = PrivateKey::from_protobuf(&bytes);
    }
}
