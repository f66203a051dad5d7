//! The configuration of a services node: made, changed and checked by commands.

use std::fs::{self, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{Uplink, ip, run, scratch};
use hypertap_tests::{Value, in_namespaces, json};

use super::said;

/// As [`said`], with a configuration's file as the last words.
fn with_config(words: &[&str], path: &str) -> (Option<i32>, String, String) {
    said(&[words, &["--config", path]].concat())
}

/// What a command that must succeed prints.
#[track_caller]
fn done(words: &[&str], path: &str) -> String {
    let (code, out, err) = with_config(words, path);
    assert_eq!(code, Some(0), "{words:?}: {out}{err}");
    out
}

/// What a command prints when it reads `input`.
fn fed(words: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it is a program");
    // It may end before it has read.
    let _ = child.stdin.take().expect("piped").write_all(input.as_bytes());
    let output = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

fn json_of(text: &str) -> Value {
    text.parse().unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn file(name: &str) -> String {
    scratch(name).display().to_string()
}

fn id_in(line: &str) -> String {
    json_of(line)["id"].as_str().expect("a text").to_owned()
}

#[test]
fn init_makes_a_file_once_and_prints_the_same_line_each_time() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        run("ip", &["address", "add", "fe80::7/64", "dev", "lo"]);
        ip("tuntap add dev inside mode tun");
        ip("address add 100.64.9.9/32 dev inside");
        ip("address add 198.18.0.9/32 dev inside");
        ip("address add 10.7.0.1/24 dev inside");
        ip("link set inside up");
        let path = file("new/folder/node.json");
        let first = done(&["init", "--name", "Gate"], &path);
        let line = json_of(&first);
        assert_eq!((first.lines().count(), line["name"].as_str()), (1, Some("gate")), "{first}");
        let mut addresses: Vec<&str> =
            line["addresses"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        addresses.sort_unstable();
        let ipv4 = [
            "/ip4/10.7.0.1/tcp/8001",
            "/ip4/10.7.0.1/udp/8001/quic-v1",
            "/ip4/192.0.2.1/tcp/8001",
            "/ip4/192.0.2.1/udp/8001/quic-v1",
        ];
        assert_eq!(addresses.iter().filter(|at| at.starts_with("/ip4")).copied().collect::<Vec<_>>(), ipv4);
        assert!(addresses.iter().all(|at| !at.contains("/fe80") && !at.contains("/::1/")), "{addresses:?}");

        let before = fs::read(&path).expect("made");
        assert_eq!(fs::metadata(&path).expect("made").permissions().mode() & 0o777, 0o600);
        assert_eq!(done(&["init"], &path), first, "the name is kept");
        assert_eq!(fs::read(&path).expect("there"), before);
        assert_eq!(fs::read_dir(PathBuf::from(&path).parent().expect("a folder")).expect("made").count(), 1);
        let (code, out, err) = said(&["config", "check", &path]);
        assert!(code == Some(0) && out.contains(&id_in(&first)) && err.is_empty(), "{out}{err}");
    });
}

#[test]
fn init_leaves_a_file_that_is_bad_as_it_is() {
    in_namespaces(|| {
        let path = file("node.json");
        for content in ["", "{\"privateKey\":\"precious\"}"] {
            fs::write(&path, content).expect("written");
            let (code, out, err) = with_config(&["init"], &path);
            assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
            assert!(err.contains(&path) && !err.contains("precious"), "{err}");
            assert_eq!(fs::read_to_string(&path).expect("there"), content);
        }
    });
}

#[test]
fn two_nodes_know_each_other_once_each_has_the_others_line() {
    in_namespaces(|| {
        let _uplink = Uplink::connect();
        let (one, two) = (file("one.json"), file("two.json"));
        let line_of_one = done(&["init", "--name", "one"], &one);
        let line_of_two = done(&["init", "--name", "two"], &two);
        let (id_of_one, id_of_two) = (id_in(&line_of_one), id_in(&line_of_two));
        assert_ne!(id_of_one, id_of_two);

        let out = done(&["peer", "add", line_of_two.trim()], &one);
        assert!(out.starts_with("added ") && out.contains(&id_of_two), "{out}");
        let (code, out, err) = fed(&["peer", "add", "-", "--json", "-c", &two], &line_of_one);
        assert_eq!(code, Some(0), "{err}");
        assert_eq!(json_of(&out), json!({"done": "added", "id": id_of_one, "config": two}));

        let peers = json_of(&done(&["peer", "list", "--json"], &one));
        assert_eq!(peers.as_array().map(Vec::len), Some(1));
        assert_eq!((&peers[0]["id"], &peers[0]["name"]), (&json!(id_of_two), &json!("two")));
        assert!(peers[0]["ipv4"].as_str().is_some_and(|ip| ip.starts_with("100.64.")), "{peers}");
        assert!(peers[0]["addresses"].to_string().contains("/ip4/192.0.2.1/tcp/8001"), "{peers}");
        let text = done(&["peer", "list"], &one);
        assert!(text.contains(&format!("@two {id_of_two}")) && text.contains("100.64."), "{text}");

        assert!(done(&["peer", "add", &line_of_two], &one).contains("as it is already"));
        let renamed = json!({"id": id_of_two, "name": "zwei"}).to_string();
        assert!(done(&["peer", "add", &renamed], &one).starts_with("updated "));
        let peers = json_of(&done(&["peer", "list", "--json"], &one));
        assert_eq!(peers[0]["name"], "zwei");
        assert!(!peers[0]["addresses"].as_array().expect("a list").is_empty(), "what was not said stays");

        assert!(done(&["peer", "remove", "@ZWEI"], &one).starts_with("removed "));
        assert_eq!(json_of(&done(&["peer", "list", "--json"], &one)), json!([]));
        assert_eq!(fs::metadata(&one).expect("there").permissions().mode() & 0o777, 0o600);
        done(&["config", "check"], &one);
    });
}

#[test]
fn a_peer_that_would_make_the_file_bad_changes_nothing() {
    in_namespaces(|| {
        let path = file("node.json");
        done(&["init"], &path);
        let other = id_in(&done(&["init"], &file("other.json")));
        done(&["peer", "add", &json!({"id": other, "name": "a"}).to_string()], &path);
        let third = id_in(&done(&["init"], &file("third.json")));
        let before = fs::read(&path).expect("there");
        for (line, words) in [
            ("12D3KooW".to_owned(), &["the peer's line: it is not JSON"][..]),
            ("{}".to_owned(), &["id: the key is missing"]),
            (r#"{"id":"x"}"#.to_owned(), &["peers[1].id: \"x\""]),
            (json!({"id": third, "nam": "b"}).to_string(), &["nam: ", "did you mean \"name\"?"]),
            (json!({"id": third, "name": "A"}).to_string(), &["one name", &other, &third]),
            (json!({"id": third, "addresses": ["x"]}).to_string(), &["peers[1].addresses[0]: \"x\""]),
            (format!("{{\"id\":\"{third}\",\"id\":\"{third}\"}}"), &["id: the key is there twice"]),
        ] {
            let (code, out, err) = with_config(&["peer", "add", &line], &path);
            assert_eq!((code, out.as_str()), (Some(2), ""), "{line}: {err}");
            for word in words {
                assert!(err.contains(word), "{line}: {word:?} is not in {err}");
            }
        }
        for reference in ["@b", "a", "12D3", &third] {
            let (code, _, err) = with_config(&["peer", "remove", reference], &path);
            assert!(code == Some(2) && err.contains(reference), "{reference}: {code:?} {err}");
        }
        assert_eq!(fs::read(&path).expect("there"), before);
    });
}

#[test]
fn a_check_names_every_fault_and_ends_with_2() {
    in_namespaces(|| {
        let path = file("node.json");
        done(&["init"], &path);
        let mut config = json_of(&fs::read_to_string(&path).expect("made"));
        let key = config["privateKey"].as_str().expect("a text").to_owned();
        config["peers"] = json!([{"id": "abc"}]);
        config["services"] = json!({"web": "8080"});
        fs::write(&path, config.to_string()).expect("written");
        let (code, out, err) = said(&["config", "check", &path]);
        assert_eq!((code, out.as_str()), (Some(2), ""), "{err}");
        for word in ["has 2 faults", "peers[0].id: \"abc\": ", "services.web: \"8080\": "] {
            assert!(err.contains(word), "{word} is not in {err}");
        }
        assert!(!err.contains(&key[5..20]), "{err}");
        for (words, word) in [
            (&["config", "check", "--interface", "hs7"][..], "/etc/hypertap/hs7.json"),
            (&["config", "check", "/run/test/none.json"], "hypertap init"),
            (&["config", "check", "--interface", "a/b"], "a/b"),
        ] {
            let (code, _, err) = said(words);
            assert!(code == Some(2) && err.contains(word), "{words:?}: {code:?} {err}");
        }
    });
}

#[test]
fn a_key_that_others_can_read_is_warned_of() {
    in_namespaces(|| {
        let path = file("node.json");
        done(&["init"], &path);
        fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
        let (code, _, err) = said(&["config", "check", &path]);
        assert!(code == Some(0) && err.contains("WARN") && err.contains("chmod 600"), "{code:?} {err}");
    });
}

#[test]
fn the_schema_is_json_and_names_the_keys() {
    let (code, out, err) = said(&["config", "schema"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let schema = json_of(&out);
    assert_eq!(schema["additionalProperties"], false);
    for key in ["privateKey", "peers", "services", "listenAddresses"] {
        assert!(schema["properties"][key]["description"].is_string(), "{key}: {schema}");
    }
}

#[test]
fn a_made_key_has_the_id_that_is_printed_with_it() {
    let (code, out, err) = said(&["keygen", "--json"]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    let made = json_of(&out);
    let (key, id) = (made["privateKey"].as_str().expect("a text"), made["id"].as_str().expect("a text"));
    assert!(key.starts_with('z') && id.starts_with("12D3KooW"), "{out}");
    assert_eq!(
        fed(&["keygen", "--public"], &format!("{key}\n")),
        (Some(0), format!("{id}\n"), String::new())
    );
    let (_, another, _) = said(&["keygen"]);
    assert!(another.contains("private key  z") && !another.contains(key), "{another}");
    // A published test key.
    let key =
        "z23jhTbcjBgHmxFeeC11RXxeXb32Ce9eMvMy75ke2TrCsXpNrNvVsH98qSumzxPBbF7TqyBsd7macsAYfnVQzUApd51ZgC";
    let (_, out, _) = fed(&["keygen", "--public"], key);
    assert_eq!(out, "12D3KooWP6VEGDDp6eiCSubLai8A9hoAWuFN9A2A5BysyaSbXtRN\n");
    for bad in ["", "zz", &key[..90]] {
        let (code, out, err) = fed(&["keygen", "--public"], bad);
        assert!(code == Some(2) && out.is_empty() && err.contains("no private key"), "{code:?} {err}");
    }
}
