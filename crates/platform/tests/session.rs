//! Login sessions, told by a real logind: elogind, which is systemd-logind made to run without
//! systemd. It runs on a bus, in a `/run`, in a control group and on a seat without screens of its
//! own, so the machine's sessions are not touched. Needs root, dbus-daemon, and elogind's files:
//! those of `HYPERTAP_TEST_ELOGIND_ROOT`, else Debian's package, which is fetched and unpacked,
//! not installed.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::os::fd::OwnedFd as Descriptor;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_platform::session::{SessionEvent, SessionWatch};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use support::{Service, TIME, bus, own_run, unpacked};
use zbus::wire::OwnedFd;
use zbus::{Connection, OwnedObjectPath};

/// The user who is watched, and others: Debian's `daemon`, `bin` and `sys`.
const OURS: u32 = 1;
const OTHER: u32 = 2;
const THIRD: u32 = 3;

/// Runs a test on a thread with a `/run` of its own.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    let thread = std::thread::spawn(move || {
        own_run(CloneFlags::empty());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test()).await.expect("what was waited for came");
        });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

/// The reply to `CreateSession`: the session's name, and fourth the descriptor that it lives by.
type Created = (String, OwnedObjectPath, String, OwnedFd, u32, String, u32, bool);

/// A bus with a logind on it.
struct Logind {
    bus: Connection,
    children: Vec<Service>,
    group: PathBuf,
    /// Processes for sessions to be of, as elogind numbers them.
    leaders: Vec<u32>,
    logins: usize,
}

/// A login; dropping it is the logout.
struct Login {
    id: String,
    _lifeline: Descriptor,
}

