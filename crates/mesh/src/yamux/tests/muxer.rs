//! What concerns the connection itself.

use std::future::poll_fn;
use std::io::ErrorKind;
use std::pin::Pin;

use futures::{AsyncReadExt, AsyncWriteExt};
use hypertap_wire::yamux::{Flags, FrameType, GoAway, HEADER};
use libp2p::core::muxing::StreamMuxer;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::connected::*;
use super::peer::frame;
use crate::yamux::{Muxer, SessionError, Side, Violation, YamuxSettings};

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_streams_are_open_at_once() {
    let (client, mut server) = nodes((Whose::Ours, Whose::Ours));
    let serving = tokio::spawn(async move {
        let mut streams = Vec::new();
        for _ in 0..10_000 {
            let mut stream = server.accept().await;
            let mut buffer = [0; 4];
            stream.read_exact(&mut buffer).await.expect("a number");
            stream.write_all(&buffer).await.expect("an answer");
            streams.push(stream);
        }
        (server, streams)
    });
    let mut streams = Vec::new();
    for n in 0..10_000_u32 {
        let mut stream = in_time(client.open()).await;
        stream.write_all(&n.to_be_bytes()).await.expect("written");
        streams.push(stream);
    }
    let (_server, _theirs) = in_time(serving).await.expect("no panic");
    for (n, stream) in (0..10_000_u32).zip(&mut streams) {
        let mut buffer = [0; 4];
        stream.read_exact(&mut buffer).await.expect("an answer");
        assert_eq!(buffer, n.to_be_bytes());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_side_closes_the_other_reads_what_came_and_then_that_it_is_gone() {
    for pair in PAIRS {
        in_time(close_one_side(pair)).await;
    }
}

async fn close_one_side(pair: (Whose, Whose)) {
    let (client, mut server) = nodes(pair);
    let mut written = client.open().await;
    written.write_all(&pattern(100_000)).await.expect("written");
    let mut stream = server.accept().await;
    let mut buffer = vec![0; 100_000];
    stream.read_exact(&mut buffer[..1]).await.expect("the first");
    client.close().await;
    if pair.1 == Whose::Ours {
        stream.read_exact(&mut buffer[1..]).await.expect("what was written before");
        assert!(buffer == pattern(100_000));
        let error = stream.read(&mut buffer).await.expect_err("no end was sent");
        assert_eq!(error.kind(), ErrorKind::ConnectionAborted, "{pair:?}");
        let error = stream.write_all(b"x").await.expect_err("nobody is there");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
    if pair.0 == Whose::Ours {
        let error = written.write_all(b"x").await.expect_err("closed here");
        assert_eq!(error.kind(), ErrorKind::BrokenPipe);
    }
}

#[tokio::test]
async fn a_stream_that_cannot_be_opened_ends_no_other() {
    let (a, _b) = tokio::io::duplex(1000);
    let settings = YamuxSettings { max_streams: 1, ..Default::default() };
    let mut muxer = Muxer::new(a.compat(), Side::Client, settings);
    let mut open = async || poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await;
    let mut first = open().await.expect("open");
    let mut second = open().await.expect("a connection");
    let error = second.write_all(b"x").await.expect_err("too many");
    assert!(error.to_string().contains("as many as there may be"), "{error}");
    assert_eq!(second.read(&mut [0]).await.expect_err("too many").kind(), ErrorKind::ConnectionAborted);
    first.write_all(b"x").await.expect("open");
    drop(first);
    open().await.expect("a connection").write_all(b"x").await.expect("open");
}

#[tokio::test]
async fn a_peer_that_breaks_the_rules_is_told_so_and_let_go() {
    let (a, mut peer) = tokio::io::duplex(1000);
    let mut muxer = Muxer::new(a.compat(), Side::Server, YamuxSettings::default());
    peer.write_all(&frame(FrameType::Data, Flags::SYN, 2, 5)).await.expect("written");
    let error = in_time(poll_fn(|cx| Pin::new(&mut muxer).poll(cx))).await.expect_err("an end");
    assert!(matches!(error, SessionError::Violation(Violation::WrongSide(2))));
    assert_eq!(error.to_string(), "the peer broke the yamux protocol: stream 2 opened, an id of this side");
    drop(muxer);
    let mut last = Vec::new();
    peer.read_to_end(&mut last).await.expect("an end");
    assert_eq!(last, frame(FrameType::GoAway, Flags::NONE, 0, GoAway::ProtocolError as u32));
    assert_eq!(last.len(), HEADER);
}

#[tokio::test]
async fn a_peer_that_reads_nothing_stops_the_writers_and_holds_little() {
    let (a, _peer) = tokio::io::duplex(1000);
    let mut muxer = Muxer::new(a.compat(), Side::Client, YamuxSettings::default());
    let mut streams = Vec::new();
    for _ in 0..100 {
        streams.push(poll_fn(|cx| Pin::new(&mut muxer).poll_outbound(cx)).await.expect("open"));
    }
    let data = vec![0; 100_000];
    let mut written = 0;
    for _ in 0..100 {
        for stream in &mut streams {
            let step = futures::poll!(stream.write(&data));
            written += match step {
                std::task::Poll::Ready(length) => length.expect("open"),
                std::task::Poll::Pending => 0,
            };
        }
        assert!(futures::poll!(poll_fn(|cx| Pin::new(&mut muxer).poll(cx))).is_pending());
    }
    assert!((200_000..600_000).contains(&written), "{written}");
}
