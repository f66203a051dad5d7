//! Programs in namespaces of their own, started by root and by an ordinary user; and becoming one.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "one test forks, since only a process with one thread may drop its rights")]

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hypertap_platform::namespace::{Spaces, TunUnusable, enter_new, tun_usable};
use hypertap_platform::rights::{Driver, rights};
use hypertap_platform::user::{NoUser, NotDropped, User, drop_to};

/// The user "nobody", whom every system has.
const NOBODY: u32 = 65534;

fn sh(script: &str, spaces: &Spaces) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", script]);
    enter_new(&mut command, spaces).expect("plain paths");
    command.output().expect("it starts: these tests run as root")
}

fn text(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}: {out}{err}", output.status);
    out.into_owned()
}

/// A part of this file, below, as another process; as an ordinary user if so wanted. It runs from a
/// copy in a folder that lives as long as the first, since the build's folder may be closed to others.
fn play(part: &str, user: Option<u32>) -> (tempfile::TempDir, Command) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(&folder, PermissionsExt::from_mode(0o755)).expect("ours");
    let program = folder.path().join(part);
    // By another process: a program that is open for writing cannot be started, and any child that
    // another test starts meanwhile would have our descriptor for a moment.
    let copied = Command::new("cp").arg(std::env::current_exe().expect("a program")).arg(&program).status();
    assert!(copied.expect("there is a cp").success());
    let mut command = Command::new(program);
    command.args(["--exact", part, "--ignored", "--nocapture", "--test-threads=1"]).current_dir("/");
    if let Some(uid) = user {
        command.uid(uid).gid(uid);
    }
    (folder, command)
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().expect("it starts");
    text(&output)
}

#[test]
fn a_node_has_its_own_network_with_lo_up_and_an_empty_run() {
    let script = "ip -o link show up; ls -A /run | wc -l; touch /run/x; ping -c1 -W1 127.0.0.1 >/dev/null 2>&1; readlink /proc/self/ns/net /proc/self/ns/mnt /proc/self/ns/user";
    let printed = text(&sh(script, &Spaces::node()));
    let lines: Vec<_> = printed.lines().collect();
    assert_eq!(lines.len(), 5, "{printed}");
    assert!(lines[0].contains(" lo:") && lines[0].contains("UP"), "{printed}");
    assert_eq!(lines[1].trim(), "0");
    let ours =
        |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).expect("proc").display().to_string();
    assert!(lines[2] != ours("net") && lines[3] != ours("mnt") && lines[4] == ours("user"), "{printed}");
    assert!(!Path::new("/run/x").exists(), "no mount gets out");
}

#[test]
fn a_file_is_seen_in_another_place_inside_only() {
    let folder = tempfile::tempdir().expect("a folder");
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    fs::write(&from, "inside").expect("written");
    fs::write(&to, "outside").expect("written");
    let spaces = Spaces { binds: vec![(from, to.clone())], ..Spaces::default() };
    assert_eq!(text(&sh(&format!("cat {}", to.display()), &spaces)), "inside");
    assert_eq!(fs::read_to_string(to).expect("read"), "outside");
}

#[test]
fn the_first_process_of_a_process_namespace_hands_its_end_on() {
    let spaces = Spaces { pid: true, ..Spaces::default() };
    assert_eq!(
        text(&sh("echo $$; ls -d /proc/[0-9]* | wc -l", &spaces)).split_whitespace().next(),
        Some("1")
    );
    assert_eq!(sh("exit 7", &spaces).status.code(), Some(7));
    // A first process survives its own plain signals, so something below it dies and it says so.
    assert_eq!(sh("sh -c 'kill -9 $$'; exit $?", &spaces).status.code(), Some(137));
}

#[test]
fn a_killed_process_namespace_takes_all_with_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("made");
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("setsid sleep 1000 > {} & echo up; wait", fifo.display())])
        .stdout(Stdio::piped());
    enter_new(&mut command, &Spaces { pid: true, ..Spaces::default() }).expect("plain paths");
    let mut child = command.spawn().expect("started");
    let reader = fs::File::open(&fifo).expect("the grandchild opens it");
    child.kill().expect("it is ours");
    assert_eq!(child.wait().expect("it is ours").signal(), Some(9));
    // The pipe's end is the grandchild's end.
    assert_eq!(std::io::copy(&mut &reader, &mut std::io::sink()).expect("read"), 0);
}

#[test]
fn a_program_that_is_not_there_is_said_so_from_inside_too() {
    for spaces in [Spaces::node(), Spaces { pid: true, user: true, ..Spaces::node() }] {
        let mut command = Command::new("/nonexistent");
        enter_new(&mut command, &spaces).expect("plain paths");
        assert_eq!(command.spawn().expect_err("none").kind(), std::io::ErrorKind::NotFound);
    }
}

#[test]
fn an_ordinary_user_is_root_inside_and_may_change_that_network() {
    let printed = succeed(&mut play("play_ordinary_user", Some(NOBODY)).1);
    assert!(printed.contains("played"), "{printed}");
}

#[test]
#[ignore = "a part that other tests play"]
fn play_ordinary_user() {
    assert_eq!(nix::unistd::geteuid().as_raw(), NOBODY);
    assert!(!rights().net_admin, "not outside");
    let spaces = Spaces { pid: true, ..Spaces::node() };
    let printed = text(&sh(
        "id -u; ip -o link show up; ip link add a0 type veth peer name b0 && echo made; ls -A /run | wc -l; cat /proc/self/setgroups",
        &spaces,
    ));
    assert!(
        printed.starts_with("0\n") && printed.contains("lo:") && printed.contains("made\n0\ndeny"),
        "{printed}"
    );
    println!("played");
}

