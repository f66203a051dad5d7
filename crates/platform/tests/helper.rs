//! The privileged half in another process: the same jobs over a socket.
#![cfg(target_os = "linux")]

#[path = "support/alone.rs"]
mod alone;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use hypertap_platform::helper::{Helper, HelperStart, Via, Work, keep, serve, spawn};
use hypertap_platform::memory::{Job, Memory};
use hypertap_platform::monitor::{LinkEvent, LinkMonitor};
use hypertap_platform::{
    Gone, MachineError, Offload, Privileged, RouteChange, RouteKind, TunSpec, in_process, recover,
};
use nix::sys::signal::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

fn spec() -> TunSpec {
    TunSpec {
        name: None,
        ipv4: Ipv4Addr::new(10, 7, 0, 1),
        ipv6: None,
        mtu: 1500,
        queues: 1,
        offload: false,
        bypass_mark: 0x4854,
    }
}

/// A helper that serves a remembered machine, and its socket's other end.
fn serving(machine: &Memory) -> (OwnedFd, JoinHandle<std::io::Result<()>>) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let half = machine.half();
    let task = async move { serve(theirs.into(), 0, half, std::future::pending()).await };
    #[expect(clippy::disallowed_methods, reason = "the handle is kept")]
    (ours.into(), tokio::spawn(task))
}

/// Hands a socket over as the keeper does.
fn offer(keeper: &UnixStream, socket: &impl AsFd) {
    hypertap_platform::descriptor::send(keeper.as_fd(), b"h", &[socket.as_fd()]).expect("sent");
}

/// A socket that a keeper of these helpers would have, and its other end. The keeper ends when it is dropped.
fn keeper(sockets: &[&OwnedFd]) -> (UnixStream, OwnedFd) {
    let (keeper, daemon) = UnixStream::pair().expect("a pair");
    sockets.iter().for_each(|socket| offer(&keeper, socket));
    (keeper, daemon.into())
}

async fn helper(machine: &Memory) -> (Helper, JoinHandle<std::io::Result<()>>) {
    let (socket, task) = serving(machine);
    let (keeper, daemon) = keeper(&[&socket]);
    drop(socket);
    let helper = Helper::connect(daemon).await.expect("it speaks");
    // Nothing that is asked here looks at the keeper.
    drop(keeper);
    (helper, task)
}

#[tokio::test]
async fn the_jobs_are_done_as_in_the_process() {
    let machine = Memory::new();
    machine.grant(Offload::TcpUdp);
    let (mut helper, task) = helper(&machine).await;
    let tun = helper.open_tun(&TunSpec { queues: 64, offload: true, ..spec() }).await.expect("opened");
    assert_eq!((tun.name.as_str(), tun.queues.len(), tun.offload), ("hypertap0", 64, Offload::TcpUdp));
    // Each queue is the interface's own, in order.
    for (number, (near, far)) in tun.queues.iter().zip(machine.far_ends()).enumerate() {
        let number = u8::try_from(number).expect("there are 64");
        nix::unistd::write(&far, &[number]).expect("sent");
        let mut packet = [0; 2];
        assert_eq!(nix::unistd::read(near.as_fd(), &mut packet), Ok(1));
        assert_eq!(packet[0], number);
    }
    let (one, two) = ("10.0.0.0/8".parse().expect("a net"), "fd00::/8".parse().expect("a net"));
    let add = vec![(one, RouteKind::Included), (two, RouteKind::Excluded)];
    helper.change_routes(&RouteChange { remove: vec![], add }).await.expect("changed");
    helper.capture_dns(true).await.expect("captured");
    helper.load_driver().await.expect("there");
    helper.serve_bypass(tun.queues[0].try_clone().expect("a descriptor"), 7, 0).await.expect("served");
    let seen = machine.snapshot();
    let tunnel = seen.tunnel.expect("it is open");
    assert_eq!((tunnel.routes.len(), tunnel.dns, seen.bypasses), (2, true, vec![(7, 0)]));
    helper.close_tun().await.expect("closed");
    assert_eq!(machine.snapshot().tunnel, None);
    drop(helper);
    task.await.expect("it ended").expect("well");
}

