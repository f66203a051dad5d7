//! `hypertap install` and `uninstall` on the machine itself, with a stand-in for systemd: systemd has to
//! be the machine's first process. Everything else is the machine's own, seen through an overlay that
//! goes with the test.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{is_link, output, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::{Client, Setup, in_namespaces, json};

/// Where an installation puts something.
const PLACES: [&str; 6] = [
    "/usr/local/bin/hypertap",
    "/etc/systemd/system/hypertap.service",
    "/etc/systemd/system/hypertap.socket",
    "/etc/systemd/system/hypertap-node@.service",
    "/usr/share/polkit-1/actions/org.hypertap.helper.policy",
    "/var/lib/hypertap",
];

/// What the stand-in was asked.
const ASKED: &str = "/run/test/systemctl.log";
/// The process ids of the service and of a node, for the stand-in.
const SERVICE: &str = "/run/test/service.pid";
const NODE: &str = "/run/test/node.pid";

/// What systemctl is asked first where nodes are to end.
const NODES_END: [&str; 2] = ["stop hypertap-node@*.service", "disable hypertap-node@.service"];

/// Where root's tunnels have their sockets and their journal.
const STATE: &str = "/run/hypertap";

/// As systemctl(1): it says what it does, before it has; to stop is to send SIGTERM and, unless told not to, to wait for the service's end. A
/// service is active while it runs.
const SYSTEMCTL: &str = r#"#!/bin/sh
echo "Created symlink" >&2
echo "Removed"
echo "$*" >> /run/test/systemctl.log
case " $* " in *" hypertap-node@"*) file=/run/test/node.pid ;; *) file=/run/test/service.pid ;; esac
case " $* " in
    *" is-active "*) kill -0 "$(cat $file)" 2>/dev/null; exit ;;
    *" stop "* | *" disable --now "*) ;;
    *) exit 0 ;;
esac
pid=$(cat $file 2>/dev/null) || exit 0
kill -TERM "$pid"
case " $* " in *" --no-block "*) exit 0 ;; esac
while grep -q '^State:.[^ZX]' "/proc/$pid/status" 2>/dev/null; do sleep 0.05; done
"#;

/// A machine with systemd, or what passes for it, and nothing of ours.
fn machine() {
    needs_root();
    for folder in ["etc", "usr", "var"] {
        let (upper, work) = (scratch(&format!("{folder}-upper")), scratch(&format!("{folder}-work")));
        fs::create_dir_all(&upper).and_then(|()| fs::create_dir_all(&work)).expect("ours");
        let options = format!("lowerdir=/{folder},upperdir={},workdir={}", upper.display(), work.display());
        run("mount", &["-t", "overlay", "overlay", "-o", &options, &format!("/{folder}")]);
    }
    fs::create_dir_all("/run/systemd/system").expect("ours");
    stand_in("systemctl", SYSTEMCTL);
    assert_eq!(installed(), Vec::<&str>::new(), "what is there already is none of this test's");
}

fn stand_in(name: &str, script: &str) {
    let folder = scratch("bin");
    fs::create_dir_all(&folder).expect("ours");
    fs::write(folder.join(name), script).expect("ours");
    fs::set_permissions(folder.join(name), fs::Permissions::from_mode(0o755)).expect("ours");
}

/// The search path with the stand-ins before the rest.
fn search_path() -> String {
    format!("{}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", scratch("bin").display())
}

fn hypertap(words: &[&str]) -> (Option<i32>, String) {
    let output = output(Command::new(binary()).args(words).env("PATH", search_path()));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

/// What of ours is on the machine.
fn installed() -> Vec<&'static str> {
    let mut found: Vec<_> = PLACES.into_iter().filter(|path| Path::new(path).exists()).collect();
    let groups = fs::read_to_string("/etc/group").expect("readable");
    found.extend(groups.lines().any(|line| line.starts_with("hypertap:")).then_some("group hypertap"));
    found
}

/// What systemctl was asked since the last time.
fn asked() -> Vec<String> {
    let asked = fs::read_to_string(ASKED).unwrap_or_default();
    let _ = fs::remove_file(ASKED);
    asked.lines().map(str::to_owned).collect()
}

