//! What goes over a TAP: two machines, each with one, and a cable of batches between their queues.

use crate::alone::alone;
use crate::setup::*;
use crate::tap::{tap_spec, wait_until_gone};
use hypertap_platform::queue::{PacketQueue, TapQueue, receive_batch};
use hypertap_platform::stop::{Interest, Stop, Wake};
use hypertap_platform::{Offload, Tap, TapName, TapSpec};
use hypertap_wire::batch::Batch;
use hypertap_wire::checksum::Sum;
use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::offload::{GsoType, VirtioHeader};
use hypertap_wire::packet::{DropCause, Tally, validate};
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, FromRawFd};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// What is sent each way in a test of bulk, in bytes.
const BULK: usize = 20 << 20;

/// A job in the other machine.
type Job = Box<dyn FnOnce() + Send>;

/// This machine is 10.99.0.1 and fd99::1, the other has 2 in the place of 1; both call their interface `tap0`.
struct Cable {
    stop: Stop,
    wires: Vec<JoinHandle<Wire>>,
    there: Option<mpsc::SyncSender<Job>>,
    other: Option<JoinHandle<()>>,
}

/// What one direction carried.
struct Wire {
    received: Tally,
    sent: Tally,
    longest: usize,
}

impl Cable {
    fn lay(offload: bool, grant: Offload, mtu: u32) -> Self {
        let spec = move |end: u8| TapSpec {
            name: TapName::Exact("tap0".to_owned()),
            mac: MacAddress([2, 0, 0, 0, 0, end]),
            ipv4: Some((Ipv4Addr::new(10, 99, 0, end), 24)),
            ipv6: Some((Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, end.into()), 64)),
            offload,
            mtu,
            ..tap_spec()
        };
        let (there, jobs) = mpsc::sync_channel::<Job>(1);
        let (tell, told) = mpsc::sync_channel(1);
        let other = std::thread::spawn(move || {
            unshare(CloneFlags::CLONE_NEWNET).unwrap();
            run("ip link set lo up");
            tell.send(open(&spec(2))).unwrap();
            jobs.into_iter().for_each(|job| job());
        });
        let stop = Stop::new().unwrap();
        let ends = [open(&spec(1)), told.recv().unwrap()].map(|tap| {
            // Less may be granted than the kernel has.
            let granted = if offload { grant } else { Offload::None };
            assert!(!offload || tap.offload == Offload::TcpUdp);
            Box::new(TapQueue::new(tap.descriptor, granted, mtu))
        });
        let wire = |from: &dyn PacketQueue, to: &dyn PacketQueue| {
            let (from, to, stop) = (from.another(), to.another(), stop.clone());
            std::thread::spawn(move || carry(from, to, &stop))
        };
        let wires = vec![wire(&*ends[0], &*ends[1]), wire(&*ends[1], &*ends[0])];
        Self { stop, wires, there: Some(there), other: Some(other) }
    }

    /// Does something in the other machine; its end is waited for by [`Self::cut`].
    fn there(&self, job: impl FnOnce() + Send + 'static) {
        self.there.as_ref().unwrap().send(Box::new(job)).unwrap();
    }

    /// Does something in the other machine and waits for what comes of it.
    fn ask<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = mpsc::sync_channel(1);
        self.there(move || tell.send(job()).unwrap());
        told.recv().unwrap()
    }

    /// Ends everything, and says what went from here to there and back.
    fn cut(mut self) -> [Wire; 2] {
        drop(self.there.take());
        self.other.take().unwrap().join().unwrap();
        self.stop.set();
        let wires: Vec<Wire> = self.wires.drain(..).map(|wire| wire.join().unwrap()).collect();
        wait_until_gone("tap0");
        wires.try_into().ok().unwrap()
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.stop.set();
    }
}

fn open(spec: &TapSpec) -> Tap {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let state = tempfile::TempDir::new().unwrap();
    runtime.block_on(half(&state).open_tap(spec)).unwrap()
}

