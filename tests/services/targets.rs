//! What stands behind a service.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv6Addr, Shutdown, TcpListener, TcpStream};
use std::os::unix::net::UnixListener;
use std::thread;

use hypertap_tests::machine::{ip, replace_file, run};
use hypertap_tests::namespaces::in_namespaces;
use hypertap_tests::open_files::allow_more_files;
use hypertap_tests::{TIME, eventually, eventually_within};
use hypertap_wire::label::Label;
use hypertap_wire::service_address::ServiceId;
use nix::errno::Errno;
use serde_json::{Value, json};

use crate::member::Member;
use crate::scene::{Scene, listen, over_tcp, reset};

const PLAIN: &[&str] = &["/hyprspace/service/0.0.1"];

/// Writes on one end, and reads that on the other.
#[track_caller]
fn assert_joined(from: &mut impl Write, to: &mut impl Read) {
    from.write_all(b"hello").expect("somebody reads");
    let mut bytes = [0; 5];
    to.read_exact(&mut bytes).expect("what was written");
    assert_eq!(&bytes, b"hello");
}

#[track_caller]
fn connect(address: Ipv6Addr, port: u16) -> TcpStream {
    let stream = TcpStream::connect((address, port)).expect("it is reachable");
    stream.set_read_timeout(Some(TIME)).expect("not zero");
    stream
}

#[test]
fn a_target_is_a_unix_socket_or_a_name_too() {
    in_namespaces(|| {
        replace_file("/etc/hosts", "127.0.0.1 localhost\n127.0.0.1 app.test\n");
        let scene = Scene::new(json!({"unix": "/unix/run/test/app.sock", "name": "/dns/app.test/tcp/8080"}));
        let unix = UnixListener::bind("/run/test/app.sock").expect("the folder is ours");
        let tcp = listen(8080);
        let _nodes = scene.start();
        let mut client = connect(scene.far.service("unix"), 80);
        assert_joined(&mut client, &mut unix.accept().expect("a connection").0);
        let mut client = connect(scene.far.service("name"), 80);
        assert_joined(&mut client, &mut tcp.accept().expect("a connection").0);
    });
}

#[test]
fn a_service_is_for_those_that_its_lists_let_in() {
    in_namespaces(|| {
        let scene = Scene::new(json!({}));
        let near = scene.near.id.to_string();
        // Ids of one kind begin alike, so a prefix is as long as it takes.
        let prefix = &near[..near.len() - 5];
        let only =
            |list: Value| json!({"target": "/tcp/8080", "acl": {"enableWhitelist": true, "whitelist": list}});
        scene.far.set(
            "services",
            json!({
                "named": only(json!(["@near"])),
                "prefixed": only(json!([prefix])),
                "nobodys": only(json!([])),
                "off": {"target": "/tcp/8080", "acl": {"enableWhitelist": false, "whitelist": []}},
                "black": {"target": "/tcp/8080", "acl": {
                    "enableWhitelist": true, "whitelist": ["@near"], "blacklist": [prefix],
                }},
            }),
        );
        let _listener = listen(8080);
        let _nodes = scene.start();
        for name in ["named", "prefixed", "off"] {
            TcpStream::connect((scene.far.service(name), 80)).expect(name);
        }
        for name in ["nobodys", "black"] {
            let denied = TcpStream::connect((scene.far.service(name), 80)).expect_err(name);
            assert_eq!(denied.raw_os_error(), Some(Errno::EACCES as i32), "{name}: {denied}");
        }
    });
}

#[test]
fn a_target_where_nobody_listens_is_not_the_connection_itself() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/40000"}));
        let _nodes = scene.start();
        // The kernel can choose no other port for the connection's own end.
        let range = "echo 40000 40000 > /proc/sys/net/ipv4/ip_local_port_range";
        run("ip", &["netns", "exec", "far", "sh", "-c", range]);
        for _ in 0..5 {
            let refused = TcpStream::connect((scene.far.service("web"), 80)).expect_err("nobody listens");
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        }
    });
}

