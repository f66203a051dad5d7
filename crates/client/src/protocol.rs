//! The command plane without sockets: bytes in, replies and events out; requests in, bytes out.
//!
//! Replies come in the order of the requests, and events whenever something happens, between whole
//! lines. So a reply belongs to the oldest request that has none yet, and everything that says
//! `"cmd":"event"` is an event. A caller who no longer wants a reply says so ([`Protocol::abandon`]),
//! and it is thrown away when it comes.
//!
//! Everything is bounded: requests without a reply by [`MAX_WAITING`], events that nobody takes by
//! [`MAX_EVENTS`] (the oldest go first, counted), a line by the protocol. What this version does not
//! know (events by name, objects of another kind) is passed over; what is no JSON object ends the
//! connection, for the order of replies cannot be trusted any more.

use std::collections::VecDeque;

use hypertap_wire::event::{Event, StopReason};
use hypertap_wire::line::{LineDecoder, MAX_LINE};
use serde_json::{Map, Value};

use crate::error::{Error, Result, Violation};

/// How many events are kept for a program that does not take them.
pub const MAX_EVENTS: usize = 256;
/// How many requests may wait for their replies.
pub const MAX_WAITING: usize = 1024;
/// How much of a line that is no JSON is shown, in characters.
const EXCERPT: usize = 60;

/// One request, to ask for its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// What a request came to: the fields of the reply without `ok` and `id`, or the refusal.
pub type Reply = Result<Map<String, Value>>;

/// What the daemon said about itself when the connection began, kept up to date by its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Greeting {
    /// Whether it has the right to configure networking.
    pub approved: Option<bool>,
    /// Whether the TUN driver can be used.
    pub driver: Option<bool>,
}

/// The state of one connection.
#[derive(Debug, Default)]
pub struct Protocol {
    lines: LineDecoder,
    /// Requests without a reply, oldest first; no ticket: nobody wants it.
    waiting: VecDeque<Option<Ticket>>,
    replies: VecDeque<(Ticket, Reply)>,
    next_ticket: u64,
    events: VecDeque<Event>,
    missed_events: u64,
    greeting: Greeting,
    farewell: Option<(String, Option<i64>)>,
    violation: Option<Violation>,
}

impl Protocol {
    /// The state of a connection on which nothing was said yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether both halves of the greeting have come.
    pub fn is_greeted(&self) -> bool {
        self.greeting.approved.is_some() && self.greeting.driver.is_some()
    }

    /// What the daemon said about itself.
    pub fn greeting(&self) -> Greeting {
        self.greeting
    }

    /// How many events were thrown away because nobody took them.
    pub fn missed_events(&self) -> u64 {
        self.missed_events
    }

    /// Why the daemon ended the connection, where it said so: a refusal that answers no request.
    pub fn farewell(&self) -> Option<Error> {
        self.farewell.clone().map(|(text, code)| Error::Refused { text, code })
    }

    /// Writes a request. Returns the line to send, its end included, and the ticket for the reply.
    /// A `cmd` among the fields is overwritten.
    ///
    /// # Errors
    /// [`Error::RequestTooLong`]; [`Violation::Unanswered`] when too many replies are owed.
    pub fn request(&mut self, verb: &str, mut fields: Map<String, Value>) -> Result<(Ticket, Vec<u8>)> {
        if self.waiting.len() + self.replies.len() >= MAX_WAITING {
            return Err(Violation::Unanswered(self.waiting.len()).into());
        }
        fields.insert("cmd".into(), verb.into());
        let mut line = Value::Object(fields).to_string().into_bytes();
        if line.len() > MAX_LINE {
            return Err(Error::RequestTooLong);
        }
        line.push(b'\n');
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.waiting.push_back(Some(ticket));
        Ok((ticket, line))
    }

    /// Says that nobody wants this reply any more.
    pub fn abandon(&mut self, ticket: Ticket) {
        self.replies.retain(|(answered, _)| *answered != ticket);
        self.waiting
            .iter_mut()
            .filter(|waiting| **waiting == Some(ticket))
            .for_each(|waiting| *waiting = None);
    }

    /// Says that nobody wants the replies to the requests so far.
    pub fn abandon_all(&mut self) {
        self.replies.clear();
        self.waiting.iter_mut().for_each(|waiting| *waiting = None);
    }