#[tokio::test]
async fn an_error_arrives_as_it_was() {
    let machine = Memory::new();
    let (mut helper, _task) = helper(&machine).await;
    assert_eq!(helper.capture_dns(true).await, Err(MachineError::NoTun));
    let refused = MachineError::Resolver { doing: "set DNS".to_owned(), reason: "no".to_owned() };
    machine.fail(Job::OpenTun, refused.clone());
    assert_eq!(helper.open_tun(&spec()).await.expect_err("it was to fail"), refused);
    helper.open_tun(&spec()).await.expect("it does not fail again");
    assert_eq!(helper.open_tun(&spec()).await.expect_err("there is one"), MachineError::TunExists);
}

#[tokio::test]
async fn what_is_put_back_is_told_through_the_helper() {
    let machine = Memory::new();
    let (mut helper, _task) = helper(&machine).await;
    assert_eq!(helper.reassert().await, Err(MachineError::NoTun));
    helper.open_tun(&spec()).await.expect("opened");
    assert_eq!(helper.reassert().await, Ok(false));
    machine.damage();
    assert_eq!(helper.reassert().await, Ok(true));
    assert_eq!(helper.reassert().await, Ok(false));
}

#[tokio::test]
async fn a_request_out_of_bounds_reaches_no_machine() {
    let machine = Memory::new();
    let (mut helper, _task) = helper(&machine).await;
    for bad in [
        TunSpec { name: Some("../../x".to_owned()), ..spec() },
        TunSpec { mtu: 67, ..spec() },
        TunSpec { queues: 0, ..spec() },
        TunSpec { queues: 65, ..spec() },
        TunSpec { ipv4: Ipv4Addr::UNSPECIFIED, ..spec() },
    ] {
        helper.open_tun(&bad).await.expect_err("refused");
    }
    assert!(machine.snapshot().jobs.is_empty());
}

#[tokio::test]
async fn a_hundred_thousand_routes_pass_and_too_many_do_no_harm() {
    let machine = Memory::new();
    let (mut helper, _task) = helper(&machine).await;
    helper.open_tun(&spec()).await.expect("opened");
    let route = |number: u32| {
        let net = ipnet::Ipv4Net::new(Ipv4Addr::from(number << 8), 24).expect("a net");
        (net.into(), RouteKind::Included)
    };
    let change = RouteChange { remove: vec![], add: (0..100_000).map(route).collect() };
    helper.change_routes(&change).await.expect("changed");
    assert_eq!(machine.snapshot().tunnel.expect("open").routes.len(), 100_000);
    let change = RouteChange { remove: vec![], add: (0..2_000_000).map(route).collect() };
    helper.change_routes(&change).await.expect_err("too many");
    helper.capture_dns(true).await.expect("the helper is well");
}

#[tokio::test]
async fn the_other_sides_end_undoes_what_was_done() {
    let machine = Memory::new();
    let (mut helper, task) = helper(&machine).await;
    helper.open_tun(&spec()).await.expect("opened");
    drop(helper);
    task.await.expect("it ended").expect("well");
    assert_eq!(machine.snapshot().tunnel, None);
}

#[tokio::test]
async fn a_shutdown_undoes_first_and_then_shows() {
    let machine = Memory::new();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (tell, told) = tokio::sync::oneshot::channel::<()>();
    let half = machine.half();
    let task = async move {
        serve(theirs.into(), 0, half, async {
            let _ = told.await;
        })
        .await
    };
    #[expect(clippy::disallowed_methods, reason = "the handle is kept")]
    let task = tokio::spawn(task);
    let ours = ours.into();
    let (keeper, daemon) = keeper(&[&ours]);
    drop(ours);
    let mut helper = Helper::connect(daemon).await.expect("it speaks");
    helper.open_tun(&spec()).await.expect("opened");
    // Waiting for its end, and dropping the wait, disturbs no job.
    for on in [true, false] {
        tokio::select! {
            biased;
            _ = helper.gone() => panic!("it is there"),
            () = tokio::task::yield_now() => {}
        }
        helper.capture_dns(on).await.expect("captured");
    }
    tell.send(()).expect("it listens");
    task.await.expect("it ended").expect("well");
    drop(keeper);
    assert_eq!(helper.gone().await, Gone::ForGood);
    assert_eq!(machine.snapshot().tunnel, None);
    assert_eq!(helper.gone().await, Gone::ForGood);
    assert_eq!(helper.load_driver().await, Err(MachineError::HelperGone));
}

