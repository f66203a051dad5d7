//! What a server is not started with: the exit code, the sentence, and that nothing was made.

use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use hypertap_tests::machine::{ip, scratch};
use hypertap_tests::tap::tap;
use hypertap_tests::{Dump, in_namespaces};

/// It must end at once with this code and one sentence that has these words.
#[track_caller]
fn assert_refused(options: &[&str], code: i32, words: &[&str]) {
    let before = Dump::now();
    let (got, log) = tap(options).run_to_end();
    assert_eq!(got, Some(code), "{options:?}: {log}");
    assert_eq!(log.lines().count(), 1, "{options:?}: one sentence is wanted: {log}");
    assert!(log.starts_with("hypertap: ") && log.len() < 320, "{options:?}: {log}");
    for word in words {
        assert!(log.contains(word), "{options:?}: {word:?} is not in {log}");
    }
    before.assert_same();
}

#[test]
fn every_wrong_option_is_named_in_one_sentence() {
    in_namespaces(|| {
        let path = scratch("tap").display().to_string();
        let listen = format!("--listen={path}");
        let with = |option: &'static str| vec![listen.clone(), option.to_owned()];
        for option in [
            "--mtu=67",
            "--mtu=65522",
            "--mtu=x",
            "--mac-address=91:90:90:90:90:90",
            "--mac-address=ff:ff:ff:ff:ff:ff",
            "--mac-address=00:00:00:00:00:00",
            "--mac-address=90:90:90:90:90",
            "--ip-address=300.0.0.1",
            "--ip-address=172.30.0.1/33",
            "--ip-address=172.30.0.0/24",
            "--ip-address=172.30.0.255",
            "--ip-address=127.0.0.1",
            "--ip-address=224.0.0.1",
            "--ip-address=240.0.0.1",
            "--ip6-address=::ffff:1.2.3.4",
            "--ip6-address=::1",
            "--ip6-address=fd00::1/129",
            "--ip6-address=172.30.0.1",
            "--metric=-1",
            "--metric=x",
            "--name=sixteen-letters!",
            "--name=all",
            "--network-device-number=x",
            "--network-device-number=65536",
            "--framing=ppp",
            "--socket-mode=0888",
            "--socket-mode=01000",
            "--socket-owner=no-such-user",
            "--socket-group=no-such-group",
            "--user=no-such-user",
            "--user=root",
            "--max-clients=0",
            "--max-clients=x",
            "--fd=2",
            "--fd=x",
            "--pap=x",
            "--guest-address=172.30.0.2",
            "--no-such-option",
            "--io-device-number",
        ] {
            let words = with(option);
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let name = option.split('=').next().expect("a name");
            assert_refused(&words, 2, &[name]);
            assert!(!scratch("tap").exists(), "{option}");
        }
    });
}

#[test]
fn every_wrong_place_is_named_in_one_sentence() {
    in_namespaces(|| {
        let long = format!("/run/{}", "x".repeat(110));
        for place in [
            "",
            "tmp/tap",
            "./tap",
            "0",
            "65536",
            "-1",
            "localhost",
            "no.such.name.invalid:5600",
            "127.0.0.1",
            "127.0.0.1:0",
            "::1",
            "5600,framing=datagram",
            "/run/tap,framing=ppp",
            &long,
        ] {
            assert_refused(&[&format!("--listen={place}")], 2, &["--listen"]);
        }
        assert_refused(&["--listen=/run/no/such/tap"], 2, &["/run/no/such/tap", "--listen"]);
    });
}

#[test]
fn options_that_contradict_each_other_are_both_named() {
    in_namespaces(|| {
        for (words, named) in [
            (&["--name=x", "--network-device-number=1"][..], &["--name", "--network-device-number"][..]),
            (&["--use-framed-protocol", "--framing=qemu"], &["--use-framed-protocol", "--framing"]),
            (&["--modem", "--no-host"], &["--modem", "--no-host"]),
            (&["--modem", "--max-clients=2"], &["--max-clients", "modem"]),
            (&["--modem", "--ip-address=10.0.0.1/31"], &["--ip-address", "/30"]),
            (&["--modem", "--guest-address=172.30.0.1"], &["--guest-address"]),
            (&["--modem", "--guest-address=172.31.0.2"], &["--guest-address"]),
            (&["--modem", "--guest-address=172.30.0.255"], &["--guest-address"]),
            (&["--modem", "--dns=0.0.0.0"], &["--dns"]),
            (&["--modem", "--dns=224.0.0.1"], &["--dns"]),
            (&["--modem", "--dns=1.1.1.1", "--dns=2.2.2.2", "--dns=3.3.3.3"], &["--dns"]),
            (&["--modem", "--pap=guest:/no/such/file"], &["--pap", "/no/such/file"]),
            (&["--mtu=1279", "--ip6-address=fd00::1"], &["--mtu", "--ip6-address"]),
            (&["--mtu=576", "--enable-router-advertisements"], &["--mtu", "--enable-router-advertisements"]),
        ] {
            let words = [&["--listen=/run/test/tap"], words].concat();
            assert_refused(&words, 2, named);
        }
        assert_refused(&["--listen=/run/test/tap", "--listen=/run/test/tap"], 2, &["--listen", "twice"]);
        assert_refused(&["--keep"], 2, &["--listen"]);
    });
}

#[test]
fn what_others_have_is_left_to_them() {
    in_namespaces(|| {
        let path = scratch("tap");
        let listen = format!("--listen={}", path.display());
        fs::write(&path, "somebody's").expect("ours");
        assert_refused(&[&listen], 4, &["is no socket", "--listen"]);
        assert_eq!(fs::read(&path).expect("it is there"), b"somebody's");
        fs::remove_file(&path).expect("ours");

        let live = UnixListener::bind(&path).expect("ours");
        assert_refused(&[&listen], 4, &["in use", "--listen"]);
        assert_refused(&[&listen, "--framing=datagram"], 4, &["in use", "--listen"]);
        assert!(path.exists());
        drop(live);

        let port = TcpListener::bind("127.0.0.1:5600").expect("free");
        assert_refused(&["--listen=5600"], 4, &["127.0.0.1:5600", "--listen"]);
        drop(port);
        assert_refused(&["--listen=192.0.2.1:5600"], 4, &["192.0.2.1:5600", "no address"]);

        // Before any client has come.
        ip("link add tap7 type veth peer name far7");
        for name in ["--name=tap7", "--network-device-number=7"] {
            assert_refused(&["--listen=/run/test/free", name], 5, &["tap7", "--name"]);
        }
        assert!(!scratch("free").exists());
    });
}

#[test]
fn more_clients_than_there_may_be_are_no_start() {
    in_namespaces(|| {
        assert_refused(&["--fd=3", "--fd=3"], 2, &["--fd"]);
    });
}
