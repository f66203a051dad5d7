//! A daemon that is a user's own service follows that user's login sessions, as a real logind tells
//! them: elogind, which is systemd-logind made to run without systemd. It is Debian's package, fetched
//! once into the target folder and unpacked, never installed; it runs in a control group and on a seat
//! of its own. The user's service manager is played by a shell, which is the daemon's parent and sets
//! what systemd sets.

#[path = "../../crates/platform/tests/support/bus.rs"]
mod bus;

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hypertap_tests::debian::unpacked;
use hypertap_tests::machine::{open_device, run, scratch};
use hypertap_tests::namespaces::needs_root;
use hypertap_tests::{Client, Daemon, Dump, Setup, eventually, in_namespaces};
use nix::mount::{MntFlags, umount2};
use tokio::runtime::Runtime;
use zbus::{Connection, OwnedFd, OwnedObjectPath, Variant};

/// The user whose service it is, and another: Debian's `daemon` and `bin`.
const OURS: u32 = 1;
const OTHER: u32 = 2;

/// The reply to `CreateSession`: the session's name, and fourth the descriptor that it lives by.
type Created = (String, OwnedObjectPath, String, OwnedFd, u32, String, u32, bool);

/// The unpacked package. To be called outside, where there is a network.
fn package() -> PathBuf {
    unpacked(env!("CARGO_TARGET_TMPDIR"), "elogind", &["elogind"])
}

/// A system bus with a logind on it.
struct Logind {
    runtime: Runtime,
    bus: Connection,
    children: Vec<Child>,
    group: PathBuf,
    /// Processes for sessions to be of, as elogind numbers them.
    leaders: Vec<u32>,
}