fn carry(mut from: Box<dyn PacketQueue>, mut to: Box<dyn PacketQueue>, stop: &Stop) -> Wire {
    let (mut batch, mut longest) = (receive_batch(0), 0);
    let (mut received, mut sent) = (Tally::default(), Tally::default());
    while stop.wait(&[(from.descriptor(), Interest::Readable)], None).unwrap() != Wake::Stopped {
        // The other direction may have ended with its machine.
        if from.recv(&mut batch, &mut received).is_err() {
            break;
        }
        longest = batch.lengths().max().unwrap_or(0).max(longest);
        received.pass(batch.len(), 0);
        if to.send(&batch, 0..batch.len(), &mut sent).is_err() {
            break;
        }
        batch.clear();
    }
    Wire { received, sent, longest }
}

/// Sends [`BULK`] bytes each way at once, and looks whether they arrive as they were.
fn bulk(cable: &Cable, here: SocketAddr, there: SocketAddr) {
    let bytes = |at: usize| at.to_le_bytes()[0] ^ at.to_le_bytes()[1] ^ at.to_le_bytes()[2];
    let exchange = move |socket: TcpStream| {
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut writer = socket.try_clone().unwrap();
        let writing = std::thread::spawn(move || {
            let sent: Vec<u8> = (0..BULK).map(bytes).collect();
            writer.write_all(&sent).unwrap();
            writer.shutdown(std::net::Shutdown::Write).unwrap();
        });
        let mut got = Vec::new();
        { socket }.read_to_end(&mut got).unwrap();
        assert_eq!(got.len(), BULK);
        assert!(got.iter().enumerate().all(|(at, byte)| *byte == bytes(at)));
        writing.join().unwrap();
    };
    let listener = cable.ask(move || TcpListener::bind(there).unwrap());
    let accepting = std::thread::spawn(move || exchange(listener.accept().unwrap().0));
    assert!(here.is_ipv4() == there.is_ipv4());
    exchange(TcpStream::connect_timeout(&there, Duration::from_secs(5)).unwrap());
    accepting.join().unwrap();
}

/// How many frames, or segments of them, the interface took in.
fn taken_in(device: &str) -> u64 {
    json(&format!("ip -s -j link show dev {device}"))[0]["stats64"]["rx"]["packets"].as_u64().unwrap()
}

#[test]
fn two_machines_ping_each_other_over_their_taps() {
    alone(|| {
        let cable = Cable::lay(true, Offload::TcpUdp, 1500);
        run("ping -q -c 3 -i 0.01 -W 5 10.99.0.2");
        run("ping -q -c 3 -i 0.01 -W 5 fd99::2");
        run("ping -q -c 1 -W 5 -M do -s 1472 10.99.0.2");
        let wires = cable.cut();
        assert!(wires.iter().all(|wire| wire.longest == 1514));
    });
}

#[test]
fn bulk_arrives_whole_and_in_segments_where_there_is_offload() {
    alone(|| {
        for (offload, grant) in [(false, Offload::None), (true, Offload::Tcp), (true, Offload::TcpUdp)] {
            let cable = Cable::lay(offload, grant, 1500);
            for (here, there) in [("10.99.0.1:0", "10.99.0.2:7000"), ("[fd99::1]:0", "[fd99::2]:7000")] {
                bulk(&cable, here.parse().unwrap(), there.parse().unwrap());
            }
            let (here, there) = (taken_in("tap0"), cable.ask(|| taken_in("tap0")));
            let wires = cable.cut();
            for (wire, taken_in) in wires.iter().zip([there, here]) {
                assert_eq!(wire.received.dropped.iter().sum::<u64>(), 0);
                assert!(wire.longest <= 1514, "{} bytes", wire.longest);
                let joined = taken_in < wire.sent.packets / 2;
                assert_eq!(joined, offload, "{taken_in} of {} frames, {grant:?}", wire.sent.packets);
            }
        }
    });
}

