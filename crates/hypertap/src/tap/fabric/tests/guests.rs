//! Guests behind datagram sockets.

use std::os::unix::net::UnixDatagram;

use super::*;

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
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { guest } if guest == id));
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
    assert!(matches!(bench.event().await, FabricEvent::GuestWent { guest } if guest == gone));
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
