//! A node beside one that is libp2p as it comes: what it does on the wire, and which connection it keeps.

mod fixture;

use fixture::stock::Stock;
use fixture::{NEW, OLD, PATIENCE, QUIC, TCP, address, eventually, id, settings, start};
use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{PeerSettings, Transport, Why};
use libp2p::Stream;
use tokio::time::timeout;

async fn echoes(one: &mut (impl futures::AsyncRead + futures::AsyncWrite + Unpin), other: &mut Stream) {
    for text in [b"there", b"again"] {
        let mut said = [0; 5];
        let sending = async {
            one.write_all(text).await.expect("it is written");
            one.flush().await.expect("it is sent");
        };
        futures::join!(sending, async { other.read_exact(&mut said).await.expect("it is read") });
        assert_eq!(&said, text);
        other.write_all(&said).await.expect("it is written");
        other.flush().await.expect("it is sent");
        one.read_exact(&mut said).await.expect("it is read");
        assert_eq!(&said, text);
    }
}

#[tokio::test]
async fn a_stock_node_connects_with_tls_noise_and_quic_and_streams_go_both_ways() {
    for (prefers_noise, transport) in
        [(false, Transport::Tcp), (true, Transport::Tcp), (false, Transport::Quic)]
    {
        let mut stock = Stock::start(2, OLD, prefers_noise);
        let (tcp, quic) = stock.listening().await;
        let at = if transport == Transport::Quic { quic } else { tcp };
        let mut settings = settings(1, &[TCP, QUIC], &[]);
        settings.peers = vec![PeerSettings { id: id(2), addresses: vec![at] }];
        let mut one = start(settings).await;
        assert!(one.mesh.wait_connected(&id(2), PATIENCE).await);
        assert_eq!(one.peer(&id(2)).connections[0].transport, transport);

        let (mut ours, protocol) = one.mesh.open(&id(2), &[NEW, OLD]).await.expect("it speaks the old one");
        assert_eq!(protocol, OLD);
        let (connection, mut theirs) = stock.accept().await;
        echoes(&mut ours, &mut theirs).await;

        let mut theirs = stock.open(connection).await.expect("we speak it");
        let mut ours = one.inbound.recv().await.expect("it arrives");
        assert_eq!((ours.protocol, ours.peer), (OLD, id(2)));
        echoes(&mut ours.stream, &mut theirs).await;
    }
}

/// A seed whose id is below, and one whose id is above, that of seed 1.
fn below_and_above() -> (u8, u8) {
    let below = (2..=u8::MAX).find(|seed| id(*seed) < id(1)).expect("there is one");
    let above = (2..=u8::MAX).find(|seed| id(*seed) > id(1)).expect("there is one");
    (below, above)
}

#[tokio::test]
async fn the_lower_id_closes_what_is_superseded_once_it_carries_no_stream() {
    let (_, above) = below_and_above();
    let mut one = start(settings(1, &[TCP, QUIC], &[above])).await;
    let mut stock = Stock::start(above, NEW, false);
    let at = |is_quic| one.mesh.listening().into_iter().find(|at| at.to_string().contains("quic") == is_quic);
    let quic = stock.dial(&at(true).expect("it listens")).await;
    let mut theirs = stock.open(quic).await.expect("we speak it");
    let mut ours = one.inbound.recv().await.expect("it arrives");

    let tcp = stock.dial(&at(false).expect("it listens")).await;
    eventually("both are up", || one.peer(&id(above)).connections.len() == 2).await;
    let status = one.peer(&id(above)).connections;
    assert_eq!(status.iter().map(|it| it.is_chosen).collect::<Vec<_>>(), [None, Some(Why::BestTransport)]);

    // A new stream goes over the chosen one, the old one lives on where it is.
    let (mut new, _) = one.mesh.open(&id(above), &[NEW]).await.expect("a stream opens");
    let (on, mut new_theirs) = stock.accept().await;
    assert_eq!(on, tcp);
    echoes(&mut new, &mut new_theirs).await;
    let wait = std::time::Duration::from_secs(4);
    assert!(timeout(wait, stock.closed()).await.is_err(), "a connection with a stream stays");
    echoes(&mut ours.stream, &mut theirs).await;

    drop((ours, theirs));
    assert_eq!(stock.closed().await, quic);
    eventually("one is left", || one.peer(&id(above)).connections.len() == 1).await;
    assert_eq!(one.peer(&id(above)).connections[0].is_chosen, Some(Why::Only));
    echoes(&mut new, &mut new_theirs).await;
}

#[tokio::test]
async fn the_higher_id_leaves_closing_to_the_other() {
    let (below, _) = below_and_above();
    let one = start(settings(1, &[TCP], &[below])).await;
    let mut stock = Stock::start(below, NEW, false);
    let at = one.mesh.listening()[0].clone();
    stock.dial(&at).await;
    let newest = stock.dial(&at).await;
    eventually("both are up", || one.peer(&id(below)).connections.len() == 2).await;
    let wait = std::time::Duration::from_secs(4);
    assert!(timeout(wait, stock.closed()).await.is_err(), "it closed one");
    assert_eq!(one.peer(&id(below)).connections[1].is_chosen, Some(Why::Newest));
    let _ours = one.mesh.open(&id(below), &[NEW]).await.expect("a stream opens");
    assert_eq!(stock.accept().await.0, newest);
}

#[tokio::test]
async fn a_stranger_is_disconnected_before_any_protocol() {
    let one = start(settings(1, &[TCP, QUIC], &[2])).await;
    for at in one.mesh.listening() {
        let mut stranger = Stock::start(9, NEW, false);
        let connection = stranger.dial(&at).await;
        assert_eq!(stranger.closed().await, connection);
        assert_eq!(one.mesh.status().len(), 1, "it is in no table");
    }
}

#[tokio::test]
async fn a_bootstrap_node_is_held_but_gets_no_stream() {
    let mut stock = Stock::start(2, NEW, false);
    let (tcp, _) = stock.listening().await;
    let mut settings = settings(1, &[], &[]);
    settings.bootstrap = vec![address(&format!("{tcp}/p2p/{}", stock.id))];
    let one = start(settings).await;
    let connection = stock.up().await;
    assert!(stock.open(connection).await.is_none(), "it may open none");
    let error = one.mesh.open(&id(2), &[NEW]).await.expect_err("it gets none");
    assert_eq!(error, hypertap_mesh::OpenError::NotConnected);
    let status = one.peer(&id(2));
    assert!(status.is_bootstrap && status.connections.len() == 1);
    let wait = std::time::Duration::from_secs(4);
    assert!(timeout(wait, stock.closed()).await.is_err(), "it is held without streams");
}
