//! Frames shown on standard output.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use hypertap_tests::frame::{frame, is_pong, ping};
use hypertap_tests::machine::scratch;
use hypertap_tests::program::Program;
use hypertap_tests::tap::{FrameClient, GUEST, HOST, Wire, tap};
use hypertap_tests::{Daemon, eventually, in_namespaces};
use nix::unistd::mkfifo;

/// A server whose standard output goes elsewhere.
fn printing_to(place: &str, options: &[&str]) -> Daemon {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec \"$@\" >{place}"), "sh"]);
    let listen = format!("--listen={}", scratch("tap").display());
    tap(&[&[listen.as_str(), "--framing=qemu"], options].concat()).through(shell).start()
}

#[test]
fn each_frame_is_shown_with_its_direction_time_and_bytes() {
    in_namespaces(|| {
        let out = scratch("out");
        let server = printing_to(&out.display().to_string(), &["--show-data"]);
        let client = FrameClient::unix(scratch("tap"), Wire::Qemu);
        let mac = client.resolve(GUEST, HOST);
        client.send(&ping(GUEST, (mac, HOST), 5, b"find me in here"));
        client.expect_frame("a pong", |frame| is_pong(frame, 5));
        let text = || fs::read_to_string(&out).expect("it is there");
        // The question, then the answer; in lines of sixteen, of which the first has six of the text.
        eventually("both are shown", || text().matches("find.").count() >= 2);
        let text = text();
        for word in ["I 20", "O 20", "Z client 1, 57 bytes", "Z host, 57 bytes", "000000 ", "\n000039\n"] {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
        drop(server);
    });
}

#[test]
fn without_the_option_nothing_is_shown() {
    in_namespaces(|| {
        let out = scratch("out");
        let mut server = printing_to(&out.display().to_string(), &[]);
        FrameClient::unix(scratch("tap"), Wire::Qemu).ping(GUEST, HOST);
        server.assert_ends_well();
        assert_eq!(fs::read_to_string(&out).expect("it is there"), "");
    });
}

#[test]
fn what_the_unframed_protocol_would_get_wrong_is_shown_and_nothing_else() {
    in_namespaces(|| {
        let out = scratch("out");
        let mut server = printing_to(&out.display().to_string(), &["--show-size-warnings"]);
        let client = FrameClient::unix(scratch("tap"), Wire::Qemu);
        client.ping(GUEST, HOST);
        let mut padded = hypertap_tests::frame::arp_request(GUEST, HOST);
        padded.resize(60, 0);
        client.send(&padded);
        client.send(&frame([0xff; 6], GUEST.0, 0xabcd, b"who knows"));
        client.ping(GUEST, HOST);
        let text = || fs::read_to_string(&out).expect("it is there");
        // The end waits for the writer for a moment only.
        eventually("both are shown", || text().matches(" bytes; unframed").count() == 2);
        drop(client);
        server.assert_ends_well();
        let text = text();
        assert_eq!(text.matches(" bytes; unframed").count(), 2, "{text}");
        for word in ["60 bytes; unframed it would be one of 42 bytes", "0xabcd"] {
            assert!(text.contains(word), "{word:?} is not in {text}");
        }
        assert_eq!(text.matches("\nI 20").count() + usize::from(text.starts_with("I 20")), 2, "{text}");
    });
}

#[test]
fn a_name_that_nobody_reads_holds_nothing_up() {
    in_namespaces(|| {
        let fifo = scratch("out.fifo");
        mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("ours");
        let mut full = fs::OpenOptions::new();
        let full = full.read(true).write(true).custom_flags(nix::libc::O_NONBLOCK).open(&fifo).expect("ours");
        while (&full).write(&[b'x'; 4096]).is_ok() {}
        while (&full).write(b"x").is_ok() {}
        let mut server = printing_to(&fifo.display().to_string(), &["--print-name"]);
        FrameClient::unix(scratch("tap"), Wire::Qemu).ping(GUEST, HOST);
        server.assert_ends_well();
        assert!(server.log().contains("nobody reads standard output"), "{}", server.log());
        drop(full);
    });
}

#[test]
fn a_reader_that_stalls_or_goes_holds_up_no_frame() {
    in_namespaces(|| {
        let fifo = scratch("out.fifo");
        mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("ours");
        let path = fifo.clone();
        // It opens the pipe, which lets the server start, and then does not read.
        let opening = std::thread::spawn(move || fs::File::open(path).expect("it is there"));
        let mut server = printing_to(&fifo.display().to_string(), &["--show-data"]);
        let reader = opening.join().expect("it opened");
        let client = FrameClient::unix(scratch("tap"), Wire::Qemu);
        let mac = client.resolve(GUEST, HOST);
        let begin = Instant::now();
        for number in 0..6000 {
            client.send(&ping(GUEST, (mac, HOST), number, &[0x61; 1000]));
            client.expect_frame("a pong", |frame| is_pong(frame, number));
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
        // Who reads at last is told what is missing.
        let mut lines = BufReader::new(&reader).lines().map(|line| line.expect("text"));
        assert!(lines.any(|line| line.starts_with("# ") && line.contains("missing")));
        drop(lines);
        drop(reader);
        client.ping(GUEST, HOST);
        drop(client);
        server.assert_ends_well();
    });
}
