//! Connections to what stands behind a service.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, ToSocketAddrs};
use std::num::NonZeroU16;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use hypertap_wire::service_stream::Refusal;
use hypertap_wire::target::{Host, Target, TargetPort};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::far::Far;

/// How long a target may take.
pub const WITHIN: Duration = Duration::from_secs(8);
/// How long each of its addresses but the last may.
const WITHIN_EACH: Duration = Duration::from_secs(2);

/// Names that are looked up at the same time. Each takes one of the threads that all of the node's waiting for
/// files and resolvers is done by, for as long as the resolver likes.
static LOOKUPS: Semaphore = Semaphore::const_new(32);

/// Connects to a target that is not UDP. `asked` is the port that the client asked for.
///
/// # Errors
/// What the client is to be told.
pub async fn dial(target: &Target, asked: NonZeroU16) -> Result<Far, Refusal> {
    let connecting = async {
        match target {
            Target::Tcp(host, port) => {
                let port = match port {
                    TargetPort::Fixed(port) => *port,
                    TargetPort::AsAsked => asked,
                };
                tcp(host, port.get()).await.map(|stream| Far::Tcp(stream.into()))
            }
            Target::Unix(path) => UnixStream::connect(path).await.map(|stream| Far::Unix(stream.into())),
            Target::Udp(..) => return Err(Refusal::WrongProtocol),
        }
        .map_err(|error| refusal(&error))
    };
    timeout(WITHIN, connecting).await.unwrap_or(Err(Refusal::TimedOut))
}

/// The addresses of a host, at least one.
///
/// # Errors
/// It has none, or they cannot be asked for.
pub async fn addresses(host: &Host, port: u16) -> io::Result<Vec<SocketAddr>> {
    match host {
        Host::Ip(address) => Ok(vec![SocketAddr::new(*address, port)]),
        Host::Dns(name) => {
            // It goes with the thread, which waits on when nobody does any more.
            let permit = LOOKUPS.try_acquire().map_err(|_| ErrorKind::ResourceBusy)?;
            let name = name.clone();
            let lookup = move || {
                let _permit = permit;
                (name.as_str(), port).to_socket_addrs().map(Iterator::collect)
            };
            let found: Vec<_> = spawn_blocking(lookup).await.map_err(io::Error::other)??;
            if found.is_empty() { Err(ErrorKind::AddrNotAvailable.into()) } else { Ok(found) }
        }
    }
}

async fn tcp(host: &Host, port: u16) -> io::Result<TcpStream> {
    let addresses = addresses(host, port).await?;
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for (at, address) in addresses.iter().enumerate() {
        let at_most = if at + 1 == addresses.len() { WITHIN } else { WITHIN_EACH };
        match timeout(at_most, connect(*address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

async fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    // Where nobody listens at a port that the kernel may choose from, it may choose that one for this end,
    // and the socket is connected to itself (RFC 9293, section 3.5, simultaneous initiation).
    if stream.local_addr()? == stream.peer_addr()? {
        // Closed in the ordinary way it would keep the port for a minute.
        let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        return Err(ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What a client is told of a target that cannot be connected to.
pub fn refusal(error: &io::Error) -> Refusal {
    /// The process or the machine has all the files open that it may.
    const EXHAUSTED: [i32; 2] = [24, 23];
    match error.kind() {
        // A Unix socket that is not there, or full, is a target that does not listen.
        ErrorKind::ConnectionRefused
        | ErrorKind::ConnectionReset
        | ErrorKind::NotFound
        | ErrorKind::WouldBlock => Refusal::TargetRefused,
        ErrorKind::TimedOut => Refusal::TimedOut,
        ErrorKind::ResourceBusy => Refusal::Busy,
        _ if error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code)) => {
            say_exhausted();
            Refusal::Busy
        }
        _ => Refusal::TargetUnreachable,
    }
}

/// Says in the log why connections are refused, once a minute at most.
fn say_exhausted() {
    const EVERY: Duration = Duration::from_secs(60);
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|said| said.elapsed() >= EVERY) {
        *said = Some(Instant::now());
        tracing::warn!(
            "new connections are refused: all the files are open that may be (ulimit -n, LimitNOFILE=)"
        );
    }
}
