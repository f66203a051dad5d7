//! Programs under the shim's filter, served for real: Python, static C, static Go, by users without rights.
#![cfg(target_os = "linux")]

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use hypertap_platform::shim::{self, Caller, Device, Ends, Reply};
use nix::unistd::{read, write};

const TUNSETIFF: u32 = 0x4004_54ca;
const USER: u32 = 43_212;
/// One that the device is not for.
const GUEST: u32 = 43_213;

/// All children of this process are waited for, so the tests take turns.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives each opener a pair whose other end sends back what comes, and names interfaces `shim0`.
#[derive(Clone, Default)]
struct Echo(Arc<Mutex<Vec<String>>>);

impl Echo {
    fn note(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    fn noted(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Device for Echo {
    fn open(&mut self, caller: &dyn Caller, nonblocking: bool) -> io::Result<Option<OwnedFd>> {
        let user = caller.user()?;
        if user == GUEST {
            self.note(format!("not for {user}"));
            return Ok(None);
        }
        let Ends { ours, program, inode } = shim::ends(nonblocking)?;
        self.note(format!("open {nonblocking}"));
        thread::spawn(move || {
            let mut packet = [0; 2048];
            while let Ok(len @ 1..) = read(&ours, &mut packet) {
                // Whoever does not block may have gone by now.
                if write(&ours, &packet[..len]).is_err() {
                    break;
                }
            }
        });
        assert_ne!(inode, 0);
        Ok(Some(program))
    }

    fn ioctl(&mut self, caller: &dyn Caller, request: u32, argument: u64) -> io::Result<Reply> {
        self.note(format!("ioctl {request:#x} {}", caller.socket().is_some()));
        if request != TUNSETIFF || caller.socket().is_none() {
            return Ok(Reply::Continue);
        }
        let mut name = [0; 16];
        caller.read(argument, &mut name)?;
        if name.starts_with(b"refuse") {
            return Err(io::Error::from_raw_os_error(libc::EBUSY));
        }
        if name.starts_with(b"later") {
            return Ok(Reply::Later(Box::new(move |caller: &dyn Caller| {
                caller.write(argument, b"shim1\0")?;
                Ok(0)
            })));
        }
        caller.write(argument, b"shim0\0")?;
        Ok(Reply::Value(0))
    }

    fn write_nothing(&mut self, caller: &dyn Caller) -> io::Result<Reply> {
        self.note(format!("nothing {}", caller.socket().is_some()));
        if caller.socket().is_none() {
            return Ok(Reply::Continue);
        }
        Err(io::Error::from_raw_os_error(libc::EINVAL))
    }
}

/// Runs a program to its end, and returns what it printed and what was asked.
fn run(command: &mut Command) -> (String, Vec<String>) {
    let (ours, theirs) = io::pipe().expect("a pipe");
    let (program, listener) = shim::spawn(command.stdout(Stdio::from(theirs))).expect("it starts");
    // It holds the pipe's other end, too.
    command.stdout(Stdio::null());
    let echo = Echo::default();
    let served = shim::serve(listener, Box::new(echo.clone())).expect("it is served");
    let printed = io::read_to_string(ours).expect("text");
    let status = program.wait().expect("it is ours");
    assert!(status.success(), "{command:?}: {status}; it printed {printed}");
    served.join().expect("it does not panic");
    (printed, echo.noted())
}

fn python(script: &str) -> Command {
    let mut command = Command::new("python3");
    command.args(["-c", script]);
    command
}

/// Compiles a program into a folder that lives as long as the first.
fn build(tool: &str, name: &str, source: &str, arguments: &[&str]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("it is ours");
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
fn what_is_answered_later_and_a_write_of_nothing_are_answered_as_said() {
    let _turn = turn();
    let script = "
import errno, fcntl, os, struct
fd = os.open('/dev/net/tun', os.O_RDWR)
name = fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', b'later', 0x1002))[:5]
try: os.write(fd, b'')
except OSError as error: nothing = errno.errorcode[error.errno]
print(name, nothing, os.write(os.open('/dev/null', os.O_WRONLY), b''), os.write(fd, b'x'))";
    let (printed, noted) = run(&mut python(script));
    assert_eq!(printed, "b'shim1' EINVAL 0 1\n");
    let nothing: Vec<&String> = noted.iter().filter(|what| what.starts_with("nothing")).collect();
    assert_eq!(nothing, ["nothing true", "nothing false"]);
}

/// Opens the device in every way that C has, and exchanges a packet.
const C: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <linux/openat2.h>
#include <linux/if.h>
#include <linux/if_tun.h>
static void use(const char *how, int fd) {
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    char packet[100];
    int set = ioctl(fd, TUNSETIFF, &request);
    write(fd, "hello", 5);
    int count = read(fd, packet, 3);  // a packet that does not fit is cut
    write(fd, "second", 6);
    int next = read(fd, packet + 3, 90);
    printf("%s %d %s %d%d %d\n", how, set, request.ifr_name, count, next, fcntl(fd, F_GETFD));
    close(fd);
}
int main(void) {
    struct open_how how = {.flags = O_RDWR | O_CLOEXEC};
    use("openat", open("/dev/net/tun", O_RDWR));
    use("open", syscall(SYS_openat, AT_FDCWD, "/dev//net/./tun", O_RDWR | O_CLOEXEC));
#ifdef SYS_open
    use("syscall", syscall(SYS_open, "/dev/net/tun", O_RDWR | O_NONBLOCK));
#else
    use("syscall", open("/dev/net/tun", O_RDWR | O_NONBLOCK));
#endif
    use("openat2", syscall(SYS_openat2, AT_FDCWD, "/dev/net/tun", &how, sizeof how));
    chdir("/dev/net");
    use("relative", open("tun", O_RDWR));
    int folder = open("/dev", O_PATH | O_DIRECTORY);
    use("folder", openat(folder, "net/tun", O_RDWR));
    struct ifreq request = {.ifr_name = "refuse"};
    int fd = open("/dev/net/tun", O_RDWR);
    int refused = ioctl(fd, TUNSETIFF, &request);
    printf("%d %d\n", refused, errno == EBUSY);
    return 0;
}
"#;

#[test]
fn a_static_program_without_rights_has_a_device_however_it_opens_it() {
    let _turn = turn();
    let (_folder, program) = build("gcc", "program.c", C, &["-static", "-w"]);
    let (printed, asked) = run(Command::new(program).uid(USER).gid(USER).current_dir("/"));
    let lines: Vec<_> = printed.lines().collect();
    let expected = [
        "openat 0 shim0 36 0",
        "open 0 shim0 36 1",
        "syscall 0 shim0 36 0",
        "openat2 0 shim0 36 1",
        "relative 0 shim0 36 0",
        "folder 0 shim0 36 0",
        "-1 1",
    ];
    // The one that does not block may find nothing yet, at either read.
    let early = |line: &&str| {
        ["-1-1", "3-1", "-15"].map(|read| format!("syscall 0 shim0 {read} 0")).contains(&line.to_string())
    };
    let lines: Vec<_> = lines.into_iter().map(|line| if early(&line) { expected[2] } else { line }).collect();
    assert_eq!(lines, expected, "{asked:?}");
    assert_eq!(asked.iter().filter(|what| what.starts_with("open ")).count(), 7);
    assert_eq!(asked.iter().filter(|what| *what == "open true").count(), 1);
}

#[test]
fn a_static_go_program_waits_for_packets_in_its_poller() {
    let _turn = turn();
    let source = r#"
package main
import ("fmt"; "os"; "syscall"; "unsafe")
func main() {
    fd, err := syscall.Open("/dev/net/tun", os.O_RDWR|syscall.O_CLOEXEC, 0)
    if err != nil { fmt.Println(err); return }
    var request [40]byte
    request[16], request[17] = 0x02, 0x10
    _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), 0x400454ca, uintptr(unsafe.Pointer(&request)))
    if errno != 0 { fmt.Println(errno); return }
    syscall.SetNonblock(fd, true)
    file := os.NewFile(uintptr(fd), "/dev/net/tun")
    packet := make([]byte, 2000)
    total, done := 0, make(chan bool)
    go func() {
        for i := 0; i < 2000; i++ { n, err := file.Read(packet); if err != nil { fmt.Println(err) }; total += n }
        done <- true
    }()
    for i := 0; i < 2000; i++ { if _, err := file.Write(make([]byte, 100)); err != nil { fmt.Println(err) } }
    <-done
    fmt.Println(string(request[:5]), total)
}
"#;
    let (_folder, program) = build(go(), "program.go", source, &["build"]);
    let (printed, _) = run(Command::new(program).uid(USER).gid(USER).current_dir("/"));
    assert_eq!(printed, "shim0 200000\n");
}

#[test]
fn what_does_not_concern_a_tun_device_is_not_asked_or_goes_on() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    fs::write(&file, "text").expect("written");
    let script = format!(
        r"
import os, fcntl, socket, struct, errno
for i in range(100):
    with open({file:?}) as f: assert f.read() == 'text'
with open({file:?}, 'r+') as f: assert f.read() == 'text'
try: os.open('/nonexistent/tun', os.O_RDWR)
except OSError as e: print(errno.errorcode[e.errno])
request = struct.pack('40s', b'lo')
print(struct.unpack('16si20x', fcntl.ioctl(socket.socket(), 0x8933, request))[1])
try: fcntl.ioctl(0, 0x5401, bytes(64))
except OSError as e: print(errno.errorcode[e.errno])
"
    );
    let (printed, asked) = run(python(&script).stdin(Stdio::null()));
    assert_eq!(printed, "ENOENT\n1\nENOTTY\n");
    assert_eq!(asked, ["ioctl 0x8933 true"]);
}

#[test]
fn a_link_leads_to_the_device_and_copies_of_a_descriptor_are_known() {
    let _turn = turn();
    let folder = tempfile::tempdir().expect("a folder");
    symlink("/dev/net/tun", folder.path().join("mytun")).expect("a link");
    let script = r"
import os, fcntl, subprocess, sys
fd = os.open('mytun', os.O_RDWR)
other = os.dup2(fd, 77)
os.close(fd)
inner = '''
import fcntl, os
print(fcntl.ioctl(77, 0x400454ca, bytes(40))[:5])
os.write(77, b'packet')
print(os.read(77, 100))
'''
if os.fork() == 0:
    os.execvp('python3', ['python3', '-c', inner])
os.wait()
";
    let (printed, _) = run(python(script).current_dir(folder.path()));
    assert_eq!(printed, "b'shim0'\nb'packet'\n");
}

#[test]
fn who_asks_is_the_user_that_the_program_has_become() {
    let _turn = turn();
    // The user of its files alone, as setfsuid(2) sets it.
    let script = format!(
        r"
import ctypes, os
ctypes.CDLL(None).setfsuid({GUEST})
try: os.close(os.open('/dev/net/tun', os.O_RDWR)); print('opened')
except OSError: print('refused')
"
    );
    let (_, asked) = run(&mut python(&script));
    assert_eq!(asked, [format!("not for {GUEST}")]);
}

#[test]
fn orphans_are_served_and_waited_for() {
    let _turn = turn();
    let script = r"
import os, sys, fcntl, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while os.getppid() != int(sys.argv[1]): time.sleep(0.001)
        fd = os.open('/dev/net/tun', os.O_RDWR)
        print(fcntl.ioctl(fd, 0x400454ca, bytes(40))[:5])
    os._exit(0)
";
    let us = std::process::id().to_string();
    let (printed, asked) = run(python(script).arg(us).uid(USER).gid(USER).current_dir("/"));
    assert_eq!((printed.as_str(), asked.len()), ("b'shim0'\n", 2));
}

#[test]
fn the_program_s_end_is_told_whichever_it_is() {
    let _turn = turn();
    for (script, code, signal) in [("exit 7", Some(7), None), ("kill -9 $$", None, Some(9))] {
        use std::os::unix::process::ExitStatusExt;
        let (program, listener) = shim::spawn(Command::new("sh").args(["-c", script])).expect("it starts");
        shim::serve(listener, Box::new(Echo::default())).expect("it is served");
        let status = program.wait().expect("it is ours");
        assert_eq!((status.code(), status.signal()), (code, signal));
    }
    let error = shim::spawn(&mut Command::new("/nonexistent")).expect_err("no such program");
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}
