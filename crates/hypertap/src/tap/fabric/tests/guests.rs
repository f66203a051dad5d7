//! Guests behind datagram sockets.

use std::net::Shutdown;
use std::os::unix::net::UnixDatagram;
use std::time::Instant;

use super::*;
use crate::tap::fabric::door::REFUSED;

/// A socket that guests send to, and where it is.
struct Street {
    folder: tempfile::TempDir,
}

impl Street {
    async fn new(bench: &Bench) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("ours")).unwrap();
        bench.fabric.attach_guests(ListenId(3), socket.into()).await.unwrap();
        Self { folder }
    }

    fn guest(&self, name: &str) -> UnixDatagram {
        let guest = UnixDatagram::bind(self.folder.path().join(name)).unwrap();
        guest.set_read_timeout(Some(PATIENCE)).unwrap();
        guest
    }

    fn send(&self, guest: &UnixDatagram, frame: &[u8]) {
        guest.send_to(frame, self.folder.path().join("ours")).unwrap();
    }
}

fn receive(guest: &UnixDatagram) -> Vec<u8> {
    let mut frame = vec![0; 2000];
    let len = guest.recv(&mut frame).unwrap();
    frame.truncate(len);
    frame
}

impl Bench {
    async fn came(&mut self) -> (ClientId, String) {
        match self.event().await {
            FabricEvent::GuestCame { listen: ListenId(3), guest, name } => (guest, name),
            event => panic!("{event:?}"),
        }
    }
}

#[tokio::test]
async fn guests_and_the_host_and_stream_clients_are_one_lan() {
    let mut bench = Bench::start(3);
    let mut machine = bench.machine().await;
    let mut client = bench.client(Some(Framing::Le16)).await;
    let street = Street::new(&bench).await;
    let (one, other) = (street.guest("one"), street.guest("other"));
    street.send(&one, &frame([0xff; 6], mac(1), 1, 60));
    assert!(bench.came().await.1.ends_with("/one"));
    assert_eq!(number(&machine.receive(1)[0]), 1);
    assert_eq!(number(&client.receive_le16()), 1);
    street.send(&other, &frame(mac(1), mac(2), 2, 1514));
    assert!(bench.came().await.1.ends_with("/other"));
    assert_eq!(receive(&one), frame(mac(1), mac(2), 2, 1514));
    machine.send(&(0..5).map(|at| frame(mac(2), HOST, at, 60)).collect::<Vec<_>>());
    client.send(&(5..9).map(|at| frame(mac(2), mac(3), at, 60)).collect::<Vec<_>>());
    let mut numbers: Vec<_> = (0..9).map(|_| number(&receive(&other))).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..9).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_greeting_makes_a_guest_and_is_no_frame() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    guest.connect(street.folder.path().join("ours")).unwrap();
    guest.send(b"VFKT").unwrap();
    guest.send(b"").unwrap();
    let (id, _) = bench.came().await;
    machine.send(&[frame([0xff; 6], HOST, 1, 60)]);
    assert_eq!(number(&receive(&guest)), 1);
    guest.send(&frame(HOST, mac(1), 2, 60)).unwrap();
    assert_eq!(number(&machine.receive(1)[0]), 2);
    let report = bench.report_of(Origin::Client(id)).await;
    assert!(report.frames_in == 1 && report.dropped.is_empty(), "{report:?}");
}

/// More than a guest's buffers hold.
const MANY: u32 = 6000;

fn many(to: [u8; 6]) -> Vec<Vec<u8>> {
    (0..MANY).map(|number| frame(to, HOST, number, 1000)).collect()
}

fn has_met_all(port: &PortReport) -> bool {
    port.frames_out + port.dropped.values().sum::<u64>() == u64::from(MANY)
}

