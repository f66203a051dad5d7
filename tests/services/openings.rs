//! What a peer asks, when it is not what a node of ours would.

use std::io::ErrorKind;
use std::time::Instant;

use hypertap_tests::TIME;
use hypertap_tests::namespaces::in_namespaces;
use serde_json::json;

use crate::member::Member;
use crate::scene::{Scene, listen};

const OURS: &[&str] = &["/hypertap/service/1"];
const PLAIN: &[&str] = &["/hyprspace/service/0.0.1"];

/// An opening for `web` at port 80 without its length, whose last byte is the length of its name.
const WEB: [u8; 8] = [0x3b, 0x9b, 0x12, 0x34, 0, 80, 6, 0];

/// An opening with its length before it.
fn with_length(opening: &[u8]) -> Vec<u8> {
    let length = u16::try_from(opening.len()).expect("it is short");
    [&length.to_be_bytes(), opening].concat()
}

#[test]
fn an_opening_is_answered_or_reset_and_nothing_of_it_reaches_a_target() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let mut far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, &[]);
        let ask = |opening: &[u8]| {
            let mut stream = member.open(OURS);
            // What is wrong may be seen before its last byte.
            let _ = member.try_send(&mut stream, opening) && member.try_end(&mut stream);
            member.rest(&mut stream).unwrap_or_default()
        };
        let changed = |at: usize, byte: u8| {
            let mut opening = WEB;
            opening[at] = byte;
            opening
        };
        assert_eq!(ask(&with_length(&changed(6, 132))), [0, 1, 7], "the protocol is SCTP's");
        assert_eq!(ask(&with_length(&changed(1, 0))), [0, 1, 1], "there is no such service");
        let other = [&changed(7, 3)[..], b"ssh"].concat();
        let cut = [&changed(7, 9)[..], b"web"].concat();
        let bad_name = [&changed(7, 3)[..], b"w.b"].concat();
        let no_port = changed(5, 0);
        let too_long = [&WEB[..], &[0; 600]].concat();
        for opening in [&other[..], &cut, &bad_name, &no_port, &too_long, b"", &WEB[..7]] {
            assert_eq!(ask(&with_length(opening)), b"", "{opening:02x?}");
        }
        assert_eq!(ask(&with_length(&WEB)[..9]), b"", "it ends too early");
        listener.set_nonblocking(true).expect("it is open");
        assert_eq!(listener.accept().expect_err("nobody came").kind(), ErrorKind::WouldBlock);

        let named = [&changed(7, 3)[..], b"WEB and what a later version says"].concat();
        let mut stream = member.open(OURS);
        member.send(&mut stream, &with_length(&named));
        assert_eq!(member.read(&mut stream, 3), [0, 1, 0], "that is one");
        far.assert_runs();
    });
}

#[test]
fn a_stream_that_asks_for_nothing_is_ended_in_time() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, &[]);
        let mut streams = [OURS, PLAIN].map(|protocol| member.open(protocol));
        let begin = Instant::now();
        for stream in &mut streams {
            member.send(stream, &[0]);
        }
        for stream in &mut streams {
            assert_eq!(member.rest(stream).unwrap_or_default(), b"");
        }
        assert!(begin.elapsed() >= TIME / 2, "it has its time");
    });
}
