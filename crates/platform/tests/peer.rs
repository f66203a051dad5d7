//! Who is at the other end, asked of the real kernel.
#![cfg(target_os = "linux")]

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::fs::chown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use hypertap_platform::peer::{Allowed, NoGroup, PeerLookup, tcp_peer, udp_owner, unix_peer};
use nix::time::{ClockId, clock_gettime};

/// An uid that is nobody else's here.
const OTHER: u32 = 43_210;

/// Gives a socket of ours to another user: the kernel's socket takes the file's owner over.
fn give(socket: &impl std::os::fd::AsRawFd) {
    let path = format!("/proc/self/fd/{}", socket.as_raw_fd());
    chown(path, Some(OTHER), None).expect("these tests run as root: a socket is given to another user");
}

fn connected(listener: &TcpListener, to: SocketAddr) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(to).expect("it listens");
    (client, listener.accept().expect("it connected").0)
}

fn uid_of_peer(stream: &TcpStream) -> Option<u32> {
    let (ours, peer) = (stream.local_addr().expect("bound"), stream.peer_addr().expect("connected"));
    tcp_peer(ours, peer).expect("the kernel answers")
}

#[test]
fn a_tcp_peer_is_who_owns_the_other_end() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let listener = TcpListener::bind(address).expect("loopback");
        let (client, server) = connected(&listener, listener.local_addr().expect("bound"));
        assert_eq!(uid_of_peer(&server), Some(0), "{address}");
        give(&client);
        assert_eq!(uid_of_peer(&server), Some(OTHER), "{address}");
        assert_eq!(uid_of_peer(&client), Some(0), "{address}: our own end stayed ours");
    }
}

#[test]
fn a_tcp_peer_of_a_dual_stack_listener_is_found() {
    let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).expect("a dual-stack socket");
    let port = listener.local_addr().expect("bound").port();
    let (client, server) = connected(&listener, SocketAddr::from(([127, 0, 0, 1], port)));
    assert!(server.peer_addr().expect("connected").is_ipv6(), "the peer is seen as ::ffff:127.0.0.1");
    give(&client);
    assert_eq!(uid_of_peer(&server), Some(OTHER));
    // The other way: a v6 socket that was connected to a v4 address.
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = listener.local_addr().expect("bound").port();
    let (client, server) = connected(&listener, SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], port)));
    assert!(client.local_addr().expect("bound").is_ipv6());
    give(&client);
    assert_eq!(uid_of_peer(&server), Some(OTHER));
}

#[test]
fn a_tcp_peer_that_closed_is_nobody_and_not_root() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let (mut client, mut server) = connected(&listener, listener.local_addr().expect("bound"));
    give(&client);
    client.write_all(b"shutdown\n").expect("sent");
    drop(client);
    let mut line = [0; 9];
    server.read_exact(&mut line).expect("the command arrived");
    assert_eq!(uid_of_peer(&server), None);
}

#[test]
fn who_listens_on_a_gone_peers_port_is_not_the_peer() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let ours = listener.local_addr().expect("bound");
    let other = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let port = other.local_addr().expect("bound");
    assert_eq!(tcp_peer(ours, port).expect("the kernel answers"), None);
}

#[test]
fn an_udp_socket_is_found_however_it_is_bound() {
    let mut lookup = PeerLookup::new().expect("sock_diag");
    for (bind, to) in [
        ("127.0.0.1:0", "127.0.0.1"),
        ("0.0.0.0:0", "127.0.0.1"),
        ("[::]:0", "127.0.0.1"),
        ("[::]:0", "::1"),
        ("[::1]:0", "::1"),
        ("127.0.0.1:0", "::ffff:127.0.0.1"),
    ] {
        let theirs = UdpSocket::bind(bind).expect("loopback");
        give(&theirs);
        let to = SocketAddr::new(to.parse().expect("an address"), theirs.local_addr().expect("bound").port());
        let any = if to.ip().to_canonical().is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" };
        let ours = UdpSocket::bind(any).expect("loopback");
        let found = lookup.udp_owner(ours.local_addr().expect("bound"), to).expect("the kernel answers");
        assert_eq!(found, Some(OTHER), "{bind} from {to}");
        // Connected to us, too; and when we are connected to it, which is where the addresses in the
        // other order find ourselves.
        if bind != "[::]:0" {
            theirs.connect(ours.local_addr().expect("bound")).expect("connected");
        }
        if to.is_ipv4() == bind.starts_with("127") {
            ours.connect(to).expect("connected");
        }
        let found = lookup.udp_owner(ours.local_addr().expect("bound"), to).expect("the kernel answers");
        assert_eq!(found, Some(OTHER), "{bind} from {to}, connected");
    }
}

