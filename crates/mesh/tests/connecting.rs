//! Who is connected, and what becomes of it.
#![expect(clippy::disallowed_methods, reason = "tasks end with the test's runtime")]

mod fixture;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fixture::{
    Node, PATIENCE, QUIC, TCP, address, echo, eventually, exchange, expect_event, id, pair, settings, start,
};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{Mesh, MeshEvent, Multiaddr, PeerSettings, StartError, Transport};
use libp2p::multiaddr::Protocol;
use tokio::net::{TcpListener, TcpSocket, TcpStream, UdpSocket};
use tokio::sync::watch;

/// Within which a peer that died without a word has to be noticed: 15 s, and 5 s that a busy machine may be late.
const NOTICED: Duration = Duration::from_secs(20);

#[tokio::test]
async fn both_ends_tell_of_the_first_connection_and_the_last() {
    for listen in [TCP, QUIC] {
        let one = start(settings(1, &[listen], &[2])).await;
        let mut events = one.mesh.events();
        let mut two = settings(2, &[], &[]);
        two.peers = vec![one.as_peer()];
        let two = start(two).await;
        expect_event(&mut events, MeshEvent::Connected(two.id)).await;
        two.mesh.close().await;
        expect_event(&mut events, MeshEvent::Disconnected(two.id)).await;
    }
}

#[tokio::test]
async fn a_peer_learns_at_once_that_a_node_has_closed() {
    for listen in [TCP, QUIC] {
        let (one, two) = pair(listen).await;
        let mut events = one.mesh.events();
        let began = Instant::now();
        two.mesh.close().await;
        assert!(
            began.elapsed() < Duration::from_secs(5),
            "closing takes 2 s at most, on a machine with time"
        );
        expect_event(&mut events, MeshEvent::Disconnected(two.id)).await;
        assert!(began.elapsed() < Duration::from_secs(6), "by its last packets, over {listen}");
        assert!(!two.mesh.wait_connected(&one.id, Duration::ZERO).await);
    }
}

#[tokio::test]
async fn a_node_ends_with_its_last_handle() {
    for listen in [TCP, QUIC] {
        let (one, two) = pair(listen).await;
        let (mut events, id) = (one.mesh.events(), two.id);
        let clone = two.mesh.clone();
        drop(two.mesh);
        assert!(clone.wait_connected(&one.id, Duration::ZERO).await, "a clone is the same node");
        drop(clone);
        let mut inbound = two.inbound;
        assert!(inbound.recv().await.is_none());
        expect_event(&mut events, MeshEvent::Disconnected(id)).await;
    }
}