#[tokio::test]
async fn a_guest_that_does_not_read_holds_up_no_other_and_gets_the_oldest() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let (slow, quick) = (street.guest("slow"), street.guest("quick"));
    street.send(&slow, &frame(HOST, mac(1), 0, 60));
    let id = bench.came().await.0;
    street.send(&quick, &frame(HOST, mac(2), 0, 60));
    bench.came().await;
    machine.receive(2);
    machine.send(&many(mac(1)));
    bench.until(Origin::Client(id), has_met_all).await;
    machine.send(&[frame(mac(2), HOST, 7, 60)]);
    assert_eq!(number(&receive(&quick)), 7);

    let report = bench.report_of(Origin::Client(id)).await;
    assert!(report.dropped[&DropReason::Slow] > 0 && report.queued > 0, "{report:?}");
    for at in 0..u32::try_from(report.frames_out).unwrap() {
        assert_eq!(number(&receive(&slow)), at);
    }
}

#[tokio::test]
async fn a_connected_guest_that_does_not_read_holds_up_no_other_that_is_connected() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let (stuck, quick) = (street.guest("stuck"), street.guest("quick"));
    let mut ids = Vec::new();
    for (guest, at) in [(&stuck, 1), (&quick, 2)] {
        guest.connect(street.folder.path().join("ours")).unwrap();
        guest.send(&frame(HOST, mac(at), 0, 60)).unwrap();
        ids.push(bench.came().await.0);
    }
    machine.receive(2);
    machine.send(&many(mac(1)));
    bench.until(Origin::Client(ids[0]), has_met_all).await;
    let report = bench.report_of(Origin::Client(ids[0])).await;
    assert!(report.queued == 0 && report.dropped[&DropReason::Slow] > 0, "{report:?}");
    for at in 0..200 {
        machine.send(&[frame(mac(2), HOST, at, 1000)]);
        assert_eq!(number(&receive(&quick)), at);
        quick.send(&frame(HOST, mac(2), at, 60)).unwrap();
        machine.receive(1);
    }

    stuck.set_nonblocking(true).unwrap();
    while stuck.recv(&mut [0; 2000]).is_ok() {}
    stuck.set_nonblocking(false).unwrap();
    stuck.send(&frame(HOST, mac(1), 8, 60)).unwrap();
    machine.receive(1);
    machine.send(&[frame(mac(1), HOST, 9, 60)]);
    assert_eq!(number(&receive(&stuck)), 9);
}

#[tokio::test]
async fn a_guest_that_is_gone_frees_its_place_when_it_is_sent_to() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    street.send(&guest, &frame(HOST, mac(1), 0, 60));
    let (id, _) = bench.came().await;
    machine.receive(1);
    assert!(bench.places.take().is_none());
    drop(guest);
    machine.send(&[frame(mac(1), HOST, 1, 60)]);
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { guest, .. } if guest == id));
    assert!(bench.places.take().is_some());
}

#[tokio::test]
async fn a_new_guest_has_the_place_of_a_dead_one() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let first = street.guest("first");
    street.send(&first, &frame(HOST, mac(1), 1, 60));
    let (gone, _) = bench.came().await;
    drop(first);
    let second = street.guest("second");
    street.send(&second, &frame(HOST, mac(2), 2, 60));
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { guest, .. } if guest == gone));
    bench.came().await;
    assert_eq!(machine.receive(2).len(), 2);

    let third = street.guest("third");
    street.send(&third, &frame(HOST, mac(3), 3, 60));
    street.send(&second, &frame(HOST, mac(2), 4, 60));
    assert_eq!(number(&machine.receive(1)[0]), 4, "a guest that lives keeps its place");
    assert_eq!(bench.fabric.report().await.unwrap().strangers, 1);
}

