//! Clients that do not read.

use super::*;

/// More than a client's buffers hold.
const MANY: u32 = 4000;

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_loses_the_newest() {
    let bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let mut slow = bench.client(Some(Framing::Le16)).await;
    let mut quick = bench.client(Some(Framing::Le16)).await;
    slow.send(&[frame(HOST, mac(1), 0, 60)]);
    quick.send(&[frame(HOST, mac(2), 0, 60)]);
    machine.receive(2);
    machine.send(&(0..MANY).map(|at| frame(mac(1), HOST, at, 1400)).collect::<Vec<_>>());
    bench
        .until(slow.origin(), |port| port.frames_out + port.dropped.values().sum::<u64>() == u64::from(MANY))
        .await;
    let report = bench.report_of(slow.origin()).await;
    assert!(report.dropped[&DropReason::Slow] > 1000 && report.queued <= 2 << 20, "{report:?}");
    assert!(report.queued_most >= report.queued && report.queued > 1900 << 10, "{report:?}");

    // The others, and its own other direction, go on.
    machine.send(&[frame(mac(2), HOST, 7, 60)]);
    assert_eq!(number(&quick.receive_le16()), 7);
    slow.send(&[frame(HOST, mac(1), 8, 60), frame(mac(2), mac(1), 9, 60)]);
    assert_eq!(number(&machine.receive(1)[0]), 8);
    assert_eq!(number(&quick.receive_le16()), 9);

    // What it has kept is whole, in order, and the oldest.
    let kept = u32::try_from(report.frames_out).unwrap();
    for at in 0..kept {
        assert_eq!(number(&slow.receive_le16()), at);
    }
    bench.until(slow.origin(), |port| port.queued == 0).await;
    machine.send(&[frame(mac(1), HOST, MANY, 60)]);
    assert_eq!(number(&slow.receive_le16()), MANY);
}

#[tokio::test]
async fn a_client_that_floods_starves_no_other() {
    let bench = Bench::start(2);
    let _machine = bench.machine().await;
    let mut flooding = bench.client(Some(Framing::Le16)).await;
    let mut quiet = bench.client(Some(Framing::Le16)).await;
    quiet.send(&[frame([0xff; 6], mac(2), 0, 60)]);
    assert_eq!(number(&flooding.receive_le16()), 0);
    // Frames to itself, which go nowhere.
    let frames = le16(&(0..500).map(|at| frame(mac(1), mac(1), at, 1400)).collect::<Vec<_>>());
    let mut sender = flooding.stream.try_clone().unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            sender.write_all(&frames).unwrap();
        }
    });
    for at in 1..200 {
        quiet.send(&[frame(mac(1), mac(2), at, 60)]);
        while number(&flooding.receive_le16()) != at {}
    }
    stop.store(true, Ordering::Relaxed);
    thread.join().unwrap();
}

#[tokio::test]
async fn a_client_with_small_buffers_gets_every_frame_whole() {
    let bench = Bench::start(2);
    let mut one = bench.client(Some(Framing::Be32)).await;
    let (near, stream) = UnixStream::pair().unwrap();
    nix::sys::socket::setsockopt(&near, nix::sys::socket::sockopt::SndBuf, &4096).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let id = ClientId::next();
    bench.fabric.attach_stream(id, bench.places.take().unwrap(), near.into(), Some(Framing::Le16)).await;
    let mut other = Client { id, stream };
    other.send(&[frame([0xff; 6], mac(2), 0, 60)]);
    let mut bytes = [0; 64];
    one.stream.read_exact(&mut bytes).unwrap();
    let sender = std::thread::spawn(move || {
        for at in 0..600 {
            let frame = frame(mac(2), mac(1), at, 60 + at as usize);
            one.stream.write_all(&u32::try_from(frame.len()).unwrap().to_be_bytes()).unwrap();
            one.stream.write_all(&frame).unwrap();
        }
        one
    });
    for at in 0..600 {
        assert_eq!(other.receive_le16(), frame(mac(2), mac(1), at, 60 + at as usize));
    }
    sender.join().unwrap();
}

#[tokio::test]
async fn the_only_client_loses_nothing_while_the_host_can_wait() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let mut slow = bench.client(Some(Framing::Le16)).await;
    slow.send(&[frame(HOST, mac(1), 0, 60)]);
    machine.receive(1);
    let sender = std::thread::spawn(move || {
        machine.send(&(0..MANY).map(|at| frame(mac(1), HOST, at, 1400)).collect::<Vec<_>>());
        machine
    });
    bench.until(slow.origin(), |port| port.queued >= 512 << 10).await;
    // The other direction goes on, and has nothing read that would be lost.
    for at in 0..40 {
        slow.send(&[frame(HOST, mac(1), at, 60)]);
        bench.until(Origin::Host, |host| host.frames_out == 2 + u64::from(at)).await;
    }
    for at in 0..MANY {
        assert_eq!(number(&slow.receive_le16()), at);
    }
    let mut machine = sender.join().unwrap();
    assert!(machine.receive(40).iter().map(|frame| number(frame)).eq(0..40));
    assert!(bench.report_of(slow.origin()).await.dropped.is_empty());
}

#[tokio::test]
async fn the_host_is_read_from_again_when_another_client_comes_and_its_loss_is_noticed_before() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let mut slow = bench.client(Some(Framing::Le16)).await;
    slow.send(&[frame(HOST, mac(1), 0, 60)]);
    machine.receive(1);
    let flood = |mut machine: Machine| {
        std::thread::spawn(move || {
            machine.send(&(0..MANY).map(|at| frame(mac(1), HOST, at, 1400)).collect::<Vec<_>>());
            machine
        })
    };
    let sender = flood(machine);
    bench.until(slow.origin(), |port| port.queued >= 512 << 10).await;
    let quick = bench.client(Some(Framing::Le16)).await;
    let mut machine = sender.join().unwrap();
    bench.until(slow.origin(), |port| port.dropped.contains_key(&DropReason::Slow)).await;
    bench.fabric.detach(quick.id).await;
    machine.send(&[frame(mac(1), HOST, 0, 60)]);
    drop(machine);
    assert!(matches!(bench.event().await, FabricEvent::HostGone(_)));
}
