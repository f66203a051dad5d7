use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Barrier;

use serde_json::json;
use tempfile::TempDir;

use super::super::{Put, generate, put_peer, put_service, remove_peer};
use super::*;

const PEER: &str = "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN";

/// A folder with a configuration in it.
fn made(rest: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("node.json");
    let key = generate().unwrap().to_multibase();
    fs::write(&path, format!("{{\"domain\":\"b.example\",\"privateKey\":\"{key}\"{rest}}}")).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    (folder, path)
}

fn object(value: Value) -> Map<String, Value> {
    serde_json::from_value(value).unwrap()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn files(folder: &TempDir) -> usize {
    fs::read_dir(folder.path()).unwrap().count()
}

#[test]
fn a_file_is_made_for_its_owner_alone_and_never_over_another() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new/folder/node.json");
    let config = object(json!({"privateKey": generate().unwrap().to_multibase()}));
    create(&path, &config).unwrap();
    assert_eq!(mode(&path), 0o600);
    let before = fs::read(&path).unwrap();
    let failure = create(&path, &object(json!({}))).unwrap_err();
    assert_eq!(failure.exit, Exit::Taken);
    assert!(failure.sentence().contains("left as it is"), "{}", failure.sentence());
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    assert!(load(&path).is_ok());
}

#[test]
fn a_change_keeps_what_it_does_not_concern_and_the_order_and_the_mode() {
    let rest = r#", "peers":null, "limits":{"connections":5}, "services":{"bx":"/tcp/1","ay":"/tcp/2"}"#;
    let (folder, path) = made(rest);
    fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
    let put = edit(&path, |config, _| Ok(put_peer(config, object(json!({ "id": PEER })))));
    assert_eq!(put.unwrap(), Put::Added);
    let text = fs::read_to_string(&path).unwrap();
    let now = object(serde_json::from_str(&text).unwrap());
    let keys: Vec<&str> = now.keys().map(String::as_str).collect();
    assert_eq!(keys, ["domain", "privateKey", "peers", "limits", "services"]);
    assert_eq!(now["peers"], json!([{ "id": PEER }]));
    let services: Vec<&String> = now["services"].as_object().unwrap().keys().collect();
    assert_eq!(services, ["bx", "ay"]);
    assert_eq!((mode(&path), files(&folder)), (0o640, 1));
    assert!(text.ends_with("}\n"));
}

#[test]
fn a_peer_that_is_there_is_updated_and_keeps_what_is_not_said() {
    let (_folder, path) = made("");
    let put = |peer: Value| edit(&path, |config, _| Ok(put_peer(config, object(peer)))).unwrap();
    assert_eq!(put(json!({"id": PEER, "name": "a", "routes": [{"net": "10.0.0.0/8"}]})), Put::Added);
    let inode = || fs::metadata(&path).unwrap().ino();
    let before = inode();
    assert_eq!(put(json!({"id": PEER, "name": "a"})), Put::Unchanged);
    assert_eq!(inode(), before, "nothing was written");
    let base36 = PEER.parse::<hypertap_wire::peer_id::PeerId>().unwrap().to_base36();
    assert_eq!(put(json!({"id": base36, "name": "b"})), Put::Updated);
    let config = load(&path).unwrap();
    assert_eq!(config.peers.len(), 1);
    assert_eq!(config.peers[0].name.as_ref().unwrap().as_str(), "b");
    assert_eq!(config.peers[0].routes.len(), 1);
    let id = config.peers[0].id;
    assert!(edit(&path, |config, _| Ok(remove_peer(config, &id))).unwrap());
    assert!(!edit(&path, |config, _| Ok(remove_peer(config, &id))).unwrap());
    assert!(load(&path).unwrap().peers.is_empty());
}

