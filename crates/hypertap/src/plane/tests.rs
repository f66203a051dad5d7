use std::io::{Read, Write};
use std::time::{Duration, Instant};

use hypertap_platform::queue::MemoryQueue;
use hypertap_wire::packet::DropCause;

use super::*;

/// Says the same of everybody.
struct Everybody(Verdict);

impl PeerGuard for Everybody {
    fn may_use(&self, _: SocketAddr) -> Verdict {
        self.0
    }
    fn may_connect(&self, _: u32) -> bool {
        self.0 == Verdict::Allowed
    }
}

/// A plane on a cable whose other end is in the test's hand.
struct Bench {
    machine: MemoryQueue,
    stats: Arc<Stats>,
    ended: mpsc::Receiver<PlaneEnd>,
    plane: Plane,
}

impl Bench {
    fn start(program: Program, verdict: Verdict) -> Self {
        let (queue, machine) = MemoryQueue::pair().unwrap();
        let (stats, (sender, ended)) = (Arc::new(Stats::default()), mpsc::channel(1));
        let plane = Plane::start(PlaneSpec {
            program,
            mtu: 1500,
            queues: vec![Box::new(queue)],
            guard: Arc::new(Everybody(verdict)),
            stats: Arc::clone(&stats),
            ended: sender,
        })
        .unwrap();
        Self { machine, stats, ended, plane }
    }

    /// Has the machine send packets.
    fn send(&mut self, packets: &[&[u8]]) {
        let mut batch = Batch::new(1 << 20, 4096);
        assert!(packets.iter().all(|packet| batch.push(packet)));
        let mut tally = Tally::default();
        self.machine.send(&batch, 0..batch.len(), &mut tally).unwrap();
        assert_eq!(tally.packets, packets.len() as u64, "the cable has room");
    }

    /// What was injected, once it is `count` packets.
    fn injected(&mut self, count: usize) -> Vec<Vec<u8>> {
        let (mut batch, mut tally, stop) = (receive_batch(0), Tally::default(), Stop::new().unwrap());
        while batch.len() < count {
            let wake =
                stop.wait(&[(self.machine.descriptor(), Interest::Readable)], Some(Duration::from_secs(5)));
            assert_ne!(wake.unwrap(), Wake::TimedOut, "{} of {count} packets came", batch.len());
            self.machine.recv(&mut batch, &mut tally).unwrap();
        }
        batch.iter().map(<[u8]>::to_vec).collect()
    }

    fn dropped(
        &self,
        direction: fn(&stats::Snapshot) -> &stats::DirectionSnapshot,
        cause: DropCause,
        count: u64,
    ) {
        let start = Instant::now();
        loop {
            let snapshot = self.stats.snapshot();
            let now = direction(&snapshot).dropped.get(&cause).copied().unwrap_or(0);
            if now == count {
                return;
            }
            assert!(now < count && start.elapsed() < Duration::from_secs(5), "{cause:?}: {now} of {count}");
            thread::yield_now();
        }
    }
}

fn to(snapshot: &stats::Snapshot) -> &stats::DirectionSnapshot {
    &snapshot.to_program
}

fn from(snapshot: &stats::Snapshot) -> &stats::DirectionSnapshot {
    &snapshot.from_program
}

/// An IPv6 packet, which needs no checksum.
fn packet(len: u16, fill: u8) -> Vec<u8> {
    let mut packet = vec![fill; usize::from(len)];
    packet[0] = 0x60;
    packet[4..6].copy_from_slice(&(len - 40).to_be_bytes());
    packet[6] = 59;
    packet
}

