//! A kernel that takes less than ours: it knows no offload of UDP (before Linux 6.2), or none at all, or
//! refuses the joined packets that it said it would take, as some versions do.
//!
//! A filter of system calls (seccomp(2)) plays it, under which the daemon is started. Whether it was met is
//! told by how many writes the packets took.

use std::net::{Ipv4Addr, UdpSocket};
use std::process::{Command, Stdio};

use hypertap_tests::inside::{FAR, OURS, assert_received, receiver};
use hypertap_tests::machine::{is_link, ping};
use hypertap_tests::packet::{ping_reply, udp4_summed};
use hypertap_tests::program::{StreamProgram, framed};
use hypertap_tests::{Client, Daemon, Dump, Program, Responder, Setup, eventually, in_namespaces, json};
use nix::libc;

/// Executes its words under a filter that has one system call say EINVAL: which, then pairs of an
/// argument's number and a comparison, `=V`, `&V` (any of these bits) or `>V`, of which all must hold.
/// The program is that of `linux/bpf_common.h` and seccomp(2); numbers are 32 bits, which are enough.
const FILTER: &str = r#"
import ctypes, os, struct, sys
call, *tests = sys.argv[1].split()
load = lambda offset: (0x20, 0, 0, offset)
jump = {"=": 0x15, "&": 0x45, ">": 0x25}
checks = [(0, "=", int(call))]
for test in tests:
    number, how, value = test.split(",")
    checks.append((16 + 8 * int(number), how, int(value)))
code = []
for left, (offset, how, value) in zip(range(len(checks) - 1, -1, -1), checks):
    code += [load(offset), (jump[how], 0, 2 * left + 1, value)]
code += [(0x06, 0, 0, 0x00050000 | 22), (0x06, 0, 0, 0x7fff0000)]
block = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in code))
class Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("code", ctypes.c_void_p)]
program = Program(len(code), ctypes.addressof(block))
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 22, 2
if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
os.execv(sys.argv[2], sys.argv[2:])
"#;

/// `TUNSETOFFLOAD` of `linux/if_tun.h`; its argument is the wanted offloads.
const TUNSETOFFLOAD: u64 = 0x4004_54d0;
/// `TUNSETIFF` of it.
const TUNSETIFF: u64 = 0x4004_54ca;
/// `TUN_F_USO4` and `TUN_F_USO6` of it.
const TUN_F_USO: u64 = 0x60;

/// A daemon for which a system call says EINVAL where the arguments are so.
fn where_refused(call: libc::c_long, arguments: &[(u8, char, u64)]) -> Setup {
    let arguments = arguments.iter().map(|(number, how, value)| format!(" {number},{how},{value}"));
    let filter = arguments.fold(call.to_string(), |text, argument| text + &argument);
    let mut python = Command::new("python3");
    python.args(["-c", FILTER, &filter]).stdin(Stdio::null()).stdout(Stdio::null());
    Setup::new().through(python)
}

/// A tunnel whose program is connected by a stream.
fn connected(daemon: &Daemon) -> (Client, StreamProgram) {
    let mut client = daemon.client();
    let path = client.start_with(json!({"dataPlane": "stream"}))["dataPath"].clone();
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16"]}));
    (client, StreamProgram::connect(path.as_str().expect("a path")))
}

/// How many packets [`writes`] has injected.
const PACKETS: u16 = 300;

/// Sends packets at once that could be joined, which all arrive; how many writes that took.
fn writes(daemon: &Daemon, client: &mut Client, program: &StreamProgram) -> u64 {
    let socket = receiver();
    let before = daemon.io_of("from-program").writes;
    let packet = |number: u16| udp4_summed((FAR, 8000), (OURS, 7000), &number.to_be_bytes().repeat(100));
    // Fewer at once than wait at a socket.
    for first in (0..PACKETS).step_by(50) {
        let frames: Vec<Vec<u8>> = (first..first + 50).map(|number| framed(&packet(number))).collect();
        program.write(&frames.concat());
        for number in first..first + 50 {
            assert_received(&socket, &number.to_be_bytes().repeat(100));
        }
    }
    eventually("all are counted", || client.stats()["fromProgram"]["packets"] == PACKETS);
    assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
    daemon.io_of("from-program").writes - before
}

