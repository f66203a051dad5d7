//! How clients end.

use std::fs;

use hypertap_wire::frames::FrameErrorKind;

use super::*;

#[tokio::test]
async fn what_a_client_sent_before_it_went_is_delivered() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    let frames: Vec<_> = (0..50).map(|at| frame(HOST, mac(1), at, 1000)).collect();
    client.send(&frames);
    let gone = client.id;
    drop(client);
    assert_eq!(machine.receive(50), frames);
    let event = bench.event().await;
    assert!(
        matches!(event, FabricEvent::ClientEnded { client, end: ClientEnd::Closed, .. } if client == gone),
        "{event:?}"
    );
}

#[tokio::test]
async fn a_client_that_went_with_something_unread_has_closed() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    client.send(&[frame(HOST, mac(1), 1, 60)]);
    machine.receive(1);
    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    bench.until(client.origin(), |port| port.frames_out == 1).await;
    client.send(&[frame(HOST, mac(1), 3, 60)]);
    drop(client);
    assert_eq!(number(&machine.receive(1)[0]), 3);
    let event = bench.event().await;
    assert!(matches!(event, FabricEvent::ClientEnded { end: ClientEnd::Closed, .. }), "{event:?}");
}

#[tokio::test]
async fn a_half_closed_connection_is_an_ended_one() {
    let mut bench = Bench::start(1);
    let mut client = bench.client(Some(Framing::Le16)).await;
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert!(matches!(bench.event().await, FabricEvent::ClientEnded { end: ClientEnd::Closed, .. }));
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
}

#[tokio::test]
async fn an_error_in_framing_ends_that_client_alone_after_all_frames_before_it() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let mut good = bench.client(Some(Framing::Le16)).await;
    let mut bad = bench.client(Some(Framing::Le16)).await;
    let before = frame(HOST, mac(1), 1, 60);
    let mut bytes = le16(std::slice::from_ref(&before));
    bytes.extend_from_slice(&[0, 0, 1, 2, 3]);
    bad.stream.write_all(&bytes).unwrap();
    assert_eq!(machine.receive(1), [before]);
    match bench.event().await {
        FabricEvent::ClientEnded { client, end: ClientEnd::Broke(error), .. } => {
            assert_eq!((client, error.offset, error.kind), (bad.id, 62, FrameErrorKind::Empty));
        }
        event => panic!("{event:?}"),
    }
    assert_eq!(bad.stream.read(&mut [0]).unwrap(), 0);
    good.send(&[frame(HOST, mac(2), 2, 60)]);
    assert_eq!(number(&machine.receive(1)[0]), 2);
}

#[tokio::test]
async fn clients_that_come_and_leave_at_once_leave_nothing() {
    let mut bench = Bench::start(3);
    let mut machine = bench.machine().await;
    let open = || fs::read_dir("/proc/self/fd").unwrap().count();
    // Other tests of this process open descriptors too.
    let before = open();
    for number in 0..1000_u32 {
        let mut client = bench.client(Some(Framing::Le16)).await;
        if number % 2 == 0 {
            client.send(&[frame(HOST, mac(1), number, 60)]);
            drop(client);
            machine.receive(1);
        } else {
            drop(client);
        }
        match bench.event().await {
            FabricEvent::ClientEnded { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    assert!(open() < before + 500, "{} descriptors, {before} before", open());
    let report = bench.fabric.report().await.unwrap();
    assert_eq!(report.ports.len(), 1);
    assert!((0..3).map(|_| bench.places.take()).all(|place| place.is_some()));
}

#[tokio::test]
async fn a_clients_place_is_free_once_its_end_was_read() {
    let mut bench = Bench::start(1);
    drop(bench.client(Some(Framing::Le16)).await);
    let event = bench.event().await;
    assert!(bench.places.take().is_none());
    drop(event);
    assert!(bench.places.take().is_some());
}

#[tokio::test]
async fn a_detached_client_is_closed_without_an_event() {
    let mut bench = Bench::start(1);
    let mut client = bench.client(Some(Framing::Le16)).await;
    bench.fabric.detach(client.id).await;
    assert_eq!(client.stream.read(&mut [0]).unwrap(), 0);
    assert!(bench.events.try_recv().is_err());
    assert!(bench.places.take().is_some());
}

#[tokio::test]
async fn what_cannot_be_polled_ends_with_an_error() {
    let mut bench = Bench::start(1);
    let file = tempfile::tempfile().unwrap();
    let place = bench.places.take().unwrap();
    bench.fabric.attach_stream(ClientId::next(), place, file.into(), None).await;
    assert!(matches!(bench.event().await, FabricEvent::ClientEnded { end: ClientEnd::Io(_), .. }));
}

#[tokio::test]
async fn a_stopped_fabric_closes_its_clients_and_its_events() {
    let Bench { fabric, mut events, places } = Bench::start(1);
    let (near, mut far) = UnixStream::pair().unwrap();
    fabric.attach_stream(ClientId::next(), places.take().unwrap(), near.into(), None).await;
    fabric.stop();
    assert_eq!(far.read(&mut [0]).unwrap(), 0);
    assert!(events.recv().await.is_none());
}
