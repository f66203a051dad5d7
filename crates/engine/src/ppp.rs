//! The point-to-point protocol's answering side, for one guest (RFC 1661).
//!
//! A link has phases. At first it is dead: this end is silent until the guest asks for a link, since it
//! is the guest that calls. LCP then agrees on the link's options; if the guest has to prove who it
//! is, it does so by PAP; then IPCP tells it its address and servers, and packets pass. LCP's end, by
//! whichever side, ends all of it, and the next request begins a new link. Each control protocol is
//! a `negotiation` of its terms on an `automaton`.

mod automaton;
#[cfg(test)]
pub(crate) mod caller;
mod ipcp;
mod lcp;
mod line;
mod negotiation;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_wire::ppp::control::{Code, ControlPacket};
use hypertap_wire::ppp::{self, DEFAULT_MRU, HEADER, Protocol, pap};

use automaton::{Event, State};
use ipcp::AddressTerms;
use lcp::{GuestLink, LinkTerms};
use line::Line;
use negotiation::{Negotiation, Outcome};

/// The longest frame's content that a guest may send, in bytes.
pub const MAX_FRAME: usize = HEADER + DEFAULT_MRU as usize;

/// How long a guest may take to prove who it is.
const AUTHENTICATION: Duration = Duration::from_secs(30);

/// The length in bytes of an Echo packet's magic number.
const MAGIC: usize = 4;

/// What a guest has to say to be let in.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Its name.
    pub name: Vec<u8>,
    /// Its password.
    pub password: Vec<u8>,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

/// What this end of the link offers.
#[derive(Clone, Debug)]
pub struct PppSettings {
    /// Its own address.
    pub own: Ipv4Addr,
    /// The guest's address.
    pub guest: Ipv4Addr,
    /// The guest's DNS servers, the first two of which it is told. With none it is refused any.
    pub dns: Vec<Ipv4Addr>,
    /// What the guest has to say, by PAP, to be let in; nothing when everybody is.
    pub credentials: Option<Credentials>,
    /// A random number, from which the link's magic numbers come.
    pub magic: u32,
}

/// What a frame from the guest was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received<'a> {
    /// Of the link itself; answers wait to be sent.
    Control,
    /// An IPv4 packet, not looked at.
    Packet(&'a [u8]),
    /// Not a packet of any protocol.
    Malformed,
    /// A packet that the link is not ready for.
    OutOfPhase,
}

/// Why a packet was not queued for the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSent {
    /// The link is not up, or not yet.
    NoLink,
    /// It is longer than the guest takes.
    TooLong,
    /// Too many wait already.
    Full,
}

/// The answering end of a link. Times are since any origin.
#[derive(Debug)]
pub struct PppServer {
    lcp: Negotiation<LinkTerms>,
    ipcp: Negotiation<AddressTerms>,
    credentials: Option<Credentials>,
    /// Until when the guest has to prove who it is, while it has not.
    proof_due: Option<Duration>,
    line: Line,
    was_called: bool,
}

impl PppServer {
    /// An end that waits for a guest's call.
    pub fn new(settings: PppSettings) -> Self {
        let PppSettings { own, guest, dns, credentials, magic } = settings;
        let link = LinkTerms::new(credentials.is_some(), magic);
        Self {
            lcp: Negotiation::new(Protocol::LCP, link, State::Stopped),
            ipcp: Negotiation::new(Protocol::IPCP, AddressTerms::new(own, guest, &dns), State::Starting),
            credentials,
            proof_due: None,
            line: Line::new(),
            was_called: false,
        }
    }

