//! Names of services that nodes tell each other.

use hypertap_tests::eventually;
use hypertap_tests::namespaces::in_namespaces;
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::member::Member;
use crate::scene::{Plan, Scene};

const SERVICES: &[&str] = &["/hypertap/services/1"];

/// The services that a node knows of its only peer; none when it was told of none.
fn known(node: &Plan) -> Option<Vec<String>> {
    let all = node.ask(&["services", "--json"]).json();
    let names = all["peers"][0]["services"].as_array()?.iter().map(|service| &service["name"]);
    Some(names.map(|name| name.as_str().expect("a name").to_owned()).collect())
}

fn services(names: &[&str]) -> Value {
    names.iter().map(|name| ((*name).to_owned(), json!("/tcp/80"))).collect()
}

#[test]
fn a_peer_is_told_the_names_that_it_may_use_and_told_again_when_they_change() {
    in_namespaces(|| {
        let private = json!({"target": "/tcp/1", "acl": {"blacklist": ["@near"]}});
        let scene = Scene::new(json!({"web": "/tcp/80", "private": private, "ssh": "/tcp/22"}));
        let far = scene.far.start();
        let mut member = Member::connect(&scene.near, &scene.far, SERVICES);
        let mut told = || {
            let mut stream = member.accept();
            let told = member.rest(&mut stream).expect("it is ended and not reset");
            member.end(&mut stream);
            told
        };
        assert_eq!(told(), b"\x00\x0a\x00\x02\x03ssh\x03web");
        scene.far.set("services", json!({"web": "/tcp/80", "private": private, "db": "/tcp/22"}));
        far.signal(Signal::SIGHUP);
        assert_eq!(told(), b"\x00\x09\x00\x02\x02db\x03web");
        // What this peer may not use is no news to it, so the next telling is of what comes after.
        let denied = scene.far.ask(&["services", "add", "secret", "/tcp/2", "--deny", "@near"]);
        assert_eq!(denied.code, Some(0), "{}", denied.says);
        assert_eq!(scene.far.ask(&["services", "remove", "db"]).code, Some(0));
        assert_eq!(told(), b"\x00\x06\x00\x01\x03web");
    });
}

#[test]
fn what_a_peer_told_stands_until_it_tells_anew_also_while_it_is_away() {
    in_namespaces(|| {
        let scene = Scene::new(services(&["web", "ssh"]));
        let (_near, mut far) = scene.start();
        eventually("its names are known", || known(&scene.near) == Some(vec!["ssh".into(), "web".into()]));
        far.signal(Signal::SIGTERM);
        far.assert_ends_well();
        let is_away = || scene.near.ask(&["services", "--json"]).json()["peers"][0]["isConnected"] == false;
        eventually("it is away", is_away);
        assert_eq!(known(&scene.near), Some(vec!["ssh".into(), "web".into()]));
        scene.far.set("services", services(&["db"]));
        let _again = scene.far.start();
        eventually("its new names are known", || known(&scene.near) == Some(vec!["db".into()]));
    });
}

#[test]
fn only_a_good_list_of_names_is_taken() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, SERVICES);
        let tell = |list: &[u8]| {
            let mut stream = member.open(SERVICES);
            // A list that is bad from the beginning may not even be read to its end.
            let _ = member.try_send(&mut stream, list);
            member.try_end(&mut stream);
            member.rest(&mut stream).map_or(Vec::new(), |rest| rest)
        };
        assert_eq!(tell(b"\x00\x09\x00\x02\x02DB\x03web"), b"", "nothing comes back");
        let good = Some(vec!["db".to_owned(), "web".to_owned()]);
        assert_eq!(known(&scene.far), good);
        let bad: [&[u8]; 6] = [
            b"",
            b"\x00\x01\x00",
            b"\x00\x02\xff\xff",
            b"\x00\x06\x00\x02\x03ssh",
            b"\x00\x06\x00\x01\x03s.h",
            b"\x00\x06\x00\x01\x03ss",
        ];
        for list in bad {
            tell(list);
            assert_eq!(known(&scene.far), good, "{list:02x?}");
        }
        tell(b"\x00\x02\x00\x00");
        assert_eq!(known(&scene.far), Some(vec![]));
    });
}

#[test]
fn a_peer_that_comes_back_without_the_protocol_has_told_nothing() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, SERVICES);
        let mut stream = member.open(SERVICES);
        member.send(&mut stream, b"\x00\x06\x00\x01\x03web");
        eventually("its name is known", || known(&scene.far) == Some(vec!["web".into()]));
        drop((stream, member));
        // One that comes while it is there yet does not come anew.
        eventually("it is gone", || {
            let said = scene.far.ask(&["services", "--json"]).json();
            said["peers"][0]["isConnected"] == false
        });
        let _other = Member::connect(&scene.near, &scene.far, &[]);
        eventually("any name may be there", || known(&scene.far).is_none());
    });
}