#[tokio::test]
async fn the_keepers_end_is_the_halfs_once_the_helper_has_undone() {
    let machine = Memory::new();
    let (socket, task) = serving(&machine);
    let (keeper, daemon) = keeper(&[&socket]);
    drop(socket);
    let mut helper = Helper::connect(daemon).await.expect("it speaks");
    helper.open_tun(&spec()).await.expect("opened");
    drop(keeper);
    assert_eq!(helper.gone().await, Gone::ForGood);
    assert_eq!(machine.snapshot().tunnel, None);
    task.await.expect("it ended").expect("well");
    assert_eq!(helper.open_tun(&spec()).await.expect_err("nobody does it"), MachineError::HelperGone);
}

/// Plays a helper that is killed when it has been asked something, in the middle of its answer.
async fn be_cut_off(socket: OwnedFd) {
    let mut socket = tokio::net::UnixStream::from_std({
        let socket = UnixStream::from(socket);
        socket.set_nonblocking(true).expect("ours");
        socket
    })
    .expect("a runtime");
    let hello = br#"{"hypertap":"helper","protocol":4}"#;
    socket.write_u32(u32::try_from(hello.len()).expect("short")).await.expect("sent");
    socket.write_all(hello).await.expect("sent");
    for _ in 0..2 {
        let length = socket.read_u32().await.expect("a frame");
        let mut body = vec![0; usize::try_from(length).expect("short")];
        socket.read_exact(&mut body).await.expect("a frame");
    }
    socket.write_all(&[0, 0, 1]).await.expect("sent");
}

#[tokio::test]
async fn a_lost_helper_is_told_once_and_the_next_does_the_jobs() {
    let machine = Memory::new();
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let (keeper, daemon) = keeper(&[&ours.into()]);
    #[expect(clippy::disallowed_methods, reason = "the handle is kept")]
    let first = tokio::spawn(be_cut_off(theirs.into()));
    let mut helper = Helper::connect(daemon).await.expect("it speaks");
    let (socket, second) = serving(&machine);
    offer(&keeper, &socket);
    drop(socket);
    assert_eq!(helper.change_routes(&RouteChange::default()).await, Err(MachineError::HelperGone));
    first.await.expect("it ended");
    // Nothing is done with the next one before it was said that the tunnel is gone.
    assert_eq!(helper.open_tun(&spec()).await.expect_err("untold"), MachineError::HelperGone);
    assert_eq!(helper.gone().await, Gone::Restarted);
    helper.open_tun(&spec()).await.expect("opened");
    tokio::select! {
        biased;
        _ = helper.gone() => panic!("it was told already"),
        () = tokio::task::yield_now() => {}
    }

    // One that is lost while nobody asks, and one that is lost before it greets.
    second.abort();
    assert!(second.await.expect_err("aborted").is_cancelled());
    let (silent, end) = UnixStream::pair().expect("a pair");
    offer(&keeper, &silent);
    drop((silent, end));
    let (socket, _third) = serving(&machine);
    offer(&keeper, &socket);
    drop(socket);
    assert_eq!(helper.gone().await, Gone::Restarted);
    helper.open_tun(&spec()).await.expect("opened");
}

#[tokio::test]
async fn an_answer_that_nobody_waited_for_is_not_the_next_ones() {
    let machine = Memory::new();
    let (mut helper, _task) = helper(&machine).await;
    for polls in 0..20 {
        let spec = spec();
        let mut job = Box::pin(helper.open_tun(&spec));
        // Dropped after it was polled so often, wherever that is.
        for _ in 0..polls {
            tokio::select! {
                biased;
                _ = &mut job => break,
                () = tokio::task::yield_now() => {}
            }
        }
        drop(job);
        helper.close_tun().await.expect("closed");
        assert_eq!(machine.snapshot().tunnel, None, "{polls}");
        let tun = helper.open_tun(&spec).await.expect("opened");
        assert_eq!(tun.queues.len(), 1);
        helper.close_tun().await.expect("closed");
    }
}