    /// Takes the content of a frame ([`hypertap_wire::hdlc`]) from the guest.
    pub fn handle_frame<'a>(&mut self, now: Duration, frame: &'a [u8]) -> Received<'a> {
        let Some((protocol, packet)) = ppp::parse(frame) else { return Received::Malformed };
        let is_ready = match protocol {
            Protocol::LCP => true,
            Protocol::PAP => self.lcp.is_open(),
            Protocol::IPV4 => self.ipcp.is_open(),
            _ => self.lcp.is_open() && self.proof_due.is_none(),
        };
        if !is_ready {
            return Received::OutOfPhase;
        }
        if protocol == Protocol::IPV4 {
            return Received::Packet(packet);
        }
        if !matches!(protocol, Protocol::LCP | Protocol::PAP | Protocol::IPCP) {
            let data = [&protocol.0.to_be_bytes(), packet].concat();
            self.lcp.send(Code::PROTOCOL_REJECT, &data, &mut self.line);
            return Received::Control;
        }
        let Some(packet) = ControlPacket::parse(packet) else { return Received::Malformed };
        match protocol {
            Protocol::LCP => self.on_link_packet(now, packet),
            Protocol::PAP => self.on_proof(now, packet),
            _ => {
                let outcome = self.ipcp.handle_packet(now, packet, &mut self.line);
                self.on_addresses(now, outcome);
            }
        }
        self.was_called |= self.lcp.state() != State::Stopped;
        Received::Control
    }

    /// Queues an IPv4 packet for the guest.
    pub fn send_packet(&mut self, packet: &[u8]) -> Result<(), NotSent> {
        if self.is_open() { self.line.send_packet(packet) } else { Err(NotSent::NoLink) }
    }

    /// The next frame to the guest, as it goes on the line, flags included.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.line.pop()
    }

    /// When [`Self::handle_timeout`] is due, if nothing comes before.
    pub fn timeout(&self) -> Option<Duration> {
        [self.lcp.timeout(), self.ipcp.timeout(), self.proof_due].into_iter().flatten().min()
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: Duration) {
        let outcome = self.lcp.handle_timeout(now, &mut self.line);
        self.on_link(now, outcome);
        let outcome = self.ipcp.handle_timeout(now, &mut self.line);
        self.on_addresses(now, outcome);
        if self.proof_due.is_some_and(|due| due <= now) {
            self.hang_up(now);
        }
    }

    /// Whether packets pass.
    pub fn is_open(&self) -> bool {
        self.ipcp.is_open()
    }

    /// Whether a link was ended and no other was asked for.
    pub fn is_over(&self) -> bool {
        self.was_called && self.lcp.state() == State::Stopped
    }

    /// How many packets of the control protocols were dropped because too many wait for the guest.
    pub fn control_dropped(&self) -> u64 {
        self.line.dropped
    }

    fn on_link_packet(&mut self, now: Duration, packet: ControlPacket<'_>) {
        let is_open = self.lcp.is_open();
        match packet.code {
            Code::ECHO_REQUEST if is_open => {
                let Some(rest) = packet.data.get(MAGIC..) else { return };
                let data = [&self.lcp.terms.magic().to_be_bytes(), rest].concat();
                self.lcp.reply(Code::ECHO_REPLY, packet.identifier, &data, &mut self.line);
            }
            Code::PROTOCOL_REJECT if is_open => self.on_protocol_reject(now, packet.data),
            Code::PROTOCOL_REJECT | Code::ECHO_REQUEST | Code::ECHO_REPLY | Code::DISCARD_REQUEST => {}
            _ => {
                let outcome = self.lcp.handle_packet(now, packet, &mut self.line);
                self.on_link(now, outcome);
            }
        }
    }

    fn on_protocol_reject(&mut self, now: Duration, data: &[u8]) {
        let protocol = data.first_chunk().map(|number| Protocol(u16::from_be_bytes(*number)));
        match protocol {
            Some(Protocol::LCP | Protocol::PAP) => self.hang_up(now),
            Some(Protocol::IPCP | Protocol::IPV4) => {
                let outcome = self.ipcp.handle_event(now, Event::FatalReject, &mut self.line);
                self.on_addresses(now, outcome);
            }
            _ => {}
        }
    }

    /// The guest says who it is. It says so again when it missed the answer. Without credentials of
    /// ours whatever it says is right.
    fn on_proof(&mut self, now: Duration, packet: ControlPacket<'_>) {
        if packet.code != pap::AUTHENTICATE_REQUEST {
            return;
        }
        let Some(said) = pap::AuthenticateRequest::parse(packet.data) else { return };
        let is_right = self.credentials.as_ref().is_none_or(|credentials| {
            credentials.name == said.peer_id && credentials.password == said.password
        });
        let (code, text) = if is_right {
            (pap::AUTHENTICATE_ACK, "welcome")
        } else {
            (pap::AUTHENTICATE_NAK, "name or password is wrong")
        };
        let data = pap::message(text);
        let reply = ControlPacket { code, identifier: packet.identifier, data: &data };
        self.line.send_control(Protocol::PAP, reply);
        if !is_right {
            self.hang_up(now);
        } else if self.proof_due.take().is_some() {
            self.ipcp.handle_event(now, Event::LowerUp, &mut self.line);
        }
    }

    fn hang_up(&mut self, now: Duration) {
        let outcome = self.lcp.handle_event(now, Event::Abandon, &mut self.line);
        self.on_link(now, outcome);
    }

    /// A link without addresses is of no use to anybody, and the guest may not know that it is.
    fn on_addresses(&mut self, now: Duration, outcome: Outcome) {
        if outcome.finished {
            self.hang_up(now);
        }
    }

    /// What the layers above have to know of the link.
    fn on_link(&mut self, now: Duration, Outcome { down, up, .. }: Outcome) {
        if down {
            self.proof_due = None;
            self.line.guest = GuestLink::DEFAULT;
            self.ipcp.handle_event(now, Event::LowerDown, &mut self.line);
        }
        if up {
            self.line.guest = self.lcp.terms.guest;
            if self.credentials.is_some() {
                self.proof_due = Some(now + AUTHENTICATION);
            } else {
                self.ipcp.handle_event(now, Event::LowerUp, &mut self.line);
            }
        }
    }
}
