//! Between the host and its clients.

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