#[tokio::test]
async fn a_guest_that_comes_again_at_its_path_is_answered_there() {
    let bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let mut sent = 0;
    for life in 1..4 {
        let guest = street.guest("guest");
        guest.set_nonblocking(true).unwrap();
        // It may have to say something once more, when nobody knew yet that the one before is gone.
        let is_answered = async {
            for _ in 0..2 {
                sent += 1;
                street.send(&guest, &frame(HOST, mac(1), life, 60));
                machine.receive(1);
                machine.send(&[frame(mac(1), HOST, life, 60)]);
                bench.until(Origin::Host, |host| host.frames_in == sent).await;
                if guest.recv(&mut [0; 2000]).is_ok() {
                    return true;
                }
            }
            false
        };
        assert!(is_answered.await, "in its life {life}");
        std::fs::remove_file(street.folder.path().join("guest")).unwrap();
    }
    assert!(bench.places.take().is_none());
}

#[tokio::test]
async fn a_guest_that_comes_again_gets_what_is_sent_before_it_says_anything() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let first = street.guest("guest");
    street.send(&first, &frame(HOST, mac(1), 1, 60));
    let (id, _) = bench.came().await;
    machine.receive(1);
    drop(first);
    std::fs::remove_file(street.folder.path().join("guest")).unwrap();
    let second = street.guest("guest");
    for at in 2..5 {
        machine.send(&[frame(mac(1), HOST, at, 60)]);
        assert_eq!(number(&receive(&second)), at);
    }
    assert!(bench.report_of(Origin::Client(id)).await.dropped.is_empty());
    assert!(bench.events.try_recv().is_err(), "nobody came or went");
}

#[tokio::test]
async fn who_cannot_be_answered_is_no_guest() {
    let bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let nameless = UnixDatagram::unbound().unwrap();
    for _ in 0..3 {
        street.send(&nameless, &frame(HOST, mac(1), 1, 60));
    }
    let guest = street.guest("guest");
    street.send(&guest, &vec![0; 5000]);
    street.send(&guest, &frame(HOST, mac(2), 2, 60));
    assert_eq!(number(&machine.receive(1)[0]), 2);
    let report = bench.fabric.report().await.unwrap();
    assert_eq!((report.strangers, report.cut, report.ports.len()), (3, 1, 2));
}

#[tokio::test]
async fn a_detached_guest_comes_again_with_its_next_frame() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    street.send(&guest, &frame(HOST, mac(1), 1, 60));
    let (first, _) = bench.came().await;
    bench.fabric.detach(first).await;
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { .. }));
    street.send(&guest, &frame(HOST, mac(1), 2, 60));
    assert_ne!(bench.came().await.0, first);
    assert_eq!(machine.receive(2).len(), 2);
}

#[tokio::test]
async fn a_guest_that_connects_its_socket_later_is_the_same_guest() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    street.send(&guest, &frame(HOST, mac(1), 1, 60));
    let (id, _) = bench.came().await;
    machine.receive(1);
    guest.connect(street.folder.path().join("ours")).unwrap();
    for at in 2..40 {
        machine.send(&[frame(mac(1), HOST, at, 60)]);
        assert_eq!(number(&receive(&guest)), at);
    }
    // Its full queue is waited for as that of any other that is connected.
    machine.send(&many(mac(1)));
    bench
        .until(Origin::Client(id), |port| {
            port.frames_out + port.dropped.values().sum::<u64>() == u64::from(MANY) + 38
        })
        .await;
    guest.set_nonblocking(true).unwrap();
    while guest.recv(&mut [0; 2000]).is_ok() {}
    guest.set_nonblocking(false).unwrap();
    guest.send(&frame(HOST, mac(1), 8, 60)).unwrap();
    machine.receive(1);
    machine.send(&[frame(mac(1), HOST, 9, 60)]);
    assert_eq!(number(&receive(&guest)), 9);
    assert!(bench.events.try_recv().is_err(), "nobody came or went");
}

