//! Several clients on one server: a LAN.

use std::thread;
use std::time::{Duration, Instant};

use hypertap_tests::frame::{Mac, destination, frame, is_pong, ping};
use hypertap_tests::in_namespaces;
use hypertap_tests::machine::scratch;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, OTHER_GUEST, Wire, start};

fn station(number: u8) -> (Mac, std::net::Ipv4Addr) {
    ([2, 0, 0, 0, 1, number], [172, 30, 0, 100 + number].into())
}

#[test]
fn clients_see_each_other_and_the_host_and_nobody_sees_what_is_for_another() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        let _server = start(&[&listen, "--framing=le16", "--max-clients=3"]);
        let client = || FrameClient::unix(&path, Wire::Le16);
        let (one, two, third) = (client(), client(), client());
        third.ping(station(3), HOST);
        one.ping(GUEST, HOST);
        let answering = two.answering(OTHER_GUEST);
        one.ping(GUEST, OTHER_GUEST.1);
        for number in 100..200 {
            one.send(&ping(GUEST, OTHER_GUEST, number, b"between us"));
            one.expect_frame("a pong", |frame| is_pong(frame, number));
        }
        // All that came to the third was for everybody or for itself.
        third.send(&ping(station(3), (third.resolve(station(3), HOST), HOST), 9, b""));
        third.expect_frame("its own pong", |frame| {
            let to = destination(frame);
            assert!(to[0] & 1 == 1 || to == station(3).0, "it is shown a frame for {to:02x?}");
            is_pong(frame, 9)
        });
        drop(answering);
    });
}

#[test]
fn one_of_ten_that_does_not_read_holds_up_nobody() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        let server = start(&[&listen, "--framing=le16", "--max-clients=10", "--keep"]);
        let stuck = FrameClient::unix(&path, Wire::Le16);
        stuck.ping(station(0), HOST);
        let others: Vec<FrameClient> = (1..10).map(|_| FrameClient::unix(&path, Wire::Le16)).collect();
        for (at, other) in others.iter().enumerate() {
            other.ping(station(u8::try_from(at + 1).expect("ten")), HOST);
        }
        // More than any buffer holds, to the one that does not read, and to everybody.
        let begin = Instant::now();
        let flood = frame(station(0).0, station(1).0, 0x88b5, &[0x77; 1400]);
        for _ in 0..20_000 {
            others[0].send(&flood);
        }
        let pinging: Vec<_> = others
            .into_iter()
            .enumerate()
            .map(|(at, other)| {
                thread::spawn(move || {
                    let us = station(u8::try_from(at + 1).expect("ten"));
                    let mac = other.resolve(us, HOST);
                    for number in 0..50 {
                        other.send(&ping(us, (mac, HOST), number, &[0x33; 1000]));
                        other.expect_frame("a pong", |frame| is_pong(frame, number));
                    }
                })
            })
            .collect();
        for one in pinging {
            one.join().expect("it was answered");
        }
        assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
        // What it missed is counted as its own.
        server.signal(nix::sys::signal::Signal::SIGUSR1);
        hypertap_tests::eventually("it reports", || server.log().contains("report ports="));
        server.log_with("slow");
        // And it goes on when it reads again, once it has read what was kept for it.
        while stuck.receive(Duration::from_millis(200)).is_some() {}
        stuck.ping(station(0), HOST);
    });
}