/// A packet socket on `tap0` whose messages have a virtio-net header, as the driver of a VLAN interface on
/// it would hand over and take segments. (Not every kernel has that driver.)
#[allow(unsafe_code)]
fn packet_socket() -> File {
    let index = nix::net::if_::if_nametoindex("tap0").unwrap();
    // SAFETY: plain system calls on a descriptor that is made here; what they read lives through them, and
    // all bytes zero is a valid address.
    unsafe {
        let protocol = u16::try_from(libc::ETH_P_ALL).unwrap().to_be();
        let fd = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol.into());
        assert!(fd >= 0);
        let socket = File::from_raw_fd(fd);
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(5)).unwrap();
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = u16::try_from(libc::AF_PACKET).unwrap();
        address.sll_protocol = protocol;
        address.sll_ifindex = index.cast_signed();
        let len = u32::try_from(size_of_val(&address)).unwrap();
        assert_eq!(libc::bind(fd, (&raw const address).cast(), len), 0);
        for option in [libc::PACKET_VNET_HDR, libc::PACKET_AUXDATA] {
            let on: libc::c_int = 1;
            let len = u32::try_from(size_of_val(&on)).unwrap();
            assert_eq!(libc::setsockopt(fd, libc::SOL_PACKET, option, (&raw const on).cast(), len), 0);
        }
        socket
    }
}

/// A TCP segment of 10 times 1000 bytes behind an Ethernet header with a tag, as it is before it is cut.
fn tagged_segment() -> Vec<u8> {
    let header =
        VirtioHeader { flags: 1, gso_type: 1, hdr_len: 58, gso_size: 1000, csum_start: 38, csum_offset: 16 };
    let mut segment = header.emit().to_vec();
    segment.extend([2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x81, 0, 0x20, 5, 0x08, 0]);
    let mut packet = vec![0x45, 0, 0x27, 0x38, 0, 1, 0x40, 0, 64, 6, 0, 0, 10, 98, 0, 1, 10, 98, 0, 2];
    let checksum = Sum::ZERO.add(&packet).checksum();
    packet[10..12].copy_from_slice(&checksum);
    let pseudo = Sum::ZERO.add(&packet[12..20]).add_u16(6).add_u16(10_020).folded();
    packet.extend([
        0x1b, 0x58, 0x1b, 0x59, 0, 0, 0, 9, 0, 0, 0, 9, 0x50, 0x10, 1, 0, pseudo[0], pseudo[1], 0, 0,
    ]);
    packet.extend((0..10_000_u16).map(|at| at.to_le_bytes()[0] ^ at.to_le_bytes()[1]));
    segment.extend(packet);
    segment
}

#[test]
fn a_tagged_segment_comes_as_tagged_frames_and_goes_in_as_one_segment() {
    alone(|| {
        let tap = open(&TapSpec { ipv6: None, ..tap_spec() });
        let mut queue = TapQueue::new(tap.descriptor, tap.offload, 1500);
        let segment = tagged_segment();
        let mut socket = packet_socket();
        assert_eq!(socket.write(&segment).unwrap(), segment.len());
        let (mut frames, mut tally) = (receive_batch(0), Tally::default());
        let stop = Stop::new().unwrap();
        while frames.len() < 10 {
            let waited = stop.wait(&[(queue.descriptor(), Interest::Readable)], Some(Duration::from_secs(5)));
            assert_ne!(waited.unwrap(), Wake::TimedOut, "{} frames came", frames.len());
            queue.recv(&mut frames, &mut tally).unwrap();
            frames.retain(|_, frame| frame[12..14] == [0x81, 0]);
        }
        assert_eq!(tally, Tally::default());
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(frame.len(), 18 + 40 + 1000);
            assert_eq!(frame[..18], segment[10..28]);
            assert_eq!(validate(&frame[18..], 1500), Ok(()));
            let sum = Sum::ZERO.add(&frame[30..38]).add_u16(6).add_u16(1020).add(&frame[38..]);
            assert!(sum.is_whole(), "frame {index}");
            assert_eq!(frame[58..], segment[68 + 1000 * index..][..1000]);
        }
        queue.send(&frames, 0..10, &mut tally).unwrap();
        assert_eq!((tally.packets, tally.dropped.iter().sum::<u64>()), (10, 0));
        // The kernel takes the tag off, and leaves the rest as it was.
        let mut got = vec![0; 70_000];
        let header = loop {
            let len = socket.read(&mut got).unwrap();
            got.truncate(len);
            let header = VirtioHeader::parse(got.first_chunk().unwrap());
            if header.gso() == Some(GsoType::TcpV4) && got.len() == segment.len() - 4 {
                break header;
            }
            got.resize(70_000, 0);
        };
        assert_eq!((header.gso_size, header.csum_start, header.csum_offset), (1000, 34, 16));
        assert_eq!(got[10..22], segment[10..22]);
        assert_eq!(got[22..], segment[26..]);
    });
}