#[tokio::test]
async fn junk_ends_the_helper_and_undoes_what_was_done() {
    let hello = br#"{"hypertap":"helper","protocol":4}"#;
    let frame = |body: &[u8]| {
        let length = u32::try_from(body.len()).expect("short").to_be_bytes();
        [&length[..], body].concat()
    };
    let mut cases = vec![
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), true),
        (vec![0; 4], true),
        (vec![0xff; 64], true),
        (frame(b"{}"), true),
        (frame(br#"{"hypertap":"helper","protocol":5}"#), true),
        ([frame(hello), frame(b"{}")].concat(), true),
        ([frame(hello), frame(br#"{"id":1,"job":"fly"}"#)].concat(), true),
        ([frame(hello), frame("[".repeat(100_000).as_bytes())].concat(), true),
        // Cut off, as by a death: an end, and no error.
        (frame(hello)[..9].to_vec(), false),
        ([&frame(hello)[..], &[0, 0]].concat(), false),
        (Vec::new(), false),
    ];
    // And bytes of no meaning at all, behind a right greeting.
    let mut state = 0x9e37_79b9_u32;
    for _ in 0..200 {
        let mut random = || {
            state ^= state << 13;
            state ^= state >> 17;
            state ^= state << 5;
            state.to_le_bytes()[0]
        };
        let junk: Vec<u8> = (0..=usize::from(random())).map(|_| random()).collect();
        cases.push(([frame(hello), frame(&junk)].concat(), true));
    }
    for (bytes, broken) in cases {
        let machine = Memory::new();
        let (socket, task) = serving(&machine);
        let mut socket = UnixStream::from(socket);
        socket.write_all(&bytes).expect("sent");
        socket.shutdown(std::net::Shutdown::Write).expect("shut down");
        let outcome = task.await.expect("it does not panic");
        let kind = outcome.err().map(|error| error.kind());
        let expected = broken.then_some(std::io::ErrorKind::InvalidData);
        assert_eq!(kind, expected, "{:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(80)]));
        assert_eq!(machine.snapshot().tunnel, None);
    }
}

#[tokio::test]
async fn a_helper_of_another_version_is_named() {
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let hello = br#"{"hypertap":"helper","protocol":9}"#;
    theirs.write_all(&u32::try_from(hello.len()).expect("short").to_be_bytes()).expect("sent");
    theirs.write_all(hello).expect("sent");
    let (_keeper, daemon) = keeper(&[&ours.into()]);
    let error = Helper::connect(daemon).await.expect_err("another version");
    assert!(matches!(&error, MachineError::HelperProtocol(why) if why.contains("version 9")), "{error}");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    drop(theirs);
    assert_eq!(Helper::connect(ours.into()).await.expect_err("nobody there"), MachineError::HelperGone);
}

// From here on with real processes: this test program is the daemon and the helper too.

/// What `spawn` starts: a script that makes this program play the helper. The program has threads, which
/// must leave the keeper's signals to it.
fn script(folder: &Path) -> PathBuf {
    script_with(folder, "")
}

/// The same, with one variable more.
fn script_with(folder: &Path, variable: &str) -> PathBuf {
    let program = std::env::current_exe().expect("a program");
    executable(
        folder,
        &format!(
            "[ \"$1\" = helper ] || exit 1\nHYPERTAP_TEST_STATE=\"$3\" {variable} \\\nexec env --block-signal=CHLD --block-signal=TERM '{}' --exact play_the_helper --ignored --nocapture",
            program.display()
        ),
    )
}

/// A shell script in a folder. Another process puts it there: a file that is open for writing cannot
/// be started, and any child that another test starts meanwhile would have our descriptor for a moment.
fn executable(folder: &Path, script: &str) -> PathBuf {
    let (text, path) = (folder.join("text"), folder.join("hypertap"));
    std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).expect("written");
    let installed = Command::new("install").args(["-m", "755"]).args([&text, &path]).status();
    assert!(installed.expect("there is an install").success());
    path
}

/// An exit code of the helper which says that another would do no better.
const FINAL: u8 = 6;

#[test]
#[ignore = "a part that other tests play"]
fn play_the_helper() {
    let state = std::env::var("HYPERTAP_TEST_STATE").expect("a folder");
    let socket = std::io::stdin().as_fd().try_clone_to_owned().expect("the socket");
    let code = keep(socket, &[FINAL], |Work { socket, peer }| {
        if let Ok(code) = std::env::var("HYPERTAP_TEST_CODE") {
            return code.parse().expect("a number");
        }
        runtime().block_on(async {
            let mut signal =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()).expect("a signal");
            recover(Path::new(&state)).await.expect("undone");
            let Some(socket) = socket else { return };
            let half = in_process(Path::new(&state)).expect("the right");
            let shutdown = async move {
                signal.recv().await;
            };
            serve(socket, peer, half, shutdown).await.expect("served");
        });
        0
    });
    std::process::exit(code.expect("kept").into());
}

#[test]
#[ignore = "a part that other tests play"]
fn play_the_daemon() {
    let folder = PathBuf::from(std::env::var("HYPERTAP_TEST_FOLDER").expect("a folder"));
    let starting =
        spawn(&folder.join("hypertap"), Via::Direct, Some(&folder.join("state")), &[], &[]).expect("started");
    runtime().block_on(async {
        let mut helper = starting.connect().await.expect("it speaks");
        let tun = helper.open_tun(&spec()).await.expect("opened");
        let add = vec![("10.9.0.0/16".parse().expect("a net"), RouteKind::Included)];
        helper.change_routes(&RouteChange { remove: vec![], add }).await.expect("changed");
        println!("opened {}", tun.index);
        helper.gone().await;
        println!("gone");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Runs a test in a network namespace of its own.
fn alone<F: Future<Output = ()>>(test: impl FnOnce() -> F + Send + 'static) {
    alone::alone(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), test()).await.expect("what was waited for came");
        });
    });
}

