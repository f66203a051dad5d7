//! Interfaces that are closed and opened again, and what programs wait for.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{run, scratch};
use hypertap_tests::{Setup, TIME, in_namespaces};

use super::scene::{Shim, Switch, server};

/// What the programs below have in common.
const PROGRAM: &str = r"
import errno, fcntl, os, select, socket, struct, sys, time
def open_tun(): return os.open('/dev/net/tun', os.O_RDWR)
def set_interface(fd, name, flags): fcntl.ioctl(fd, 0x400454ca, struct.pack('16sH22x', name, flags))
def set_address(name, address):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any:
        fcntl.ioctl(any, 0x8916, struct.pack('16sHH4s16x', name, socket.AF_INET, 0, socket.inet_aton(address)))
def checksum(data):
    total = sum(struct.unpack('>%dH' % (len(data) // 2), data))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    return struct.pack('>H', ~total & 0xffff)
def ping(fd, number):
    icmp = struct.pack('>BBHHH', 8, 0, 0, 1, number)
    icmp = icmp[:2] + checksum(icmp) + icmp[4:]
    head = bytes.fromhex('4500001c00000000ff010000') + bytes([10, 7, 0, 9, 10, 7, 0, 1])
    os.write(fd, head[:10] + checksum(head) + head[12:] + icmp)
    end = time.monotonic() + 5
    while time.monotonic() < end and select.select([fd], [], [], 5)[0]:
        packet = os.read(fd, 2000)
        if not packet: return False
        if packet[9:10] == b'\1' and packet[20] == 0 and packet[26:28] == struct.pack('>H', number): return True
    return False
";

/// A program in Python.
fn python(text: &str) -> [String; 3] {
    ["python3".to_owned(), "-c".to_owned(), format!("{PROGRAM}{text}")]
}

#[test]
fn a_tun_that_was_refused_may_be_tried_again_on_the_same_descriptor() {
    in_namespaces(|| {
        let program = python(
            r"
fd, refused = open_tun(), 0
while True:
    try:
        set_interface(fd, b'vpn', 0x1001)
        break
    except OSError as error:
        assert error.errno == errno.ENODEV, error
        refused += 1
        if refused == 10: print('refused', flush=True)
        time.sleep(0.02)
print('answered', sum(ping(fd, number) for number in range(50)), flush=True)
",
        );
        let options = ["--tunnel=/run/hypertap/control.sock", "--address=10.7.0.1", "--route=10.7.0.0/24"];
        let mut program = Shim::start(false, &options, &program);
        program.expect("refused\n");
        let _daemon = Setup::new().args(&["--group", "nogroup"]).start();
        assert_eq!(program.end().code(), Some(0), "{}", program.log());
        program.expect("answered 50\n");
    });
}

#[test]
fn what_is_closed_may_be_opened_again_at_once() {
    in_namespaces(|| {
        // A server for one client, and a daemon for one tunnel.
        let lan = scratch("lan");
        let _server = server(false, &lan, "10.9.0.1/24");
        let _daemon = Setup::new().args(&["--group", "nogroup", "--on-disconnect=stop"]).start();
        let program = python(
            r"
for number in range(30):
    for flags in 0x1001, 0x1002:
        fd = open_tun()
        set_interface(fd, b'again', flags)
        if flags == 0x1001:
            set_address(b'again', '10.7.0.1')
        if select.select([fd], [], [], 0.02)[0]:
            assert os.read(fd, 2000), (number, flags)
        os.close(fd)
print('always', flush=True)
",
        );
        let tap = format!("--tap={}", lan.display());
        let options = ["--tunnel=/run/hypertap/control.sock", &tap];
        let mut program = Shim::start(false, &options, &program);
        assert_eq!(program.end_within(4 * TIME).code(), Some(0), "{}", program.log());
        program.expect("always\n");
    });
}

#[test]
fn a_daemon_that_hangs_stops_no_other_program() {
    in_namespaces(|| {
        let path = scratch("hanging");
        let _daemon = UnixListener::bind(&path).expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
        let program = python(
            r"
fd = open_tun()
ready, begin = os.pipe()
if os.fork() == 0:
    os.read(ready, 1)
    # By then the other is in its call: it sleeps, and nobody else wakes it.
    while open('/proc/%d/stat' % os.getppid()).read().split()[2] != 'S': pass
    for _ in range(100): os.close(os.open('/dev/null', os.O_RDWR))
    print('the other goes on', flush=True)
    os._exit(0)
os.write(begin, b'x')
try: set_interface(fd, b'vpn', 0x1001)
except OSError as error: print('refused', error.errno == errno.ENODEV, flush=True)
os.wait()
",
        );
        let options = [&format!("--tunnel={}", path.display()), "--address=10.7.0.1"];
        let mut program = Shim::start(false, &options, &program);
        program.expect("the other goes on\n");
        assert!(!program.log().contains("refused"), "{}", program.log());
        assert_eq!(program.end().code(), Some(0));
        program.expect("refused True\n");
    });
}

#[test]
fn what_the_shim_does_not_do_is_said_once() {
    in_namespaces(|| {
        let switch = Switch::start();
        let program = python(
            r"
fd = open_tun()
set_interface(fd, b'lan', 0x1002)
any, six = socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
index = struct.unpack('16xi20x', fcntl.ioctl(any, 0x8933, struct.pack('40s', b'lan')))[0]
for _ in range(2):
    for sock, request, argument in (
        (six, 0x8916, socket.inet_pton(socket.AF_INET6, 'fd00::1') + struct.pack('Ii', 64, index)),
        (any, 0x890b, bytes(120)),
    ):
        try: fcntl.ioctl(sock, request, argument)
        except OSError as error: print('refused', error)
",
        );
        let mut program = switch.shim(&program);
        assert_eq!(program.end().code(), Some(0), "{}", program.log());
        for said in ["the program changes a route", "the program changes an IPv6 address"] {
            program.expect(said);
            assert_eq!(program.log().matches(said).count(), 1);
        }
    });
}

#[test]
fn a_server_that_ends_at_once_may_be_full() {
    in_namespaces(|| {
        let path = scratch("full");
        let server = UnixListener::bind(&path).expect("the folder is ours");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).expect("it is ours");
        let program =
            python("fd = open_tun()\nset_interface(fd, b'lan', 0x1002)\nassert os.read(fd, 2000) == b''");
        let mut program = Shim::start(false, &[&format!("--tap={}", path.display())], &program);
        drop(server.accept().expect("it connects"));
        assert_eq!(program.end().code(), Some(0), "{}", program.log());
        program.expect("it may have as many clients as it takes");
    });
}

#[test]
fn the_device_is_found_behind_links_to_its_folders_where_there_is_none() {
    in_namespaces(|| {
        let switch = Switch::start();
        let folder = scratch("links");
        fs::create_dir(&folder).expect("the folder is ours");
        symlink("/dev/net", folder.join("net")).expect("a link");
        symlink("/dev", folder.join("dev")).expect("a link");
        let program = python(&format!(
            r"
assert not os.path.exists('/dev/net/tun')
for path in 'net/tun', 'dev/net/tun':
    fd = os.open('{}/' + path, os.O_RDWR)
    set_interface(fd, b'', 0x1002)
print('found', flush=True)
",
            folder.display()
        ));
        // The namespace is ours.
        run("mount", &["-t", "tmpfs", "none", "/dev/net"]);
        let mut program = switch.shim(&program);
        assert_eq!(program.end().code(), Some(0), "{}", program.log());
        program.expect("found\n");
    });
}

/// The binary, as one starts it who wants to hear of no child.
fn without_sigchld() -> Command {
    let mut command = Command::new("env");
    command.arg("--ignore-signal=CHLD").arg(binary());
    command
}

#[test]
fn a_program_s_code_is_known_also_where_sigchld_was_ignored() {
    let code = |words: &[&str]| {
        let mut command = without_sigchld();
        command.args(["shim", "--"]).args(words).status().expect("it is a program").code()
    };
    assert_eq!(code(&["sh", "-c", "exit 7"]), Some(7));
    // The program itself has it as it would have without us.
    let script = "import signal; exit(signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN)";
    assert_eq!(code(&["python3", "-c", script]), Some(1));
}

#[test]
fn a_program_that_is_started_as_a_client_has_a_code_also_where_sigchld_was_ignored() {
    let mut tap = without_sigchld();
    tap.args(["tap", "--no-host", "--framing=le16", "--", "sh", "-c", "exit 7"]).stderr(Stdio::piped());
    let mut tap = tap.spawn().expect("it is a program");
    let mut said = String::new();
    tap.stderr.take().expect("it is piped").read_to_string(&mut said).expect("text");
    tap.wait().expect("it ends");
    assert!(said.contains("exit status: 7"), "{said}");
}
