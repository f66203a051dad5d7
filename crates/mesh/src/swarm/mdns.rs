//! Peers on this link (mDNS), within bounds.
//!
//! Any host of the link may announce what it likes, as fast and for as long as it likes; libp2p reads all of
//! it, keeps it for so long and searches it each time. So mDNS has a runtime of its own, on a thread of its
//! own. When too much is kept, or that runtime was busy for too long, it is dropped with all that it holds,
//! and nobody is listened to for a while. The addresses of configured peers are in the table of peers by
//! then, which has a bound of its own.

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::task::{Context, Poll};
use std::thread;
use std::time::Duration;

use libp2p::core::Endpoint;
use libp2p::core::transport::{ListenerId, PortUse};
use libp2p::mdns::{self, tokio::Behaviour};
use libp2p::swarm::{
    ConnectionDenied, ConnectionId, ExpiredListenAddr, FromSwarm, ListenAddresses, NetworkBehaviour,
    NewListenAddr, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
};
use libp2p::{Multiaddr, PeerId};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};

/// How many addresses are kept at once. All hosts of a link have a few hundred.
const MOST_KEPT: usize = 1024;
/// For how long it may be busy in one [`WHILE`].
const MOST_BUSY: Duration = Duration::from_millis(500);
/// How often it is looked whether it is too busy.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// For how long what it did counts, and for how long it rests when that was too much.
const WHILE: Duration = Duration::from_secs(60);
/// What is found and not yet taken; more waits.
const EVENTS: usize = 16;

/// The swarm's side. The thread ends when it is dropped.
pub(crate) struct Mdns {
    listening: watch::Sender<ListenAddresses>,
    found: mpsc::Receiver<mdns::Event>,
}

impl Mdns {
    /// Looks for peers on this link, and tells them of this one.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(crate) fn new(id: PeerId) -> io::Result<Self> {
        let (listening, where_we_listen) = watch::channel(ListenAddresses::default());
        let (sender, found) = mpsc::channel(EVENTS);
        let run = move || {
            if let Err(error) = run(id, where_we_listen, &sender) {
                tracing::warn!(%error, "peers on this link are not looked for: mDNS cannot be used");
            }
        };
        thread::Builder::new().name("mdns".to_owned()).spawn(run)?;
        Ok(Self { listening, found })
    }
}

/// Why it ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    /// The swarm is gone.
    Gone,
    /// It was too much.
    TooMuch,
}

fn run(
    id: PeerId,
    mut listening: watch::Receiver<ListenAddresses>,
    found: &mpsc::Sender<mdns::Event>,
) -> io::Result<()> {
    while runtime()?.block_on(session(id, &mut listening, found))? == Ended::TooMuch {
        tracing::warn!(
            "some host announces too much on this link (mDNS): peers are not looked for there for {} s",
            WHILE.as_secs()
        );
        if runtime()?.block_on(rest(&mut listening)) == Ended::Gone {
            break;
        }
    }
    Ok(())
}

/// It looks at its timers after every step of a task, so that no flood of packets keeps it from that.
fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().event_interval(1).enable_all().build()
}

async fn session(
    id: PeerId,
    listening: &mut watch::Receiver<ListenAddresses>,
    found: &mpsc::Sender<mdns::Event>,
) -> io::Result<Ended> {
    let inner = Behaviour::new(mdns::Config::default(), id)?;
    Ok(tokio::select! {
        () = too_busy() => Ended::TooMuch,
        ended = look(inner, listening, found) => ended,
    })
}

async fn look(
    mut inner: Behaviour,
    listening: &mut watch::Receiver<ListenAddresses>,
    found: &mpsc::Sender<mdns::Event>,
) -> Ended {
    let mut told = ListenAddresses::default();
    listening.mark_changed();
    loop {
        tokio::select! {
            changed = listening.changed() => {
                if changed.is_err() {
                    return Ended::Gone;
                }
                tell(&mut inner, &mut told, &listening.borrow_and_update());
            }
            event = poll_fn(|context| inner.poll(context)) => {
                if inner.discovered_nodes().len() > MOST_KEPT {
                    return Ended::TooMuch;
                }
                // What else it says are the same addresses, for behaviours that dial: the table of peers does.
                if let ToSwarm::GenerateEvent(event) = event
                    && found.send(event).await.is_err()
                {
                    return Ended::Gone;
                }
            }
        }
    }
}