#[test]
fn a_service_takes_the_place_of_one_of_that_name_in_whatever_case() {
    let (_folder, path) = made(r#","services":{"Web":"/tcp/1","x":"/tcp/2"}"#);
    let name = "web".parse().unwrap();
    let put = |service: Option<Value>| {
        edit(&path, |config, _| {
            put_service(config, &name, service);
            Ok(())
        })
    };
    put(Some(json!({"target": "/tcp/80"}))).unwrap();
    let services = load(&path).unwrap().services;
    assert_eq!(services.len(), 2);
    assert_eq!(services[0].target.to_string(), "/ip4/127.0.0.1/tcp/80");
    put(None).unwrap();
    assert_eq!(load(&path).unwrap().services.len(), 1);
    put(None).unwrap();
}

#[test]
fn a_change_that_would_make_the_file_bad_changes_nothing() {
    let (folder, path) =
        made(r#","peers":[{"id":"12D3KooWNfMAtF1ZWb2j9MYpFz1ZmRzUAyq1CPYAwGttomNmqY46","name":"b"}]"#);
    let before = fs::read(&path).unwrap();
    let peer = object(json!({"id": PEER, "name": "B"}));
    let failure = edit(&path, |config, _| Ok(put_peer(config, peer))).unwrap_err();
    assert_eq!(failure.exit, Exit::Usage);
    let sentence = failure.sentence();
    assert!(sentence.contains("is as it was") && sentence.contains("one name"), "{sentence}");
    let failure = edit(&path, |_, _| Err::<(), _>(Failure::new(Exit::Other, anyhow!("no")))).unwrap_err();
    assert_eq!(failure.sentence(), "no");
    assert_eq!((fs::read(&path).unwrap(), files(&folder)), (before, 1));
}

#[test]
fn a_file_that_is_bad_already_is_not_changed() {
    let (_folder, path) = made(r#","peeers":[]"#);
    let before = fs::read(&path).unwrap();
    let failure = edit(&path, |config, _| Ok(put_peer(config, object(json!({ "id": PEER }))))).unwrap_err();
    assert!(failure.sentence().contains("did you mean \"peers\""), "{}", failure.sentence());
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn changes_at_the_same_time_are_all_there_in_the_end() {
    let (folder, path) = made("");
    let all = 8;
    let barrier = Barrier::new(all);
    thread::scope(|scope| {
        for number in 0..all {
            let (path, barrier) = (&path, &barrier);
            scope.spawn(move || {
                barrier.wait();
                // Its last letter has another number, and so another service id.
                let name = format!("s-{number}").parse().unwrap();
                edit(path, |config, _| {
                    put_service(config, &name, Some(json!("/tcp/80")));
                    Ok(())
                })
                .unwrap();
            });
        }
    });
    assert_eq!((load(&path).unwrap().services.len(), files(&folder)), (all, 1));
}

#[test]
fn a_symbolic_link_stays_one() {
    let (folder, path) = made("");
    let link = folder.path().join("link.json");
    symlink(&path, &link).unwrap();
    edit(&link, |config, _| Ok(put_peer(config, object(json!({ "id": PEER }))))).unwrap();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(load(&path).unwrap().peers.len(), 1);
}

#[test]
fn a_key_that_others_can_read_is_warned_of_wherever_it_is() {
    let (folder, path) = made("");
    let warnings = |path: &Path| {
        let (text, mode) = read(&File::open(path).unwrap()).unwrap();
        meaning(path, &text, Some(mode)).unwrap().warnings
    };
    for (mode, is_open) in [(0o600, false), (0o640, false), (0o400, false), (0o644, true), (0o660, true)] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        let found = warnings(&path);
        assert_eq!(found.len(), usize::from(is_open), "{mode:o}: {found:?}");
        assert!(found.iter().all(|fault| fault.problem.contains("chmod 600")), "{found:?}");
    }
    let key = folder.path().join("node.key");
    fs::write(&key, format!("{}\n", generate().unwrap().to_multibase())).unwrap();
    let other = folder.path().join("other.json");
    fs::write(&other, r#"{"privateKeyFile":"node.key"}"#).unwrap();
    for (file, mode) in [(&other, 0o644), (&key, 0o644)] {
        fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
    }
    assert!(warnings(&other)[0].problem.contains("node.key"), "the key is in the other file");
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    assert!(warnings(&other).is_empty());
}

#[test]
fn a_file_that_is_not_there_or_is_too_large_is_no_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("none.json");
    let failure: Failure = load(&path).unwrap_err().into();
    assert_eq!(failure.exit, Exit::Usage);
    assert!(failure.sentence().contains("hypertap init"), "{}", failure.sentence());
    File::create(&path).unwrap().set_len(MAX_FILE + 1).unwrap();
    let failure: Failure = load(&path).unwrap_err().into();
    assert!(failure.sentence().contains("larger"), "{}", failure.sentence());
}
