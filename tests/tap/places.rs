//! Places: for how many there is one, and whose it is next.

use hypertap_tests::frame::frame;
use hypertap_tests::machine::scratch;
use hypertap_tests::open_files::allow_more_files;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, OTHER_GUEST, Wire, start};
use hypertap_tests::{Daemon, eventually, in_namespaces};

const EVERYBODY: [u8; 6] = [0xff; 6];
/// A type for local experiments.
const EXPERIMENT: u16 = 0x88b5;

/// A server of so many clients and guests, which are its only ports.
fn server(places: usize) -> Daemon {
    start(&[
        format!("--listen={},framing=le16", scratch("tap").display()),
        format!("--listen={},framing=datagram", scratch("guests").display()),
        format!("--max-clients={places}"),
        "--keep".to_owned(),
        "--no-host".to_owned(),
    ])
}

fn client() -> FrameClient {
    FrameClient::unix(scratch("tap"), Wire::Le16)
}

/// A guest that is there.
fn guest(server: &Daemon, name: &str) -> FrameClient {
    let came = || server.log().matches("a guest came").count();
    let before = came();
    let guest = FrameClient::guest(scratch(name), scratch("guests"));
    guest.send(&frame(EVERYBODY, GUEST.0, EXPERIMENT, name.as_bytes()));
    eventually("it is let in", || came() > before);
    guest
}

#[test]
fn a_guest_that_lives_keeps_its_place_when_no_descriptor_is_left_to_look_for_it() {
    in_namespaces(|| {
        let server = server(2);
        let (one, two) = (guest(&server, "one"), guest(&server, "two"));
        // For the newcomer, and none to look with.
        allow_more_files(server.pid(), Some(1));
        client().expect_closed();
        allow_more_files(server.pid(), None);
        one.send(&frame(OTHER_GUEST.0, GUEST.0, EXPERIMENT, b"are you there"));
        two.expect_frame("for it", |frame| frame.ends_with(b"are you there"));
        assert!(!server.log().contains("a guest went"), "{}", server.log());
    });
}

#[test]
fn nobody_is_turned_away_for_a_dead_guest() {
    in_namespaces(|| {
        let server = server(1);
        let guest = guest(&server, "one");
        client().expect_closed();
        drop(guest);
        // It was just looked for, and will not be at once.
        let first = client();
        let second = client();
        server.log_with("a client came");
        second.expect_closed();
        drop(first);
        let third = client();
        eventually("the third is served", || server.log().matches("a client came").count() == 2);
        drop(third);
    });
}