#[tokio::test]
async fn a_peer_that_comes_back_at_the_same_place_is_connected_again() {
    // A port that the kernel chooses for nobody meanwhile.
    for listen in ["/ip4/127.0.0.1/tcp/20078", "/ip4/127.0.0.1/udp/20078/quic-v1"] {
        let (one, two) = pair(listen).await;
        let mut events = two.mesh.events();
        one.mesh.close().await;
        expect_event(&mut events, MeshEvent::Disconnected(one.id)).await;
        eventually("a failure is known", || two.peer(&one.id).last_error.is_some()).await;
        let again = start(settings(1, &[listen], &[2])).await;
        expect_event(&mut events, MeshEvent::Connected(one.id)).await;
        echo(again.inbound);
        assert_eq!(exchange(&two.mesh, &one.id, b"again").await, b"again");
        assert_eq!(two.peer(&one.id).last_error, None);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_dial_each_other_at_once_end_with_one_connection_and_lose_nothing() {
    for _ in 0..2 {
        let one = start(settings(1, &[TCP, QUIC], &[])).await;
        let two = start(settings(2, &[TCP, QUIC], &[])).await;
        let (peer_one, peer_two) = (one.as_peer(), two.as_peer());
        futures::join!(one.mesh.set_peers(vec![peer_two]), two.mesh.set_peers(vec![peer_one]));
        assert!(one.mesh.wait_connected(&two.id, PATIENCE).await);
        assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
        let (one_inbound, two_inbound) = (echo(one.inbound), echo(two.inbound));
        let talks = (0..50_u32).map(|number| {
            let (mesh, peer) =
                if number % 2 == 0 { (one.mesh.clone(), two.id) } else { (two.mesh.clone(), one.id) };
            tokio::spawn(async move {
                let (mut stream, _) = mesh.open(&peer, &[fixture::NEW]).await.expect("a stream opens");
                for _ in 0..20 {
                    let mut said = [0; 4];
                    stream.write_all(&number.to_be_bytes()).await.expect("it is written");
                    stream.flush().await.expect("it is sent");
                    stream.read_exact(&mut said).await.expect("it comes back");
                    assert_eq!(said, number.to_be_bytes());
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            })
        });
        for talk in talks.collect::<Vec<_>>() {
            talk.await.expect("no stream is cut");
        }
        let connections = |mesh: &hypertap_mesh::Mesh| mesh.status()[0].connections.len();
        eventually("one is left", || connections(&one.mesh) == 1 && connections(&two.mesh) == 1).await;
        one_inbound.abort();
        two_inbound.abort();
    }
}

#[tokio::test]
async fn new_peers_are_dialled_removed_ones_disconnected_and_others_left_alone() {
    let stays = start(settings(2, &[TCP], &[1])).await;
    let goes = start(settings(3, &[QUIC], &[1])).await;
    let comes = start(settings(4, &[TCP], &[1])).await;
    let mut one = settings(1, &[], &[]);
    one.peers = vec![stays.as_peer(), goes.as_peer()];
    let one = start(one).await;
    for node in [&stays, &goes] {
        assert!(one.mesh.wait_connected(&node.id, PATIENCE).await);
    }
    let stay = stays.as_peer();
    let (stays_id, come) = (stays.id, comes.as_peer());
    echo(stays.inbound);
    let (mut stream, _) = one.mesh.open(&stays_id, &[fixture::NEW]).await.expect("a stream opens");

    let mut events = goes.mesh.events();
    one.mesh.set_peers(vec![stay, come]).await;

    assert!(one.mesh.wait_connected(&comes.id, PATIENCE).await);
    expect_event(&mut events, MeshEvent::Disconnected(one.id)).await;
    assert!(one.mesh.status().iter().all(|peer| peer.id != goes.id));
    stream.write_all(b"alive").await.expect("it is written");
    stream.flush().await.expect("it is sent");
    let mut said = [0; 5];
    stream.read_exact(&mut said).await.expect("the stream was left alone");
    assert_eq!(&said, b"alive");
}

#[tokio::test]
async fn an_address_inside_the_tunnel_is_never_dialled() {
    let one = start(settings(1, &[TCP], &[2])).await;
    let mut two = settings(2, &[], &[]);
    two.peers = vec![one.as_peer()];
    two.is_inside = |ip| ip.is_loopback();
    let two = start(two).await;
    let peer = two.peer(&one.id);
    assert!(peer.addresses.is_empty() && peer.retry_in.is_none(), "{peer:?}");
    assert!(!two.mesh.wait_connected(&one.id, Duration::from_secs(1)).await);
}

#[tokio::test]
async fn somebody_else_at_an_address_keeps_nobody_from_another() {
    for (theirs, right) in [(QUIC, QUIC), (TCP, TCP), (TCP, QUIC)] {
        let stranger = start(settings(3, &[theirs], &[])).await;
        for _ in 0..10 {
            let one = start(settings(1, &[right], &[2])).await;
            let mut two = settings(2, &[], &[]);
            let addresses = [stranger.mesh.listening(), one.mesh.listening()].concat();
            two.peers = vec![PeerSettings { id: one.id, addresses }];
            let two = start(two).await;
            assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
            assert_eq!(two.peer(&one.id).last_error, None);
            two.mesh.close().await;
            one.mesh.close().await;
        }
    }
}

/// Where a node listens by QUIC, and by TCP.
fn quic_and_tcp(node: &Node) -> (Multiaddr, (&'static str, u16)) {
    let is_quic = |address: &Multiaddr| address.iter().any(|part| part == Protocol::QuicV1);
    let (quic, tcp): (Vec<_>, Vec<_>) = node.mesh.listening().into_iter().partition(is_quic);
    (quic[0].clone(), ("127.0.0.1", port(&tcp[0])))
}

#[tokio::test]
async fn tcp_is_taken_though_quic_answers_a_little_earlier() {
    let one = start(settings(1, &[TCP, QUIC], &[2])).await;
    let (quic, target) = quic_and_tcp(&one);
    let longer = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let at = longer.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = longer.accept().await {
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(100)).await;
                let mut far = TcpStream::connect(target).await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await
            });
        }
    });
    let mut by_tcp = 0;
    for _ in 0..5 {
        let mut two = settings(2, &[], &[]);
        let addresses = vec![quic.clone(), address(&format!("/ip4/127.0.0.1/tcp/{at}"))];
        two.peers = vec![PeerSettings { id: one.id, addresses }];
        let two = start(two).await;
        assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
        by_tcp += usize::from(two.peer(&one.id).connections[0].transport == Transport::Tcp);
        two.mesh.close().await;
    }
    // A machine that has much else to do may be late now and then.
    assert!(by_tcp > 2, "{by_tcp} of 5");
}

