//! Datagrams between a peer's stream and a service's target.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hypertap_engine::udp::Outbox;
use hypertap_mesh::MeshStream;
use hypertap_wire::peer_id::PeerId;
use hypertap_wire::service_stream::{ItemReader, Opening, Reply};
use tokio::time::{Instant, Sleep, sleep};

use super::super::client::send;
use super::super::server::close;
use super::super::state::Node;
use super::far::DatagramFar;
use super::target::UdpTarget;

/// How long a flow may be idle here: longer than at the client's node, which thus ends it first.
const IDLE: Duration = Duration::from_secs(90);
/// How many pieces are moved each way before others have a turn.
const TURN: usize = 16;
/// How many bytes may wait for the stream before the socket is left alone, whose own queue then drops.
const ENOUGH: usize = 128 << 10;

/// Serves a peer's flow to one of this node's services, until it ends.
pub async fn serve(node: &Node, peer: PeerId, mut stream: MeshStream, opening: &Opening) {
    let target = UdpTarget::open(node, &peer, opening.service, opening.name.as_ref()).await;
    let reply = Reply(target.as_ref().map(|_| ()).map_err(|refusal| *refusal));
    tracing::debug!(%peer, service = %opening.service, port = opening.port, reply = ?reply.0, "a peer asked by udp");
    if send(&mut stream, &reply).await.is_err() {
        return;
    }
    match target {
        Ok(target) => Relay::new(stream, target).await,
        Err(_) => close(stream).await,
    }
}

struct Relay {
    peer: DatagramFar,
    target: DatagramFar,
    to_peer: Outbox,
    to_target: Outbox,
    active: Instant,
    timer: Pin<Box<Sleep>>,
}

impl Relay {
    fn new(stream: MeshStream, target: UdpTarget) -> Self {
        Self {
            peer: DatagramFar::Mesh(stream, ItemReader::new()),
            target: DatagramFar::Target(target),
            to_peer: Outbox::new(),
            to_target: Outbox::new(),
            active: Instant::now(),
            timer: Box::pin(sleep(IDLE)),
        }
    }

    /// Moves what can be moved one way. Ready: it is over, or there may be more.
    fn turn(
        cx: &mut Context<'_>,
        (from, to): (&mut DatagramFar, &mut DatagramFar),
        outbox: &mut Outbox,
        active: &mut Instant,
    ) -> Poll<std::io::Result<()>> {
        for _ in 0..TURN {
            let is_sent = to.poll_send(cx, outbox)?.is_ready();
            if !is_sent && outbox.len() >= ENOUGH {
                return Poll::Pending;
            }
            let received = from.poll_recv(cx, &mut |item| {
                // What was received at once is bounded by its room, and so is this.
                outbox.push(item, usize::MAX);
            });
            match received? {
                Poll::Ready(()) => *active = Instant::now(),
                Poll::Pending if outbox.is_empty() || !is_sent => return Poll::Pending,
                Poll::Pending => {}
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Future for Relay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.target.poll_cut(cx).is_ready() {
            return Poll::Ready(());
        }
        let there = Self::turn(cx, (&mut this.peer, &mut this.target), &mut this.to_target, &mut this.active);
        let back = Self::turn(cx, (&mut this.target, &mut this.peer), &mut this.to_peer, &mut this.active);
        if let (Poll::Ready(Err(_)), _) | (_, Poll::Ready(Err(_))) = (&there, &back) {
            return Poll::Ready(());
        }
        if there.is_ready() || back.is_ready() {
            cx.waker().wake_by_ref();
        }
        while this.timer.as_mut().poll(cx).is_ready() {
            if this.active.elapsed() >= IDLE {
                return Poll::Ready(());
            }
            let until = this.active + IDLE;
            this.timer.as_mut().reset(until);
        }
        Poll::Pending
    }
}
