//! Streams between two nodes, over both transports.
#![expect(clippy::disallowed_methods, reason = "tasks end with the test's runtime")]

mod fixture;

use std::io::ErrorKind;
use std::time::Duration;

use fixture::{NEW, OLD, PATIENCE, QUIC, TCP, echo, exchange, pair, settings, start};
use futures::{AsyncReadExt as _, AsyncWriteExt as _, FutureExt as _};
use hypertap_mesh::OpenError;
use tokio::time::timeout;

#[tokio::test]
async fn the_preferred_protocol_of_those_that_both_speak_is_taken() {
    for listen in [TCP, QUIC] {
        let (mut one, two) = pair(listen).await;
        let (_, new) = two.mesh.open(&one.id, &[NEW, OLD]).await.expect("a stream opens");
        let (_, old) = two.mesh.open(&one.id, &["/test/none/1", OLD]).await.expect("a stream opens");
        assert_eq!((new, old), (NEW, OLD));
        for wanted in [NEW, OLD] {
            let arrived = one.inbound.recv().await.expect("it arrives");
            assert_eq!((arrived.protocol, arrived.peer), (wanted, two.id));
        }
    }
}

#[tokio::test]
async fn streams_that_one_end_has_dropped_and_the_other_holds_take_nobodys_place() {
    for listen in [TCP, QUIC] {
        let (mut one, two) = pair(listen).await;
        let mut held = Vec::new();
        for _ in 0..600 {
            held.push(two.mesh.open(&one.id, &[NEW]).await.expect("a stream opens"));
            drop(one.inbound.recv().await.expect("it arrives"));
        }
        echo(one.inbound);
        let answer = timeout(PATIENCE, exchange(&two.mesh, &one.id, b"one more")).await;
        assert_eq!(answer.as_deref(), Ok(b"one more".as_slice()), "{listen}");
    }
}

#[tokio::test]
async fn a_protocol_that_the_peer_does_not_speak_is_an_error() {
    for listen in [TCP, QUIC] {
        let (one, two) = pair(listen).await;
        let error = two.mesh.open(&one.id, &["/test/none/1"]).await.expect_err("nobody speaks it");
        assert_eq!(error, OpenError::NotSupported);
    }
}