/// Says where this node listens now.
fn tell(inner: &mut Behaviour, told: &mut ListenAddresses, now: &ListenAddresses) {
    let listener_id = ListenerId::next();
    for addr in told.iter().filter(|addr| now.iter().all(|known| known != *addr)) {
        inner.on_swarm_event(FromSwarm::ExpiredListenAddr(ExpiredListenAddr { listener_id, addr }));
    }
    for addr in now.iter() {
        inner.on_swarm_event(FromSwarm::NewListenAddr(NewListenAddr { listener_id, addr }));
    }
    *told = now.clone();
}

/// Waits until this runtime was busy for too long.
async fn too_busy() {
    let metrics = Handle::current().metrics();
    let mut budget = Budget { since: Instant::now(), before: metrics.worker_total_busy_duration(0) };
    loop {
        sleep(LOOK_EVERY).await;
        if budget.is_spent(metrics.worker_total_busy_duration(0), Instant::now()) {
            return;
        }
    }
}

/// Rests for a while.
async fn rest(listening: &mut watch::Receiver<ListenAddresses>) -> Ended {
    let gone = async { while listening.changed().await.is_ok() {} };
    if timeout(WHILE, gone).await.is_ok() { Ended::Gone } else { Ended::TooMuch }
}

/// For how long it may yet be busy.
#[derive(Debug)]
struct Budget {
    /// When the while began.
    since: Instant,
    /// For how long it had been busy then.
    before: Duration,
}

impl Budget {
    /// Whether it was busy for too long, having been so for `busy` altogether.
    fn is_spent(&mut self, busy: Duration, now: Instant) -> bool {
        let is_spent = busy.saturating_sub(self.before) > MOST_BUSY;
        if now.saturating_duration_since(self.since) >= WHILE {
            *self = Self { since: now, before: busy };
        }
        is_spent
    }
}

impl NetworkBehaviour for Mdns {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = mdns::Event;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        _: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(dummy::ConnectionHandler)
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        let _: Infallible = event;
    }

    fn on_swarm_event(&mut self, event: FromSwarm<'_>) {
        self.listening.send_if_modified(|listening| listening.on_swarm_event(&event));
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<ToSwarm<mdns::Event, THandlerInEvent<Self>>> {
        match self.found.poll_recv(context) {
            Poll::Ready(Some(event)) => Poll::Ready(ToSwarm::GenerateEvent(event)),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{JoinSet, yield_now};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_may_be_busy_for_so_long_in_a_while_and_no_longer() {
        let start = Instant::now();
        let mut budget = Budget { since: start, before: SECOND };
        assert!(!budget.is_spent(SECOND + MOST_BUSY, start + SECOND));
        assert!(budget.is_spent(SECOND + MOST_BUSY + LOOK_EVERY, start + SECOND * 2));
    }

    #[test]
    fn a_new_while_begins_with_nothing_spent() {
        let start = Instant::now();
        let mut budget = Budget { since: start, before: Duration::ZERO };
        for round in 1..4 {
            assert!(!budget.is_spent(MOST_BUSY * round, start + WHILE * round), "{round}");
        }
        assert!(budget.is_spent(MOST_BUSY * 5, start + WHILE * 4), "it is looked at before it is begun anew");
    }

    #[test]
    fn a_runtime_that_never_rests_is_found_too_busy() {
        let runtime = runtime().expect("a runtime");
        runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..2 {
                tasks.spawn(async {
                    loop {
                        yield_now().await;
                    }
                });
            }
            timeout(SECOND * 20, too_busy()).await.expect("it is busy all the time");
        });
    }

    #[test]
    fn a_runtime_at_rest_is_not_too_busy() {
        let runtime = runtime().expect("a runtime");
        runtime.block_on(async {
            timeout(SECOND, too_busy()).await.expect_err("it does nothing");
        });
    }
}
