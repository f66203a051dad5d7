//! The data planes over a Unix socket: seqpacket and stream.

use hypertap_tests::inside::{assert_received, receiver, to_us};
use hypertap_tests::machine::ping;
use hypertap_tests::packet::ping_reply;
use hypertap_tests::peer::STRANGER;
use hypertap_tests::program::{SeqPacketProgram, StreamProgram, framed};
use hypertap_tests::{
    Client, Daemon, Dump, Peer, Program, Responder, Setup, eventually, in_namespaces, json,
};

/// Starts with a data plane; the path that the reply gives.
fn connected(client: &mut Client, plane: &str) -> String {
    let reply = client.start_with(json!({"dataPlane": plane, "myIPv6Address": "fd00::5"}));
    client.plain(&json!({"cmd": "addIncludedRoutes", "routes": ["10.9.0.0/16", "fd77::/16"]}));
    reply["dataPath"].as_str().unwrap_or_else(|| panic!("no dataPath: {reply}")).to_owned()
}

#[test]
fn seqpacket_carries_pings_of_both_versions() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let path = connected(&mut client, "unix");
        let responder = Responder::start(SeqPacketProgram::connect(&path), ping_reply);
        assert!(ping("10.9.0.1", &["-s1472", "-Mdo"]) && ping("fd77::1", &[]));
        assert!(responder.answered() >= 2);
    });
}

#[test]
fn stream_carries_pings_of_both_versions() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let path = connected(&mut client, "stream");
        let responder = Responder::start(StreamProgram::connect(&path), ping_reply);
        assert!(ping("10.9.0.1", &["-s1472", "-Mdo"]) && ping("fd77::1", &[]));
        assert!(responder.answered() >= 2);
    });
}

#[test]
fn a_stream_may_be_cut_anywhere_and_glued() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let program = StreamProgram::connect(&connected(&mut client, "stream"));
        let socket = receiver();
        for byte in framed(&to_us(b"one byte at a time")) {
            program.write(&[byte]);
        }
        assert_received(&socket, b"one byte at a time");
        let many: Vec<Vec<u8>> = (0..100u8).map(|n| framed(&to_us(&[n; 50]))).collect();
        program.write(&many.concat());
        for number in 0..100u8 {
            assert_received(&socket, &[number; 50]);
        }
        for cut in many.concat().chunks(77) {
            program.write(cut);
        }
        for number in 0..100u8 {
            assert_received(&socket, &[number; 50]);
        }
        assert_eq!(client.stats()["fromProgram"]["dropped"], json!({}));
    });
}

#[test]
fn junk_on_seqpacket_and_stream_is_counted_and_ends_nothing() {
    in_namespaces(|| {
        for plane in ["unix", "stream"] {
            let daemon = Setup::new().args(&["--on-disconnect=exit"]).start();
            let mut client = daemon.client();
            let path = connected(&mut client, plane);
            let program: Box<dyn Program> = match plane {
                "unix" => Box::new(SeqPacketProgram::connect(&path)),
                _ => Box::new(StreamProgram::connect(&path)),
            };
            let socket = receiver();
            let mut bad_sum = to_us(b"x");
            bad_sum[10] ^= 0xff;
            for (cause, junk) in [
                ("badVersion", vec![0; 50]),
                ("truncatedHeader", vec![0x45; 10]),
                ("lengthMismatch", [to_us(b"x"), vec![0]].concat()),
                ("badHeaderChecksum", bad_sum),
                ("exceedsMtu", to_us(&[0; 1473])),
            ] {
                program.send(&junk);
                program.send(&to_us(b"good"));
                assert_received(&socket, b"good");
                eventually(cause, || client.dropped("fromProgram", cause) == 1);
            }
            client.expect_no_event();
            assert_eq!(client.status(), "connected");
        }
    });
}

#[test]
fn an_empty_frame_in_a_stream_is_a_counted_drop() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let program = StreamProgram::connect(&connected(&mut client, "stream"));
        let socket = receiver();
        program.write(&[0, 0]);
        program.send(&to_us(b"good"));
        assert_received(&socket, b"good");
        eventually("the drop is counted", || client.dropped("fromProgram", "empty") == 1);
    });
}

#[test]
fn a_frame_that_is_longer_than_any_packet_is_a_counted_drop() {
    in_namespaces(|| {
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let program = StreamProgram::connect(&connected(&mut client, "stream"));
        let socket = receiver();
        program.send(&vec![0x45; 65508]);
        program.send(&vec![0x45; 65535]);
        program.send(&to_us(b"good"));
        assert_received(&socket, b"good");
        eventually("the drops are counted", || client.dropped("fromProgram", "tooLong") == 2);
    });
}

#[test]
fn the_end_of_the_program_on_seqpacket_or_stream_stops_the_tunnel() {
    in_namespaces(|| {
        for plane in ["unix", "stream"] {
            let before = Dump::now();
            let daemon = Setup::new().args(&["--on-disconnect=exit"]).start();
            let mut client = daemon.client();
            for _ in 0..2 {
                let path = connected(&mut client, plane);
                let socket = receiver();
                let program: Box<dyn Program> = match plane {
                    "unix" => Box::new(SeqPacketProgram::connect(&path)),
                    _ => Box::new(StreamProgram::connect(&path)),
                };
                program.send(&to_us(b"here"));
                assert_received(&socket, b"here");
                drop((program, socket));
                client.expect_stopped("connectionFailed");
                assert_eq!(client.status(), "disconnected");
                before.assert_same();
            }
            client.expect_no_event();
        }
    });
}

#[test]
fn without_a_program_yet_seqpacket_and_stream_drop_and_stay() {
    in_namespaces(|| {
        for plane in ["unix", "stream"] {
            let daemon = Setup::new().args(&["--on-disconnect=exit"]).start();
            let mut client = daemon.client();
            let path = connected(&mut client, plane);
            assert!(!ping("10.9.0.1", &["-W0.2"]));
            eventually("the drop is counted", || client.dropped("toProgram", "noReceiver") >= 1);
            let _responder: Responder = match plane {
                "unix" => Responder::start(SeqPacketProgram::connect(&path), ping_reply),
                _ => Responder::start(StreamProgram::connect(&path), ping_reply),
            };
            assert!(ping("10.9.0.1", &[]), "{plane}");
        }
    });
}

#[test]
fn a_stranger_may_not_connect_to_a_data_socket() {
    in_namespaces(|| {
        hypertap_tests::namespaces::needs_root();
        let daemon = Daemon::start();
        let mut client = daemon.client();
        let path = connected(&mut client, "stream");
        let lines = Peer::run_by(STRANGER, &["unix-count", &path]).finish();
        assert!(lines == ["0 bytes"] || lines.iter().all(|line| line.starts_with("error")), "{lines:?}");
        let _responder = Responder::start(StreamProgram::connect(&path), ping_reply);
        assert!(ping("10.9.0.1", &[]), "the place is still free");
        client.expect_no_event();
    });
}