/// Links, rules and routes of the namespace, as `ip` prints them.
fn dump() -> String {
    let shown = ["-o link", "-o addr", "rule", "-6 rule", "route show table all", "-6 route show table all"];
    let mut text = String::new();
    for what in shown {
        let output = Command::new("ip").args(what.split_whitespace()).output().expect("iproute2 is there");
        text += &String::from_utf8_lossy(&output.stdout);
    }
    text
}

async fn deleted(monitor: &mut LinkMonitor, wanted: u32) {
    while monitor.next().await.expect("the socket works") != (LinkEvent::Deleted { index: wanted }) {}
}

#[test]
fn a_daemon_that_is_killed_leaves_nothing_behind() {
    alone(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        script(folder.path());
        let mut monitor = LinkMonitor::new().await.expect("a netlink socket");
        let before = dump();
        let mut daemon = Command::new(std::env::current_exe().expect("a program"))
            .args(["--exact", "play_the_daemon", "--ignored", "--nocapture"])
            .env("HYPERTAP_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("started");
        let mut lines = BufReader::new(daemon.stdout.take().expect("piped")).lines();
        let index = lines
            .find_map(|line| {
                line.expect("text").split_once("opened ").and_then(|(_, index)| index.parse().ok())
            })
            .expect("it opened a tunnel");
        assert_ne!(dump(), before);
        let helper = child_of_ours(&folder.path().join("hypertap"));
        daemon.kill().expect("it is ours");
        daemon.wait().expect("it is ours");
        deleted(&mut monitor, index).await;
        while Path::new(&format!("/proc/{helper}")).exists() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(dump(), before);
    });
}

#[test]
fn a_helper_that_ends_is_replaced_when_nothing_is_left_of_it() {
    alone(|| async {
        let folder = tempfile::tempdir().expect("a folder");
        let program = script(folder.path());
        let before = dump();
        let starting =
            spawn(&program, Via::Direct, Some(&folder.path().join("state")), &[], &[]).expect("started");
        let mut helper = starting.connect().await.expect("it speaks");
        let keeper = child_of_ours(&program);
        let mut losses = Vec::new();
        // Lost at once, three times, is not too often yet.
        for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGABRT] {
            let tun = helper.open_tun(&spec()).await.expect("opened");
            let add = vec![("10.9.0.0/16".parse().expect("a net"), RouteKind::Included)];
            helper.change_routes(&RouteChange { remove: vec![], add }).await.expect("changed");
            helper.capture_dns(true).await.expect("captured");
            assert_ne!(dump(), before);
            losses.push(Instant::now());
            end(worker_of(keeper), signal);
            assert_eq!(helper.gone().await, Gone::Restarted, "{signal}");
            assert_eq!(dump(), before, "{signal}");
            drop(tun);
        }
        // Once more is, unless the machine is so busy that the first of four was ten seconds ago by then.
        loop {
            helper.open_tun(&spec()).await.expect("opened");
            losses.push(Instant::now());
            end(worker_of(keeper), Signal::SIGKILL);
            let gone = helper.gone().await;
            assert_eq!(dump(), before);
            if gone == Gone::ForGood {
                break;
            }
            assert!(losses[losses.len() - 4].elapsed() > Duration::from_secs(10), "{losses:?}");
        }
        assert_eq!(helper.close_tun().await, Err(MachineError::HelperGone));
    });
}