impl Logind {
    async fn start() -> Self {
        let root = unpacked("elogind", "HYPERTAP_TEST_ELOGIND_ROOT");
        let mut children = vec![bus()];
        mount_groups();
        let group = Path::new("/run/group").join(format!("hypertap-test-{}", children[0].id()));
        std::fs::create_dir(&group).unwrap();
        // Without the terminals' class the seat has no screens to switch, and elogind decides alone. It
        // asks for the group of process 1, so it is that; its children stand for the logins' processes.
        let script = "mount -t tmpfs none /sys/class/tty && mount -t tmpfs none /var/lib \
            && umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup || exit 1
            for each in 0 1 2 3 4 5 6 7 8 9; do sleep 1000 & echo $! >>/run/leaders; done
            exec \"$0\"";
        let mut elogind = Command::new("sh");
        elogind.args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec "$@""#]).arg(&group);
        elogind.args(["unshare", "-m", "-C", "-p", "-f", "--kill-child", "--mount-proc", "sh", "-c", script]);
        elogind.arg(root.join("lib/elogind/elogind")).env("LD_LIBRARY_PATH", root.join("lib/elogind"));
        children.push(Service::start(&mut elogind));
        let bus = Connection::system().await.unwrap();
        let mut logind = Self { bus, children, group, leaders: Vec::new(), logins: 0 };
        let end = Instant::now() + TIME;
        while logind.call("ListSeats", &()).await.is_err() {
            assert!(Instant::now() < end, "elogind does not start");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let leaders = std::fs::read_to_string("/run/leaders").unwrap();
        logind.leaders = leaders.lines().map(|pid| pid.parse().unwrap()).collect();
        logind
    }

    async fn call<B>(&self, method: &str, body: &B) -> zbus::Result<zbus::Message>
    where
        B: serde::Serialize + zbus::wire::DynamicType + Sync,
    {
        let (service, manager) = ("org.freedesktop.login1", "org.freedesktop.login1.Manager");
        self.bus.call_method(Some(service), "/org/freedesktop/login1", Some(manager), method, body).await
    }

    /// As the PAM module of a login does it. On a seat, the newest session is the active one.
    async fn log_in(&mut self, uid: u32, class: &str, seat: &str) -> Login {
        let pid = self.leaders[self.logins % self.leaders.len()];
        self.logins += 1;
        let kind = if seat.is_empty() { "tty" } else { "x11" };
        let (remote, properties) = (seat.is_empty(), Vec::<(&str, zbus::Variant<'_>)>::new());
        let body = (uid, pid, "test", kind, class, "", seat, 0_u32, "", "", remote, "", "", properties);
        let reply = self.call("CreateSession", &body).await.unwrap();
        let (id, _, _, lifeline, ..): Created = reply.body().deserialize().unwrap();
        Login { id, _lifeline: lifeline.into() }
    }
}

impl Drop for Logind {
    fn drop(&mut self) {
        while let Some(child) = self.children.pop() {
            drop(child);
        }
        // The processes of a namespace whose first one was killed take a moment to end.
        let end = Instant::now() + Duration::from_secs(5);
        while self.group.exists() && Instant::now() < end {
            for inner in std::fs::read_dir(&self.group).into_iter().flatten().flatten() {
                let _ = std::fs::remove_dir(inner.path());
            }
            let _ = std::fs::remove_dir(&self.group);
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Shows the machine's control groups (version 2) at `/run/group`.
fn mount_groups() {
    std::fs::create_dir("/run/group").unwrap();
    let none: Option<&str> = None;
    mount(none, "/run/group", Some("cgroup2"), MsFlags::empty(), none).unwrap();
}

/// Fails if anything happens in the time in which logind tells all about another login and logout.
async fn nothing_happens(logind: &mut Logind, watch: &mut SessionWatch) {
    let third = logind.log_in(THIRD, "user", "").await;
    let mut sentinel = SessionWatch::new(THIRD).await.expect("logind is there");
    drop(third);
    tokio::select! {
        biased;
        event = watch.next() => panic!("{event:?}"),
        event = sentinel.next() => assert_eq!(event, SessionEvent::LoggedOut),
    }
    // The sentinel has heard all; what ours heard last it is still looking at, perhaps.
    let quiet = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[test]
#[ignore = "fetches Debian's elogind package: cargo xtask test runs it"]
fn the_end_of_the_last_login_session_is_logged_out_also_for_a_user_who_lingers() {
    alone(|| async {
        let mut logind = Logind::start().await;
        for lingers in [false, true] {
            let first = logind.log_in(OURS, "user", "seat0").await;
            let second = logind.log_in(OURS, "user", "").await;
            let job = logind.log_in(OURS, "background", "").await;
            logind.call("SetUserLinger", &(OURS, lingers, false)).await.unwrap();
            let mut watch = SessionWatch::new(OURS).await.expect("logind is there");
            drop(first);
            nothing_happens(&mut logind, &mut watch).await;
            drop(second);
            // A job of the user's still runs; it is no login.
            assert_eq!(watch.next().await, SessionEvent::LoggedOut);
            drop(job);
            nothing_happens(&mut logind, &mut watch).await;
            assert_eq!(logind.call("GetUser", &(OURS)).await.is_ok(), lingers);
            // He comes back, and goes again.
            let third = logind.log_in(OURS, "user", "").await;
            nothing_happens(&mut logind, &mut watch).await;
            drop(third);
            assert_eq!(watch.next().await, SessionEvent::LoggedOut);
        }
    });
}

#[test]
#[ignore = "fetches Debian's elogind package: cargo xtask test runs it"]
fn another_users_session_on_the_seat_is_other_user_each_time() {
    alone(|| async {
        let mut logind = Logind::start().await;
        let ours = logind.log_in(OURS, "user", "seat0").await;
        let mut watch = SessionWatch::new(OURS).await.expect("logind is there");
        let theirs = logind.log_in(OTHER, "user", "seat0").await;
        assert_eq!(watch.next().await, SessionEvent::OtherUser);
        for _ in 0..2 {
            logind.call("ActivateSession", &(&ours.id)).await.unwrap();
            nothing_happens(&mut logind, &mut watch).await;
            logind.call("ActivateSession", &(&theirs.id)).await.unwrap();
            assert_eq!(watch.next().await, SessionEvent::OtherUser);
        }
        // A second session of one's own is nobody else's.
        let again = logind.log_in(OURS, "user", "seat0").await;
        nothing_happens(&mut logind, &mut watch).await;
        // A screen for logging in is.
        let greeter = logind.log_in(OTHER, "greeter", "seat0").await;
        assert_eq!(watch.next().await, SessionEvent::OtherUser);
        drop((ours, again));
        assert_eq!(watch.next().await, SessionEvent::LoggedOut);
        drop((theirs, greeter));
    });
}

#[test]
#[ignore = "fetches Debian's elogind package: cargo xtask test runs it"]
fn who_has_no_seat_is_not_displaced() {
    alone(|| async {
        let mut logind = Logind::start().await;
        let _ours = logind.log_in(OURS, "user", "").await;
        let mut watch = SessionWatch::new(OURS).await.expect("logind is there");
        let _theirs = logind.log_in(OTHER, "user", "seat0").await;
        nothing_happens(&mut logind, &mut watch).await;
    });
}

#[test]
#[ignore = "fetches Debian's elogind package: cargo xtask test runs it"]
fn a_wait_that_was_given_up_loses_nothing() {
    alone(|| async {
        let mut logind = Logind::start().await;
        let mut ours = Some(logind.log_in(OURS, "user", "").await);
        let mut watch = SessionWatch::new(OURS).await.expect("logind is there");
        for polls in 0..30 {
            let mut next = Box::pin(watch.next());
            drop(ours.take());
            let mut event = None;
            // Dropped after it was polled so often, wherever that is.
            for _ in 0..polls {
                tokio::select! {
                    biased;
                    happened = &mut next => { event = Some(happened); break }
                    () = tokio::time::sleep(Duration::from_micros(200)) => {}
                }
            }
            drop(next);
            let event = match event {
                Some(event) => event,
                None => watch.next().await,
            };
            assert_eq!(event, SessionEvent::LoggedOut, "{polls}");
            ours = Some(logind.log_in(OURS, "user", "").await);
            // It has been heard of once a look shows it; looking is what `new` does.
            nothing_happens(&mut logind, &mut watch).await;
        }
    });
}

#[test]
fn without_a_bus_or_a_logind_there_is_nothing_to_watch() {
    alone(|| async {
        assert!(SessionWatch::new(OURS).await.is_none());
        let _bus = bus();
        assert!(SessionWatch::new(OURS).await.is_none());
    });
}
