//! One client's session: lines in, requests to the controller, lines out.
//!
//! Reading and writing go on at the same time, so that events come while a request is under way. A
//! request is read when the reply to the one before it is written; who does not read its replies is
//! not read from.

use std::os::fd::OwnedFd;

use hypertap_wire::command::Request;
use hypertap_wire::event::{Refusal, reply_line};
use hypertap_wire::line::{LineDecoder, LineTooLong, is_browsers};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Duration, Instant, sleep, timeout_at};

use super::clients::{Answer, ClientId, OUTGOING, Outgoing, Transport};
use super::connection::Connection;

/// The longest time between a line's first byte and its end.
const LINE_TIME: Duration = Duration::from_secs(10);
/// How long a client that has ended its side may take to read what is still for it, and the
/// controller to bring about what its end means: longer than making and removing an interface.
const FLUSH_TIME: Duration = Duration::from_secs(30);

/// What a session asks of the controller.
#[derive(Debug)]
pub enum Ask {
    /// May this client in? It is greeted if so.
    Admit {
        /// Over what it speaks.
        transport: Transport,
        /// Whose process it is.
        uid: u32,
        /// Its queue.
        out: mpsc::Sender<Outgoing>,
        /// Who it is now, or the line to turn it away with.
        admitted: oneshot::Sender<Result<ClientId, Refusal>>,
    },
    /// A command.
    Request {
        /// Whose.
        client: ClientId,
        /// What.
        request: Box<Request>,
        /// The descriptor that came with it.
        descriptor: Option<OwnedFd>,
        /// The right to answer it.
        answer: Answer,
    },
    /// The client has gone; `counts` unless it turned out not to be one.
    Gone {
        /// Who.
        client: ClientId,
        /// Whether its end is a client's end.
        counts: bool,
    },
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The client closed, or its connection broke.
    Closed,
    /// It was no client: its first line was a browser's.
    Browser,
    /// A line was too long or too slow.
    Limit(&'static str),
    /// The daemon is ending.
    Drain,
}

/// Serves a connection from greeting to end.
pub async fn serve(
    mut connection: Connection,
    uid: u32,
    asks: mpsc::Sender<Ask>,
    drain: watch::Receiver<bool>,
) {
    let transport = match connection {
        Connection::Tcp(_) => Transport::Tcp,
        Connection::Unix(_) => Transport::Unix,
    };
    let (out, queue) = mpsc::channel(OUTGOING);
    let (admitted, answer) = oneshot::channel();
    if asks.send(Ask::Admit { transport, uid, out: out.clone(), admitted }).await.is_err() {
        return;
    }
    let client = match answer.await {
        Ok(Ok(client)) => client,
        Ok(Err(refusal)) => return connection.turn_away(&reply_line(Err(refusal), None)).await,
        Err(_) => return,
    };
    converse(&connection, client, asks, out, queue, drain).await;
    // It may be gone already.
    let _ = connection.shut_down().await;
}

/// Reads commands and writes lines until both ends are done.
async fn converse(
    connection: &Connection,
    client: ClientId,
    asks: mpsc::Sender<Ask>,
    out: mpsc::Sender<Outgoing>,
    queue: mpsc::Receiver<Outgoing>,
    drain: watch::Receiver<bool>,
) {
    let mut reader = Reader { connection, client, asks: &asks, out, drain, descriptor: None };
    let reading = async {
        let end = reader.run().await;
        tracing::debug!(client, ?end, "session ends");
        if let End::Limit(text) = end {
            let _ = reader.out.try_send(Outgoing::new(reply_line(Err(Refusal::fixed(text)), None)));
        }
        let _ = asks.send(Ask::Gone { client, counts: end != End::Browser }).await;
        drop(reader);
        sleep(FLUSH_TIME).await;
    };
    // The queue ends when the reader and the controller have let go of it.
    tokio::select! {
        () = reading => tracing::debug!(client, "client does not read its last lines"),
        () = write_lines(connection, queue) => {}
    }
}

/// Writes lines until their queue ends. Once the connection is broken the rest is thrown away, so
/// that nobody waits for a place in the queue or for a reply to be written.
async fn write_lines(connection: &Connection, mut queue: mpsc::Receiver<Outgoing>) {
    let mut broken = false;
    while let Some(mut outgoing) = queue.recv().await {
        if broken {
            continue;
        }
        outgoing.line.push('\n');
        if let Err(error) = connection.write_all(outgoing.line.as_bytes(), outgoing.descriptor).await {
            tracing::debug!(%error, "client cannot be written to");
            broken = true;
        }
    }
}

struct Reader<'a> {
    connection: &'a Connection,
    client: ClientId,
    asks: &'a mpsc::Sender<Ask>,
    out: mpsc::Sender<Outgoing>,
    drain: watch::Receiver<bool>,
    /// The latest descriptor that no command has taken yet.
    descriptor: Option<OwnedFd>,
}

