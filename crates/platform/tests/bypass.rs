//! Programs under the filter, served for real: Python, static Go, C.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hypertap_platform::bypass;
use hypertap_platform::peer::tcp_peer;
use nix::sched::{CloneFlags, unshare};

const MARK: u32 = 0x4854;
const USER: u32 = 43_211;

/// The tests count this process's threads, so they take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The turn of a test that counts threads which serve: those of the tests before it have ended.
fn turn_to_count() -> MutexGuard<'static, ()> {
    let turn = turn();
    comes("the end of earlier serving threads", || serving_threads() == 0);
    turn
}

/// Starts a program under the filter and serves it.
fn start(command: &mut Command) -> Child {
    let (child, listener) = bypass::spawn(command.stdout(Stdio::piped())).expect("the filter is installed");
    bypass::serve(listener, MARK, USER).expect("these tests run as root: sockets are marked and given away");
    child
}

/// Runs a program to its end and returns what it printed.
fn run(command: &mut Command) -> String {
    let child = start(command);
    let output = child.wait_with_output().expect("it is ours");
    assert!(output.status.success(), "{command:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("text")
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]);
    command
}

fn serving_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("proc is there");
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "bypass").count()
}

/// Waits for something that comes by itself, at most ten seconds.
fn comes(what: &str, mut there: impl FnMut() -> bool) {
    let start = Instant::now();
    while !there() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} did not come");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Compiles a program into a folder that lives as long as the first.
fn build(tool: &str, name: &str, source: &str, arguments: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let program = folder.path().join("program");
    let file = folder.path().join(name);
    fs::write(&file, source).expect("written");
    let mut command = Command::new(tool);
    command.args(arguments).arg("-o").arg(&program).arg(&file).current_dir(folder.path());
    command.env("CGO_ENABLED", "0").env("GOFLAGS", "-mod=mod").env("GO111MODULE", "off");
    assert!(command.status().expect("the compiler is there").success(), "{command:?}");
    (folder, program)
}

fn go() -> &'static str {
    if Path::new("/usr/local/go/bin/go").exists() { "/usr/local/go/bin/go" } else { "go" }
}

#[test]
fn every_kind_of_internet_socket_is_marked_and_belongs_to_the_user() {
    let _turn = turn();
    let printed = run(&mut python(
        r"
import socket as s, os, fcntl
for family in (s.AF_INET, s.AF_INET6):
    for kind, protocol in ((s.SOCK_STREAM, 0), (s.SOCK_STREAM, 6), (s.SOCK_DGRAM, 0), (s.SOCK_DGRAM, 17), (s.SOCK_DGRAM, 136), (s.SOCK_STREAM, 262)):
        for flags in (0, s.SOCK_NONBLOCK):
            try:
                x = s.socket(family, kind | flags, protocol)
            except OSError as error:
                assert protocol in (136, 262), error  # a kernel may be without them
                continue
            mark = x.getsockopt(s.SOL_SOCKET, 36)
            fd = x.fileno()
            nonblock = bool(fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK)
            cloexec = bool(fcntl.fcntl(fd, fcntl.F_GETFD) & fcntl.FD_CLOEXEC)
            print(mark, os.fstat(fd).st_uid, nonblock == bool(flags), cloexec)
",
    ));
    let lines: Vec<_> = printed.lines().collect();
    assert!(lines.len() >= 16, "{printed}");
    for line in lines {
        assert_eq!(line, format!("{MARK} {USER} True True"));
    }
}

#[test]
fn a_socket_without_close_on_exec_survives_exec() {
    let _turn = turn();
    let source = r#"
#include <stdio.h>
#include <unistd.h>
#include <fcntl.h>
#include <sys/socket.h>
int main(void) {
    int open = socket(AF_INET, SOCK_STREAM, 0), closed = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), mark = 0;
    socklen_t length = sizeof mark;
    getsockopt(open, SOL_SOCKET, SO_MARK, &mark, &length);
    printf("%d %d %d\n", mark, fcntl(open, F_GETFD), fcntl(closed, F_GETFD));
    return 0;
}
"#;
    let (_folder, program) = build("gcc", "program.c", source, &["-static"]);
    assert_eq!(run(&mut Command::new(program)), format!("{MARK} 0 1\n"));
}