fn udp() -> (Program, UdpSocket, SocketAddr) {
    let (ours, theirs) = (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    theirs.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let (at, receive) = (ours.local_addr().unwrap(), theirs.local_addr().unwrap());
    (Program::Udp { socket: ours, receive }, theirs, at)
}

fn stream() -> (Program, std::path::PathBuf, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data.sock");
    (Program::Stream { listener: UnixListener::bind(&path).unwrap() }, path, dir)
}

fn connect(path: &std::path::Path) -> std::os::unix::net::UnixStream {
    let socket = std::os::unix::net::UnixStream::connect(path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    socket
}

fn framed(packet: &[u8]) -> Vec<u8> {
    [&u16::try_from(packet.len()).unwrap().to_be_bytes(), packet].concat()
}

#[test]
fn datagrams_and_packets_become_each_other() {
    let (program, theirs, at) = udp();
    let mut bench = Bench::start(program, Verdict::Allowed);
    let packets: Vec<_> = [40, 1500, 64, 64].map(|len| packet(len, 7)).into();
    for packet in &packets {
        theirs.send_to(packet, at).unwrap();
    }
    assert_eq!(bench.injected(4), packets);
    bench.send(&packets.iter().map(Vec::as_slice).collect::<Vec<_>>());
    for packet in &packets {
        let mut buffer = [0; 2000];
        let (len, source) = theirs.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..len], source), (&packet[..], at));
    }
}

#[test]
fn invalid_datagrams_are_counted_and_the_valid_ones_after_them_injected() {
    let (program, theirs, at) = udp();
    let mut bench = Bench::start(program, Verdict::Allowed);
    for bad in [&[][..], &[0x10; 60], &[0x45; 10], &packet(1501, 0), &packet(60, 0)[..59]] {
        theirs.send_to(bad, at).unwrap();
    }
    let good = packet(1500, 3);
    theirs.send_to(&good, at).unwrap();
    assert_eq!(bench.injected(1), [good]);
    for cause in [
        DropCause::Empty,
        DropCause::BadVersion,
        DropCause::TruncatedHeader,
        DropCause::ExceedsMtu,
        DropCause::LengthMismatch,
    ] {
        bench.dropped(from, cause, 1);
    }
}

#[test]
fn nothing_passes_to_or_from_a_program_that_is_not_permitted() {
    let (program, theirs, at) = udp();
    let mut bench = Bench::start(program, Verdict::NotPermitted);
    theirs.send_to(&packet(60, 1), at).unwrap();
    bench.send(&[&packet(60, 1), &packet(61, 1)]);
    bench.dropped(from, DropCause::NotPermitted, 1);
    bench.dropped(to, DropCause::NotPermitted, 2);
    let (from, to) = (bench.stats.snapshot().from_program, bench.stats.snapshot().to_program);
    assert_eq!((from.packets, to.packets), (0, 0));
}

#[test]
fn an_absent_program_is_counted_and_ends_nothing() {
    let (program, theirs, _) = udp();
    let mut bench = Bench::start(program, Verdict::Absent);
    drop(theirs);
    bench.send(&[&packet(60, 1)]);
    bench.dropped(to, DropCause::NoReceiver, 1);
    assert!(bench.ended.try_recv().is_err());
}

#[test]
fn a_stream_carries_frames_both_ways_however_they_are_cut() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    let mut theirs = connect(&path);
    let packets: Vec<_> = (0..60_u8).map(|at| packet(40 + 20 * u16::from(at), at)).collect();
    let wire: Vec<u8> = packets.iter().flat_map(|packet| framed(packet)).collect();
    for piece in wire.chunks(1001) {
        theirs.write_all(piece).unwrap();
    }
    assert_eq!(bench.injected(60), packets);
    bench.send(&packets.iter().take(20).map(Vec::as_slice).collect::<Vec<_>>());
    let mut read = vec![0; packets.iter().take(20).map(|packet| packet.len() + 2).sum()];
    theirs.read_exact(&mut read).unwrap();
    assert_eq!(read, wire[..read.len()]);
}