#[test]
fn datagrams_of_one_size_go_as_segments_and_come_as_they_were() {
    alone(|| {
        let cable = Cable::lay(true, Offload::TcpUdp, 1500);
        run("ping -q -c 1 -W 5 10.99.0.2");
        let socket = cable.ask(|| UdpSocket::bind("10.99.0.2:7000").unwrap());
        socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let before = cable.ask(|| taken_in("tap0"));
        let ours = UdpSocket::bind("10.99.0.1:7000").unwrap();
        let mut sent = Batch::new(1 << 16, 64);
        (0..40).for_each(|fill| assert!(sent.push(&[fill; 1000])));
        let to = "10.99.0.2:7000".parse().unwrap();
        let progress = hypertap_platform::datagram::Sender::udp(to).send(ours.as_fd(), &sent, 0);
        assert!(progress.error.is_none(), "{progress:?}");
        for fill in 0..40 {
            let mut payload = [0; 2000];
            assert_eq!(socket.recv(&mut payload).unwrap(), 1000);
            assert_eq!((payload[0], payload[999]), (fill, fill));
        }
        let taken_in = cable.ask(|| taken_in("tap0")) - before;
        assert!(taken_in < 20, "{taken_in} for 40 datagrams");
        cable.cut();
    });
}

#[test]
fn frames_of_a_larger_mtu_than_the_first_pass() {
    alone(|| {
        for offload in [false, true] {
            let cable = Cable::lay(offload, Offload::TcpUdp, 1500);
            run("ip link set tap0 mtu 9000");
            cable.ask(|| run("ip link set tap0 mtu 9000"));
            run("ping -q -c 3 -i 0.01 -W 5 -M do -s 8972 10.99.0.2");
            bulk(&cable, "10.99.0.1:0".parse().unwrap(), "10.99.0.2:7000".parse().unwrap());
            let wires = cable.cut();
            assert!(wires.iter().all(|wire| wire.longest == 9014));
        }
    });
}

#[test]
fn a_frame_that_the_kernel_refuses_is_counted_and_ends_nothing() {
    alone(|| {
        for offload in [Offload::None, Offload::TcpUdp] {
            let tap = open(&TapSpec { offload: offload != Offload::None, ..tap_spec() });
            let mut queue = TapQueue::new(tap.descriptor, offload, 1500);
            let (mut batch, mut tally) = (Batch::new(4096, 8), Tally::default());
            for frame in [&[0xff; 13][..], &[], &[0; 14], &[2; 60]] {
                assert!(batch.push(frame));
            }
            queue.send(&batch, 0..4, &mut tally).unwrap();
            assert_eq!((tally.dropped(DropCause::DeviceRefused), tally.packets), (2, 2), "{offload:?}");
            run("ip link set tap0 down");
            queue.send(&batch, 2..3, &mut tally).unwrap();
            assert_eq!(tally.dropped(DropCause::DeviceDown), 1);
            run("ip link del tap0");
            assert!(queue.send(&batch, 2..3, &mut tally).is_err());
            assert!(queue.recv(&mut receive_batch(0), &mut tally).is_err());
        }
    });
}