#[test]
fn a_static_go_program_is_served() {
    let _turn = turn();
    let source = r#"
package main
import ("fmt"; "net"; "os"; "syscall"; "sync")
func main() {
    var wait sync.WaitGroup
    for i := 0; i < 50; i++ {
        wait.Add(1)
        go func() {
            defer wait.Done()
            c, err := net.Dial("tcp", os.Args[1])
            if err != nil { fmt.Println(err); return }
            raw, _ := c.(*net.TCPConn).SyscallConn()
            raw.Control(func(fd uintptr) {
                mark, _ := syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_MARK)
                fmt.Println(mark)
            })
        }()
    }
    wait.Wait()
}
"#;
    let (_folder, program) = build(go(), "program.go", source, &["build"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let printed = run(Command::new(program).arg(listener.local_addr().expect("bound").to_string()));
    assert_eq!(printed, format!("{MARK}\n").repeat(50));
}

#[test]
fn the_kernel_names_the_user_as_owner_of_the_connection() {
    let _turn = turn();
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let ours = listener.local_addr().expect("bound");
    let script = format!(
        "import socket,sys\nx=socket.create_connection(('127.0.0.1',{}))\nsys.stdin.read()",
        ours.port()
    );
    let mut child = start(python(&script).stdin(Stdio::piped()));
    let (_stream, peer) = listener.accept().expect("it connects");
    assert_eq!(tcp_peer(ours, peer).expect("the kernel answers"), Some(USER));
    drop(child.stdin.take());
    assert!(child.wait().expect("it is ours").success());
}

#[test]
fn grandchildren_are_served_and_the_thread_ends_with_the_last() {
    let _turn = turn_to_count();
    // The first process ends at once; what it started lives on until it is told.
    let udp = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let script = format!(
        r"
import os, socket, sys
if os.fork() == 0:
    if os.fork() == 0:
        os.setsid()
        x = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        x.connect(('127.0.0.1', {}))
        x.send(str(x.getsockopt(socket.SOL_SOCKET, 36)).encode())
        x.recv(1)
        y = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
        x.send(str(y.getsockopt(socket.SOL_SOCKET, 36)).encode())
    os._exit(0)
",
        udp.local_addr().expect("bound").port()
    );
    let mut child = start(&mut python(&script));
    assert!(child.wait().expect("it is ours").success());
    let mut mark = [0; 16];
    let (count, from) = udp.recv_from(&mut mark).expect("the grandchild says its mark");
    assert_eq!(&mark[..count], MARK.to_string().as_bytes());
    assert_eq!(serving_threads(), 1, "the grandchild is still there");
    udp.send_to(b"x", from).expect("sent");
    let count = udp.recv(&mut mark).expect("the grandchild says its other mark");
    assert_eq!(&mark[..count], MARK.to_string().as_bytes());
    comes("the end of the serving thread", || serving_threads() == 0);
}

#[test]
fn two_hundred_threads_get_their_sockets() {
    let _turn = turn();
    let printed = run(&mut python(
        r"
import socket, threading
bad, good = [], []
go = threading.Barrier(200)
def work():
    go.wait()
    for _ in range(10):
        x = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        (good if x.getsockopt(socket.SOL_SOCKET, 36) == 0x4854 else bad).append(x)
threads = [threading.Thread(target=work) for _ in range(200)]
for t in threads: t.start()
for t in threads: t.join()
print(len(good), len(bad))
",
    ));
    assert_eq!(printed, "2000 0\n");
}

/// What a program of `USER` with the group of the same number, and with `groups` besides, gets as its
/// ping sockets, IPv4's and IPv6's, where `range` says who may have them. In a namespace of its own.
fn ping_sockets(range: &'static str, groups: &'static str) -> String {
    // Another user need not reach the first python3 of root's.
    let script = r#"for (AF_INET, AF_INET6) {
        if (socket(my $s, $_, SOCK_DGRAM, $_ == AF_INET ? 1 : 58)) {
            print unpack("i", getsockopt($s, SOL_SOCKET, 36)), " ", (stat($s))[4], "\n";
        } else { print "$!\n" }
    }"#;
    let inside = move || {
        unshare(CloneFlags::CLONE_NEWNET).expect("these tests run as root");
        fs::write("/proc/sys/net/ipv4/ping_group_range", range).expect("the namespace is ours");
        let id = USER.to_string();
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &id, "--regid", &id, "--groups", groups]);
        command.args(["perl", "-MSocket", "-e", script]).current_dir("/");
        run(&mut command)
    };
    thread::spawn(inside).join().expect("it does not panic")
}

