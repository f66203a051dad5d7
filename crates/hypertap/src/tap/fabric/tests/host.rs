//! Between the host and its clients.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::*;

#[tokio::test]
async fn frames_go_both_ways_in_every_framing() {
    let bench = Bench::start(3);
    let mut machine = bench.machine().await;
    for (number, framing) in [(1, Framing::Le16), (2, Framing::Be32), (3, Framing::Unframed)] {
        let mut client = bench.client(Some(framing)).await;
        let frames: Vec<_> = (0..40).map(|at| frame(HOST, mac(number), at, 60 + 30 * at as usize)).collect();
        let mut sent = Vec::new();
        for frame in &frames {
            let mut header = [0; 4];
            assert!(framing.write_header(&mut header, frame.len()));
            sent.extend_from_slice(&header[..framing.header_len()]);
            sent.extend_from_slice(frame);
        }
        client.stream.write_all(&sent).unwrap();
        assert_eq!(machine.receive(40), frames);

        let answers: Vec<_> = (0..40).map(|at| frame(mac(number), HOST, at, 60 + 30 * at as usize)).collect();
        machine.send(&answers);
        for answer in &answers {
            let mut bytes = vec![0; framing.header_len() + answer.len()];
            client.stream.read_exact(&mut bytes).unwrap();
            assert_eq!(&bytes[framing.header_len()..], answer, "{framing}");
        }
    }
}

#[tokio::test]
async fn a_frame_that_comes_a_byte_at_a_time_is_whole() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    let sent = frame(HOST, mac(1), 1, 100);
    for byte in le16(std::slice::from_ref(&sent)) {
        client.stream.write_all(&[byte]).unwrap();
    }
    assert_eq!(machine.receive(1), [sent]);
}

#[tokio::test]
async fn an_unknown_station_is_flooded_to_and_a_known_one_is_not() {
    let bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let mut one = bench.client(Some(Framing::Le16)).await;
    let mut other = bench.client(Some(Framing::Be32)).await;
    let broadcast = frame([0xff; 6], mac(1), 1, 60);
    one.send(std::slice::from_ref(&broadcast));
    assert_eq!(machine.receive(1), std::slice::from_ref(&broadcast));
    let mut bytes = vec![0; 4 + broadcast.len()];
    other.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes[4..], broadcast);

    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    assert_eq!(number(&one.receive_le16()), 2);
    bench.until(Origin::Host, |host| host.frames_in == 1).await;
    assert!(other.has_nothing());
}

#[tokio::test]
async fn a_report_tells_what_the_switch_did_with_a_ports_frames() {
    let bench = Bench::start(2);
    let _machine = bench.machine().await;
    let mut one = bench.client(Some(Framing::Le16)).await;
    let mut other = bench.client(Some(Framing::Le16)).await;
    one.send(&[frame([0xff; 6], mac(1), 1, 60), frame(mac(1), mac(1), 2, 60), frame(HOST, mac(1), 3, 60)]);
    bench.until(one.origin(), |port| port.frames_in == 3).await;
    other.send(&[frame([0xff; 6], mac(1), 4, 60), frame([1, 0x80, 0xc2, 0, 0, 0], mac(1), 5, 60)]);
    bench.until(other.origin(), |port| port.frames_in == 2).await;
    let (one, other) = (bench.report_of(one.origin()).await, bench.report_of(other.origin()).await);
    assert_eq!((one.switch.learned, one.switch.flooded, one.switch.forwarded), (1, 1, 1));
    assert_eq!(one.switch.dropped.into_iter().collect::<Vec<_>>(), [("samePort", 1)]);
    assert_eq!((other.switch.moved, other.switch.flooded, other.switch.learned), (1, 1, 0));
    assert_eq!(other.switch.dropped.into_iter().collect::<Vec<_>>(), [("reserved", 1)]);
}

#[tokio::test]
async fn two_clients_talk_without_a_host() {
    let bench = Bench::start(2);
    let mut one = bench.client(Some(Framing::Le16)).await;
    let mut other = bench.client(Some(Framing::Le16)).await;
    other.send(&[frame([0xff; 6], mac(2), 0, 60)]);
    assert_eq!(number(&one.receive_le16()), 0);
    let frames: Vec<_> = (0..60).map(|at| frame(mac(2), mac(1), at, 1000)).collect();
    one.send(&frames);
    assert_eq!(other.receive(60), frames);
}

#[tokio::test]
async fn what_an_undecided_client_is_sent_waits_for_its_first_frame() {
    let bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let mut client = bench.client(None).await;
    bench.until(client.origin(), |port| port.frames_in == 0).await;
    let early: Vec<_> = (0..3).map(|at| frame([0xff; 6], HOST, at, 60)).collect();
    machine.send(&early);
    bench.until(client.origin(), |port| port.frames_out == 3).await;
    assert!(client.has_nothing());
    client.send(&[frame(HOST, mac(1), 9, 60)]);
    assert_eq!(client.receive(3), early);
    machine.send(&[frame(mac(1), HOST, 4, 60)]);
    assert_eq!(number(&client.receive_le16()), 4);
}

fn framed(framing: Framing, frame: &[u8]) -> Vec<u8> {
    let mut header = [0; 4];
    assert!(framing.write_header(&mut header, frame.len()));
    [&header[..framing.header_len()], frame].concat()
}