#[test]
fn a_keeper_that_is_told_to_end_ends_the_helper_first_and_for_good() {
    alone(|| async {
        for signal in [Signal::SIGTERM, Signal::SIGKILL] {
            let folder = tempfile::tempdir().expect("a folder");
            let program = script(folder.path());
            let before = dump();
            let starting =
                spawn(&program, Via::Direct, Some(&folder.path().join("state")), &[], &[]).expect("started");
            let mut helper = starting.connect().await.expect("it speaks");
            helper.open_tun(&spec()).await.expect("opened");
            let keeper = child_of_ours(&program);
            let worker = worker_of(keeper);
            end(keeper, signal);
            assert_eq!(helper.gone().await, Gone::ForGood, "{signal}");
            assert_eq!(dump(), before, "{signal}");
            assert_eq!(helper.close_tun().await, Err(MachineError::HelperGone));
            while Path::new(&format!("/proc/{worker}/fd/0")).exists() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    });
}

fn end(pid: i32, signal: Signal) {
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), signal).expect("it runs");
}

/// The one process that a keeper has started. (It forks in the thread that is the test.)
fn worker_of(keeper: i32) -> i32 {
    let tasks = std::fs::read_dir(format!("/proc/{keeper}/task")).expect("it runs").flatten();
    let children =
        tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    children.collect::<String>().trim().parse().expect("it has one helper")
}

/// The helper that was started with that program: the child of ours with its folder in its environment.
fn child_of_ours(program: &Path) -> i32 {
    let state = program.with_file_name("state");
    let wanted = format!("HYPERTAP_TEST_STATE={}", state.display());
    let mut children = std::fs::read_dir("/proc").expect("proc is there").filter_map(|entry| {
        let pid: i32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let environment = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|line| line == wanted.as_bytes()).then_some(pid)
    });
    // Its own helper has the same environment, and is younger.
    children.next().expect("it runs")
}

#[test]
fn a_helper_serves_a_bypassing_program() {
    alone(|| async {
        alone::needs_root();
        let folder = tempfile::tempdir().expect("a folder");
        let starting =
            spawn(&script(folder.path()), Via::Direct, Some(&folder.path().join("state")), &[], &[])
                .expect("started");
        let mut helper = starting.connect().await.expect("it speaks");
        let mut command = Command::new("python3");
        command.args([
            "-c",
            "import socket,os;x=socket.socket();print(x.getsockopt(1,36),os.fstat(x.fileno()).st_uid)",
        ]);
        let (mut child, listener) =
            hypertap_platform::bypass::spawn(command.stdout(Stdio::piped())).expect("filtered");
        helper.serve_bypass(listener, 0x4854, 43_212).await.expect("served");
        let mut printed = String::new();
        child.stdout.take().expect("piped").read_to_string(&mut printed).expect("text");
        child.wait().expect("it is ours");
        assert_eq!(printed, format!("{} 43212\n", 0x4854));
    });
}

#[tokio::test]
async fn a_helper_that_cannot_start_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = executable(folder.path(), "exit 3");
    let starting = spawn(&path, Via::Direct, Some(folder.path()), &[], &[]).expect("started");
    let error = starting.connect().await.expect_err("it ended");
    assert!(matches!(error, HelperStart::Ended(status) if status.code() == Some(3)), "{error}");
}

#[tokio::test]
async fn only_an_end_that_says_so_is_no_loss() {
    // Any other is tried again until it is one too many.
    for (code, expected) in [(FINAL, FINAL), (3, 1), (101, 1)] {
        let folder = tempfile::tempdir().expect("a folder");
        let program = script_with(folder.path(), &format!("HYPERTAP_TEST_CODE={code}"));
        let starting = spawn(&program, Via::Direct, Some(folder.path()), &[], &[]).expect("started");
        let error = starting.connect().await.expect_err("it ended");
        let HelperStart::Ended(status) = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(expected.into()), "{code}");
    }
}