#[test]
fn without_a_connected_program_packets_are_counted_as_having_no_receiver() {
    let (program, _path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    bench.send(&[&packet(60, 1), &packet(60, 2)]);
    bench.dropped(to, DropCause::NoReceiver, 2);
}

#[test]
fn a_program_that_goes_away_ends_the_plane() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    drop(connect(&path));
    assert!(matches!(bench.ended.blocking_recv(), Some(PlaneEnd::ProgramGone)));
}

#[test]
fn empty_frames_and_invalid_packets_are_counted_and_end_nothing() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    let mut theirs = connect(&path);
    theirs.write_all(&framed(&[0x10; 30])).unwrap();
    theirs.write_all(&framed(&packet(60, 1))).unwrap();
    assert_eq!(bench.injected(1).len(), 1);
    bench.dropped(from, DropCause::BadVersion, 1);
    theirs.write_all(&[0, 0]).unwrap();
    theirs.write_all(&framed(&packet(60, 2))).unwrap();
    assert_eq!(bench.injected(1), [packet(60, 2)]);
    bench.dropped(from, DropCause::Empty, 1);
}

#[test]
fn a_second_program_is_turned_away_and_the_first_not_disturbed() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    let mut first = connect(&path);
    first.write_all(&framed(&packet(60, 1))).unwrap();
    bench.injected(1);
    assert_eq!(connect(&path).read(&mut [0]).unwrap(), 0, "closed at once");
    first.write_all(&framed(&packet(60, 2))).unwrap();
    assert_eq!(bench.injected(1), [packet(60, 2)]);
}

#[test]
fn a_user_who_may_not_is_turned_away() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::NotPermitted);
    assert_eq!(connect(&path).read(&mut [0]).unwrap(), 0, "closed at once");
    assert!(bench.ended.try_recv().is_err());
}

#[test]
fn a_program_that_does_not_read_loses_the_newest_and_holds_up_nobody() {
    let (program, path, _dir) = stream();
    let mut bench = Bench::start(program, Verdict::Allowed);
    let mut theirs = connect(&path);
    theirs.write_all(&framed(&packet(60, 1))).unwrap();
    bench.injected(1);
    let packets: Vec<_> = (0..60).map(|at| packet(1500, at)).collect();
    let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
    let mut sent = 0;
    while !bench.stats.snapshot().to_program.dropped.contains_key(&DropCause::ProgramSlow) {
        bench.send(&packets);
        sent += packets.len() as u64;
        let start = Instant::now();
        while count(&bench.stats.snapshot().to_program) < sent {
            assert!(start.elapsed() < Duration::from_secs(5));
            thread::yield_now();
        }
        assert!(sent < 1_000_000, "the socket never fills");
    }
    theirs.write_all(&framed(&packet(60, 2))).unwrap();
    assert_eq!(bench.injected(1), [packet(60, 2)], "the other direction is not held up");
    // What was passed on is whole frames in order, from the first packet on.
    let passed = bench.stats.snapshot().to_program.packets;
    for at in 0..passed {
        let mut frame = [0; 1502];
        theirs.read_exact(&mut frame).unwrap();
        assert_eq!(frame[..2], 1500_u16.to_be_bytes());
        assert_eq!(frame[1501], u8::try_from(at % 60).unwrap());
    }
}

fn count(direction: &stats::DirectionSnapshot) -> u64 {
    direction.packets + direction.dropped.values().sum::<u64>()
}

#[test]
fn a_vanished_interface_ends_the_plane() {
    let (program, _theirs, _) = udp();
    let Bench { machine, mut ended, plane, .. } = Bench::start(program, Verdict::Allowed);
    drop(machine);
    assert!(matches!(ended.blocking_recv(), Some(PlaneEnd::Device(_))));
    plane.stop();
}

#[test]
fn stopping_ends_idle_threads() {
    let (program, _path, _dir) = stream();
    let bench = Bench::start(program, Verdict::Allowed);
    bench.plane.stop();
    let (program, _theirs, _) = udp();
    Bench::start(program, Verdict::Allowed).plane.stop();
}
