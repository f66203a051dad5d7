//! What moves the frames: a thread that sleeps while nobody sends, and clients that come in pieces, late or dead.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;

use hypertap_tests::frame::{arp_answer, arp_request};
use hypertap_tests::machine::{ip, output, ping, scratch};
use hypertap_tests::modem::Guest;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, start, tap, wait_until_up};
use hypertap_tests::{Daemon, eventually, in_namespaces};
use nix::sys::signal::Signal;

/// The folder in /proc of the thread that moves frames.
fn thread(server: &Daemon) -> PathBuf {
    let is_it = |task: &PathBuf| fs::read_to_string(task.join("comm")).is_ok_and(|name| name == "tap\n");
    let mut found = None;
    eventually("it has named itself", || {
        let tasks = fs::read_dir(format!("/proc/{}/task", server.pid())).expect("it runs");
        found = tasks.filter_map(|task| Some(task.ok()?.path())).find(is_it);
        found.is_some()
    });
    found.expect("it was found")
}

/// Whether a thread waits in a system call whose fourth argument, epoll's time, is for ever (proc(5), `syscall`).
fn waits_for_ever(thread: &Path) -> bool {
    let call = fs::read_to_string(thread.join("syscall")).expect("we may read it");
    let time = call.split_whitespace().nth(4).and_then(|word| u64::from_str_radix(word.get(2..)?, 16).ok());
    time.is_some_and(|time| time & 0xffff_ffff == 0xffff_ffff)
}

/// How often a thread has gone to sleep.
fn sleeps(thread: &Path) -> u64 {
    let status = fs::read_to_string(thread.join("status")).expect("it is there");
    let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.and_then(|count| count.trim().parse().ok()).expect("a number")
}

/// A server for many without an interface, whose thread nobody wakes but its clients.
fn lan(name: &str, framing: &str) -> (Daemon, PathBuf) {
    let path = scratch(name);
    let listen = format!("--listen={},framing={framing}", path.display());
    let guests = format!("--listen={}-guests,framing=datagram", path.display());
    (start(&[&listen, &guests, "--no-host", "--keep", "--max-clients=4"]), path)
}

#[test]
fn a_server_whose_clients_are_silent_sleeps_without_a_timer() {
    in_namespaces(|| {
        let (idle, path) = lan("idle", "auto");
        let (one, other) = (FrameClient::unix(&path, Wire::Le16), FrameClient::unix(&path, Wire::Qemu));
        let guest = FrameClient::guest(scratch("guest"), format!("{}-guests", path.display()));
        let undecided = FrameClient::unix(&path, Wire::Le16);
        eventually("all are there", || idle.log().matches("a client came").count() == 3);
        for (number, client) in [(1, &one), (2, &other), (3, &guest)] {
            let us = ([2, 0, 0, 0, 1, number], [172, 30, 0, number].into());
            client.send(&arp_request(us, HOST));
        }
        one.expect_frame("the last one's", |frame| frame[11] == 3);
        let (_busy, path) = lan("busy", "le16");
        let here = FrameClient::unix(&path, Wire::Le16);
        let there = FrameClient::unix(&path, Wire::Le16).answering(OTHER_GUEST);
        here.ping(GUEST, OTHER_GUEST.1);

        let thread = thread(&idle);
        eventually("it sleeps", || waits_for_ever(&thread));
        let before = sleeps(&thread);
        for _ in 0..300 {
            here.ping(GUEST, OTHER_GUEST.1);
        }
        assert_eq!(sleeps(&thread), before);
        assert!(waits_for_ever(&thread));
        // The count is of the right thread.
        undecided.send(&arp_request(GUEST, HOST));
        one.expect_frame("it", |frame| frame[11] == GUEST.0[5]);
        eventually("it slept again", || sleeps(&thread) > before);
        drop(there);
    });
}

