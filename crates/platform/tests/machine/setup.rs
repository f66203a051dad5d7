//! A namespace to be in, and eyes to look at it with.

use crate::alone::alone;
pub(crate) use crate::alone::needs_root;
use hypertap_platform::{Privileged, RouteChange, RouteKind, Tun, TunSpec, in_process};
use ipnet::IpNet;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{setsockopt, sockopt};
use serde_json::Value;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

pub(crate) const MARK: u32 = 0x6874;

pub(crate) const CHILD_STATE: &str = "HYPERTAP_TEST_CHILD_STATE";

/// Runs a test in a network namespace of its own, with an empty state directory.
pub(crate) fn in_namespace<F>(test: impl FnOnce(TempDir) -> F + Send + 'static)
where
    F: Future<Output = ()>,
{
    alone(|| {
        run("ip link set lo up");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(test(TempDir::new().unwrap()));
    });
}

pub(crate) fn run(command: &str) -> String {
    let (status, output) = try_run(command);
    assert!(status, "{command}: {output}");
    output
}

pub(crate) fn try_run(command: &str) -> (bool, String) {
    let mut words = command.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

pub(crate) fn json(command: &str) -> Value {
    serde_json::from_str(&run(command)).unwrap()
}

/// Everything of the machine that a tunnel may touch.
pub(crate) fn dump() -> Vec<String> {
    [
        "ip -d -j link",
        "ip -j addr",
        "ip -4 -j rule",
        "ip -6 -j rule",
        "ip -4 -j route show table all",
        "ip -6 -j route show table all",
    ]
    .map(run)
    .to_vec()
}

/// The machine must be as it was `before`, or get so: the kernel adds an IPv6 address's own routes a moment
/// after the address.
#[track_caller]
pub(crate) fn assert_dump(before: &[String], what: &str) {
    let end = Instant::now() + Duration::from_secs(10);
    let mut now = dump();
    while now != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(2));
        now = dump();
    }
    assert_eq!(now, before, "{what}");
}

pub(crate) fn spec() -> TunSpec {
    TunSpec {
        name: None,
        ipv4: Ipv4Addr::new(100, 64, 7, 1),
        ipv6: None,
        mtu: 1500,
        queues: 1,
        offload: false,
        bypass_mark: MARK,
    }
}

pub(crate) fn named(name: &str) -> TunSpec {
    TunSpec { name: Some(name.to_owned()), ..spec() }
}

pub(crate) fn half(state: &TempDir) -> Box<dyn Privileged> {
    in_process(state.path()).unwrap()
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

pub(crate) fn add(routes: &[(&str, RouteKind)]) -> RouteChange {
    RouteChange { add: routes.iter().map(|(text, kind)| (net(text), *kind)).collect(), remove: Vec::new() }
}

pub(crate) fn remove(routes: &[(&str, RouteKind)]) -> RouteChange {
    RouteChange { remove: add(routes).add, add: Vec::new() }
}

/// The device that the machine sends a packet to.
pub(crate) fn device_to(destination: &str) -> Option<String> {
    let (found, output) = try_run(&format!("ip -j route get {destination}"));
    let route: Value = serde_json::from_str(found.then_some(&output)?).unwrap();
    route[0]["dev"].as_str().map(str::to_owned)
}

/// A second way out, as a machine has.
pub(crate) fn add_uplink() {
    run("ip link add up0 type veth peer name up1");
    run("ip addr add 192.168.7.2/24 dev up0");
    run("ip -6 addr add fd77::2/64 dev up0 nodad");
    for name in ["up0", "up1"] {
        // Whatever settles later would be a difference between dumps.
        run(&format!("ip link set {name} addrgenmode none"));
        run(&format!("ip link set {name} up"));
    }
    wait_for("the uplink", || run("ip -br link").matches(" UP ").count() >= 2);
    run("ip route add default via 192.168.7.1");
    run("ip -6 route add default via fd77::1");
    // The kernel makes the route of an IPv6 address in the background, after the link is up.
    wait_for("its address's route", || run("ip -6 route show table all").contains("local fd77::2 dev up0"));
}

fn wait_for(what: &str, is_there: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !is_there() {
        assert!(Instant::now() < end, "{what} does not come");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Reads packets until one fits, which must come.
#[track_caller]
pub(crate) fn packet_with(queue: BorrowedFd, fits: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    packet_within(Duration::from_secs(10), queue, fits).expect("it comes")
}

/// Reads packets for a second; none may fit.
#[track_caller]
pub(crate) fn no_packet_with(queue: BorrowedFd, fits: impl Fn(&[u8]) -> bool) {
    assert_eq!(packet_within(Duration::from_secs(1), queue, fits), None);
}

fn packet_within(limit: Duration, queue: BorrowedFd, fits: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut buffer = vec![0; 70_000];
    let end = Instant::now() + limit;
    while Instant::now() < end {
        let mut polled = [PollFd::new(queue, PollFlags::POLLIN)];
        poll(&mut polled, PollTimeout::from(100_u16)).unwrap();
        while let Ok(length) = nix::unistd::read(queue, &mut buffer) {
            if fits(&buffer[..length]) {
                return Some(buffer[..length].to_vec());
            }
        }
    }
    None
}

/// A datagram of UDP: of an attempt by TCP, the kernel may send its packet once more at any time.
pub(crate) fn is_ipv4_to(destination: [u8; 4], port: u16) -> impl Fn(&[u8]) -> bool {
    move |packet| {
        (packet[0] >> 4, packet[9]) == (4, 17)
            && packet[16..20] == destination
            && packet[22..24] == port.to_be_bytes()
    }
}

pub(crate) fn send(to: &str, mark: u32) -> std::io::Result<usize> {
    let to: SocketAddr = to.parse().unwrap();
    let from: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
    let socket = UdpSocket::bind(from)?;
    if mark != 0 {
        setsockopt(&socket, sockopt::Mark, &mark).unwrap();
    }
    socket.send_to(b"query", to)
}

pub(crate) fn journal_files(state: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(state.join("journal"))
        .unwrap()
        .map(|item| item.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "lock")
        .collect();
    names.sort();
    names
}

nix::ioctl_write_int!(tun_set_persist, b'T', 203);

pub(crate) fn make_persistent(tun: &Tun) {
    // SAFETY: TUNSETPERSIST takes a number and a TUN descriptor, which lives.
    #[allow(unsafe_code)]
    unsafe { tun_set_persist(tun.queues[0].as_raw_fd(), 1) }.unwrap();
}

/// The running test program, even where a new one was built over it meanwhile.
pub(crate) fn this_program() -> String {
    format!("/proc/{}/exe", std::process::id())
}