impl Logind {
    fn start(package: &Path) -> Self {
        needs_root();
        let bus = bus::command().spawn().expect("it is installed");
        eventually("the bus listens", bus::listens);

        let groups = scratch("groups");
        fs::create_dir(&groups).expect("the folder is ours");
        run("mount", &["-t".as_ref(), "cgroup2".as_ref(), "none".as_ref(), groups.as_os_str()]);
        // The machine's other processes see this name too.
        let namespace = fs::read_link("/proc/self/ns/pid").expect("proc is there");
        let number: String = namespace.to_string_lossy().chars().filter(char::is_ascii_digit).collect();
        let group = groups.join(format!("hypertap-test-{number}"));
        fs::create_dir(&group).expect("root may");
        let mut elogind = Command::new("sh");
        elogind.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(&group);
        elogind.args(["unshare", "-m", "-C", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", SCRIPT]);
        elogind.arg(package.join("lib/elogind/elogind")).env("LD_LIBRARY_PATH", package.join("lib/elogind"));
        let children = vec![bus, elogind.stdout(Stdio::null()).spawn().expect("util-linux is installed")];

        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let bus = runtime.block_on(Connection::system()).expect("the bus takes us");
        let mut logind = Self { runtime, bus, children, group, leaders: Vec::new() };
        eventually("elogind is on the bus", || logind.call("ListSeats", &()).is_ok());
        let leaders = fs::read_to_string("/run/leaders").expect("the script writes it");
        logind.leaders = leaders.lines().map(|pid| pid.parse().expect("a process id")).collect();
        logind
    }

    fn call<B>(&self, method: &str, body: &B) -> zbus::Result<zbus::Message>
    where
        B: zbus::export::serde::Serialize + zbus::wire::DynamicType + Sync,
    {
        let (service, manager) = ("org.freedesktop.login1", "org.freedesktop.login1.Manager");
        let call =
            self.bus.call_method(Some(service), "/org/freedesktop/login1", Some(manager), method, body);
        self.runtime.block_on(call)
    }

    /// As the PAM module of a login at the screen does it; dropping the descriptor is the logout. The
    /// newest session is the one that the seat shows.
    fn log_in(&mut self, uid: u32) -> OwnedFd {
        let leader = self.leaders.pop().expect("few logins");
        let properties = Vec::<(&str, Variant<'_>)>::new();
        let body =
            (uid, leader, "test", "x11", "user", "", "seat0", 0_u32, "", "", false, "", "", properties);
        let reply = self.call("CreateSession", &body).expect("root may");
        let (_, _, _, lifeline, ..): Created = reply.body().deserialize().expect("login1's reply");
        lifeline
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        // The processes in there take a moment to end.
        eventually("the control group is gone", || {
            for inner in fs::read_dir(&self.group).into_iter().flatten().flatten() {
                let _ = fs::remove_dir(inner.path());
            }
            fs::remove_dir(&self.group).is_ok()
        });
        let _ = umount2(&scratch("groups"), MntFlags::MNT_DETACH);
    }
}

/// Without the terminals' class the seat has no screens to switch, and elogind decides alone. It asks
/// for the control group of process 1, so it is that; its children stand for the logins' processes.
const SCRIPT: &str = r#"
mount -t tmpfs none /sys/class/tty && mount -t tmpfs none /var/lib || exit
umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit
for each in 0 1 2 3 4 5 6 7 8 9; do sleep 1000 & echo $! >>/run/leaders; done
exec "$0""#;

/// The user's daemon, started by a shell that says so with `words`. It has the one right that it
/// needs, so that nobody has to be asked for it; its words on the command line are those of `setup`.
fn service(words: &str, setup: Setup) -> Daemon {
    open_device();
    let state = scratch("state");
    if !state.exists() {
        fs::create_dir(&state).expect("the folder is ours");
        chown(&state, Some(OURS), Some(OURS)).expect("root may");
    }
    let rights = "--reuid 1 --regid 1 --clear-groups --inh-caps +net_admin --ambient-caps +net_admin";
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!(r#"{words} setpriv {rights} "$0" "$@" & wait $!"#)]).stdout(Stdio::null());
    setup.through(shell).args(&["--state-dir".as_ref(), state.as_os_str()]).start()
}

const AS_SERVICE: &str = "MANAGERPID=$$ INVOCATION_ID=1";

#[test]
fn a_users_service_runs_without_a_logind_too() {
    in_namespaces(|| {
        needs_root();
        let daemon = service(AS_SERVICE, Setup::new());
        let mut client = daemon.client();
        client.start();
        assert_eq!(client.status(), "connected");
    });
}

/// A control group takes the machine's root: an ordinary user leaves these out by this name.
mod with_logind {
    use super::*;

    #[test]
    fn a_users_service_stops_with_the_users_last_session_and_when_somebody_else_is_at_the_seat() {
        let package = package();
        in_namespaces(|| {
            let mut logind = Logind::start(&package);
            let first = logind.log_in(OURS);
            let daemon = service(AS_SERVICE, Setup::new());
            let mut client = daemon.client();
            let before = Dump::now();
            client.start();
            drop(first);
            client.expect_stopped("loggedOut");
            before.assert_same();
            let _again = logind.log_in(OURS);
            client.start();
            let _other = logind.log_in(OTHER);
            client.expect_stopped("currentUserchanged");
            before.assert_same();
            // Who starts it where he is has decided so.
            client.start();
            client.expect_no_event();
            assert_eq!(client.status(), "connected");
        });
    }

    #[test]
    fn a_daemon_that_was_started_by_hand_stays_up() {
        let package = package();
        in_namespaces(|| {
            let mut logind = Logind::start(&package);
            let first = logind.log_in(OURS);
            let service_too = service(AS_SERVICE, Setup::new().ports(5600));
            let mut told = service_too.client();
            told.start();
            // The second is as in a terminal of a desktop that is a service: the variables name another's parent.
            let by_hand = ["", "MANAGERPID=1 INVOCATION_ID=1", "MANAGERPID=$$"];
            let mut others: Vec<(Daemon, Client)> = Vec::new();
            for (words, port) in by_hand.into_iter().zip([5610, 5620, 5630]) {
                let daemon = service(words, Setup::new().ports(port));
                let mut client = daemon.client();
                client.start();
                others.push((daemon, client));
            }
            let other = logind.log_in(OTHER);
            told.expect_stopped("currentUserchanged");
            told.start();
            drop((first, other));
            told.expect_stopped("loggedOut");
            for ((_daemon, client), words) in others.iter_mut().zip(by_hand) {
                client.expect_no_event();
                assert_eq!(client.status(), "connected", "{words:?}");
            }
        });
    }
}
