//! A socket that takes connections, and the addresses that it has on this machine.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::Stream;
use futures::future::{BoxFuture, FutureExt as _};
use if_watch::IfEvent;
use if_watch::tokio::IfWatcher;
use libp2p::core::transport::{ListenerId, TransportEvent};
use quinn::{Endpoint, Incoming};

use super::{Event, QuicError, connection, multiaddr};

/// With so many connections that are being made, whoever wants another has to show first that packets reach him at
/// the address that he gives (RFC 9000, section 8.1.2).
const MANY: usize = 16;

/// What there is to hear of one. It ends when it was closed.
pub(super) struct Listener {
    id: ListenerId,
    endpoint: Endpoint,
    bound: SocketAddr,
    /// How long a connection may take to be made, and how many streams the other end may have on it.
    handshake_timeout: Duration,
    streams: u32,
    /// Of which each connection that is being made has a clone.
    being_made: Arc<()>,
    accepting: BoxFuture<'static, Option<Incoming>>,
    addresses: Addresses,
    state: State,
    /// Who is to hear of the end.
    waker: Option<Waker>,
}

/// Where it can be reached.
enum Addresses {
    /// At the one that it is bound to; to be told.
    Untold,
    Told,
    /// At all that the machine has, as they come and go.
    All(Box<IfWatcher>),
}

#[derive(PartialEq)]
enum State {
    Open,
    /// The end is to be told.
    Closing,
    Closed,
}

impl Listener {
    /// On a socket.
    ///
    /// # Errors
    /// It has no address, or the machine's cannot be watched.
    pub(super) fn new(
        id: ListenerId,
        endpoint: Endpoint,
        handshake_timeout: Duration,
        streams: u32,
    ) -> io::Result<Self> {
        let bound = endpoint.local_addr()?;
        let addresses = if bound.ip().is_unspecified() {
            Addresses::All(Box::new(IfWatcher::new()?))
        } else {
            Addresses::Untold
        };
        let accepting = accept(&endpoint);
        let state = State::Open;
        Ok(Self {
            id,
            endpoint,
            bound,
            handshake_timeout,
            streams,
            being_made: Arc::default(),
            accepting,
            addresses,
            state,
            waker: None,
        })
    }

    pub(super) fn id(&self) -> ListenerId {
        self.id
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// The address that it is bound to, while it is open.
    pub(super) fn ip(&self) -> Option<IpAddr> {
        (self.state == State::Open).then(|| self.bound.ip())
    }

    /// Takes no more connections. Those that it has taken go on.
    pub(super) fn close(&mut self) {
        if self.state == State::Open {
            self.state = State::Closing;
            self.endpoint.set_server_config(None);
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }

    /// What is new of its addresses.
    fn poll_addresses(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let listener_id = self.id;
        let watcher = match &mut self.addresses {
            Addresses::Told => return Poll::Pending,
            Addresses::Untold => {
                self.addresses = Addresses::Told;
                let listen_addr = multiaddr(self.bound);
                return Poll::Ready(TransportEvent::NewAddress { listener_id, listen_addr });
            }
            Addresses::All(watcher) => watcher,
        };
        while let Poll::Ready(event) = watcher.poll_if_event(cx) {
            let (net, is_new) = match event {
                Ok(IfEvent::Up(net)) => (net, true),
                Ok(IfEvent::Down(net)) => (net, false),
                Err(error) => {
                    let error = error.into();
                    return Poll::Ready(TransportEvent::ListenerError { listener_id, error });
                }
            };
            if net.addr().is_ipv4() != self.bound.is_ipv4() {
                continue;
            }
            let listen_addr = multiaddr(SocketAddr::new(net.addr(), self.bound.port()));
            return Poll::Ready(if is_new {
                TransportEvent::NewAddress { listener_id, listen_addr }
            } else {
                TransportEvent::AddressExpired { listener_id, listen_addr }
            });
        }
        Poll::Pending
    }

    /// The next connection that somebody wants.
    fn poll_incoming(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let incoming = std::task::ready!(self.accepting.as_mut().poll(cx));
            let Some(incoming) = incoming else {
                // The socket has failed.
                return Poll::Ready(self.end(Err(io::Error::other("its socket failed").into())));
            };
            self.accepting = accept(&self.endpoint);
            let from = incoming.remote_address();
            let being_made = Arc::strong_count(&self.being_made) - 1;
            if being_made >= MANY && !incoming.remote_address_validated() {
                // It may, as it has not been told so yet.
                let _ = incoming.retry();
                continue;
            }
            match incoming.accept() {
                Ok(connecting) => {
                    let place = Arc::clone(&self.being_made);
                    let upgrade = connection::establish(connecting, self.handshake_timeout, self.streams);
                    let upgrade = Box::pin(upgrade.inspect(move |_| drop(place)));
                    return Poll::Ready(TransportEvent::Incoming {
                        listener_id: self.id,
                        upgrade,
                        local_addr: multiaddr(self.bound),
                        send_back_addr: multiaddr(from),
                    });
                }
                Err(error) => tracing::debug!(%from, %error, "what came is no connection"),
            }
        }
    }

    fn end(&mut self, reason: Result<(), QuicError>) -> Event {
        self.state = State::Closed;
        TransportEvent::ListenerClosed { listener_id: self.id, reason }
    }
}

impl Stream for Listener {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        match self.state {
            State::Open => {}
            State::Closing => return Poll::Ready(Some(self.end(Ok(())))),
            State::Closed => return Poll::Ready(None),
        }
        if let Poll::Ready(event) = self.poll_addresses(cx) {
            return Poll::Ready(Some(event));
        }
        if let Poll::Ready(event) = self.poll_incoming(cx) {
            return Poll::Ready(Some(event));
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn accept(endpoint: &Endpoint) -> BoxFuture<'static, Option<Incoming>> {
    let endpoint = endpoint.clone();
    Box::pin(async move { endpoint.accept().await })
}
