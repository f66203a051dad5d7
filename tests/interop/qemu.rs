//! QEMU's guests, unmodified: iPXE in the network card's ROM gets an address from Debian's dnsmasq and loads
//! files by TFTP. dnsmasq's log is the judge.

#[path = "qemu/dnsmasq.rs"]
mod dnsmasq;
#[path = "qemu/guest.rs"]
mod guest;

use std::fs;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;

use hypertap_tests::daemon::binary;
use hypertap_tests::machine::{is_link, is_up, scratch};
use hypertap_tests::namespaces::{in_namespaces_within, needs_root};
use hypertap_tests::peer::STRANGER;
use hypertap_tests::tap::{start, tap};
use hypertap_tests::{eventually, eventually_within};

use dnsmasq::Dnsmasq;
use guest::{Guest, PROGRAM, mac, words};

/// A guest, emulated without the processor's help on a busy machine, needs half a minute.
const BOOT_TIME: Duration = Duration::from_secs(120);
/// For the whole of a test.
const LIMIT: Duration = Duration::from_secs(200);

/// The host's part: an interface in the network that dnsmasq serves.
const HOST: [&str; 2] = ["--name=tap0", "--ip-address=10.77.0.1/24"];

/// Boots a guest that `netdev` joins to a server which listens as `listen` says.
#[track_caller]
fn boots_over(listen: &str, netdev: &str) {
    let mut server = start(&[&HOST[..], &["--keep", listen]].concat());
    let mut guest = Guest::start(1, netdev);
    eventually_within(BOOT_TIME, "the first client brings the interface", || is_up("tap0"));
    let dnsmasq = Dnsmasq::start("tap0");
    guest.ends();
    dnsmasq.assert_served(&mac(1));
    server.assert_runs();
}

#[test]
fn a_guest_boots_over_a_unix_stream() {
    in_namespaces_within(LIMIT, || {
        boots_over(
            "--listen=/run/test/lan,framing=qemu",
            "stream,id=net,server=off,addr.type=unix,addr.path=/run/test/lan",
        );
    });
}

#[test]
fn a_guest_boots_over_datagrams() {
    in_namespaces_within(LIMIT, || {
        boots_over(
            "--listen=/run/test/lan,framing=datagram",
            "dgram,id=net,local.type=unix,local.path=/run/test/guest,remote.type=unix,remote.path=/run/test/lan",
        );
    });
}

#[test]
fn a_guest_boots_over_tcp_where_the_framing_is_found_out() {
    in_namespaces_within(LIMIT, || boots_over("--listen=5600", "socket,id=net,connect=127.0.0.1:5600"));
}

#[test]
fn a_guest_that_the_server_starts_boots_and_takes_the_server_with_it() {
    in_namespaces_within(LIMIT, || {
        let mut command = Command::new(binary());
        command.arg("tap").args(HOST).args(["--framing=qemu", "--", PROGRAM]);
        let mut guest = Guest::run(1, command.args(words(1, "socket,id=net,fd={fd}")));
        eventually("the guest brings the interface", || is_up("tap0"));
        let dnsmasq = Dnsmasq::start("tap0");
        guest.ends();
        dnsmasq.assert_served(&mac(1));
        assert!(!is_link("tap0"));
    });
}

/// What the two guests of [`two_guests_see_each_other_without_root`] run: the first asks for a file of the
/// second, at an address that it can only learn by asking for it; the second only is there.
const MEETING: &str = "#!ipxe
set net0/netmask 255.255.255.0
clear net0.dhcp/ip ||
iseq ${net0/mac} 52:54:00:00:00:02 && goto second ||
set net0/ip 10.77.0.11
:again
imgfetch http://10.77.0.12/file ||
goto again
:second
set net0/ip 10.77.0.12
:wait
sleep 1 ||
goto wait
";

/// A neighbour that gives addresses and the script: QEMU's own user network, joined to the same switch.
#[track_caller]
fn neighbour() -> Guest {
    let files = scratch("files");
    fs::create_dir_all(&files).expect("the folder is ours");
    fs::write(files.join("boot.ipxe"), MEETING).expect("the folder is ours");
    let mut command = Command::new(PROGRAM);
    command.args(["-machine", "none", "-nodefaults", "-display", "none", "-netdev"]);
    command.arg(format!(
        "user,id=u,net=10.77.0.0/24,host=10.77.0.2,dns=10.77.0.3,dhcpstart=10.77.0.50,tftp={},bootfile=boot.ipxe",
        files.display()
    ));
    command.args(["-netdev", "hubport,id=p1,hubid=0,netdev=u", "-netdev"]);
    command.arg("stream,id=s,server=off,addr.type=unix,addr.path=/run/test/lan");
    command.args(["-netdev", "hubport,id=p2,hubid=0,netdev=s"]);
    Guest::run(9, command.uid(STRANGER).gid(STRANGER))
}

#[test]
fn two_guests_see_each_other_without_root() {
    in_namespaces_within(LIMIT, || {
        needs_root();
        Command::new("chmod").args(["1777", "/run/test"]).status().expect("it is ours");
        let words = ["--no-host", "--keep", "--max-clients=4", "--listen=/run/test/lan,framing=qemu"];
        let mut server = tap(&words).by(STRANGER).start();
        let mut neighbour = neighbour();
        let stream = "stream,id=net,server=off,addr.type=unix,addr.path=/run/test/lan";
        let second = Guest::run_by(STRANGER, 2, stream);
        let first = Guest::run_by(STRANGER, 1, stream);
        // iPXE answers for its address, but not to those who connect to a port that nobody has.
        let said = "arp and ether src 52:54:00:00:00:02 and host 10.77.0.12";
        let asked = "tcp and ether src 52:54:00:00:00:01 and ether dst 52:54:00:00:00:02";
        eventually_within(BOOT_TIME, "the first finds the second and connects", || {
            !first.frames(said).is_empty() && !second.frames(asked).is_empty()
        });
        server.assert_runs();
        neighbour.assert_runs();
        drop((first, second));
    });
}