#[test]
fn a_target_of_any_port_gets_the_port_that_was_asked_for() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"any": "/tcp/*"}));
        let listeners = [7001, 7002].map(listen);
        let _nodes = scene.start();
        for (listener, port) in listeners.iter().zip([7001, 7002]) {
            let mut client = connect(scene.far.service("any"), port);
            assert_joined(&mut client, &mut listener.accept().expect("a connection").0);
        }
        let refused = TcpStream::connect((scene.far.service("any"), 7003)).expect_err("nobody listens");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn a_target_without_a_way_to_it_is_no_route_to_the_host() {
    in_namespaces(|| {
        let services = json!({
            "unreachable": "/ip4/203.0.113.1/tcp/80",
            "silent": "/ip4/192.0.2.77/tcp/80",
            "nameless": "/dns/nobody.invalid/tcp/80",
        });
        let scene = Scene::new(services);
        ip("-n far route add unreachable 203.0.113.1");
        // Nobody has this link address, so what is sent there is lost.
        ip("-n far neigh add 192.0.2.77 lladdr 02:00:00:00:00:77 dev far0 nud permanent");
        let _nodes = scene.start();
        for name in ["unreachable", "silent", "nameless"] {
            let failed = TcpStream::connect((scene.far.service(name), 80)).expect_err("nobody is there");
            assert_eq!(failed.raw_os_error(), Some(Errno::EHOSTUNREACH as i32), "{name}: {failed}");
        }
    });
}

#[test]
fn a_target_that_resets_resets_the_client_and_the_other_way() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        for is_target in [true, false] {
            let mut client = connect(scene.far.service("web"), 80);
            let (mut target, _) = listener.accept().expect("a connection");
            target.set_read_timeout(Some(TIME)).expect("not zero");
            assert_joined(&mut client, &mut target);
            let (resets, mut sees) = if is_target { (target, client) } else { (client, target) };
            reset(resets);
            let reset = sees.read(&mut [0; 1]).expect_err("it was reset, not ended");
            assert_eq!(reset.kind(), ErrorKind::ConnectionReset, "by the target: {is_target}");
        }
    });
}

#[test]
fn a_target_that_resets_a_program_that_writes_looks_like_no_end() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        for round in 0..20 {
            let mut client = connect(scene.far.service("web"), 80);
            let (mut target, _) = listener.accept().expect("a connection");
            let mut up = client.try_clone().expect("a descriptor");
            let uploading = thread::spawn(move || up.write_all(&vec![7; 6 << 20]));
            target.write_all(&[1; 1000]).expect("it is open");
            target.read_exact(&mut vec![0; 1 << 20]).expect("it is written");
            reset(target);
            // The kernel tells of it once.
            let read = io::copy(&mut client, &mut io::sink());
            let written = uploading.join().expect("no panic");
            assert!(read.is_err() || written.is_err(), "{round}: {read:?} bytes and an end");
        }
    });
}

#[test]
fn an_early_reply_arrives_though_the_target_read_little_and_resets() {
    const REPLY: usize = 10_000;
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        for round in 0..50 {
            let mut client = connect(scene.far.service("web"), 80);
            let (mut target, _) = listener.accept().expect("a connection");
            client.write_all(&[7; 1000]).expect("it is open");
            target.read_exact(&mut [0; 1]).and_then(|()| target.write_all(&[1; REPLY])).expect("it is open");
            // Closed with something unread, it is reset by the kernel.
            drop(target);
            while client.write_all(&[7; 1 << 14]).is_ok() {}
            let mut reply = Vec::new();
            // The kernel tells of a reset once, and a write has heard of it.
            client.read_to_end(&mut reply).expect("what came before it");
            assert_eq!(reply.len(), REPLY, "{round}");
        }
    });
}

#[test]
fn a_reset_after_the_end_reaches_the_target() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        let mut client = connect(scene.far.service("web"), 80);
        let (mut target, _) = listener.accept().expect("a connection");
        assert_joined(&mut client, &mut target);
        client.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(target.read(&mut [0; 1]).expect("an end"), 0);
        assert_joined(&mut target, &mut client);
        reset(client);
        eventually("the target sees it", || target.take_error().expect("it is open").is_some());
    });
}

