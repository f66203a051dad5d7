//! Between two muxers of ours, and between ours and the `yamux` crate's, which is rust-libp2p's.

use std::io::ErrorKind;

use futures::{AsyncReadExt, AsyncWriteExt};

use super::connected::*;

async fn for_each_pair(test: impl AsyncFn(Node, Node, (Whose, Whose))) {
    for pair in PAIRS {
        let (client, server) = nodes(pair);
        println!("{pair:?}");
        in_time(test(client, server, pair)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reply_after_the_end_of_the_request_comes_whole() {
    for_each_pair(async |mut client, mut server, _| {
        for is_to_server in [true, false] {
            let (asks, answers) =
                if is_to_server { (&mut client, &mut server) } else { (&mut server, &mut client) };
            let mut asking = asks.open().await;
            let asking = tokio::spawn(async move {
                asking.write_all(&pattern(8 << 20)).await.expect("written");
                asking.close().await.expect("closed");
                read_all(&mut asking).await.expect("a reply")
            });
            let mut answering = answers.accept().await;
            assert!(read_all(&mut answering).await.expect("a request") == pattern(8 << 20));
            answering.write_all(&pattern(1 << 20)).await.expect("written");
            answering.close().await.expect("closed");
            assert!(asking.await.expect("no panic") == pattern(1 << 20));
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_dropped_is_reset_for_the_other() {
    for_each_pair(async |client, mut server, pair| {
        let mut dropped = client.open().await;
        dropped.write_all(b"hello").await.expect("written");
        let mut stream = server.accept().await;
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.expect("hello");
        drop(dropped);
        if pair.1 == Whose::Ours {
            let error = stream.read(&mut buffer).await.expect_err("a reset");
            assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        } else {
            while stream.write_all(&[0; 1000]).await.is_ok() {
                tokio::task::yield_now().await;
            }
        }
        // The connection lives.
        let mut other = client.open().await;
        other.write_all(b"again").await.expect("written");
        server.accept().await.read_exact(&mut buffer).await.expect("again");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once_carry_what_they_are_given() {
    for_each_pair(async |client, mut server, _| {
        let serving = tokio::spawn(async move {
            for _ in 0..1000 {
                tokio::spawn(echo_whole(server.accept().await));
            }
            server
        });
        let mut asking = tokio::task::JoinSet::new();
        for n in 0..1000_usize {
            let mut stream = client.open().await;
            asking.spawn(async move {
                // The crate never opens a stream that is closed before anything was written.
                let data = pattern(n * 37 + 1);
                stream.write_all(&data).await.expect("written");
                stream.close().await.expect("closed");
                assert!(read_all(&mut stream).await.expect("a reply") == data);
            });
        }
        while let Some(done) = asking.join_next().await {
            done.expect("no panic");
        }
        serving.await.expect("no panic");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_readers_that_stop_delay_no_other() {
    for_each_pair(async |client, mut server, _| {
        let mut stopped = Vec::new();
        for _ in 0..16 {
            let mut stream = client.open().await;
            tokio::spawn(async move {
                // Until the connection ends.
                _ = stream.write_all(&pattern(20 << 20)).await;
            });
            stopped.push(server.accept().await);
        }
        let mut stream = client.open().await;
        let writing = tokio::spawn(async move {
            stream.write_all(&pattern(16 << 20)).await.expect("written");
            stream.close().await.expect("closed");
            stream
        });
        let mut reads = server.accept().await;
        assert!(read_all(&mut reads).await.expect("all of it") == pattern(16 << 20));
        writing.await.expect("no panic");
        // Those that stopped go on where they were.
        let mut buffer = vec![0; 1 << 20];
        for stream in &mut stopped {
            stream.read_exact(&mut buffer).await.expect("the rest");
            assert!(buffer == pattern(1 << 20));
        }
    })
    .await;
}
