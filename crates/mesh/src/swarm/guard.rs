//! A transport that does not enter our own tunnel: neither dialled there, nor named to others.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use libp2p::Multiaddr;
use libp2p::core::transport::{DialOpts, ListenerId, PortUse, Transport, TransportError, TransportEvent};

use crate::addresses;
use crate::settings::LeadsInside;

/// See the module.
pub(super) struct Guard<T> {
    inner: T,
    is_inside: fn(IpAddr) -> bool,
    leads_inside: LeadsInside,
}

impl<T> Guard<T> {
    pub(super) fn new(inner: T, is_inside: fn(IpAddr) -> bool, leads_inside: LeadsInside) -> Self {
        Self { inner, is_inside, leads_inside }
    }

    fn is_inside(&self, address: &Multiaddr) -> bool {
        addresses::ip(address).is_some_and(self.is_inside)
    }
}

impl<T: Transport + Unpin> Transport for Guard<T> {
    type Output = T::Output;
    type Error = T::Error;
    type ListenerUpgrade = T::ListenerUpgrade;
    type Dial = T::Dial;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<T::Error>> {
        self.inner.listen_on(id, address)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(&mut self, address: Multiaddr, options: DialOpts) -> Result<T::Dial, TransportError<T::Error>> {
        if addresses::ip(&address).is_some_and(|ip| (self.leads_inside)(ip)) {
            return Err(TransportError::MultiaddrNotSupported(address));
        }
        // TCP from a port of its own: from the listener's, two nodes that dial each other at once would meet in
        // one connection with two callers.
        self.inner.dial(address, DialOpts { port_use: PortUse::New, ..options })
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<T::ListenerUpgrade, T::Error>> {
        loop {
            let event = std::task::ready!(Pin::new(&mut self.inner).poll(cx));
            if let TransportEvent::NewAddress { listen_addr, .. }
            | TransportEvent::AddressExpired { listen_addr, .. } = &event
                && self.is_inside(listen_addr)
            {
                continue;
            }
            return Poll::Ready(event);
        }
    }
}