#[test]
fn ping_sockets_are_marked_for_who_may_have_them_and_nobody_else() {
    let _turn = turn();
    let (marked, denied) = (format!("{MARK} {USER}\n").repeat(2), "Permission denied\n".repeat(2));
    assert_eq!(ping_sockets("43211 43211", "5"), marked, "by its group");
    assert_eq!(ping_sockets("50000 50001", "5,50001,60000"), marked, "by another of its groups");
    assert_eq!(ping_sockets("0 0", "5"), denied, "root may, whose group the server has");
    assert_eq!(ping_sockets("1 0", "5"), denied, "nobody may");
}

#[test]
fn what_is_no_internet_traffic_of_ours_goes_on_unmarked() {
    let _turn = turn();
    let printed = run(&mut python(
        r"
import socket as s
def mark(*what):
    try:
        return s.socket(*what).getsockopt(s.SOL_SOCKET, 36)
    except OSError as error:
        return error.errno
print(mark(s.AF_UNIX, s.SOCK_STREAM), mark(s.AF_NETLINK, s.SOCK_RAW), mark(s.AF_INET, s.SOCK_RAW, 1), mark(s.AF_INET, s.SOCK_STREAM, 17), mark(s.AF_INET, 0x4000003))
",
    ));
    assert_eq!(printed, format!("0 0 0 {} {}\n", libc::EPROTONOSUPPORT, libc::EINVAL));
}

#[test]
fn rings_and_foreign_calls_do_not_exist_in_there() {
    let _turn = turn();
    let source = r#"
#include <stdio.h>
#include <errno.h>
#include <unistd.h>
#include <sys/syscall.h>
#include <sys/socket.h>
int main(void) {
    char params[256] = {0};
    long ring = syscall(SYS_io_uring_setup, 4, params);
    int first = errno;
#ifdef __x86_64__
    long x32 = syscall(0x40000000 + SYS_socket, AF_INET, SOCK_STREAM, 0);
    int second = errno;
    long i386;
    __asm__ volatile("int $0x80" : "=a"(i386) : "a"(359L), "b"(AF_INET), "c"(SOCK_STREAM), "d"(0) : "memory");
#else
    long x32 = -1; int second = ENOSYS; long i386 = -ENOSYS;
#endif
    printf("%ld %d %ld %d %ld\n", ring, first == ENOSYS, x32, second == ENOSYS, i386 == -ENOSYS);
    return 0;
}
"#;
    let (_folder, program) = build("gcc", "program.c", source, &["-static"]);
    assert_eq!(run(&mut Command::new(program)), "-1 1 -1 1 1\n");
}

#[test]
fn a_program_in_another_network_namespace_is_left_alone() {
    let _turn = turn();
    let mut command = Command::new("unshare");
    command.args(["--net", "python3", "-c"]);
    command.arg(
        "import socket\nx=socket.socket()\nprint(x.getsockopt(socket.SOL_SOCKET, 36), socket.if_nameindex())",
    );
    assert_eq!(run(&mut command), "0 [(1, 'lo')]\n");
}

#[test]
fn each_thread_is_served_by_the_network_namespace_that_it_is_in() {
    let _turn = turn();
    let printed = run(&mut python(
        r"
import socket, threading, ctypes
def mark(): print(socket.socket().getsockopt(socket.SOL_SOCKET, 36))
def elsewhere():
    mark()
    assert ctypes.CDLL(None).unshare(0x40000000) == 0
    mark()
mark()
t = threading.Thread(target=elsewhere)
t.start()
t.join()
mark()
",
    ));
    assert_eq!(printed, format!("{MARK}\n{MARK}\n0\n{MARK}\n"));
}

