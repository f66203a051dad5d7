//! Connections to services, from this node's programs.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use futures::{AsyncReadExt as _, AsyncWriteExt as _};
use hypertap_mesh::{MeshStream, OpenError};
use hypertap_wire::message::{Message, Reader};
use hypertap_wire::service_stream::{
    Opening, PLAIN_SERVICE, PlainOpening, PlainReply, Protocol, Refusal, Reply, SERVICE,
};
use tokio::time::timeout;

use super::far::Far;
use super::server;
use super::state::{Asked, Node};

/// How long a peer is waited for that is not connected.
const CONNECTED_WITHIN: Duration = Duration::from_secs(5);
/// How long a peer may take to answer: what its target may take, and the way there.
const ANSWERED_WITHIN: Duration = Duration::from_secs(12);

/// Opens what a program asked for: `local` is the service's address and the port, `remote` the program's
/// end.
///
/// # Errors
/// What the program is to be told.
pub async fn open(node: &Node, local: SocketAddr, remote: SocketAddr) -> Result<Far, Refusal> {
    let port = NonZeroU16::new(local.port()).ok_or(Refusal::TargetRefused)?;
    let asked = node.asked(local.ip()).ok_or(Refusal::NoSuchService)?;
    if node.tables().peers.is_own(&asked.node) {
        let which = (asked.service, asked.name.as_ref(), port);
        return server::connect(node, &asked.node, which, Some(remote.port())).await;
    }
    let opening = Opening {
        service: asked.service,
        name: asked.name.clone(),
        client_port: remote.port(),
        port,
        protocol: Protocol::Tcp,
    };
    ask_service(node, &asked, &opening).await.map(Far::Mesh)
}

/// Asks a peer for one of its services.
///
/// # Errors
/// What the program is to be told.
pub async fn ask_service(node: &Node, asked: &Asked, opening: &Opening) -> Result<MeshStream, Refusal> {
    let (stream, plain) = stream_to(node, asked, opening.protocol).await?;
    let asked = async { if plain { ask_plainly(stream, opening).await } else { ask(stream, opening).await } };
    match timeout(ANSWERED_WITHIN, asked).await {
        Ok(Ok(answer)) => answer,
        // A stream that breaks before the reply was the peer's way of saying no, or its end.
        Ok(Err(_)) => Err(Refusal::TargetUnreachable),
        Err(_) => Err(Refusal::TimedOut),
    }
}

/// A stream to the service's node, and whether it is one that only says which service.
async fn stream_to(node: &Node, asked: &Asked, protocol: Protocol) -> Result<(MeshStream, bool), Refusal> {
    const ANY: &[&str] = &[SERVICE, PLAIN_SERVICE];
    const OURS: &[&str] = &[SERVICE];
    if !node.mesh.wait_connected(&asked.node, CONNECTED_WITHIN).await {
        return Err(Refusal::TimedOut);
    }
    let protocols = if protocol == Protocol::Tcp { ANY } else { OURS };
    match node.mesh.open(&asked.node, protocols).await {
        Ok((stream, agreed)) => Ok((stream, agreed == PLAIN_SERVICE)),
        Err(OpenError::NotSupported) if protocol == Protocol::Udp => Err(Refusal::WrongProtocol),
        Err(OpenError::NotSupported) => Err(Refusal::NoSuchService),
        Err(OpenError::TimedOut) => Err(Refusal::TimedOut),
        Err(OpenError::NotConnected | OpenError::ConnectionLost | OpenError::Reset) => {
            Err(Refusal::TargetUnreachable)
        }
    }
}

async fn ask(mut stream: MeshStream, opening: &Opening) -> io::Result<Result<MeshStream, Refusal>> {
    send(&mut stream, opening).await?;
    let Reply(answer) = receive(&mut stream).await?;
    Ok(answer.map(|()| stream))
}

async fn ask_plainly(mut stream: MeshStream, opening: &Opening) -> io::Result<Result<MeshStream, Refusal>> {
    send(&mut stream, &PlainOpening(opening.service)).await?;
    let PlainReply(answer) = receive(&mut stream).await?;
    Ok(answer.map(|()| stream))
}

/// Sends a message, at once.
///
/// # Errors
/// The stream is gone.
pub async fn send(stream: &mut MeshStream, message: &impl Message) -> io::Result<()> {
    stream.write_all(&message.emit()).await?;
    stream.flush().await
}

/// Reads a message and nothing after it.
///
/// # Errors
/// The stream ended before, or it is no such message: then [`io::Error::get_ref`] is what is wrong with it.
pub async fn receive<M>(stream: &mut MeshStream) -> io::Result<M>
where
    M: Message,
    M::Error: std::error::Error + Send + Sync + 'static,
{
    let bad = |error: M::Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let mut reader = Reader::<M>::new();
    let mut room = [0; 512];
    loop {
        let missing = reader.missing().map_err(bad)?.clamp(1, room.len());
        let room = room.get_mut(..missing).unwrap_or_default();
        let len = stream.read(room).await?;
        if len == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = room.get(..len).unwrap_or_default();
        if let Some(message) = reader.push(&mut bytes).map_err(bad)? {
            return Ok(message);
        }
    }
}