    /// Takes bytes as they came.
    ///
    /// # Errors
    /// The first violation, for ever after; what came before it can still be taken.
    pub fn handle_bytes(&mut self, bytes: &[u8]) -> std::result::Result<(), Violation> {
        if let Some(violation) = &self.violation {
            return Err(violation.clone());
        }
        self.lines.push(bytes);
        let outcome = self.handle_lines();
        self.violation = outcome.clone().err();
        outcome
    }

    /// The reply to a request, once.
    pub fn poll_reply(&mut self, ticket: Ticket) -> Option<Reply> {
        let at = self.replies.iter().position(|(answered, _)| *answered == ticket)?;
        self.replies.remove(at).map(|(_, reply)| reply)
    }

    /// The oldest event that was not taken yet. The greeting is not among them.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn handle_lines(&mut self) -> std::result::Result<(), Violation> {
        loop {
            let object = match self.lines.next_line() {
                Ok(None) => return Ok(()),
                Ok(Some(line)) => match serde_json::from_slice(line) {
                    Ok(Value::Object(object)) => object,
                    _ => return Err(Violation::NotAnObject(excerpt(line))),
                },
                Err(_) => return Err(Violation::LineTooLong),
            };
            match object.get("ok") {
                Some(Value::Bool(ok)) => {
                    let ok = *ok;
                    self.on_reply(ok, object)?;
                }
                _ => read_event(&object).into_iter().for_each(|event| self.on_event(event)),
            }
        }
    }

    fn on_reply(&mut self, ok: bool, mut object: Map<String, Value>) -> std::result::Result<(), Violation> {
        object.shift_remove("ok");
        object.shift_remove("id");
        let outcome = if ok { Ok(object) } else { Err(refusal(&object)) };
        match (self.waiting.pop_front(), outcome) {
            (Some(Some(ticket)), Ok(fields)) => self.replies.push_back((ticket, Ok(fields))),
            (Some(Some(ticket)), Err((text, code))) => {
                self.replies.push_back((ticket, Err(Error::Refused { text, code })));
            }
            (Some(None), _) => {}
            (None, Err(refusal)) => self.farewell = Some(refusal),
            (None, Ok(_)) => return Err(Violation::UnexpectedReply),
        }
        Ok(())
    }

    fn on_event(&mut self, event: Event) {
        let was_greeted = self.is_greeted();
        let greets = match event {
            Event::VpnApproved => self.greeting.approved.replace(true).is_none(),
            Event::VpnPending | Event::VpnDenied => self.greeting.approved.replace(false).is_none(),
            Event::ExtensionApproved => self.greeting.driver.replace(true).is_none(),
            Event::ExtensionNotApproved => self.greeting.driver.replace(false).is_none(),
            _ => false,
        };
        if greets && !was_greeted {
            return;
        }
        if self.events.len() == MAX_EVENTS {
            self.events.pop_front();
            self.missed_events += 1;
        }
        self.events.push_back(event);
    }
}

/// The text and code of a refusal.
fn refusal(object: &Map<String, Value>) -> (String, Option<i64>) {
    let text = object.get("error").and_then(Value::as_str).unwrap_or("refused without a reason");
    (text.to_owned(), object.get("code").and_then(Value::as_i64))
}

/// The beginning of a line, to show.
fn excerpt(line: &[u8]) -> String {
    String::from_utf8_lossy(line.get(..4 * EXCERPT).unwrap_or(line)).chars().take(EXCERPT).collect()
}

/// The event that an object tells of, if it is one that this version knows. A reason that it does
/// not know is [`StopReason::Unknown`].
pub(crate) fn read_event(object: &Map<String, Value>) -> Option<Event> {
    const WITHOUT_REASON: [Event; 7] = [
        Event::VpnPending,
        Event::VpnApproved,
        Event::VpnDenied,
        Event::VpnRemoved,
        Event::ExtensionApproved,
        Event::ExtensionNotApproved,
        Event::TunnelStarted,
    ];
    let name = object.get("event")?.as_str()?;
    if name == Event::TunnelStopped(StopReason::Unknown).name() {
        let reason = object.get("reason").and_then(Value::as_str);
        let known = StopReason::ALL.into_iter().find(|known| Some(known.name()) == reason);
        return Some(Event::TunnelStopped(known.unwrap_or(StopReason::Unknown)));
    }
    WITHOUT_REASON.into_iter().find(|event| event.name() == name)
}

#[cfg(test)]
mod tests;
