//! Connections to this node's services, from peers.

use std::io;
use std::net::SocketAddrV6;
use std::num::NonZeroU16;
use std::time::Duration;

use hypertap_engine::services::registry::Service;
use hypertap_mesh::MeshStream;
use hypertap_wire::label::Label;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::proxy_protocol::ProxyHeader;
use hypertap_wire::service_address::{NodeId, ServiceId};
use hypertap_wire::service_stream::{
    Opening, OpeningError, PlainOpening, PlainReply, Protocol, Refusal, Reply,
};
use hypertap_wire::target::{Target, TargetPort};
use tokio::time::timeout;

use super::client::{receive, send};
use super::far::Far;
use super::splice::Splice;
use super::state::Node;
use super::target;
use super::udp;
use super::usage::Use;

/// How long a peer may take to say which service it wants.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// From the plain protocol's yes to the end of a target that says nothing: a client on QUIC that finds both
/// together takes the yes for a failure.
const APART: Duration = Duration::from_millis(50);

/// Serves a stream of `/hypertap/service/1`, until it ends.
pub async fn serve(node: &Node, peer: PeerId, mut stream: MeshStream) {
    let Some(guest) = node.guests.enter(peer) else { return };
    let opening = match timeout(ASKED_WITHIN, receive::<Opening>(&mut stream)).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(error)) => {
            tracing::debug!(%peer, %error, "a stream asked for nothing");
            if is_other_protocol(&error)
                && send(&mut stream, &Reply(Err(Refusal::WrongProtocol))).await.is_ok()
            {
                close(stream).await;
            }
            return;
        }
        Err(_) => return tracing::debug!(%peer, "a stream asked for nothing in time"),
    };
    let connected = match opening.protocol {
        _ if guest.is_too_many() => Err(Refusal::Busy),
        Protocol::Tcp => {
            let asked = (opening.service, opening.name.as_ref(), opening.port);
            connect(node, &peer, asked, Some(opening.client_port)).await
        }
        Protocol::Udp => return udp::serve(node, peer, stream, &opening).await,
    };
    let reply = Reply(connected.as_ref().map(|_| ()).map_err(|refusal| *refusal));
    tracing::debug!(%peer, service = %opening.service, port = opening.port, reply = ?reply.0, "a peer asked");
    if send(&mut stream, &reply).await.is_ok()
        && let Ok(far) = connected
    {
        Splice::new(Far::Mesh(stream), far).await;
    } else {
        close(stream).await;
    }
}

/// Serves a stream of `/hyprspace/service/0.0.1`, until it ends.
pub async fn serve_plainly(node: &Node, peer: PeerId, mut stream: MeshStream) {
    let Some(guest) = node.guests.enter(peer) else { return };
    let Ok(Ok(PlainOpening(service))) = timeout(ASKED_WITHIN, receive(&mut stream)).await else { return };
    // It does not say which port it was asked for; a service that wants to know has none.
    let port = NonZeroU16::MAX;
    let takes_any =
        node.tables().registry.find(service, None).is_some_and(|service| takes_any_port(&service.target));
    let connected = if guest.is_too_many() {
        Err(Refusal::Busy)
    } else if takes_any {
        Err(Refusal::NoSuchService)
    } else {
        connect(node, &peer, (service, None, port), None).await
    };
    let reply = PlainReply(connected.as_ref().map(|_| ()).map_err(|refusal| *refusal));
    tracing::debug!(%peer, %service, reply = ?reply.0, "a peer asked");
    if send(&mut stream, &reply).await.is_ok()
        && let Ok(far) = connected
    {
        Splice::new(Far::Mesh(stream), far.ends_not_within(APART)).await;
    } else {
        close(stream).await;
    }
}

/// Whether an opening is whole, and asks for something that a later version may have.
fn is_other_protocol(error: &io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    matches!(cause, Some(OpeningError::UnknownProtocol(_)))
}

fn takes_any_port(target: &Target) -> bool {
    matches!(target, Target::Tcp(_, TargetPort::AsAsked))
}

/// Connects to a service's target, for a peer or this node itself.
///
/// # Errors
/// What the client is to be told.
pub async fn connect(
    node: &Node,
    peer: &PeerId,
    (service, name, port): (ServiceId, Option<&Label>, NonZeroU16),
    client_port: Option<u16>,
) -> Result<Far, Refusal> {
    let (granted, used) = grant(node, peer, service, name)?;
    let mut far = target::dial(&granted.target, port).await?;
    if granted.proxy_protocol {
        let header = proxy_header(node, peer, service, client_port.map(|client| (client, port.get())));
        write_all(&mut far, &header.emit()).await.map_err(|_| Refusal::TargetRefused)?;
    }
    Ok(far.used(used))
}

/// Grants a service of this node to a peer, or to this node itself, and begins its use.
///
/// # Errors
/// What the client is to be told.
pub fn grant(
    node: &Node,
    peer: &PeerId,
    service: ServiceId,
    name: Option<&Label>,
) -> Result<(Service, Use), Refusal> {
    // Under the lock, so that a change of the tables misses nobody.
    let tables = node.tables();
    let granted = tables.granted(peer, service, name)?;
    let used = node.usage.begin(&granted.name, *peer);
    drop(tables);
    if node.checks.is_failing(&granted) { Err(Refusal::CheckFailing) } else { Ok((granted, used)) }
}

/// Who the client is, as its node says.
fn proxy_header(node: &Node, peer: &PeerId, service: ServiceId, ports: Option<(u16, u16)>) -> ProxyHeader {
    let tables = node.tables();
    let own = NodeId::of(tables.peers.own().id()).service_ipv6(service);
    match ports.and_then(|(client, port)| Some((tables.program_of(peer, client)?, (own, port)))) {
        Some((source, (own, port))) => ProxyHeader::Proxy {
            protocol: Protocol::Tcp,
            source,
            destination: SocketAddrV6::new(own, port, 0, 0),
        },
        None => ProxyHeader::Local,
    }
}

async fn write_all(far: &mut Far, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        let written = std::future::poll_fn(|cx| far.poll_write(cx, bytes)).await?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Ends a stream after a refusal, so that the refusal arrives before the end.
pub async fn close(stream: MeshStream) {
    let mut far = Far::Mesh(stream);
    let ended = async {
        std::future::poll_fn(|cx| far.poll_close(cx)).await?;
        let mut room = [0; 64];
        while std::future::poll_fn(|cx| far.poll_read(cx, &mut room)).await? > 0 {}
        io::Result::Ok(())
    };
    let _ = timeout(ASKED_WITHIN, ended).await;
}