#[test]
fn a_full_descriptor_table_is_an_error_of_the_program() {
    let _turn = turn();
    let printed = run(&mut python(
        r"
import socket, resource, errno
resource.setrlimit(resource.RLIMIT_NOFILE, (32, 32))
kept = []
try:
    while True: kept.append(socket.socket())
except OSError as error:
    print(errno.errorcode[error.errno])
kept.pop().close()
print(socket.socket().getsockopt(socket.SOL_SOCKET, 36))
",
    ));
    assert_eq!(printed, format!("EMFILE\n{MARK}\n"));
}

#[test]
fn an_ordinary_user_starts_programs_under_the_filter_too() {
    use std::os::unix::process::CommandExt;
    let _turn = turn();
    let script = r#"socket(my $s, AF_INET, SOCK_STREAM, 0) or die $!;
        print unpack("i", getsockopt($s, SOL_SOCKET, 36)), " ", (stat($s))[4], "\n";
        print `grep NoNewPrivs /proc/self/status`"#;
    let mut command = Command::new("perl");
    command.args(["-MSocket", "-e", script]).uid(USER).gid(USER).current_dir("/");
    assert_eq!(run(&mut command), format!("{MARK} {USER}\nNoNewPrivs:\t1\n"));
}

#[test]
fn only_a_listener_is_served_and_only_with_a_mark() {
    let _turn = turn();
    let file = fs::File::open("/dev/null").expect("it is there");
    let error = bypass::serve(file.into(), MARK, USER).expect_err("no listener");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    let (mut child, listener) = bypass::spawn(&mut Command::new("true")).expect("the filter is installed");
    let error = bypass::serve(listener, 0, USER).expect_err("no mark");
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
    child.wait().expect("it is ours");
    let error = bypass::spawn(&mut Command::new("/nonexistent")).expect_err("no such program");
    assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn as_many_programs_as_are_served_at_once_are_named_to_the_next() {
    let _turn = turn_to_count();
    let waiting =
        || bypass::spawn(Command::new("cat").stdin(Stdio::piped())).expect("the filter is installed");
    let mut served = Vec::new();
    let error = loop {
        let (child, listener) = waiting();
        served.push(child);
        if let Err(error) = bypass::serve(listener, MARK, USER) {
            break error;
        }
        assert!(served.len() < 1000, "there is no limit");
    };
    let count = served.len() - 1;
    for mut child in served {
        drop(child.stdin.take());
        child.wait().expect("it is ours");
    }
    assert!(error.to_string().contains(&format!("{count} programs")), "{error}");
    comes("the end of the serving threads", || serving_threads() == 0);
}

#[test]
fn without_a_server_a_program_has_no_network() {
    let _turn = turn();
    let script =
        "import socket,errno\ntry: socket.socket()\nexcept OSError as e: print(errno.errorcode[e.errno])";
    let (mut child, listener) =
        bypass::spawn(python(script).stdout(Stdio::piped())).expect("the filter is installed");
    drop(listener);
    let mut printed = String::new();
    child.stdout.take().expect("piped").read_to_string(&mut printed).expect("text");
    child.wait().expect("it is ours");
    assert_eq!(printed, "ENOSYS\n");
}

#[test]
fn a_marked_connection_carries_data() {
    let _turn = turn();
    let listener = TcpListener::bind("[::1]:0").expect("loopback");
    let SocketAddr::V6(address) = listener.local_addr().expect("bound") else { unreachable!("bound to ::1") };
    let script =
        format!("import socket\nprint(socket.create_connection(('::1',{})).recv(9))", address.port());
    let child = start(&mut python(&script));
    let (mut stream, _) = listener.accept().expect("it connects");
    stream.write_all(b"good news").expect("sent");
    let output = child.wait_with_output().expect("it is ours");
    assert_eq!(output.stdout, b"b'good news'\n");
}
