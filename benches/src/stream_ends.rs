//! Both ends of byte streams: of a stock libp2p node, which services are held against, and of plain TCP, which
//! goes through a service.
//!
//! ```text
//!   stream_ends listen MULTIADDR            prints its address with the peer id, and serves until it is ended
//!   stream_ends listen ADDRESS:PORT         the same, of TCP: an echo
//!   stream_ends stream MULTIADDR SECS       one stream, written to for so long
//!   stream_ends ping WHERE SECS             64 bytes there and back, one after the other
//!   stream_ends open WHERE SECS COUNT       streams opened for 64 bytes there and back, so many at once
//!   stream_ends hold ADDRESS:PORT COUNT KIB CHURN
//!                                           opens so many, moves so much there and back on each, opens and
//!                                           closes CHURN others, says so, and holds them until it is ended
//! ```
//!
//! WHERE is either. Results are one line of JSON. TCP of libp2p is with TLS and Yamux; all of it as it is by itself.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Parser;
use futures::io::{AsyncRead, AsyncWrite};
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::multiaddr::Protocol;
use libp2p::swarm::SwarmEvent;
use libp2p::{Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, tcp, tls, yamux};
use libp2p_stream::{Behaviour, Control};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::compat::TokioAsyncReadCompatExt;

/// What is written is counted, and the count is the answer.
const SINK: StreamProtocol = StreamProtocol::new("/bench/sink");
/// What is written comes back.
const ECHO: StreamProtocol = StreamProtocol::new("/bench/echo");
const CHUNK: usize = 64 << 10;
const MESSAGE: usize = 64;
/// Connections of `hold` that do something at the same time.
const AT_ONCE: u32 = 32;

#[derive(Parser)]
enum Job {
    Listen { at: String },
    Stream { to: String, secs: u64 },
    Ping { to: String, secs: u64 },
    Open { to: String, secs: u64, count: u32 },
    Hold { to: String, count: u32, kib: u64, churn: u32 },
}

/// A stream, of either kind.
type Duplex = Box<dyn Both>;

trait Both: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Both for T {}

/// Where streams are opened.
#[derive(Clone)]
enum To {
    Peer { control: Control, peer: PeerId, _swarm: Arc<JoinSet<()>> },
    Tcp(SocketAddr),
}

#[tokio::main]
async fn main() -> Result<()> {
    let result = match Job::parse() {
        Job::Listen { at } => match at.parse::<SocketAddr>() {
            Ok(address) => return listen_tcp(address).await,
            Err(_) => return listen(at.parse()?).await,
        },
        Job::Stream { to, secs } => stream(&connect(&to).await?, secs).await?,
        Job::Ping { to, secs } => ping(&connect(&to).await?, secs).await?,
        Job::Open { to, secs, count } => open(&connect(&to).await?, secs, count).await?,
        Job::Hold { to, count, kib, churn } => {
            return hold(&connect(&to).await?, count, kib << 10, churn).await;
        }
    };
    println!("{result}");
    Ok(())
}

fn swarm() -> Result<Swarm<Behaviour>> {
    Ok(SwarmBuilder::with_new_identity()
        .with_tokio()
        .with_tcp(tcp::Config::default(), tls::Config::new, yamux::Config::default)?
        .with_quic()
        .with_behaviour(|_| Behaviour::new())?
        .with_swarm_config(|config| config.with_idle_connection_timeout(Duration::from_secs(3600)))
        .build())
}

async fn connect(to: &str) -> Result<To> {
    if let Ok(address) = to.parse() {
        return Ok(To::Tcp(address));
    }
    let mut swarm = swarm()?;
    swarm.dial(to.parse::<Multiaddr>()?)?;
    let peer = loop {
        match swarm.select_next_some().await {
            SwarmEvent::ConnectionEstablished { peer_id, .. } => break peer_id,
            SwarmEvent::OutgoingConnectionError { error, .. } => bail!("cannot connect: {error}"),
            _ => {}
        }
    };
    let control = swarm.behaviour().new_control();
    let mut goes_on = JoinSet::new();
    goes_on.spawn(async move { while swarm.next().await.is_some() {} });
    Ok(To::Peer { control, peer, _swarm: Arc::new(goes_on) })
}

impl To {
    async fn open(&self, protocol: StreamProtocol) -> Result<Duplex> {
        match self {
            To::Peer { control, peer, .. } => {
                Ok(Box::new(control.clone().open_stream(*peer, protocol).await?))
            }
            To::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Box::new(stream.compat()))
            }
        }
    }
}