#[tokio::test]
async fn a_first_frame_in_pieces_tells_the_framing_wherever_it_is_cut() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut numbers = 0..;
    for framing in [Framing::Le16, Framing::Be32, Framing::Unframed] {
        let first = framed(framing, &frame(HOST, mac(1), 1, 42));
        for cut in 1..first.len() {
            let mut client = bench.client(None).await;
            // Not the same ones again: that is a loop.
            let early = frame([0xff; 6], HOST, numbers.next().unwrap(), 60);
            bench.until(client.origin(), |_| true).await;
            machine.send(std::slice::from_ref(&early));
            bench.until(client.origin(), |port| port.queued > 0).await;
            client.stream.write_all(&first[..cut]).unwrap();
            // A report is made when what was there to be read has been.
            bench.until(client.origin(), |_| true).await;
            client.stream.write_all(&first[cut..]).unwrap();
            machine.receive(1);
            let mut held = vec![0; framing.header_len() + early.len()];
            client.stream.read_exact(&mut held).unwrap_or_else(|error| panic!("{framing} {cut}: {error}"));
            assert_eq!(held, framed(framing, &early), "{framing}, cut after {cut}");
            bench.fabric.detach(client.id).await;
            assert_eq!(client.stream.read(&mut [0]).unwrap(), 0, "its place is free");
        }
    }
}

#[tokio::test]
async fn what_is_held_for_an_undecided_client_is_bounded() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let client = bench.client(None).await;
    bench.until(client.origin(), |_| true).await;
    machine.send(&(0..100).map(|at| frame([0xff; 6], HOST, at, 1500)).collect::<Vec<_>>());
    bench.until(client.origin(), |port| port.frames_out + port.dropped.values().sum::<u64>() == 100).await;
    let report = bench.report_of(client.origin()).await;
    assert!(report.queued <= 64 << 10 && report.dropped[&DropReason::Slow] > 50, "{report:?}");
}

#[tokio::test]
async fn an_unframed_client_stays_in_step() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Unframed)).await;
    bench.until(client.origin(), |_| true).await;
    let mut padded = frame([0xff; 6], HOST, 1, 40);
    padded.resize(60, 0);
    let mut unknown = frame([0xff; 6], HOST, 2, 60);
    unknown[12..14].copy_from_slice(&[0x77, 0x77]);
    machine.send(&[padded.clone(), unknown, frame([0xff; 6], HOST, 3, 50)]);
    let mut bytes = [0; 90];
    client.stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes[..40], &padded[..40]);
    assert_eq!(number(&bytes[40..]), 3);
    assert_eq!(bench.report_of(client.origin()).await.dropped[&DropReason::Unsizable], 1);
}

#[tokio::test]
async fn clients_outlive_the_host_and_meet_the_next_one() {
    let mut bench = Bench::start(1);
    let machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    drop(machine);
    assert!(matches!(bench.event().await, FabricEvent::HostGone(_)));
    client.send(&[frame([0xff; 6], mac(1), 1, 60)]);
    let mut machine = bench.machine().await;
    bench.until(client.origin(), |port| port.frames_in == 1).await;
    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    assert_eq!(number(&client.receive_le16()), 2);
    client.send(&[frame(HOST, mac(1), 3, 60)]);
    assert!(machine.receive(1).iter().any(|frame| number(frame) == 3));
}

/// A host's interface that never tells that it has something.
struct Silent(Box<dyn PacketQueue>, Arc<UnixStream>);

impl PacketQueue for Silent {
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool> {
        self.0.recv(batch, tally)
    }

    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        self.0.send(batch, packets, tally)
    }

    fn another(&self) -> Box<dyn PacketQueue> {
        Box::new(Self(self.0.another(), Arc::clone(&self.1)))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.1.as_fd()
    }
}

#[tokio::test]
async fn the_hosts_answers_are_looked_for_when_a_client_has_sent() {
    let bench = Bench::start(1);
    let (near, far) = MemoryQueue::pair().unwrap();
    let (never, _other_end) = UnixStream::pair().unwrap();
    let host = Silent(Box::new(near), Arc::new(never));
    bench.fabric.attach_host(Box::new(host), MacAddress(HOST)).await;
    let (mut machine, mut client) = (Machine(far), bench.client(Some(Framing::Le16)).await);
    let answer = frame([0xff; 6], HOST, 2, 60);
    machine.send(std::slice::from_ref(&answer));
    client.send(&[frame(HOST, mac(1), 1, 60)]);
    assert_eq!(client.receive(1), [answer]);
}

#[tokio::test]
async fn every_frame_is_observed_once_where_it_comes_in() {
    struct Heard(std::sync::mpsc::SyncSender<(Origin, u32)>);
    impl FrameObserver for Heard {
        fn frame(&mut self, origin: Origin, frame: &[u8]) {
            self.0.try_send((origin, number(frame))).unwrap();
        }
    }
    let (sender, heard) = std::sync::mpsc::sync_channel(16);
    let bench = Bench::observed(2, Some(Box::new(Heard(sender))));
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    let _other = bench.client(Some(Framing::Le16)).await;
    client.send(&[frame([0xff; 6], mac(1), 1, 60)]);
    machine.receive(1);
    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    client.receive(1);
    assert_eq!(heard.try_iter().collect::<Vec<_>>(), [(client.origin(), 1), (Origin::Host, 2)]);
}