#[test]
fn an_udp_socket_bound_to_loopbacks_device_is_found() {
    let theirs = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    nix::sys::socket::setsockopt(&theirs, nix::sys::socket::sockopt::BindToDevice, &"lo".into())
        .expect("bound to lo");
    give(&theirs);
    let ours = SocketAddr::from(([127, 0, 0, 1], 5501));
    assert_eq!(udp_owner(ours, theirs.local_addr().expect("bound")).expect("it answers"), Some(OTHER));
}

#[test]
fn an_udp_port_that_nobody_has_is_nobodys() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let there = socket.local_addr().expect("bound");
    drop(socket);
    let ours = SocketAddr::from(([127, 0, 0, 1], 5501));
    assert_eq!(udp_owner(ours, there).expect("it answers"), None);
    assert_eq!(udp_owner(ours, "[::1]:9".parse().expect("an address")).expect("mixed families"), None);
}

#[test]
fn a_look_up_costs_less_than_thirty_microseconds() {
    const ROUNDS: u32 = 2000;
    let mut lookup = PeerLookup::new().expect("sock_diag");
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    let (client, server) = connected(&listener, listener.local_addr().expect("bound"));
    let (ours, peer) = (server.local_addr().expect("bound"), client.local_addr().expect("bound"));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("loopback");
    let udp = socket.local_addr().expect("bound");
    // This thread's own time, and the best of several rounds: the machine may be busy with other tests.
    let worked = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it"));
    let best = |mut once: Box<dyn FnMut()>| -> Duration {
        let rounds = (0..5).map(|_| {
            let start = worked();
            (0..ROUNDS).for_each(|_| once());
            (worked() - start) / ROUNDS
        });
        rounds.min().expect("there are five")
    };
    let (tcp, udp) = {
        let mut other = PeerLookup::new().expect("sock_diag");
        (
            best(Box::new(move || assert_eq!(lookup.tcp_peer(ours, peer).expect("it answers"), Some(0)))),
            best(Box::new(move || assert_eq!(other.udp_owner(ours, udp).expect("it answers"), Some(0)))),
        )
    };
    println!("a look-up: TCP {tcp:?}, UDP {udp:?}");
    assert!(tcp < Duration::from_micros(30) && udp < Duration::from_micros(30), "TCP {tcp:?}, UDP {udp:?}");
}

#[test]
fn a_unix_peer_is_who_made_the_other_end() {
    let (left, _right) = UnixStream::pair().expect("a pair");
    assert_eq!(unix_peer(&left).expect("connected"), nix::unistd::geteuid().as_raw());
    let lonely = std::os::unix::net::UnixDatagram::unbound().expect("a socket");
    assert_eq!(unix_peer(&lonely).expect_err("nobody").raw_os_error(), Some(libc::ENOTCONN));
}

#[test]
fn root_the_starting_user_and_the_groups_members_are_allowed_and_nobody_else() {
    let nobody =
        nix::unistd::User::from_name("nobody").expect("a user database").expect("every system has it");
    let theirs = nix::unistd::Group::from_gid(nobody.gid).expect("a group database").expect("its group").name;
    let allowed = Allowed::new(OTHER, None).expect("no group");
    assert!(allowed.permits(0) && allowed.permits(OTHER));
    assert!(!allowed.permits(nobody.uid.as_raw()) && !allowed.permits(OTHER + 1));
    let allowed = Allowed::new(OTHER, Some(&theirs)).expect("the group is there");
    for _ in 0..2 {
        assert!(allowed.permits(nobody.uid.as_raw()), "by its primary group, asked and remembered");
        assert!(!allowed.permits(OTHER + 1));
    }
    assert!(matches!(Allowed::new(0, Some("no-such-group")), Err(NoGroup::Unknown(_))));
}