/// A guest that sends and takes nothing goes when it is sent to, and is no guest for a while.
async fn assert_takes_nothing(bench: &mut Bench, street: &Street, guest: &UnixDatagram) {
    let mut machine = bench.machine().await;
    street.send(guest, &frame(HOST, mac(1), 1, 60));
    bench.came().await;
    machine.receive(1);
    let before = Instant::now();
    machine.send(&[frame(mac(1), HOST, 2, 60)]);
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { .. }));
    // Only who is no guest is counted. After a while it may come again, so it says more than one thing.
    let strangers = async {
        while bench.fabric.report().await.unwrap().strangers == 0 {
            street.send(guest, &frame(HOST, mac(1), 3, 60));
        }
    };
    timeout(PATIENCE, strangers).await.unwrap();
    assert!(bench.events.try_recv().is_err() || before.elapsed() > REFUSED, "it came again at once");
}

#[tokio::test]
async fn a_guest_that_is_connected_elsewhere_goes_and_is_not_looked_at_again_at_once() {
    let mut bench = Bench::start(1);
    let street = Street::new(&bench).await;
    let (guest, _other) = (street.guest("guest"), street.guest("other"));
    guest.connect(street.folder.path().join("other")).unwrap();
    assert_takes_nothing(&mut bench, &street, &guest).await;
}

#[tokio::test]
async fn a_guest_that_reads_no_more_goes_and_is_not_looked_at_again_at_once() {
    let mut bench = Bench::start(1);
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    guest.shutdown(Shutdown::Read).unwrap();
    assert_takes_nothing(&mut bench, &street, &guest).await;
}

#[tokio::test]
async fn dead_guests_are_looked_for_once_a_second_and_whoever_asks_sooner_is_told_when() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    assert_eq!(bench.fabric.free_dead_guests().await, None, "there is none");
    let street = Street::new(&bench).await;
    let guest = street.guest("guest");
    street.send(&guest, &frame(HOST, mac(1), 1, 60));
    bench.came().await;
    machine.receive(1);
    assert_eq!(bench.fabric.free_dead_guests().await, None, "it is looked for now");
    drop(guest);
    while let Some(time) = bench.fabric.free_dead_guests().await {
        assert!(time <= Duration::from_secs(1));
        tokio::time::sleep(time).await;
    }
    assert!(bench.places.are_all_free());
}

#[tokio::test]
async fn a_dead_guests_place_is_freed_for_whoever_asks() {
    let mut bench = Bench::start(2);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let (dead, alive) = (street.guest("dead"), street.guest("alive"));
    street.send(&dead, &frame(HOST, mac(1), 1, 60));
    let (gone, _) = bench.came().await;
    street.send(&alive, &frame(HOST, mac(2), 2, 60));
    bench.came().await;
    machine.receive(2);
    drop(dead);
    bench.fabric.free_dead_guests().await;
    assert!(bench.places.take().is_some() && !bench.places.are_all_free());
    match bench.event().await {
        FabricEvent::GuestWent { guest, counters } => {
            assert_eq!((guest, counters.frames_in), (gone, 1));
        }
        event => panic!("{event:?}"),
    }
    machine.send(&[frame(mac(2), HOST, 3, 60)]);
    assert_eq!(number(&receive(&alive)), 3);
}

#[tokio::test]
async fn a_guest_that_comes_again_is_told_before_the_one_that_it_was() {
    let mut bench = Bench::start(1);
    let mut machine = bench.machine().await;
    let street = Street::new(&bench).await;
    let first = street.guest("guest");
    street.send(&first, &frame(HOST, mac(1), 1, 60));
    let (gone, _) = bench.came().await;
    machine.receive(1);
    drop(first);
    std::fs::remove_file(street.folder.path().join("guest")).unwrap();
    let second = street.guest("guest");
    let mut at = 1;
    // How often its path is looked at has a bound.
    let event = loop {
        at += 1;
        street.send(&second, &frame(HOST, mac(1), at, 60));
        machine.receive(1);
        if let Ok(event) = bench.events.try_recv() {
            break event;
        }
    };
    assert!(matches!(event, FabricEvent::GuestCame { guest, .. } if guest != gone), "{event:?}");
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { guest, .. } if guest == gone));
    assert!(bench.places.take().is_none());
}
