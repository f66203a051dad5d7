//! DNS capture, and names of a node, against a real systemd-resolved, which runs on a bus, in a `/run`
//! and in a network namespace of its own. Needs root, dbus-daemon, and systemd-resolved's files: those
//! of `HYPERTAP_TEST_RESOLVED_ROOT`, else Debian's package, which is fetched and unpacked, not
//! installed (installed, it would take the machine's resolver over).

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "what fails here fails the test")]

mod support;

use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_platform::resolver::{NodeNames, ask_node, ask_node_no_more};
use hypertap_platform::{MachineError, Privileged, Tun, TunSpec, in_process};
use nix::mount::{MsFlags, mount};
use nix::sched::CloneFlags;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Gid, Pid, Uid, chown};
use support::{Service, TIME, bus, own_run, run, unpacked, wait};

const USER: u32 = 64_999;

/// How long is waited for what is not to come.
const QUIET: Duration = Duration::from_secs(2);

/// A machine with systemd-resolved: what the calling thread is on from now on.
struct Machine {
    resolvectl: PathBuf,
    daemons: Vec<Service>,
    _scratch: tempfile::TempDir,
}

impl Machine {
    fn start() -> Self {
        let root = unpacked("systemd-resolved", "HYPERTAP_TEST_RESOLVED_ROOT");
        let scratch = tempfile::TempDir::new().unwrap();
        own_run(CloneFlags::CLONE_NEWNET);
        add_line(scratch.path(), "/etc/passwd", &format!("systemd-resolve:x:{USER}:{USER}::/:/bin/false"));
        add_line(scratch.path(), "/etc/group", &format!("systemd-resolve:x:{USER}:"));
        std::fs::create_dir_all("/run/systemd/resolve").unwrap();
        chown("/run/systemd/resolve", Some(Uid::from_raw(USER)), Some(Gid::from_raw(USER))).unwrap();
        run(Command::new("ip").args(["link", "set", "lo", "up"]));

        let mut machine =
            Self { resolvectl: root.join("usr/bin/resolvectl"), daemons: vec![bus()], _scratch: scratch };
        let resolved = root.join("lib/systemd/systemd-resolved");
        machine.daemons.push(Service::start(&mut Command::new(resolved)));
        wait("systemd-resolved", || machine.resolvectl(&["status"]).is_some());
        machine
    }

    /// What `resolvectl` says, unless it fails.
    fn resolvectl(&self, arguments: &[&str]) -> Option<String> {
        let output = Command::new(&self.resolvectl).args(arguments).output().unwrap();
        output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
    }

    fn signal_resolved(&self, signal: Signal) {
        kill(Pid::from_raw(self.daemons[1].id().try_into().unwrap()), signal).unwrap();
    }
}

/// Mounts a copy of a file over it, with one line more.
fn add_line(scratch: &Path, path: &str, line: &str) {
    let copy = scratch.join(Path::new(path).file_name().unwrap());
    let text = std::fs::read_to_string(path).unwrap();
    std::fs::write(&copy, format!("{text}{line}\n")).unwrap();
    let none: Option<&str> = None;
    mount(Some(&copy), path, none, MsFlags::MS_BIND, none).unwrap();
}

fn rules() -> String {
    let show = |family| Command::new("ip").args([family, "rule"]).output().unwrap().stdout;
    String::from_utf8([show("-4"), show("-6")].concat()).unwrap()
}

