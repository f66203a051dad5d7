//! Who is connected, who owns the tunnel, and what each is told.
//!
//! One client owns the tunnel: the one on TCP, or else the first on the Unix socket that sends a
//! changing command. The others may look. A client's replies and events go through one bounded
//! queue, so an event never splits a reply and the order is that of their causes.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use hypertap_wire::event::{Event, Refusal, reply_line};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// How many lines may wait for a client that does not read.
pub const OUTGOING: usize = 256;

/// Who a client is, for as long as the daemon runs.
pub type ClientId = u64;

/// Over what a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP: one client, which owns the tunnel.
    Tcp,
    /// The Unix socket: several.
    Unix,
}

/// A line for a client, with a descriptor where one rides on it.
#[derive(Debug)]
pub struct Outgoing {
    /// The line without its end.
    pub line: String,
    /// What goes with it.
    pub descriptor: Option<OwnedFd>,
}

/// What a request succeeds with.
pub type Fields = Map<String, Value>;

/// The right to answer one request. Its place in the client's queue is reserved already; the
/// client's next request is read when this is gone.
#[derive(Debug)]
pub struct Answer {
    place: mpsc::OwnedPermit<Outgoing>,
    id: Option<Value>,
    _done: oneshot::Sender<()>,
}

impl Answer {
    /// An answer into a reserved place, and what completes once it is given.
    pub fn new(place: mpsc::OwnedPermit<Outgoing>, id: Option<Value>) -> (Self, oneshot::Receiver<()>) {
        let (done, answered) = oneshot::channel();
        (Self { place, id, _done: done }, answered)
    }

    /// Answers.
    pub fn send(self, outcome: Result<Fields, Refusal>) {
        self.send_with(outcome, None);
    }

    /// Answers, and hands a descriptor over.
    pub fn send_with(self, outcome: Result<Fields, Refusal>, descriptor: Option<OwnedFd>) {
        self.place.send(Outgoing { line: reply_line(outcome, self.id), descriptor });
    }
}

#[derive(Debug)]
struct Client {
    transport: Transport,
    uid: u32,
    out: mpsc::Sender<Outgoing>,
}

/// The connected clients.
#[derive(Debug, Default)]
pub struct Clients {
    connected: BTreeMap<ClientId, Client>,
    next: ClientId,
    owner: Option<ClientId>,
}

impl Clients {
    /// Lets a client in. One on TCP becomes the owner, and is refused while there is another.
    ///
    /// # Errors
    /// The line to turn it away with.
    pub fn admit(
        &mut self,
        transport: Transport,
        uid: u32,
        out: mpsc::Sender<Outgoing>,
    ) -> Result<ClientId, Refusal> {
        if transport == Transport::Tcp && self.owner.is_some() {
            return Err(Refusal::fixed("Another client is already connected"));
        }
        let id = self.next;
        self.next += 1;
        self.connected.insert(id, Client { transport, uid, out });
        if transport == Transport::Tcp {
            self.owner = Some(id);
        }
        Ok(id)
    }

    /// Whether a client may change things; one on the Unix socket becomes the owner by doing so
    /// while there is none.
    pub fn may_change(&mut self, id: ClientId) -> bool {
        *self.owner.get_or_insert(id) == id
    }

    /// Forgets a client, and says whether it was the owner.
    pub fn remove(&mut self, id: ClientId) -> bool {
        self.connected.remove(&id);
        self.owner.take_if(|owner| *owner == id).is_some()
    }

    /// Over what a client speaks.
    pub fn transport(&self, id: ClientId) -> Option<Transport> {
        self.connected.get(&id).map(|client| client.transport)
    }

    /// Whose process a client is.
    pub fn uid(&self, id: ClientId) -> Option<u32> {
        self.connected.get(&id).map(|client| client.uid)
    }

    /// Tells every client.
    pub fn tell_all(&self, event: Event) {
        for id in self.connected.keys() {
            self.tell(*id, event);
        }
    }

    /// Tells one client. One that has let its queue fill up misses the event.
    pub fn tell(&self, id: ClientId, event: Event) {
        let Some(client) = self.connected.get(&id) else { return };
        if client.out.try_send(Outgoing { line: event.to_line(), descriptor: None }).is_err() {
            tracing::debug!(client = id, event = event.name(), "client does not read; event dropped");
        }
    }

    /// Lets everybody go: their queues end after what is in them.
    pub fn dismiss_all(&mut self) {
        self.connected.clear();
        self.owner = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> mpsc::Sender<Outgoing> {
        mpsc::channel(1).0
    }

    #[test]
    fn a_second_tcp_client_is_refused_and_a_unix_one_is_not() {
        let mut clients = Clients::default();
        let first = clients.admit(Transport::Tcp, 0, queue()).expect("the first");
        let refused = clients.admit(Transport::Tcp, 0, queue()).expect_err("the second");
        assert_eq!(refused, Refusal::fixed("Another client is already connected"));
        let observer = clients.admit(Transport::Unix, 0, queue()).expect("an observer");
        assert!(clients.may_change(first) && !clients.may_change(observer));
    }

    #[test]
    fn the_first_unix_client_that_changes_something_owns_until_it_leaves() {
        let mut clients = Clients::default();
        let [one, two] = [(); 2].map(|()| clients.admit(Transport::Unix, 0, queue()).expect("let in"));
        assert!(clients.may_change(two) && !clients.may_change(one));
        assert!(!clients.remove(one) && clients.remove(two));
        let three = clients.admit(Transport::Tcp, 0, queue()).expect("nobody owns");
        assert!(clients.may_change(three));
    }

    #[test]
    fn a_client_that_does_not_read_misses_events_and_holds_nobody_up() {
        let mut clients = Clients::default();
        let (out, mut queue) = mpsc::channel(2);
        clients.admit(Transport::Tcp, 0, out).expect("let in");
        for _ in 0..5 {
            clients.tell_all(Event::TunnelStarted);
        }
        clients.dismiss_all();
        let told = std::iter::from_fn(|| queue.blocking_recv()).count();
        assert_eq!(told, 2);
    }
}