async fn listen(address: Multiaddr) -> Result<()> {
    let mut swarm = swarm()?;
    let mut control = swarm.behaviour().new_control();
    let (mut sinks, mut echoes) = (control.accept(SINK)?, control.accept(ECHO)?);
    swarm.listen_on(address)?;
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            event = swarm.select_next_some() => if let SwarmEvent::NewListenAddr { address, .. } = event {
                println!("{}", address.with(Protocol::P2p(*swarm.local_peer_id())));
            },
            Some((_, stream)) = sinks.next() => drop(tasks.spawn(sink(stream))),
            Some((_, stream)) = echoes.next() => drop(tasks.spawn(echo(stream))),
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn listen_tcp(address: SocketAddr) -> Result<()> {
    let listener = TcpListener::bind(address).await?;
    println!("{}", listener.local_addr()?);
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                stream.set_nodelay(true)?;
                tasks.spawn(echo(stream.compat()));
            }
            Some(_) = tasks.join_next() => {}
        }
    }
}

async fn sink(mut stream: impl Both) -> Result<()> {
    let mut room = vec![0; CHUNK];
    let mut count = 0_u64;
    loop {
        match stream.read(&mut room).await? {
            0 => break,
            len => count += len as u64,
        }
    }
    stream.write_all(&count.to_be_bytes()).await?;
    Ok(stream.close().await?)
}

async fn echo(stream: impl Both) -> Result<()> {
    let (reader, mut writer) = stream.split();
    futures::io::copy(reader, &mut writer).await?;
    Ok(writer.close().await?)
}

async fn stream(to: &To, secs: u64) -> Result<Value> {
    let mut stream = to.open(SINK).await?;
    let chunk = vec![0x5a; CHUNK];
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(secs) {
        stream.write_all(&chunk).await?;
    }
    stream.close().await?;
    let mut count = [0; 8];
    stream.read_exact(&mut count).await.context("no count came back")?;
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let bits = u64::from_be_bytes(count) as f64 * 8.0;
    Ok(json!({"bits_per_second": bits / begin.elapsed().as_secs_f64()}))
}

async fn ping(to: &To, secs: u64) -> Result<Value> {
    let mut stream = to.open(ECHO).await?;
    let mut trips = Vec::new();
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(secs) {
        let sent = Instant::now();
        there_and_back(&mut stream, &mut [7; MESSAGE]).await?;
        trips.push(sent.elapsed());
    }
    trips.sort_unstable();
    let median = trips.get(trips.len() / 2).context("nothing came back")?;
    Ok(json!({"median_us": median.as_secs_f64() * 1e6}))
}

async fn open(to: &To, secs: u64, count: u32) -> Result<Value> {
    let end = Instant::now() + Duration::from_secs(secs);
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let to = to.clone();
        tasks.spawn(async move {
            let (mut opened, mut failed) = (0_u32, 0_u32);
            while Instant::now() < end {
                match exchange(&to).await {
                    Ok(()) => opened += 1,
                    Err(_) => failed += 1,
                }
            }
            (opened, failed)
        });
    }
    let all = tasks.join_all().await;
    let (opened, failed) = all.iter().fold((0, 0), |(a, b), (opened, failed)| (a + opened, b + failed));
    #[expect(clippy::cast_precision_loss, reason = "a figure")]
    let secs = secs as f64;
    Ok(json!({"a_second": f64::from(opened) / secs, "failed": failed}))
}

/// A connection for one message there and back.
async fn exchange(to: &To) -> Result<()> {
    let mut stream = to.open(ECHO).await?;
    there_and_back(&mut stream, &mut [7; MESSAGE]).await?;
    stream.close().await?;
    Ok(())
}

async fn there_and_back(stream: &mut Duplex, message: &mut [u8]) -> Result<()> {
    stream.write_all(message).await?;
    stream.flush().await?;
    Ok(stream.read_exact(message).await?)
}

async fn hold(to: &To, count: u32, bytes: u64, churn: u32) -> Result<()> {
    let held = in_turns(count, || {
        let to = to.clone();
        async move {
            let mut stream = to.open(ECHO).await?;
            let mut message = vec![7; CHUNK.min(usize::try_from(bytes)?)];
            let mut moved = 0;
            while moved < bytes {
                there_and_back(&mut stream, &mut message).await?;
                moved += message.len() as u64;
            }
            Ok(stream)
        }
    })
    .await?;
    in_turns(churn, || {
        let to = to.clone();
        async move { exchange(&to).await }
    })
    .await?;
    println!("{}", json!({"held": held.len()}));
    std::future::pending().await
}

/// Does something so many times, some at once; what each gave.
async fn in_turns<T, F>(count: u32, job: impl Fn() -> F) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let mut tasks = JoinSet::new();
    let mut done = Vec::new();
    for number in 0..count {
        if number >= AT_ONCE {
            done.push(tasks.join_next().await.context("one is under way")???);
        }
        tasks.spawn(job());
    }
    while let Some(one) = tasks.join_next().await {
        done.push(one??);
    }
    Ok(done)
}
