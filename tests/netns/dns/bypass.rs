//! Programs that are to reach their resolvers themselves: by a mark on their sockets, or through
//! `hypertap bypass`.

use std::fs;
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

/// A peer that is run through `hypertap bypass` with options, as the user with this id.
fn bypassed(uid: Option<u32>, options: &[&str], words: &[&str]) -> (bool, String) {
    bypassed_program(uid, options, Command::new(peer_program()).args(words))
}

fn bypassed_program(uid: Option<u32>, options: &[&str], program: &Command) -> (bool, String) {
    let mut command = match uid {
        None => Command::new(binary()),
        Some(uid) => {
            let id = uid.to_string();
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--no-new-privs", "--inh-caps=-all"])
                .arg(binary());
            command
        }
    };
    let said = output(
        command.arg("bypass").args(options).arg("--").arg(program.get_program()).args(program.get_args()),
    );
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

/// A daemon with no more rights than the unit file leaves the service, started through `first`.
fn as_in_the_unit(first: &[&str]) -> Setup {
    let unit = include_str!("../../../packaging/systemd/hypertap.service");
    let line =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("there is one");
    let kept = line.to_lowercase().replace("cap_", "+").replace(' ', ",");
    let setpriv = ["setpriv", "--no-new-privs", "--inh-caps=-all", "--bounding-set", &format!("-all,{kept}")];
    let words = [first, &setpriv].concat();
    let mut wrapper = Command::new(words[0]);
    wrapper.args(&words[1..]);
    for_other().through(wrapper)
}

#[test]
fn the_service_marks_the_sockets_of_root_and_of_others_with_the_rights_of_its_unit_file() {
    with_daemon_as(
        || as_in_the_unit(&[]),
        |Scene { client, .. }| {
            let _resolver = capture_queries(client);
            for uid in [None, Some(OTHER)] {
                assert_eq!(bypassed(uid, &[], &["udp-ask", "0", TO]), (true, "answer".to_owned()), "{uid:?}");
            }
        },
    );
}

#[test]
fn a_users_ping_through_hypertap_bypass_is_let_out_and_needs_a_group_that_may_ping() {
    let range = |range: &str| fs::write("/proc/sys/net/ipv4/ping_group_range", range).expect("ours");
    with_daemon_as(
        || as_in_the_unit(&[]),
        |Scene { client, .. }| {
            ask_around_the_tunnel(client, |to| {
                let address = to.rsplit_once(':').expect("a port").0.trim_matches(['[', ']']);
                let ping = || {
                    let mut ping = Command::new("ping");
                    bypassed_program(Some(OTHER), &[], ping.args(["-n", "-c1", "-W3", address]))
                };
                range(&format!("{OTHER} {OTHER}"));
                let (answered, said) = ping();
                assert!(answered, "{address}: {said}");
                range("0 0");
                let (answered, said) = ping();
                assert!(!answered && !said.contains("bytes from"), "{address}: {said}");
            });
        },
    );
}

#[test]
fn a_program_whose_namespace_proc_hides_gets_no_socket_and_the_log_says_why() {
    let hidden = "mount -t proc -o hidepid=2,gid=54321 proc /proc && exec \"$@\"";
    let first = ["unshare", "--mount", "sh", "-c", hidden, "sh"];
    with_daemon_as(
        || as_in_the_unit(&first),
        |Scene { client, daemon, .. }| {
            let _resolver = capture_queries(client);
            let (let_out, said) = bypassed(Some(OTHER), &[], &["udp-ask", "0", TO]);
            assert!(!let_out && said.contains("denied"), "{said}");
            daemon.log_with("hidepid");
        },
    );
}

#[test]
fn a_daemon_whose_proc_is_anothers_says_so_instead_of_serving() {
    with_daemon_as(
        || as_in_the_unit(&["unshare", "--pid", "--fork", "--kill-child"]),
        |_| {
            let (ran, said) = bypassed(Some(OTHER), &["--control", CONTROL], &["udp-ask", "0", TO]);
            assert!(!ran && said.contains("mount a proc there"), "{said}");
        },
    );
}

#[test]
fn a_bypass_inside_a_bypass_runs_its_program_and_one_of_another_daemon_says_what_to_do() {
    with_daemon(|Scene { client, .. }| {
        let _resolver = capture_queries(client);
        let hypertap = binary().into_os_string().into_string().expect("a name");
        let peer = peer_program().into_os_string().into_string().expect("a name");
        let inside = |words: &[&str]| {
            let said = output(Command::new(binary()).args(["bypass", "--"]).args(words));
            (
                said.status.success(),
                String::from_utf8_lossy(&[said.stdout, said.stderr].concat()).into_owned(),
            )
        };
        let ask = [hypertap.as_str(), "bypass", "--", &peer, "udp-ask", "0", TO];
        assert_eq!(inside(&ask), (true, "answer\n".to_owned()));
        let other = [&["env", "HYPERTAP_BYPASS=/elsewhere"][..], &ask].concat();
        let (ran, said) = inside(&other);
        assert!(!ran && said.contains("inside `hypertap bypass` of the daemon at /elsewhere"), "{said}");
        let unknown = [&["env", "-u", "HYPERTAP_BYPASS"][..], &ask].concat();
        let (ran, said) = inside(&unknown);
        assert!(!ran && said.contains("seccomp"), "{said}");
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
