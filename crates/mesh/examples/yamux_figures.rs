//! Our Yamux and the `yamux` crate side by side: throughput over TCP and TLS 1.3 as libp2p makes it, and
//! streams a second.
//!
//! `cargo run --release -p hypertap-mesh --example yamux_figures [SECONDS]`

#![expect(clippy::disallowed_methods, reason = "tasks end with the program")]
#![expect(clippy::cast_precision_loss, reason = "figures are read by people")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use hypertap_mesh::yamux::{Muxer, Side, YamuxSettings};
use libp2p::core::muxing::StreamMuxer;
use libp2p::core::upgrade::{InboundConnectionUpgrade, OutboundConnectionUpgrade};
use libp2p::identity::Keypair;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio_util::compat::TokioAsyncReadCompatExt;

const WRITE: usize = 64 << 10;

type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Duplex for T {}

/// What is compared.
trait Connection: Send + 'static {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>>;
    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>>;
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Muxer<C> {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        StreamMuxer::poll_inbound(Pin::new(self), cx).map(|stream| Some(Box::new(stream.ok()?) as _))
    }

    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        StreamMuxer::poll_outbound(Pin::new(self), cx).map(|stream| Some(Box::new(stream.ok()?) as _))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        StreamMuxer::poll(Pin::new(self), cx).map(|_| ())
    }
}

impl<C: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for yamux::Connection<C> {
    fn poll_inbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.poll_next_inbound(cx).map(|stream| Some(Box::new(stream?.ok()?) as _))
    }

    fn poll_outbound(&mut self, cx: &mut Context<'_>) -> Poll<Option<Stream>> {
        self.poll_new_outbound(cx).map(|stream| Some(Box::new(stream.ok()?) as _))
    }

    fn poll_rest(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

/// Drives `connection`; gives out a stream for each wish, or passes on those that come.
async fn drive(
    mut connection: impl Connection,
    mut wishes: mpsc::Receiver<()>,
    streams: mpsc::Sender<Stream>,
) {
    let mut is_wanted = false;
    poll_fn(|cx| {
        loop {
            match wishes.poll_recv(cx) {
                Poll::Ready(Some(())) if !is_wanted => is_wanted = true,
                Poll::Ready(None) => return Poll::Ready(()),
                _ => {}
            }
            if is_wanted && let Poll::Ready(stream) = connection.poll_outbound(cx) {
                is_wanted = false;
                _ = stream.map(|stream| streams.try_send(stream));
                continue;
            }
            match connection.poll_inbound(cx) {
                Poll::Ready(Some(stream)) => _ = streams.try_send(stream),
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => return connection.poll_rest(cx),
            }
        }
    })
    .await;
}

/// A way to get streams; the connection lasts as long.
struct Node {
    wishes: mpsc::Sender<()>,
    streams: mpsc::Receiver<Stream>,
}

impl Node {
    fn new(connection: impl Connection) -> Self {
        let ((wishes, ordered), (given, streams)) = (mpsc::channel(1), mpsc::channel(10_000));
        tokio::spawn(drive(connection, ordered, given));
        Self { wishes, streams }
    }

    async fn open(&mut self) -> Stream {
        self.wishes.send(()).await.expect("a connection");
        self.accept().await
    }

    async fn accept(&mut self) -> Stream {
        self.streams.recv().await.expect("a connection")
    }
}

/// Two ends of a TCP connection, with libp2p's TLS.
async fn secured() -> (impl Duplex + 'static, impl Duplex + 'static) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (client, server) = tokio::join!(TcpStream::connect(address), listener.accept());
    let (client, (server, _)) = (client.expect("connected"), server.expect("accepted"));
    for socket in [&client, &server] {
        socket.set_nodelay(true).expect("an option of TCP");
    }
    let tls = || libp2p::tls::Config::new(&Keypair::generate_ed25519()).expect("a certificate");
    let (client, server) = tokio::join!(
        OutboundConnectionUpgrade::upgrade_outbound(tls(), client.compat(), "/tls/1.0.0"),
        InboundConnectionUpgrade::upgrade_inbound(tls(), server.compat(), "/tls/1.0.0"),
    );
    (client.expect("TLS").1, server.expect("TLS").1)
}

