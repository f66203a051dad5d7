//! Clients whose messages are frames.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::*;

impl Bench {
    async fn messages(&self, near: impl Into<OwnedFd>) -> ClientId {
        let id = ClientId::next();
        self.fabric.attach_messages(id, self.places.take().unwrap(), near.into()).await.unwrap();
        id
    }

    async fn datagrams(&self) -> (ClientId, UnixDatagram) {
        let (near, far) = UnixDatagram::pair().unwrap();
        far.set_read_timeout(Some(PATIENCE)).unwrap();
        (self.messages(near).await, far)
    }
}

fn receive(client: &UnixDatagram) -> Vec<u8> {
    let mut frame = vec![0; 2000];
    let len = client.recv(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

#[tokio::test]
async fn each_message_is_a_frame_and_an_empty_one_none() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let (id, client) = bench.datagrams().await;
    client.send(&[]).unwrap();
    let frames: Vec<_> = (0..100).map(|at| frame(HOST, mac(1), at, 60 + at as usize)).collect();
    for frame in &frames {
        client.send(frame).unwrap();
    }
    client.send(&vec![0; 5000]).unwrap();
    assert_eq!(machine.receive(100), frames);
    let answers: Vec<_> = (0..100).map(|at| frame(mac(1), HOST, at, 60 + at as usize)).collect();
    machine.send(&answers);
    for answer in answers {
        assert_eq!(receive(&client), answer);
    }
    bench.until(Origin::Client(id), |port| port.dropped.contains_key(&DropReason::TooLong)).await;
    assert_eq!(bench.report_of(Origin::Client(id)).await.frames_in, 100);
}

#[tokio::test]
async fn one_that_does_not_read_holds_up_nobody_and_gets_the_oldest() {
    const MANY: u32 = 4000;
    let bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let (id, slow) = bench.datagrams().await;
    let (_, quick) = bench.datagrams().await;
    slow.send(&frame(HOST, mac(1), 0, 60)).unwrap();
    quick.send(&frame(HOST, mac(2), 0, 60)).unwrap();
    machine.receive(2);
    machine.send(&(0..MANY).map(|at| frame(mac(1), HOST, at, 1400)).collect::<Vec<_>>());
    bench
        .until(Origin::Client(id), |port| {
            port.frames_out + port.dropped.values().sum::<u64>() == u64::from(MANY)
        })
        .await;
    machine.send(&[frame(mac(2), HOST, 7, 60)]);
    assert_eq!(number(&receive(&quick)), 7);
    let report = bench.report_of(Origin::Client(id)).await;
    assert!(report.dropped[&DropReason::Slow] > 0 && report.queued > 900 << 10, "{report:?}");
    for at in 0..u32::try_from(report.frames_out).unwrap() {
        assert_eq!(number(&receive(&slow)), at);
    }
}

#[tokio::test]
async fn a_datagram_client_that_is_gone_has_ended_when_it_is_sent_to() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let (id, far) = bench.datagrams().await;
    far.send(&frame(HOST, mac(1), 1, 60)).unwrap();
    drop(far);
    assert_eq!(number(&machine.receive(1)[0]), 1);
    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    match bench.event().await {
        FabricEvent::ClientEnded { client, end: ClientEnd::Closed, counters, .. } => {
            assert_eq!((client, counters.frames_in, counters.frames_out), (id, 1, 0));
            assert_eq!(counters.dropped[&DropReason::Gone], 1);
        }
        event => panic!("{event:?}"),
    }
    assert!(bench.places.are_all_free());
}

#[tokio::test]
async fn a_connection_of_messages_ends_with_its_other_end() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let (near, far) =
        socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC).unwrap();
    let id = bench.messages(near).await;
    for at in 0..100 {
        nix::unistd::write(&far, &frame(HOST, mac(1), at, 60)).unwrap();
    }
    drop(far);
    assert_eq!(machine.receive(100).len(), 100);
    let event = bench.event().await;
    assert!(
        matches!(event, FabricEvent::ClientEnded { client, end: ClientEnd::Closed, .. } if client == id),
        "{event:?}"
    );
}