#[test]
fn what_makes_a_tun_unusable_is_told_apart() {
    // As root, outside, it is usable where there is a driver at all.
    match rights().driver {
        Driver::Ready => assert_eq!(tun_usable(), Ok(())),
        Driver::Missing(errno) => assert_eq!(tun_usable(), Err(TunUnusable::Missing(errno))),
        Driver::Refused(errno) => assert_eq!(tun_usable(), Err(TunUnusable::Closed(errno))),
    }
    // Root in a user namespace is not the owner of a closed node, and may use an open one.
    let closed = node(0o600);
    let open = node(0o666);
    for (node, expected) in [(&closed, "closed"), (&open, "usable")] {
        let (_folder, mut command) = play("play_tun", Some(NOBODY));
        command.env("HYPERTAP_TEST_NODE", &node.0);
        let printed = succeed(&mut command);
        assert!(printed.contains(&format!("tun is {expected}")), "{printed}");
    }
    // An open node does not help without the right.
    let (_folder, mut command) = play("play_tun_inside", Some(NOBODY));
    enter_root(&mut command, &open.0);
    assert!(succeed(&mut command).contains("tun is out of rights"));
}

/// Puts a node over `/dev/net/tun` in a mount namespace, before the user is changed: what `unshare -m`
/// and `mount --bind` do.
fn enter_root(command: &mut Command, node: &Path) {
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    *command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(program).args(arguments);
    let binds = vec![(node.to_owned(), PathBuf::from("/dev/net/tun"))];
    enter_new(command, &Spaces { binds, ..Spaces::default() }).expect("plain paths");
}

#[test]
#[ignore = "a part that other tests play"]
fn play_tun() {
    let node = PathBuf::from(std::env::var("HYPERTAP_TEST_NODE").expect("a node"));
    let mut command = Command::new(std::env::current_exe().expect("a program"));
    command.args(["--exact", "play_tun_inside", "--ignored", "--nocapture"]);
    let binds = vec![(node, PathBuf::from("/dev/net/tun"))];
    enter_new(&mut command, &Spaces { binds, ..Spaces::node() }).expect("plain paths");
    print!("{}", succeed(&mut command));
}

#[test]
#[ignore = "a part that other tests play"]
fn play_tun_inside() {
    let words = match tun_usable() {
        Ok(()) => "usable",
        Err(TunUnusable::Closed(_)) => "closed",
        Err(TunUnusable::NoRight) => "out of rights",
        Err(TunUnusable::Missing(_)) => "missing",
    };
    println!("tun is {words}");
}

/// A TUN device node of our own, removed when dropped.
struct Node(PathBuf);

fn node(mode: u32) -> Node {
    use nix::sys::stat::{Mode, SFlag, makedev, mknod};
    let path = std::env::temp_dir().join(format!("hypertap-node-{}-{mode:o}", std::process::id()));
    mknod(&path, SFlag::S_IFCHR, Mode::S_IRUSR, makedev(10, 200))
        .expect("these tests run as root: a device node");
    fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("ours");
    Node(path)
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn rights_are_those_of_the_networks_owner() {
    assert!(rights().net_admin, "these tests run as root");
    // Every capability, but in a user namespace that does not own the network.
    let (_folder, mut command) = play("play_no_right", None);
    enter_new(&mut command, &Spaces { user: true, ..Spaces::default() }).expect("plain paths");
    assert!(succeed(&mut command).contains("net_admin: false"));
    let (_folder, mut command) = play("play_no_right", None);
    enter_new(&mut command, &Spaces { user: true, net: true, ..Spaces::default() }).expect("plain paths");
    assert!(succeed(&mut command).contains("net_admin: true"));
}

#[test]
#[ignore = "a part that other tests play"]
fn play_no_right() {
    println!("{:?}", rights());
}

#[test]
fn who_became_an_ordinary_user_has_no_way_back() {
    // A fork of a threaded program has one thread, which is what dropping wants; what runs in the
    // child are system calls and the user database, which glibc keeps usable after a fork.
    let nobody = User::by_name("nobody").expect("every system has it");
    let report = tempfile::NamedTempFile::new().expect("a file");
    // SAFETY: as said; the child leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let outcome = drop_to(&nobody);
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        let back = nix::unistd::setuid(0.into());
        let _ = write!(report.as_file(), "{outcome:?} {back:?}\n{status}");
        // SAFETY: takes a number only.
        unsafe { libc::_exit(0) };
    }
    let mut status = 0;
    // SAFETY: the pointer leads to a number that lives across the call.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    let report = fs::read_to_string(report.path()).expect("read");
    assert!(report.starts_with("Ok(()) Err(EPERM)\n"), "{report}");
    let field = |name: &str| {
        report.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default().trim().to_owned()
    };
    for set in ["CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!(field("Uid:").split_whitespace().collect::<Vec<_>>(), ["65534"; 4]);
    assert_eq!(field("Gid:").split_whitespace().collect::<Vec<_>>(), [nobody.gid().to_string().as_str(); 4]);
    assert!(!field("Groups:").split_whitespace().any(|group| group == "0"), "{report}");
    assert_eq!(field("NoNewPrivs:"), "1");
}

#[test]
fn dropping_from_a_threaded_process_or_to_root_is_refused() {
    let root = User::by_name("root").expect("every system has it");
    assert!(matches!(drop_to(&root), Err(NotDropped::Root)));
    // The test runner's main thread is another one.
    let nobody = User::by_name("nobody").expect("every system has it");
    assert!(matches!(drop_to(&nobody), Err(NotDropped::Threads(2..))));
    assert_eq!(nix::unistd::geteuid().as_raw(), 0);
    assert!(matches!(User::by_name("no-such-user"), Err(NoUser::Unknown(_))));
}