#[tokio::test]
async fn tcp_is_tried_once_more_when_quic_alone_came_up() {
    let one = start(settings(1, &[TCP, QUIC], &[2])).await;
    let (quic, target) = quic_and_tcp(&one);
    // Nobody listens there yet, nor can.
    let later = TcpSocket::new_v4().expect("a socket");
    later.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    let at = later.local_addr().expect("it is bound").port();
    let mut two = settings(2, &[], &[]);
    let addresses = vec![quic.clone(), address(&format!("/ip4/127.0.0.1/tcp/{at}"))];
    two.peers = vec![PeerSettings { id: one.id, addresses }];
    let two = start(two).await;
    assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
    assert_eq!(two.peer(&one.id).connections[0].transport, Transport::Quic);
    let later = later.listen(8).expect("it is bound");
    tokio::spawn(async move {
        let (mut near, _) = later.accept().await?;
        tokio::io::copy_bidirectional(&mut near, &mut TcpStream::connect(target).await?).await
    });
    eventually("streams take TCP", || {
        let connections = two.peer(&one.id).connections;
        connections.iter().any(|one| one.transport == Transport::Tcp && one.is_chosen.is_some())
    })
    .await;
}

#[tokio::test]
async fn an_address_that_leads_into_the_tunnel_is_dialled_when_it_no_longer_does() {
    let one = start(settings(1, &[TCP, QUIC], &[2])).await;
    let mut two = settings(2, &[], &[]);
    two.peers = vec![one.as_peer()];
    let leads = Arc::new(AtomicBool::new(true));
    two.leads_inside = {
        let leads = Arc::clone(&leads);
        Arc::new(move |ip| ip.is_loopback() && leads.load(Ordering::Relaxed))
    };
    let two = start(two).await;
    eventually("the dial fails", || two.peer(&one.id).last_error.is_some()).await;
    assert!(!two.mesh.wait_connected(&one.id, Duration::from_secs(1)).await);
    leads.store(false, Ordering::Relaxed);
    assert!(two.mesh.wait_connected(&one.id, Duration::from_secs(20)).await);
}

#[tokio::test]
async fn nobody_is_let_in_from_where_packets_would_lead_into_the_tunnel() {
    let mut one = settings(1, &[TCP, QUIC], &[2]);
    one.leads_inside = Arc::new(|ip| ip.is_loopback());
    let one = start(one).await;
    let mut two = settings(2, &[], &[]);
    two.peers = vec![one.as_peer()];
    let two = start(two).await;
    eventually("the dial fails", || two.peer(&one.id).last_error.is_some()).await;
    assert!(!two.mesh.wait_connected(&one.id, Duration::from_secs(1)).await);
}

#[tokio::test]
async fn a_connection_from_inside_the_tunnel_is_refused() {
    let mut one = settings(1, &[], &[2]);
    one.is_inside = |ip| ip.is_loopback();
    // It names no such address to anybody.
    let at = address("/ip4/127.0.0.1/tcp/20079");
    one.listen = vec![at.clone()];
    let one = start(one).await;
    assert!(one.mesh.listening().is_empty());
    let mut two = settings(2, &[], &[]);
    two.peers = vec![PeerSettings { id: id(1), addresses: vec![at] }];
    let two = start(two).await;
    eventually("the dial fails", || two.peer(&one.id).last_error.is_some()).await;
}

#[tokio::test]
async fn a_place_that_is_taken_is_an_error_with_its_address() {
    for listen in [TCP, QUIC] {
        let one = start(settings(1, &[listen], &[])).await;
        let mut two = settings(2, &[], &[]);
        two.listen = one.mesh.listening();
        let error = Mesh::start(two).await.map(drop).expect_err("it is taken");
        let StartError::Listen { address, source } = error else { panic!("{error}") };
        assert_eq!(address, one.mesh.listening()[0]);
        assert_eq!(source.kind(), ErrorKind::AddrInUse);
    }
}

#[tokio::test]
async fn addresses_that_the_machine_has_not_are_left_out() {
    let absent = ["/ip4/192.0.2.77/tcp/8001", "/ip4/192.0.2.77/udp/8001/quic-v1"];
    let one = start(settings(1, &[absent[0], absent[1], QUIC], &[])).await;
    assert_eq!(one.mesh.listening().len(), 1);
    for listen in absent {
        let error = Mesh::start(settings(1, &[listen], &[])).await.map(drop).expect_err("there is no other");
        let StartError::Listen { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.kind(), ErrorKind::AddrNotAvailable);
    }
}

#[tokio::test]
async fn an_address_of_one_link_is_an_error() {
    for listen in ["/ip6/fe80::1/tcp/0", "/ip6/fe80::1/udp/0/quic-v1"] {
        let error = Mesh::start(settings(1, &[listen], &[])).await.map(drop).expect_err("of which link?");
        assert!(error.to_string().contains("interface"), "{error}");
    }
}