fn install() {
    let (code, said) = hypertap(&["install"]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(installed().len(), PLACES.len() + 1, "{said}");
    assert_eq!(asked(), ["daemon-reload", "enable --now hypertap.socket"]);
}

/// With no more rights than the unit file leaves the service.
fn as_in_the_unit() -> Setup {
    Setup::new().through(rights_of(include_str!("../../packaging/systemd/hypertap.service")))
}

/// What gives a program the rights that a unit file leaves.
fn rights_of(unit: &str) -> Command {
    let line =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("there is one");
    let kept = line.to_lowercase().replace("cap_", "+").replace(' ', ",");
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--no-new-privs", "--bounding-set", &format!("-all,{kept}")]);
    setpriv
}

/// The service with a tunnel, as far as the stand-in knows.
fn service(setup: Setup) -> (hypertap_tests::Daemon, Client) {
    let daemon = setup.args(&["--group", "hypertap"]).env("PATH", search_path()).start();
    fs::write(SERVICE, daemon.pid().to_string()).expect("ours");
    let mut client = daemon.client();
    client.start();
    (daemon, client)
}

#[test]
fn the_service_that_is_told_to_uninstall_replies_and_never_waits_for_its_own_end() {
    in_namespaces(|| {
        machine();
        install();
        let (mut daemon, mut client) = service(as_in_the_unit());
        client.send(&json!({"cmd": "uninstall"}));
        client.expect_text(r#"{"ok":true}"#);
        client.expect_stopped("stoppedByUser");
        client.expect_end();
        daemon.assert_ends_well();
        assert!(!is_link("hypertap0"));
        assert_eq!(installed(), Vec::<&str>::new(), "{}", daemon.log());
        let units = "hypertap.socket hypertap.service";
        let ends = [format!("disable {units}"), format!("--no-block stop {units}")];
        assert_eq!(asked(), [NODES_END.map(str::to_owned), ends].concat());
        assert!(!Path::new(STATE).join("journal").exists(), "{}", daemon.log());
    });
}

#[test]
fn uninstall_by_hand_stops_the_service_first() {
    in_namespaces(|| {
        machine();
        install();
        let (mut daemon, mut client) = service(Setup::new());
        let (code, said) = hypertap(&["uninstall"]);
        assert_eq!(code, Some(0), "{said}");
        client.expect_stopped("stoppedByUser");
        daemon.assert_ends_well();
        assert_eq!(installed(), Vec::<&str>::new(), "{said}");
        let ends = ["disable --now hypertap.socket hypertap.service", "daemon-reload"];
        assert_eq!(asked(), [NODES_END, ends].concat());
        assert!(!Path::new(STATE).exists(), "{said}");
    });
}

#[test]
fn a_node_runs_as_its_unit_says_and_ends_with_the_installation() {
    let unit = include_str!("../../packaging/systemd/hypertap-node@.service");
    let words = |key: &str| -> String {
        let line = unit.lines().find_map(|line| line.strip_prefix(key)).expect("there is one");
        line.strip_prefix("/usr/local/bin/hypertap ")
            .expect("the program that is installed")
            .replace("%i", "hs0")
    };
    in_namespaces(|| {
        machine();
        install();
        let (code, said) = hypertap(&["init", "--interface", "hs0"]);
        assert_eq!(code, Some(0), "{said}");
        let start = words("ExecStart=");
        let (command, rest) = start.split_once(' ').expect("words");
        let setup = Setup::of(command).args(&rest.split(' ').collect::<Vec<_>>()).through(rights_of(unit));
        let mut node = setup.env("STATE_DIRECTORY", "/var/lib/hypertap/nodes").start();
        fs::write(NODE, node.pid().to_string()).expect("ours");
        let config = "/etc/hypertap/hs0.json";
        fs::set_permissions(config, Permissions::from_mode(0o640)).expect("ours");
        chown(config, Some(0), Some(100)).expect("a group that may read it");
        let (code, said) = hypertap(&["services", "add", "web", "/tcp/8080", "--save", "--interface", "hs0"]);
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = hypertap(&words("ExecReload=").split(' ').collect::<Vec<_>>());
        assert_eq!(code, Some(0), "{said}");
        let (code, said) = hypertap(&["uninstall"]);
        assert_eq!(code, Some(0), "{said}");
        node.assert_ends_well();
        assert!(!is_link("hs0"), "{said}");
        assert_eq!(installed(), Vec::<&str>::new(), "{said}");
        assert!(Path::new(config).exists(), "the key is the user's");
    });
}

#[test]
fn systemd_is_asked_to_the_end_where_nobody_reads_what_it_says() {
    in_namespaces(|| {
        machine();
        let hypertap = |word: &str| {
            let unread = || std::io::pipe().expect("two descriptors").1;
            let mut command = Command::new(binary());
            command.arg(word).env("PATH", search_path()).stdout(unread()).stderr(unread());
            assert_eq!(command.status().expect("it is a program").code(), Some(0), "{word}");
        };
        hypertap("install");
        assert_eq!(asked(), ["daemon-reload", "enable --now hypertap.socket"]);
        hypertap("uninstall");
        let ends = ["disable --now hypertap.socket hypertap.service", "daemon-reload"];
        assert_eq!(asked(), [NODES_END, ends].concat());
        assert_eq!(installed(), Vec::<&str>::new());
    });
}

#[test]
fn uninstall_leaves_other_tunnels_what_they_need() {
    in_namespaces(|| {
        machine();
        install();
        let other = Setup::new().ports(6500).start();
        let mut client = other.client();
        let (code, said) = hypertap(&["uninstall"]);
        assert_eq!(code, Some(0), "{said}");
        client.start();
        assert!(is_link("hypertap0"));
    });
}

#[test]
fn an_upgrade_says_that_a_running_service_is_still_the_earlier_version() {
    in_namespaces(|| {
        machine();
        install();
        let upgrade = || {
            let (code, said) = hypertap(&["install"]);
            assert_eq!(code, Some(0), "{said}");
            said.contains("`sudo systemctl restart hypertap.service`")
        };
        let age = || fs::write("/usr/local/bin/hypertap", "an earlier version").expect("ours");
        age();
        assert!(!upgrade(), "none runs");
        let (daemon, _client) = service(Setup::new());
        assert!(!upgrade(), "it is the same version");
        age();
        assert!(upgrade(), "an earlier one runs");
        drop(daemon);
        age();
        assert!(!upgrade(), "none runs any more");
    });
}

#[test]
fn systemd_understands_every_line_of_the_units() {
    in_namespaces(|| {
        machine();
        if !Path::new("/usr/bin/systemd-analyze").exists() {
            eprintln!("not tried: there is no systemd-analyze");
            return;
        }
        install();
        let mut verify = Command::new("systemd-analyze");
        verify.args(["verify", "--man=no", "--recursive-errors=no"]);
        let verified =
            output(verify.args(&PLACES[1..3]).arg("/etc/systemd/system/hypertap-node@hypertap.service"));
        assert!(verified.status.success(), "{verified:?}");
    });
}

/// systemd.unit(5), systemd.socket(5): the limits are of starts, and each client of a socket is one.
#[test]
fn clients_that_come_and_go_fast_do_not_have_systemd_give_the_service_up() {
    let service = include_str!("../../packaging/systemd/hypertap.service");
    let socket = include_str!("../../packaging/systemd/hypertap.socket");
    let section = |text: &'static str, name: &str| {
        let rest = text.split_once(&format!("[{name}]\n")).expect("it is there").1;
        rest.split_once("\n[").map_or(rest, |(section, _)| section)
    };
    let has = |section: &str, line: &str| section.lines().any(|found| found == line);
    assert!(has(section(service, "Unit"), "StartLimitIntervalSec=0"));
    assert!(has(section(socket, "Socket"), "TriggerLimitIntervalSec=0"));
    assert!(has(section(socket, "Socket"), "RemoveOnStop=yes"));
    // Then only this keeps one that cannot start from starting all the time.
    let pause = section(service, "Service").lines().find(|line| line.contains("SERVICE_RESULT"));
    let script = pause.and_then(|line| line.strip_prefix("ExecStopPost=/bin/sh -c '")).expect("a pause");
    let script = script.trim_end_matches('\'').replace("$$", "$").replace("sleep 1", "exit 9");
    for (result, code) in [("success", 0), ("exit-code", 9), ("signal", 9)] {
        let ended = output(Command::new("sh").args(["-c", &script]).env("SERVICE_RESULT", result));
        assert_eq!(ended.status.code(), Some(code), "{result}");
    }
}

#[test]
fn a_daemon_without_rights_refuses_to_uninstall_and_keeps_its_tunnel() {
    in_namespaces(|| {
        machine();
        install();
        let (mut daemon, mut client) = service(Setup::new().args(&["--user", "nobody"]));
        let (text, code) = client.refused(&json!({"cmd": "uninstall"}));
        assert!(code == Some(3) && text.contains("`sudo hypertap uninstall`"), "{code:?} {text}");
        client.expect_no_event();
        assert_eq!(client.status(), "connected");
        assert_eq!(installed().len(), PLACES.len() + 1);
        assert_eq!(asked(), Vec::<String>::new());
        daemon.assert_runs();
    });
}

#[test]
fn an_installation_that_was_killed_is_uninstalled_or_taken_up_again() {
    in_namespaces(|| {
        machine();
        stand_in("groupadd", "#!/bin/sh\nkill -KILL $PPID\n");
        for remedy in ["uninstall", "install"] {
            let (code, said) = hypertap(&["install"]);
            assert_eq!(code, None, "it is killed: {said}");
            assert!(Path::new("/etc/systemd/system/hypertap.service").exists(), "half-way: {said}");
            if remedy == "install" {
                fs::remove_file(scratch("bin").join("groupadd")).expect("ours");
                install();
            }
            let (code, said) = hypertap(&["uninstall"]);
            assert_eq!(code, Some(0), "{said}");
            assert_eq!(installed(), Vec::<&str>::new(), "after {remedy}: {said}");
            asked();
        }
    });
}

#[test]
fn a_group_that_was_there_before_stays() {
    in_namespaces(|| {
        machine();
        run("groupadd", &["--system", "hypertap"]);
        install();
        let (code, said) = hypertap(&["uninstall"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(installed(), ["group hypertap"], "{said}");
    });
}

#[test]
fn a_staged_tree_that_was_copied_to_the_machine_is_uninstalled_there() {
    in_namespaces(|| {
        machine();
        let stage: PathBuf = scratch("stage");
        let (code, said) = hypertap(&["install", "--root", &stage.display().to_string()]);
        assert_eq!((code, asked()), (Some(0), Vec::<String>::new()), "{said}");
        run("cp", &["-a", &format!("{}/.", stage.display()), "/"]);
        assert_eq!(installed().len(), PLACES.len(), "all but the group");
        let (code, said) = hypertap(&["uninstall"]);
        assert_eq!(code, Some(0), "{said}");
        assert_eq!(installed(), Vec::<&str>::new(), "{said}");
    });
}