#[test]
fn a_client_whose_first_frame_comes_in_pieces_is_found_out_and_answered() {
    in_namespaces(|| {
        let path = scratch("tap");
        let server = start(&[&format!("--listen={}", path.display()), "--keep"]);
        for (number, wire) in (1..).zip([Wire::Le16, Wire::Qemu, Wire::Unframed]) {
            let client = FrameClient::unix(&path, wire);
            eventually("it came", || server.log().matches("a client came").count() == number);
            let thread = thread(&server);
            for piece in client.framed(&arp_request(GUEST, HOST)).chunks(7) {
                let before = sleeps(&thread);
                client.write(piece);
                eventually("it was read", || sleeps(&thread) > before);
            }
            client.expect_frame("an answer", |frame| arp_answer(frame, HOST).is_some());
        }
    });
}

#[test]
fn a_modem_may_be_at_an_interface_of_long_packets() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        let server = start(&[&listen, "--modem", "--mtu=9000", "--ip-address=192.168.1.1"]);
        let guest = Guest::call(FrameClient::unix(&path, Wire::Le16), None);
        wait_until_up("tap0");
        // In fragments where it may be, else the host is told the longest that goes.
        assert!(!ping("192.168.1.2", &["-W1", "-Mdont", "-s4000"]));
        let mut lengths = Vec::new();
        while lengths.iter().sum::<usize>() < 4000 {
            let fragment = guest.expect("a fragment", &|packet| packet[9] == 1);
            lengths.push(fragment.len() - 20);
        }
        assert_eq!(lengths, [1480, 1480, 4008 - 2 * 1480]);
        let told = output(Command::new("ping").args(["-n", "-c1", "-W5", "-Mdo", "-s4000", "192.168.1.2"]));
        assert!(String::from_utf8_lossy(&told.stdout).contains("mtu = 1500"), "{told:?}");
        assert!(ip("route get 192.168.1.2").contains("mtu 1500"));
        server.signal(Signal::SIGUSR1);
        eventually("the report says so", || server.log().contains("tooLong"));
    });
}

#[test]
fn a_dead_guest_keeps_nobody_out() {
    in_namespaces(|| {
        let path = scratch("tap");
        let guests = format!("{}-guests", path.display());
        let words = [
            format!("--listen={},framing=le16", path.display()),
            format!("--listen={guests},framing=datagram"),
        ];
        let server = start(&[&words[0], &words[1], "--no-host", "--keep"]);
        let guest = FrameClient::guest(scratch("guest"), &guests);
        guest.send(&arp_request(GUEST, HOST));
        eventually("it came", || server.log().contains("a guest came"));
        drop(guest);
        let _client = FrameClient::unix(&path, Wire::Le16);
        eventually("the client has its place", || server.log().contains("a client came"));
    });
}

#[test]
fn a_guest_that_connects_its_socket_late_ends_nothing() {
    in_namespaces(|| {
        let path = scratch("tap");
        let mut server = start(&[&format!("--listen={},framing=datagram", path.display())]);
        let socket = UnixDatagram::bind(scratch("guest")).expect("the folder is ours");
        socket.send_to(&arp_request(GUEST, HOST), &path).expect("it is there");
        eventually("it came", || server.log().contains("a guest came"));
        socket.connect(&path).expect("it is there");
        let guest = FrameClient::new(socket, Wire::Datagram);
        for _ in 0..10 {
            guest.ping(GUEST, HOST);
        }
        server.assert_runs();
        drop(guest);
        assert!(!ping("172.30.0.20", &["-W1"]));
        server.assert_ends_well();
    });
}

#[test]
fn a_guest_that_went_unseen_in_a_crowd_does_not_keep_the_server() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={},framing=datagram", path.display());
        // On one processor none of them is read while all of them are told.
        let mut one = Command::new("taskset");
        one.args(["-c", "0"]);
        let mut server = tap(&[&listen, "--max-clients=500"]).through(one).start();
        // More than there is room for events that wait to be read.
        let crowd: Vec<_> = (0..400_u16)
            .map(|number| {
                let guest =
                    UnixDatagram::bind(scratch(&format!("guest-{number}"))).expect("the folder is ours");
                let [high, low] = number.to_be_bytes();
                let us = ([2, 0, 0, 0, high, low], [172, 30, high + 1, low].into());
                guest.send_to(&arp_request(us, HOST), &path).expect("it is there");
                guest
            })
            .collect();
        eventually("all came", || server.log().matches("a guest came").count() == crowd.len());
        drop(crowd);
        assert!(!ping("172.30.0.20", &["-W1"]));
        server.assert_ends_well();
    });
}
