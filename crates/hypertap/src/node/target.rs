//! Connections to what stands behind a service.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use hypertap_wire::service_stream::Refusal;
use hypertap_wire::target::{Host, Target, TargetPort};
use tokio::net::{TcpStream, UnixStream, lookup_host};
use tokio::time::timeout;

use super::far::Far;

/// How long a target may take.
const WITHIN: Duration = Duration::from_secs(8);

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
                tcp(host, port.get()).await.map(Far::Tcp)
            }
            Target::Unix(path) => UnixStream::connect(path).await.map(Far::Unix),
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
            let found: Vec<_> = lookup_host((name.as_str(), port)).await?.collect();
            if found.is_empty() { Err(ErrorKind::AddrNotAvailable.into()) } else { Ok(found) }
        }
    }
}

async fn tcp(host: &Host, port: u16) -> io::Result<TcpStream> {
    let mut last = io::Error::from(ErrorKind::AddrNotAvailable);
    for address in addresses(host, port).await? {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
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
        _ if error.raw_os_error().is_some_and(|code| EXHAUSTED.contains(&code)) => Refusal::Busy,
        _ => Refusal::TargetUnreachable,
    }
}