#[test]
fn a_reset_after_the_end_reaches_the_program() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let _nodes = scene.start();
        let mut client = connect(scene.far.service("web"), 80);
        let (mut target, _) = listener.accept().expect("a connection");
        assert_joined(&mut target, &mut client);
        target.shutdown(Shutdown::Write).expect("it is open");
        assert_eq!(client.read(&mut [0; 1]).expect("an end"), 0);
        assert_joined(&mut client, &mut target);
        reset(target);
        // Not at once: what the target said last may be on its way, and with some peers a reset overtakes it.
        eventually_within(2 * TIME, "the program sees it", || {
            client.take_error().expect("it is open").is_some()
        });
    });
}

#[test]
fn a_node_that_is_killed_after_a_program_s_end_leaves_no_descriptor() {
    in_namespaces(|| {
        let scene = over_tcp();
        let listener = listen(8080);
        let (mut near, far) = scene.start();
        let descriptors = || fs::read_dir(format!("/proc/{}/fd", far.pid())).expect("the node runs").count();
        let before = descriptors();
        let mut ends = Vec::new();
        for _ in 0..20 {
            let client = connect(scene.far.service("web"), 80);
            let (mut target, _) = listener.accept().expect("a connection");
            client.shutdown(Shutdown::Write).expect("it is open");
            assert_eq!(target.read(&mut [0; 1]).expect("an end"), 0);
            ends.push((client, target));
        }
        assert!(descriptors() >= before + ends.len(), "each has one");
        near.kill();
        eventually("they are closed", || descriptors() <= before);
    });
}

#[test]
fn a_node_out_of_descriptors_refuses_and_cuts_nothing() {
    in_namespaces(|| {
        let scene = Scene::new(json!({"web": "/tcp/8080"}));
        let listener = listen(8080);
        let (_near, mut far) = scene.start();
        allow_more_files(far.pid(), Some(3));
        let mut live = Vec::new();
        let refused = loop {
            match TcpStream::connect((scene.far.service("web"), 80)) {
                Ok(client) => live.push((client, listener.accept().expect("a connection").0)),
                Err(error) => break error,
            }
            assert!(live.len() <= 3, "more connections than descriptors");
        };
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        assert!(!live.is_empty(), "some could be had");
        far.log_with("all the files are open that may be");
        for (client, target) in &mut live {
            assert_joined(client, target);
            assert_joined(target, client);
        }
        far.assert_runs();
        allow_more_files(far.pid(), None);
        assert_joined(&mut connect(scene.far.service("web"), 80), &mut listener.accept().expect("one").0);
    });
}

#[test]
fn a_client_of_the_plain_protocol_learns_only_that_there_is_no_such_service() {
    in_namespaces(|| {
        let denied: Value = json!({"target": "/tcp/8080", "acl": {"blacklist": ["@near"]}});
        let services = json!({
            "web": "/tcp/8080", "shut": "/tcp/9", "any": "/tcp/*", "datagrams": "/udp/53", "private": denied,
        });
        let scene = Scene::new(services);
        let listener = listen(8080);
        let _far = scene.far.start();
        let member = Member::connect(&scene.near, &scene.far, &[]);
        for (name, status) in [
            ("shut", 0xf2),
            ("any", 0xf2),
            ("datagrams", 0xf2),
            ("nothing", 0xf2),
            ("private", 0xf3),
            ("web", 0xf1),
        ] {
            let mut stream = member.open(PLAIN);
            member.send(&mut stream, &ServiceId::of(&Label::new(name).expect("a label")).0);
            assert_eq!(member.read(&mut stream, 1), [status], "{name}");
            if status != 0xf1 {
                let rest = member.rest(&mut stream).expect("it is ended and not reset");
                assert!(rest.is_empty(), "{name}: {rest:02x?}");
            }
        }
        accept_one(&listener);
    });
}

/// Exactly one connection waits.
fn accept_one(listener: &TcpListener) {
    listener.accept().expect("one was let in");
    listener.set_nonblocking(true).expect("it is open");
    assert_eq!(listener.accept().expect_err("the others were not").kind(), ErrorKind::WouldBlock);
}