#[tokio::test]
async fn a_peer_that_is_not_connected_is_an_error_at_once() {
    let one = start(settings(1, &[TCP], &[2])).await;
    let opened = one.mesh.open(&fixture::id(2), &[NEW]).now_or_never();
    assert_eq!(opened.map(|opened| opened.map(drop)), Some(Err(OpenError::NotConnected)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_thousand_streams_opened_at_once_none_is_lost() {
    for listen in [TCP, QUIC] {
        let (one, two) = pair(listen).await;
        echo(one.inbound);
        let exchanges = (0..1000_u32).map(|number| {
            let (mesh, peer) = (two.mesh.clone(), one.id);
            tokio::spawn(async move { exchange(&mesh, &peer, &number.to_be_bytes()).await })
        });
        let exchanges: Vec<_> = exchanges.collect();
        for (number, exchange) in (0_u32..).zip(exchanges) {
            assert_eq!(exchange.await.expect("it does not panic"), number.to_be_bytes(), "{listen}");
        }
        fixture::eventually("no stream is left", || two.peer(&one.id).connections[0].streams == 0).await;
    }
}

#[tokio::test]
async fn streams_that_nobody_takes_yet_wait_in_order_and_hold_up_nothing() {
    for listen in [TCP, QUIC] {
        let (mut one, two) = pair(listen).await;
        let mut opened = Vec::new();
        for number in 0..300_u32 {
            let (mut stream, _) = two.mesh.open(&one.id, &[NEW]).await.expect("a stream opens");
            stream.write_all(&number.to_be_bytes()).await.expect("it is written");
            opened.push(stream);
        }
        for number in 0..300_u32 {
            let mut arrived = one.inbound.recv().await.expect("it arrives");
            let mut said = [0; 4];
            arrived.stream.read_exact(&mut said).await.expect("it is read");
            assert_eq!(said, number.to_be_bytes(), "{listen}");
        }
    }
}

#[tokio::test]
async fn a_given_up_opening_leaves_nothing() {
    for listen in [TCP, QUIC] {
        let (one, two) = pair(listen).await;
        echo(one.inbound);
        for _ in 0..100 {
            let _ = timeout(Duration::ZERO, two.mesh.open(&one.id, &[NEW])).await;
        }
        assert_eq!(exchange(&two.mesh, &one.id, b"after").await, b"after");
        fixture::eventually("no stream is left", || two.peer(&one.id).connections[0].streams == 0).await;
    }
}

#[tokio::test]
async fn the_other_direction_goes_on_after_the_end_of_one() {
    for listen in [TCP, QUIC] {
        let (mut one, two) = pair(listen).await;
        let request = vec![7; 8 << 20];
        let reply = vec![9; 1 << 20];
        let expected = (request.len(), reply.clone());
        let server = tokio::spawn(async move {
            let mut arrived = one.inbound.recv().await.expect("it arrives");
            let mut got = Vec::new();
            arrived.stream.read_to_end(&mut got).await.expect("it ends");
            arrived.stream.write_all(&reply).await.expect("the reply is written");
            arrived.stream.close().await.expect("it is ended");
            got.len()
        });
        let got = exchange(&two.mesh, &one.id, &request).await;
        assert_eq!((server.await.expect("it does not panic"), got), expected, "{listen}");
    }
}

#[tokio::test]
async fn a_dropped_stream_is_a_reset_over_tcp() {
    let (mut one, two) = pair(TCP).await;
    let (mut stream, _) = two.mesh.open(&one.id, &[NEW]).await.expect("a stream opens");
    stream.write_all(b"half").await.expect("it is written");
    stream.flush().await.expect("it is sent");
    let mut arrived = one.inbound.recv().await.expect("it arrives");
    let mut said = [0; 4];
    arrived.stream.read_exact(&mut said).await.expect("it is read");
    drop(stream);
    let error = arrived.stream.read(&mut said).await.expect_err("it is no end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

/// Sixteen that stop reading, each with as much as its window takes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_readers_that_stop_delay_no_other() {
    for listen in [TCP, QUIC] {
        let (mut one, two) = pair(listen).await;
        let mut stalled = Vec::new();
        for _ in 0..16 {
            let (mut stream, _) = two.mesh.open(&one.id, &[OLD]).await.expect("a stream opens");
            let unread = one.inbound.recv().await.expect("it arrives");
            // Written to until nothing goes any more.
            let chunk = vec![1; 64 << 10];
            let mut written = 0;
            while let Ok(result) = timeout(Duration::from_millis(300), stream.write(&chunk)).await {
                written += result.expect("it is up");
                assert!(written < 64 << 20, "a window has an end");
            }
            stalled.push((stream, unread, written));
        }
        assert!(stalled.iter().all(|(_, _, written)| *written >= 64 << 10));
        echo(one.inbound);
        let data = vec![3; 16 << 20];
        let answer = timeout(PATIENCE, async {
            let (stream, _) = two.mesh.open(&one.id, &[NEW]).await.expect("a stream opens");
            let (mut read, mut write) = stream.split();
            let sending = async {
                write.write_all(&data).await.expect("it is written");
                write.close().await.expect("it is ended");
            };
            let mut answer = Vec::new();
            let receiving = read.read_to_end(&mut answer);
            futures::join!(sending, receiving).1.expect("it is read to the end");
            answer
        });
        assert!(answer.await.unwrap_or_else(|_| panic!("delayed over {listen}")) == data);
        // None of what the stalled ones were sent is lost.
        for (mut stream, mut unread, written) in stalled {
            let receiving = async {
                let mut rest = Vec::new();
                unread.stream.read_to_end(&mut rest).await.expect("it is read to the end");
                rest.len()
            };
            let (got, ended) = futures::join!(receiving, stream.close());
            ended.expect("it is ended");
            assert_eq!(got, written, "{listen}");
        }
    }
}