#[tokio::test]
async fn a_bootstrap_address_that_names_nobody_is_an_error() {
    let mut one = settings(1, &[], &[]);
    one.bootstrap = vec![address("/ip4/192.0.2.1/tcp/1")];
    let error = Mesh::start(one).await.map(drop).expect_err("whose is it?");
    assert!(matches!(error, StartError::BootstrapWithoutPeer(_)), "{error}");
}

/// The first node, and a second that knows it by way of a path that can be cut.
async fn behind(path: Multiaddr, one: Node) -> (Node, Node) {
    let mut two = settings(2, &[], &[]);
    two.peers = vec![PeerSettings { id: one.id, addresses: vec![path] }];
    let two = start(two).await;
    assert!(one.mesh.wait_connected(&two.id, PATIENCE).await);
    assert!(two.mesh.wait_connected(&one.id, PATIENCE).await);
    (one, two)
}

/// Cuts the path while one of them is sending as fast as it can.
async fn is_noticed(mut one: Node, two: Node, cut: &watch::Sender<bool>) {
    let (mut here, mut there) = (one.mesh.events(), two.mesh.events());
    let (mut stream, _) = two.mesh.open(&one.id, &[fixture::NEW]).await.expect("a stream opens");
    let sending = tokio::spawn(async move { while stream.write_all(&[7; 8 << 10]).await.is_ok() {} });
    let mut arrived = one.inbound.recv().await.expect("it arrives");
    arrived.stream.read_exact(&mut vec![0; 4 << 20]).await.expect("it flows");
    let reading = tokio::spawn(async move { arrived.stream.read_to_end(&mut Vec::new()).await });
    cut.send(true).expect("the path is there");
    let began = Instant::now();
    expect_event(&mut here, MeshEvent::Disconnected(two.id)).await;
    expect_event(&mut there, MeshEvent::Disconnected(one.id)).await;
    assert!(began.elapsed() < NOTICED, "after {:?}", began.elapsed());
    sending.await.expect("the writer is told");
    assert!(
        reading.await.expect("it does not panic").is_err(),
        "the reader is told, and not that it is the end"
    );
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_over_tcp() {
    let one = start(settings(1, &[TCP], &[2])).await;
    let target = port(&one.mesh.listening()[0]);
    let (cut, is_cut) = watch::channel(false);
    let path = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    let at = path.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (near, _) = path.accept().await.expect("a connection");
        let far = TcpStream::connect(("127.0.0.1", target)).await.expect("a connection");
        let ((near_read, near_write), (far_read, far_write)) = (near.into_split(), far.into_split());
        futures::join!(pass(near_read, far_write, is_cut.clone()), pass(far_read, near_write, is_cut));
    });
    let (one, two) = behind(address(&format!("/ip4/127.0.0.1/tcp/{at}")), one).await;
    is_noticed(one, two, &cut).await;
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_over_quic() {
    let one = start(settings(1, &[QUIC], &[2])).await;
    let target = port(&one.mesh.listening()[0]);
    let (cut, is_cut) = watch::channel(false);
    let near = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    let far = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
    far.connect(("127.0.0.1", target)).await.expect("a target");
    let at = near.local_addr().expect("it is bound").port();
    tokio::spawn(async move {
        let (mut there, mut back, mut dialler) = ([0; 2048], [0; 2048], None);
        loop {
            let sent = tokio::select! {
                got = near.recv_from(&mut there) => {
                    let (len, from) = got.expect("the socket works");
                    dialler = Some(from);
                    if *is_cut.borrow() { continue }
                    far.send(&there[..len]).await
                }
                got = far.recv(&mut back) => match (dialler, got) {
                    (Some(to), Ok(len)) if !*is_cut.borrow() => near.send_to(&back[..len], to).await,
                    _ => continue,
                }
            };
            let _ = sent;
        }
    });
    let (one, two) = behind(address(&format!("/ip4/127.0.0.1/udp/{at}/quic-v1")), one).await;
    is_noticed(one, two, &cut).await;
}

fn port(address: &Multiaddr) -> u16 {
    let port = address.iter().find_map(|part| match part {
        Protocol::Tcp(port) | Protocol::Udp(port) => Some(port),
        _ => None,
    });
    port.expect("it has one")
}

/// Carries bytes until the path is cut, then neither carries nor closes.
async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut cut: watch::Receiver<bool>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let got = tokio::select! {
            biased;
            () = async { drop(cut.wait_for(|cut| *cut).await) } => break,
            got = tokio::io::AsyncReadExt::read(&mut from, &mut buffer) => got,
        };
        let Ok(len @ 1..) = got else { return };
        tokio::io::AsyncWriteExt::write_all(&mut to, &buffer[..len]).await.expect("it is up");
    }
    std::future::pending::<()>().await;
}