impl Reader<'_> {
    /// Reads lines and has them answered, one at a time, until the session ends.
    async fn run(&mut self) -> End {
        let mut lines = LineDecoder::new();
        let mut first = true;
        let (mut begun, mut deadline) = (None, None);
        let mut bytes = vec![0; 16 * 1024];
        loop {
            loop {
                match lines.next_line() {
                    Ok(Some(line)) => {
                        if std::mem::take(&mut first) && is_browsers(line) {
                            return End::Browser;
                        }
                        if !self.ask(line).await {
                            return End::Drain;
                        }
                    }
                    Ok(None) => break,
                    Err(LineTooLong) => return End::Limit("the line is longer than 1 MiB"),
                }
            }
            if first && is_browsers(lines.pending()) {
                return End::Browser;
            }
            if lines.begun() != begun {
                begun = lines.begun();
                deadline = begun.map(|_| Instant::now() + LINE_TIME);
            }
            match self.read(&mut bytes, deadline).await {
                Ok(0) => return End::Closed,
                Ok(count) => lines.push(&bytes[..count]),
                Err(end) => return end,
            }
        }
    }

    /// Reads once, until the deadline.
    async fn read(&mut self, bytes: &mut [u8], deadline: Option<Instant>) -> Result<usize, End> {
        let mut descriptors = Vec::new();
        let read = async {
            match deadline {
                Some(deadline) => timeout_at(deadline, self.connection.read(bytes, &mut descriptors)).await,
                None => Ok(self.connection.read(bytes, &mut descriptors).await),
            }
        };
        let read = tokio::select! {
            read = read => read,
            _ = self.drain.wait_for(|draining| *draining) => return Err(End::Drain),
        };
        if let Some(descriptor) = descriptors.pop() {
            self.descriptor = Some(descriptor);
        }
        match read {
            Ok(Ok(count)) => Ok(count),
            Ok(Err(_)) => Err(End::Closed),
            Err(_) => Err(End::Limit("the line took longer than 10 s to end")),
        }
    }

    /// Has one line answered, and the reply written. `false` when the daemon is ending.
    async fn ask(&mut self, line: &[u8]) -> bool {
        let place = tokio::select! {
            place = self.out.clone().reserve_owned() => place,
            _ = self.drain.wait_for(|draining| *draining) => return false,
        };
        let Ok(place) = place else { return false };
        let written = match Request::parse(line) {
            Err((refusal, id)) => {
                let (answer, written) = Answer::new(place, id);
                answer.send(Err(refusal));
                written
            }
            Ok(mut request) => {
                let (answer, written) = Answer::new(place, request.id.take());
                let descriptor = self.descriptor.take();
                let request = Box::new(request);
                let ask = Ask::Request { client: self.client, request, descriptor, answer };
                if self.asks.send(ask).await.is_err() {
                    return false;
                }
                written
            }
        };
        tokio::select! {
            _ = written => true,
            // The controller has ended, so what it had to say is in the queue.
            _ = self.drain.wait_for(|draining| *draining) => false,
        }
    }
}