/// Asks resolved's stub for a name, and says whether the question comes out of the tunnel within `limit`, and
/// for which server it is.
fn asked_through(tun: &Tun, name: &str, limit: Duration) -> Option<Ipv4Addr> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    let mut labels = Vec::new();
    for label in name.split('.') {
        labels.push(u8::try_from(label.len()).unwrap());
        labels.extend(label.bytes());
    }
    query.extend(&labels);
    query.extend([0, 0, 1, 0, 1]);
    UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&query, "127.0.0.53:53").unwrap();
    let end = Instant::now() + limit;
    let mut packet = [0; 2000];
    while Instant::now() < end {
        match nix::unistd::read(tun.queues[0].as_fd(), &mut packet) {
            Ok(length) if packet[..length].windows(labels.len()).any(|part| part == labels) => {
                return Some(Ipv4Addr::from([packet[16], packet[17], packet[18], packet[19]]));
            }
            Ok(_) => {}
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
    None
}

/// Sets this thread's effective capabilities; `None` leaves out CAP_NET_ADMIN. Yields what they were.
fn set_rights(wanted: Option<u32>) -> u32 {
    // _LINUX_CAPABILITY_VERSION_3, and this thread.
    let mut header = [0x2008_0522, 0_u32];
    let mut data = [0_u32; 6];
    let mut call = |number, data: &mut [u32; 6]| {
        // SAFETY: both point to as many words as capget(2) says, which live until it returns.
        #[allow(unsafe_code)]
        let result = unsafe { libc::syscall(number, header.as_mut_ptr(), data.as_mut_ptr()) };
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    };
    call(libc::SYS_capget, &mut data);
    let before = data[0];
    data[0] = wanted.unwrap_or(before & !(1 << 12));
    call(libc::SYS_capset, &mut data);
    before
}

async fn scenario(machine: &Machine, half: &mut dyn Privileged) {
    let spec = TunSpec {
        name: None,
        ipv4: Ipv4Addr::new(100, 64, 7, 1),
        ipv6: None,
        mtu: 1500,
        queues: 1,
        offload: false,
        bypass_mark: 0x6874,
    };
    let link = |what: &str| machine.resolvectl(&[what, "hypertap0"]).map(|text| text.trim().to_owned());
    let tun = half.open_tun(&spec).await.unwrap();
    // At once: resolved may not have heard of the link.
    half.capture_dns(true).await.unwrap();
    assert!(link("dns").unwrap().ends_with("(hypertap0): 192.0.2.53"), "{:?}", link("dns"));
    assert!(link("domain").unwrap().ends_with("(hypertap0): ~."));
    assert!(link("default-route").unwrap().ends_with("yes"));
    for what in ["dnssec", "dnsovertls", "llmnr", "mdns"] {
        assert!(link(what).unwrap().ends_with("no"), "{what}: {:?}", link(what));
    }
    assert_eq!(asked_through(&tun, "first.example", TIME), Some(Ipv4Addr::new(192, 0, 2, 53)));

    half.capture_dns(false).await.unwrap();
    assert!(link("dns").unwrap().ends_with("(hypertap0):"), "{:?}", link("dns"));
    assert!(link("domain").unwrap().ends_with("(hypertap0):"));
    assert_eq!(asked_through(&tun, "second.example", QUIET), None);

    // What resolved does not answer is undone, and what it is still to work on does not stay.
    let before = rules();
    machine.signal_resolved(Signal::SIGSTOP);
    let started = Instant::now();
    let refused = half.capture_dns(true).await.unwrap_err();
    let took = started.elapsed();
    machine.signal_resolved(Signal::SIGCONT);
    assert!(matches!(refused, MachineError::Resolver { .. }), "{refused}");
    // Five seconds for the call, and for what takes it back; a third such time would be one too many.
    assert!(took < Duration::from_secs(14), "{took:?}");
    assert_eq!(rules(), before);
    wait("resolved to revert the link", || {
        link("dns").is_some_and(|text| text.ends_with("(hypertap0):"))
            && link("domain").is_some_and(|text| text.ends_with("(hypertap0):"))
    });

    // The same on the way back: capture is as it was, and can be made whole again.
    half.capture_dns(true).await.unwrap();
    let captured = rules();
    machine.signal_resolved(Signal::SIGSTOP);
    let refused = half.capture_dns(false).await.unwrap_err();
    machine.signal_resolved(Signal::SIGCONT);
    assert!(matches!(refused, MachineError::Resolver { .. }), "{refused}");
    assert_eq!(rules(), captured);
    wait("resolved to do late what it was told", || {
        link("dns").is_some_and(|text| text.ends_with("(hypertap0):"))
    });
    half.capture_dns(true).await.unwrap();
    assert_eq!(rules(), captured);
    assert_eq!(asked_through(&tun, "third.example", TIME), Some(Ipv4Addr::new(192, 0, 2, 53)));
    half.capture_dns(false).await.unwrap();
    assert_eq!(rules(), before);

    // Where going back fails as well, the next call does all of it.
    machine.signal_resolved(Signal::SIGSTOP);
    let (refused, rights) = tokio::join!(half.capture_dns(true), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        set_rights(None)
    });
    set_rights(Some(rights));
    machine.signal_resolved(Signal::SIGCONT);
    refused.unwrap_err();
    assert_eq!(rules(), captured, "nothing could be removed");
    half.capture_dns(true).await.unwrap();
    assert_eq!(rules(), captured);
    assert_eq!(asked_through(&tun, "fourth.example", TIME), Some(Ipv4Addr::new(192, 0, 2, 53)));

    half.capture_dns(false).await.unwrap();

    // The same link, as a node's: its zones alone, at an address and port.
    let names = NodeNames {
        index: nix::net::if_::if_nametoindex("hypertap0").unwrap(),
        interface: "hypertap0".to_owned(),
        server: "127.1.2.3:5399".parse().unwrap(),
        is_at_53: false,
        zones: vec!["hyprspace.".to_owned(), "64.100.in-addr.arpa.".to_owned()],
    };
    assert!(ask_node(&names).await.unwrap());
    assert!(link("dns").unwrap().ends_with("(hypertap0): 127.1.2.3:5399"), "{:?}", link("dns"));
    let zones = link("domain").unwrap();
    assert!(zones.contains("~hyprspace") && zones.contains("~64.100.in-addr.arpa"), "{zones}");
    for what in ["default-route", "dnssec", "dnsovertls", "llmnr", "mdns"] {
        assert!(link(what).unwrap().ends_with("no"), "{what}: {:?}", link(what));
    }
    let server = UdpSocket::bind(names.server).unwrap();
    server.set_read_timeout(Some(TIME)).unwrap();
    assert_eq!(asked_through(&tun, "fifth.example", QUIET), None, "the name is not of the zone");
    server.set_nonblocking(true).unwrap();
    let mut query = [0; 600];
    assert!(server.recv(&mut query).is_err(), "the name is not of the zone");
    assert_eq!(asked_through(&tun, "Web.hyprspace", QUIET), None, "the server is not in the tunnel");
    server.set_nonblocking(false).unwrap();
    let count = server.recv(&mut query).unwrap();
    assert!(
        query[..count].windows(13).any(|part| part == b"web\x09hyprspace" || part == b"Web\x09hyprspace")
    );
    ask_node_no_more(&names).await.unwrap();
    assert!(link("dns").unwrap().ends_with("(hypertap0):"), "{:?}", link("dns"));
    assert!(link("domain").unwrap().ends_with("(hypertap0):"));
    half.close_tun().await.unwrap();
    wait("resolved to forget the link", || link("dns").is_none());
    assert!(!machine.resolvectl(&["dns"]).unwrap().contains("192.0.2.53"));
}

#[test]
#[ignore = "fetches Debian's systemd-resolved package: cargo xtask test runs it"]
fn resolved_asks_the_tunnel_while_dns_is_captured_and_a_node_for_its_names() {
    std::thread::spawn(|| {
        let machine = Machine::start();
        let state = tempfile::TempDir::new().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut half = in_process(state.path()).unwrap();
        runtime.block_on(scenario(&machine, half.as_mut()));
    })
    .join()
    .unwrap();
}