/// What the machine sends in a segment arrives in packets, and pings are answered.
fn assert_carries(program: StreamProgram) {
    let socket = UdpSocket::bind((OURS, 0)).expect("the address is here");
    socket.send_to(&[7; 1000], (Ipv4Addr::new(10, 9, 0, 2), 9)).expect("there is a route");
    let packet = program.expect("what was sent", &|packet| packet.len() == 1028);
    assert_eq!(packet[28..], [7; 1000]);
    let _responder = Responder::start(program, ping_reply);
    assert!(ping("10.9.0.1", &["-s1400"]));
}

#[test]
fn a_kernel_that_takes_joined_packets_gets_them_so() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let (mut client, program) = connected(&daemon);
        let writes = writes(&daemon, &mut client, &program);
        assert!(writes < u64::from(PACKETS) / 2, "{writes} writes");
        assert_carries(program);
    });
}

#[test]
fn a_kernel_that_refuses_joined_packets_after_all_gets_each_alone() {
    in_namespaces(|| {
        // A single packet has two pieces: the virtio-net header, and itself.
        let daemon = where_refused(libc::SYS_writev, &[(2, '>', 2)]).start();
        let (mut client, program) = connected(&daemon);
        assert_eq!(writes(&daemon, &mut client, &program), u64::from(PACKETS));
        client.expect_no_event();
        assert_carries(program);
    });
}

#[test]
fn a_kernel_without_offload_of_udp_gets_each_datagram_alone() {
    in_namespaces(|| {
        let refused = [(1, '=', TUNSETOFFLOAD), (2, '&', TUN_F_USO)];
        let daemon = where_refused(libc::SYS_ioctl, &refused).start();
        let (mut client, program) = connected(&daemon);
        assert_eq!(writes(&daemon, &mut client, &program), u64::from(PACKETS));
        client.expect_no_event();
        assert_carries(program);
    });
}

#[test]
fn several_queues_without_offload_of_udp_carry_too() {
    in_namespaces(|| {
        let refused = [(1, '=', TUNSETOFFLOAD), (2, '&', TUN_F_USO)];
        let daemon = where_refused(libc::SYS_ioctl, &refused).args(&["--queues", "2"]).start();
        let (mut client, program) = connected(&daemon);
        assert_eq!(writes(&daemon, &mut client, &program), u64::from(PACKETS));
        assert_carries(program);
    });
}

#[test]
fn a_kernel_without_any_offload_refuses_start_which_leaves_nothing_and_no_offload_carries() {
    in_namespaces(|| {
        let refused = [(1, '=', TUNSETOFFLOAD), (2, '>', 0)];
        let daemon = where_refused(libc::SYS_ioctl, &refused).start();
        let before = Dump::now();
        let (text, _) = daemon.client().refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
        assert!(text.contains("TUN interface") && text.contains("--no-offload"), "{text}");
        assert!(!text.contains("--queues"), "one queue was asked for: {text}");
        assert!(!is_link("hypertap0"));
        before.assert_same();
        drop(daemon);

        let daemon = where_refused(libc::SYS_ioctl, &refused).args(&["--no-offload"]).start();
        let (mut client, program) = connected(&daemon);
        assert_eq!(writes(&daemon, &mut client, &program), u64::from(PACKETS));
        assert_carries(program);
    });
}

#[test]
fn a_kernel_that_makes_no_interface_is_said_to_and_what_to_leave_out() {
    in_namespaces(|| {
        let refused = [(1, '=', TUNSETIFF)];
        for (args, remedies) in [
            (vec!["--queues", "2"], vec!["--queues", "--no-offload"]),
            (vec!["--queues", "2", "--no-offload"], vec!["--queues"]),
            (vec!["--no-offload"], vec![]),
        ] {
            let daemon = where_refused(libc::SYS_ioctl, &refused).args(&args).start();
            let (text, code) = daemon.client().refused(&json!({"cmd": "start", "myIPv4Address": "5.5.5.5"}));
            assert!(text.contains("Invalid argument") && code == Some(1), "{text}");
            for option in ["--queues", "--no-offload"] {
                assert_eq!(text.contains(option), remedies.contains(&option), "{args:?}: {text}");
            }
        }
    });
}