async fn nodes(is_ours: bool) -> (Node, Node) {
    let (client, server) = secured().await;
    if is_ours {
        let settings = YamuxSettings::default();
        let client = Muxer::new(client, Side::Client, settings.clone());
        (Node::new(client), Node::new(Muxer::new(server, Side::Server, settings)))
    } else {
        let config = || {
            let mut config = yamux::Config::default();
            config.set_read_after_close(false);
            config
        };
        let client = yamux::Connection::new(client, config(), yamux::Mode::Client);
        (Node::new(client), Node::new(yamux::Connection::new(server, config(), yamux::Mode::Server)))
    }
}

async fn send(mut stream: impl AsyncWrite + Unpin, until: Instant) {
    let data = vec![7; WRITE];
    while Instant::now() < until {
        stream.write_all(&data).await.expect("written");
    }
    stream.close().await.expect("closed");
}

async fn receive(mut stream: impl AsyncRead + Unpin) -> u64 {
    let (mut buffer, mut total) = (vec![0; WRITE], 0);
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return total,
            Ok(length) => total += length as u64,
        }
    }
}

/// How many Gbit were carried raw, without Yamux.
async fn raw(time: Duration) -> f64 {
    let (client, server) = secured().await;
    let sending = tokio::spawn(send(client, Instant::now() + time));
    let bytes = receive(server).await;
    sending.await.expect("no panic");
    bytes as f64 * 8e-9
}

/// How many Gbit were carried by so many streams at once.
async fn throughput(is_ours: bool, streams: usize, time: Duration) -> f64 {
    let (mut client, mut server) = nodes(is_ours).await;
    let (mut tasks, until) = (tokio::task::JoinSet::new(), Instant::now() + time);
    for _ in 0..streams {
        tokio::spawn(send(client.open().await, until));
        tasks.spawn(receive(server.accept().await));
    }
    tasks.join_all().await.iter().sum::<u64>() as f64 * 8e-9
}

/// How many streams were opened, carried 64 bytes to and fro, and were closed; 16 at once.
async fn exchanges(is_ours: bool, time: Duration) -> f64 {
    let (mut client, mut server) = nodes(is_ours).await;
    let until = Instant::now() + time;
    let serving = tokio::spawn(async move {
        loop {
            let mut stream = server.accept().await;
            tokio::spawn(async move {
                let mut buffer = [0; 64];
                stream.read_exact(&mut buffer).await.expect("a request");
                stream.write_all(&buffer).await.expect("a reply");
                stream.close().await.expect("closed");
                _ = stream.read(&mut buffer).await;
            });
        }
    });
    let (mut tasks, mut done) = (tokio::task::JoinSet::new(), 0_u32);
    while Instant::now() < until {
        while tasks.len() < 16 {
            let mut stream = client.open().await;
            tasks.spawn(async move {
                let mut buffer = [9; 64];
                stream.write_all(&buffer).await.expect("written");
                stream.close().await.expect("closed");
                stream.read_exact(&mut buffer).await.expect("a reply");
                _ = stream.read(&mut buffer).await;
            });
        }
        tasks.join_next().await.expect("a task").expect("no panic");
        done += 1;
    }
    tasks.join_all().await;
    serving.abort();
    f64::from(done)
}

/// The CPU time of this process in seconds; zero where there is no such file.
fn cpu_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // User and system time, in ticks of 10 ms, after the program's name.
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// How much was done in a second, and in a second of one CPU, by the middle of three runs.
async fn measure(what: &str, run: impl AsyncFn() -> f64) {
    let mut runs = Vec::new();
    for _ in 0..3 {
        let (began, used) = (Instant::now(), cpu_time());
        let done = run().await;
        runs.push((done / began.elapsed().as_secs_f64(), done / (cpu_time() - used)));
    }
    runs.sort_by(|a, b| a.1.total_cmp(&b.1));
    let (a_second, a_cpu_second) = runs[1];
    println!("{what:<40} {a_second:9.2} {a_cpu_second:12.2}");
}

#[tokio::main]
async fn main() {
    let seconds = std::env::args().nth(1).map_or(1.0, |text| text.parse().expect("a number of seconds"));
    let time = Duration::from_secs_f64(seconds);
    println!("{:<40} {:>9} {:>12}", "", "a second", "a CPU second");
    measure("TLS alone, Gbit", async || raw(time).await).await;
    for streams in [1, 8] {
        for (is_ours, whose) in [(true, "ours"), (false, "yamux crate")] {
            let what = format!("{streams} streams, {whose}, Gbit");
            measure(&what, async || throughput(is_ours, streams, time).await).await;
        }
    }
    for (is_ours, whose) in [(true, "ours"), (false, "yamux crate")] {
        measure(&format!("exchanges, {whose}"), async || exchanges(is_ours, time).await).await;
    }
}
