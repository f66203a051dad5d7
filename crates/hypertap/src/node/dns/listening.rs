//! Where queries come in.

use std::io::{self, ErrorKind};
use std::net::SocketAddrV4;

use anyhow::anyhow;
use hypertap_wire::service_address::dns_listener;
use tokio::net::{TcpListener, UdpSocket};

use crate::exit::{Exit, Failure};

/// Where resolv.conf(5) looks for a DNS server.
const PORT: u16 = 53;

/// The server's sockets.
#[derive(Debug)]
pub struct Listening {
    /// Where they are: the address and port that follow from the interface's name.
    pub address: SocketAddrV4,
    /// Whether there are such at port 53 too.
    pub is_at_53: bool,
    pub(super) datagrams: Vec<UdpSocket>,
    pub(super) streams: Vec<TcpListener>,
}

impl Listening {
    /// The sockets for an interface of this name. Port 53 is done without where it cannot be had.
    ///
    /// # Errors
    /// [`Exit::Taken`] when another has the address and port.
    pub async fn of(interface: &str) -> Result<Self, Failure> {
        let address = dns_listener(interface);
        let (datagrams, streams) = bind(address).await.map_err(|error| failure(address, &error))?;
        let mut this = Self { address, is_at_53: false, datagrams: vec![datagrams], streams: vec![streams] };
        let usual = SocketAddrV4::new(*address.ip(), PORT);
        match bind(usual).await {
            Ok((datagrams, streams)) => {
                this.is_at_53 = true;
                this.datagrams.push(datagrams);
                this.streams.push(streams);
            }
            Err(error) => {
                tracing::info!(address = %usual, %error, "names are not served at port 53, only at {}", address.port());
            }
        }
        Ok(this)
    }
}

async fn bind(address: SocketAddrV4) -> io::Result<(UdpSocket, TcpListener)> {
    Ok((UdpSocket::bind(address).await?, TcpListener::bind(address).await?))
}

fn failure(address: SocketAddrV4, error: &io::Error) -> Failure {
    let (exit, advice) = match error.kind() {
        ErrorKind::AddrInUse => {
            (Exit::Taken, "end what listens there, or choose another interface name, from which it follows")
        }
        ErrorKind::AddrNotAvailable => (Exit::Other, "set the loopback interface up (`ip link set lo up`)"),
        _ => (Exit::Other, "names cannot be served"),
    };
    Failure::new(exit, anyhow!("cannot listen at {address} (UDP and TCP), for DNS: {error}; {advice}"))
}
