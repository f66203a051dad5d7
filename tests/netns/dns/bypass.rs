//! Programs that are to reach their resolvers themselves: by a mark on their sockets, or through
//! `hypertap bypass`.

use std::process::Command;

use hypertap_tests::daemon::{CONTROL, binary};
use hypertap_tests::machine::{Uplink, output};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::peer::{OTHER, STRANGER, peer_command, peer_program};
use hypertap_tests::{Client, Peer, Scene, Setup, json, with_daemon, with_daemon_as};

use super::{connected, resolvers};

/// The default of `--bypass-mark`.
const MARK: &str = "26745";

/// One of the resolvers.
const TO: &str = "8.8.8.8:53";

/// Has the neighbour answer one query at a resolver's address.
fn answering(uplink: &Uplink, resolver: &str) -> Peer {
    let mut peer = uplink.peer(&["answer", resolver]);
    peer.expect("bound");
    peer
}

/// Has everything go into the tunnel, queries too, and asks each resolver, which answers one that gets
/// around that.
fn ask_around_the_tunnel(client: &mut Client, ask: impl Fn(&str)) {
    let (uplink, _program) = connected(client);
    client.plain(&json!({"cmd": "turnOnDNS"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["0.0.0.0/0", "::/0"]}));
    for to in resolvers() {
        let to = to.to_string();
        let _resolver = answering(&uplink, &to);
        ask(&to);
    }
}

/// Captures queries, and has [`TO`] answer one that gets around that.
fn capture_queries(client: &mut Client) -> Peer {
    let uplink = Uplink::connect();
    client.start();
    client.plain(&json!({"cmd": "turnOnDNS"}));
    answering(&uplink, TO)
}

#[test]
fn a_socket_with_the_bypass_mark_is_let_out_of_capture_and_routes() {
    with_daemon(|Scene { client, .. }| {
        ask_around_the_tunnel(client, |to| {
            let asked = Peer::start(peer_command(&["udp-ask", MARK, to])).finish();
            assert_eq!(asked, ["answer"], "{to}");
        });
    });
}

#[test]
fn the_bypass_mark_can_be_chosen() {
    let setup = || Setup::new().args(&["--bypass-mark", "0x77"]);
    with_daemon_as(setup, |Scene { client, .. }| {
        let _resolver = capture_queries(client);
        assert_eq!(Peer::start(peer_command(&["udp-ask", "119", TO])).finish(), ["answer"]);
    });
}

/// A program that is run through `hypertap bypass` with options, as the user with this id.
fn bypassed(uid: Option<u32>, options: &[&str], words: &[&str]) -> (bool, String) {
    let mut command = match uid {
        None => Command::new(binary()),
        Some(uid) => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &uid.to_string(), "--clear-groups", "--no-new-privs", "--inh-caps=-all"])
                .arg(binary());
            command
        }
    };
    let said = output(command.arg("bypass").args(options).arg("--").arg(peer_program()).args(words));
    let text = String::from_utf8_lossy(&said.stdout).trim().to_owned();
    (said.status.success(), format!("{text}{}", String::from_utf8_lossy(&said.stderr)))
}

#[test]
fn a_program_run_through_hypertap_bypass_is_let_out_by_udp_and_tcp() {
    with_daemon(|Scene { client, .. }| {
        ask_around_the_tunnel(client, |to| {
            for how in ["udp-ask", "tcp-ask"] {
                assert_eq!(bypassed(None, &[], &[how, "0", to]), (true, "answer".to_owned()), "{how} {to}");
            }
        });
    });
}

/// A daemon that root has started for an ordinary user.
fn for_other() -> Setup {
    needs_root();
    Setup::new().env("SUDO_UID", OTHER.to_string())
}

#[test]
fn an_ordinary_user_who_may_use_the_tunnel_may_bypass_it_and_another_may_not() {
    with_daemon_as(for_other, |Scene { client, .. }| {
        let _resolver = capture_queries(client);
        let (ask, control) = (["udp-ask", "0", TO], ["--control", CONTROL]);
        assert_eq!(bypassed(Some(OTHER), &control, &ask), (true, "answer".to_owned()));
        let (let_out, said) = bypassed(Some(STRANGER), &control, &ask);
        assert!(!let_out && !said.starts_with("answer"), "{said}");
    });
}

#[test]
fn an_ordinary_user_need_not_say_where_the_machines_daemon_is() {
    with_daemon_as(for_other, |Scene { client, .. }| {
        let _resolver = capture_queries(client);
        assert_eq!(bypassed(Some(OTHER), &[], &["udp-ask", "0", TO]), (true, "answer".to_owned()));
    });
}

#[test]
fn bypass_hands_the_exit_code_of_its_program_on() {
    with_daemon(|_| {
        for (line, code) in [("exit 0", 0), ("exit 7", 7)] {
            let ran = output(Command::new(binary()).args(["bypass", "--", "sh", "-c", line]));
            assert_eq!(ran.status.code(), Some(code), "{line}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    });
}
