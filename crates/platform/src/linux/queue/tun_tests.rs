//! The queue on a real TUN, each in a network namespace that ends with its thread.

use std::net::UdpSocket;
use std::os::fd::{AsRawFd, FromRawFd};
use std::process::Command;
use std::time::Duration;

use hypertap_wire::packet::validate;

use super::*;
use crate::datagram::Sender;
use crate::queue::receive_batch;
use crate::stop::{Interest, Stop, Wake};

fn in_own_namespace(body: impl FnOnce() + Send + 'static) {
    let inside = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("these tests need root");
        body();
    };
    std::thread::spawn(inside).join().expect("the test in its namespace");
}

/// A queue of `t0`, 10.99.0.1/24, up.
fn tun(offload: Offload) -> TunQueue {
    const TUNSETIFF: libc::c_ulong = 0x4004_54ca;
    const TUNSETVNETHDRSZ: libc::c_ulong = 0x4004_54d8;
    const TUNSETOFFLOAD: libc::c_ulong = 0x4004_54d0;
    let with_header = offload != Offload::None;
    let offered: libc::c_ulong = if offload == Offload::TcpUdp { 0x67 } else { 0x07 };
    // SAFETY: plain system calls on a descriptor that is made here; the request and the length live
    // through the calls that read them, and all bytes zero is a valid request.
    let descriptor = unsafe {
        let fd = libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK | libc::O_CLOEXEC);
        assert!(fd >= 0, "/dev/net/tun");
        let descriptor = OwnedFd::from_raw_fd(fd);
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b't'.cast_signed();
        request.ifr_name[1] = b'0'.cast_signed();
        let header = if with_header { libc::IFF_VNET_HDR } else { 0 };
        request.ifr_ifru.ifru_flags =
            i16::try_from(libc::IFF_TUN | libc::IFF_NO_PI | header).expect("the flags are small");
        assert_eq!(libc::ioctl(descriptor.as_raw_fd(), TUNSETIFF, &raw const request), 0);
        if with_header {
            let len: libc::c_int = 10;
            assert_eq!(libc::ioctl(descriptor.as_raw_fd(), TUNSETVNETHDRSZ, &raw const len), 0);
            assert_eq!(libc::ioctl(descriptor.as_raw_fd(), TUNSETOFFLOAD, offered), 0);
        }
        descriptor
    };
    for arguments in ["addr add 10.99.0.1/24 dev t0", "link set t0 up"] {
        assert!(Command::new("ip").args(arguments.split(' ')).status().expect("ip runs").success());
    }
    TunQueue::new(descriptor, offload, 1500)
}

/// The IPv4 UDP packets that the machine sends until there are `count`.
fn receive(queue: &mut TunQueue, count: usize) -> Batch {
    let (mut batch, mut tally, stop) = (receive_batch(0), Tally::default(), Stop::new().expect("an eventfd"));
    while batch.len() < count {
        let waited = stop.wait(&[(queue.descriptor(), Interest::Readable)], Some(Duration::from_secs(5)));
        assert_ne!(waited.expect("a wait"), Wake::TimedOut, "{} of {count} packets came", batch.len());
        queue.recv(&mut batch, &mut tally).expect("the device is there");
        batch.retain(|_, packet| packet[0] == 0x45 && packet[9] == 17);
    }
    assert_eq!(tally, Tally::default());
    batch
}

#[test]
fn what_the_machine_sends_in_segments_comes_as_valid_packets_and_goes_back_in() {
    for offload in [Offload::None, Offload::Tcp, Offload::TcpUdp] {
        in_own_namespace(move || {
            let mut queue = tun(offload);
            let socket = UdpSocket::bind("10.99.0.1:7000").expect("a socket");
            socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a time-out");
            let mut sent = Batch::new(1 << 16, 64);
            (0..20).for_each(|fill| assert!(sent.push(&[fill; 1000])));
            let to = "10.99.0.2:7000".parse().expect("an address");
            let progress = Sender::udp(to).send(socket.as_fd(), &sent, 0);
            assert!(progress.error.is_none(), "{progress:?}");
            let mut packets = receive(&mut queue, 20);
            assert!(packets.iter().all(|packet| validate(packet, 1500).is_ok()));
            // Back to where they came from: swapped addresses leave every checksum right.
            for index in 0..packets.len() {
                let packet = packets.get_mut(index).expect("it is there");
                (12..16).for_each(|at| packet.swap(at, at + 4));
            }
            let mut tally = Tally::default();
            queue.send(&packets, 0..packets.len(), &mut tally).expect("the device is there");
            assert_eq!((tally.packets, tally.dropped.iter().sum::<u64>()), (20, 0), "{offload:?}");
            for fill in 0..20 {
                let mut payload = [0; 2000];
                assert_eq!(socket.recv(&mut payload).expect("a datagram"), 1000);
                assert_eq!(payload[999], fill);
            }
        });
    }
}

#[test]
fn a_burst_of_frames_is_read_a_part_at_a_time() {
    in_own_namespace(|| {
        // What it reads are packets here, which makes no difference.
        let mut queue = TapQueue::on(tun(Offload::None).file, Offload::None, 1500);
        let socket = UdpSocket::bind("10.99.0.1:7000").expect("a socket");
        for _ in 0..READS + 1 {
            socket.send_to(b"x", "10.99.0.2:7000").expect("the device is up");
        }
        let (mut batch, mut tally) = (receive_batch(0), Tally::default());
        assert!(queue.recv(&mut batch, &mut tally).expect("the device is there"), "more waits");
        assert_eq!(batch.len(), READS);
        assert!(!queue.recv(&mut batch, &mut tally).expect("the device is there"));
        assert!(batch.len() > READS);
    });
}

#[test]
fn a_downed_interface_drops_and_a_deleted_one_is_an_error() {
    in_own_namespace(|| {
        let mut queue = tun(Offload::TcpUdp);
        let (mut batch, mut tally) = (Batch::new(4096, 8), Tally::default());
        let mut packet = [0; 40];
        packet[0] = 0x60;
        packet[6] = 59;
        batch.push(&packet);
        let ip = |arguments: &str| {
            assert!(Command::new("ip").args(arguments.split(' ')).status().expect("ip").success());
        };
        ip("link set t0 down");
        queue.send(&batch, 0..1, &mut tally).expect("only down");
        assert_eq!(tally.dropped(DropCause::DeviceDown), 1);
        ip("link del t0");
        assert!(queue.send(&batch, 0..1, &mut tally).is_err());
        assert!(queue.recv(&mut receive_batch(0), &mut tally).is_err());
    });
}
