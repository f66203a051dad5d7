//! Who is connected, who owns the tunnel, and what each is told.
//!
//! One client owns the tunnel: the one on TCP, or else the first on the Unix socket that sends a
//! changing command. The others may look. A client's replies and events go through one queue, so an
//! event never splits a reply and the order is that of their causes.
//!
//! What waits for a client is bounded in bytes: events are short, a full queue takes no more of them,
//! and a client's next request is not even read before the reply to the last one is written.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;

use hypertap_wire::event::{Event, Refusal, reply_line};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// How many lines may wait for a client that does not read: events, and among them one reply.
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
    /// For a reply: what completes when this line is dropped, written or not.
    _settled: Option<oneshot::Sender<()>>,
}

impl Outgoing {
    /// A line that nobody waits for.
    pub fn new(line: String) -> Self {
        Self { line, descriptor: None, _settled: None }
    }
}

/// What a request succeeds with.
pub type Fields = Map<String, Value>;

/// The right to answer one request. Its place in the client's queue is reserved already.
#[derive(Debug)]
pub struct Answer {
    place: mpsc::OwnedPermit<Outgoing>,
    id: Option<Value>,
    settled: oneshot::Sender<()>,
}

impl Answer {
    /// An answer into a reserved place, and what completes (with an error) once it is written to the
    /// client, or never will be.
    pub fn new(place: mpsc::OwnedPermit<Outgoing>, id: Option<Value>) -> (Self, oneshot::Receiver<()>) {
        let (settled, written) = oneshot::channel();
        (Self { place, id, settled }, written)
    }

    /// Answers.
    pub fn send(self, outcome: Result<Fields, Refusal>) {
        self.send_with(outcome, None);
    }

    /// Answers, and hands a descriptor over.
    pub fn send_with(self, outcome: Result<Fields, Refusal>, descriptor: Option<OwnedFd>) {
        let line = reply_line(outcome, self.id);
        self.place.send(Outgoing { line, descriptor, _settled: Some(self.settled) });
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

    /// Takes the tunnel from a client that sends no more, and says whether it had it. The client is
    /// still told what happens, for it may have ended no more than its own side.
    pub fn disown(&mut self, id: ClientId) -> bool {
        self.owner.take_if(|owner| *owner == id).is_some()
    }

    /// Forgets a client: its queue ends after what is in it.
    pub fn remove(&mut self, id: ClientId) {
        self.disown(id);
        self.connected.remove(&id);
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
        if client.out.try_send(Outgoing::new(event.to_line())).is_err() {
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
    use hypertap_wire::event::StopReason;

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
        assert!(!clients.disown(one) && clients.disown(two));
        let three = clients.admit(Transport::Tcp, 0, queue()).expect("nobody owns");
        assert!(clients.may_change(three));
    }

    #[test]
    fn a_tcp_client_is_refused_while_a_unix_one_owns() {
        let mut clients = Clients::default();
        let unix = clients.admit(Transport::Unix, 0, queue()).expect("let in");
        assert!(clients.may_change(unix));
        let refused = clients.admit(Transport::Tcp, 0, queue()).expect_err("the tunnel is taken");
        assert_eq!(refused, Refusal::fixed("Another client is already connected"));
        clients.remove(unix);
        clients.admit(Transport::Tcp, 0, queue()).expect("nobody owns");
    }

    #[test]
    fn a_client_that_sends_no_more_is_told_what_its_end_brings_about() {
        let mut clients = Clients::default();
        let (out, mut queue) = mpsc::channel(2);
        let client = clients.admit(Transport::Tcp, 0, out).expect("let in");
        assert!(clients.disown(client));
        clients.tell_all(Event::TunnelStopped(StopReason::StoppedByUser));
        clients.remove(client);
        clients.tell_all(Event::VpnPending);
        let told: Vec<_> =
            std::iter::from_fn(|| queue.blocking_recv()).map(|outgoing| outgoing.line).collect();
        assert_eq!(told, [Event::TunnelStopped(StopReason::StoppedByUser).to_line()]);
    }

    #[test]
    fn a_reply_is_settled_when_it_is_written_and_not_when_it_is_queued() {
        let (out, mut queue) = mpsc::channel(1);
        let (answer, mut written) = Answer::new(out.try_reserve_owned().expect("it is empty"), None);
        answer.send(Ok(Fields::new()));
        let queued = queue.try_recv().expect("the reply");
        assert_eq!(written.try_recv(), Err(oneshot::error::TryRecvError::Empty));
        drop(queued);
        assert_eq!(written.try_recv(), Err(oneshot::error::TryRecvError::Closed));
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
