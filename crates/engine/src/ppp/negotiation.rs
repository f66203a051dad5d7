//! One control protocol on the line: the automaton, the packets it sends and takes, and the terms that
//! are negotiated (RFC 1661 5).

use std::time::Duration;

use hypertap_wire::ppp::Protocol;
use hypertap_wire::ppp::control::{Code, ConfigureOption, ControlPacket, options};

use super::automaton::{Action, Automaton, Event, State};
use super::line::Line;

/// How many requests in a row are answered by a Nak. After that what is not liked is rejected
/// (RFC 1661 4.6, Max-Failure).
const MAX_FAILURE: u8 = 5;

/// What a protocol negotiates.
pub(super) trait Terms {
    /// Forgets what was agreed on with the last peer.
    fn restart(&mut self);

    /// The options that this end asks for.
    fn request(&self) -> Vec<u8>;

    /// What this end thinks of the peer's options.
    fn judge(&mut self, options: &[ConfigureOption<'_>]) -> Judgement;

    /// The peer's options are granted.
    fn grant(&mut self, options: &[ConfigureOption<'_>]);

    /// The peer would have other values for these. Whether this end can go on.
    fn on_nak(&mut self, options: &[ConfigureOption<'_>]) -> bool;

    /// The peer will not have these. Whether this end can go on.
    fn on_reject(&mut self, options: &[ConfigureOption<'_>]) -> bool;
}

/// What is not as it should be in a request: lists of options.
#[derive(Debug, Default)]
pub(super) struct Judgement {
    /// Unknown, or not to be had.
    pub(super) rejected: Vec<u8>,
    /// With the values that would do, and what the peer forgot.
    pub(super) wanted: Vec<u8>,
    /// The peer's own words for what is in `wanted`.
    pub(super) disliked: Vec<u8>,
}

/// What became of the layer, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) down: bool,
    pub(super) up: bool,
    /// It is given up.
    pub(super) finished: bool,
}

#[derive(Debug)]
pub(super) struct Negotiation<T> {
    protocol: Protocol,
    pub(super) terms: T,
    automaton: Automaton,
    /// Of the last packet that was sent of our own accord.
    identifier: u8,
    /// The last request, until it is answered.
    asked: Option<Vec<u8>>,
    /// Its identifier, which it keeps when it is sent again.
    asked_identifier: u8,
    /// How many requests in a row were answered by a Nak, and the last one's identifier: one that comes
    /// again, because the Nak was lost, does not count.
    failures: (u8, Option<u8>),
}

/// An answer to a Configure-Request.
type Answer = (Code, Vec<u8>);

impl<T: Terms> Negotiation<T> {
    pub(super) fn new(protocol: Protocol, terms: T, state: State) -> Self {
        Self {
            protocol,
            terms,
            automaton: Automaton::new(state),
            identifier: 0,
            asked: None,
            asked_identifier: 0,
            failures: (0, None),
        }
    }

    pub(super) fn state(&self) -> State {
        self.automaton.state()
    }

    pub(super) fn is_open(&self) -> bool {
        self.state() == State::Opened
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.automaton.timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration, line: &mut Line) -> Outcome {
        let actions = self.automaton.handle_timeout(now);
        if actions.contains(&Action::SendRequest)
            && let Some(asked) = &self.asked
        {
            self.reply(Code::CONFIGURE_REQUEST, self.asked_identifier, asked, line);
            return Outcome::default();
        }
        self.act(actions, 0, None, line)
    }

    /// Takes what is not a packet.
    pub(super) fn handle_event(&mut self, now: Duration, event: Event, line: &mut Line) -> Outcome {
        self.on_event(now, event, 0, None, line)
    }

    /// Takes a packet of the protocol. What it says is taken for nothing where the RFC says so.
    pub(super) fn handle_packet(
        &mut self,
        now: Duration,
        packet: ControlPacket<'_>,
        line: &mut Line,
    ) -> Outcome {
        let identifier = packet.identifier;
        let event = match packet.code {
            Code::CONFIGURE_REQUEST => return self.on_request(now, packet, line),
            Code::CONFIGURE_ACK if self.is_answer(packet) && self.asked.as_deref() == Some(packet.data) => {
                Event::Ack
            }
            Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT if self.is_answer(packet) => {
                let Some(options) = options(packet.data) else { return Outcome::default() };
                let goes_on = match packet.code {
                    Code::CONFIGURE_NAK => self.terms.on_nak(&options),
                    _ => self.terms.on_reject(&options),
                };
                if goes_on { Event::Refusal } else { Event::Abandon }
            }
            Code::CONFIGURE_ACK | Code::CONFIGURE_NAK | Code::CONFIGURE_REJECT => {
                match self.state() {
                    // Of a link that this end knows nothing of: RFC 1661 has it told.
                    State::Stopped => Event::Ack,
                    _ => return Outcome::default(),
                }
            }
            Code::TERMINATE_REQUEST => Event::TerminateRequest,
            Code::TERMINATE_ACK => Event::TerminateAck,
            Code::CODE_REJECT => match packet.data.first() {
                Some(1..=7) => Event::FatalReject,
                _ => return Outcome::default(),
            },
            _ => {
                if self.state() != State::Starting {
                    self.send(Code::CODE_REJECT, &packet.to_bytes(), line);
                }
                return Outcome::default();
            }
        };
        self.on_event(now, event, identifier, None, line)
    }

    /// Sends a packet of our own accord, with a fresh identifier.
    pub(super) fn send(&mut self, code: Code, data: &[u8], line: &mut Line) {
        self.identifier = self.identifier.wrapping_add(1);
        line.send_control(self.protocol, ControlPacket { code, identifier: self.identifier, data });
    }

    /// Sends a packet with an identifier that was used before.
    pub(super) fn reply(&self, code: Code, identifier: u8, data: &[u8], line: &mut Line) {
        line.send_control(self.protocol, ControlPacket { code, identifier, data });
    }

    /// Whether a packet answers the last request, as the first one to do so.
    fn is_answer(&self, packet: ControlPacket<'_>) -> bool {
        self.asked.is_some() && packet.identifier == self.asked_identifier
    }

    fn on_request(&mut self, now: Duration, packet: ControlPacket<'_>, line: &mut Line) -> Outcome {
        let Some(options) = options(packet.data) else { return Outcome::default() };
        if self.state() == State::Stopping {
            return Outcome::default();
        }
        if self.state() == State::Stopped {
            self.restart();
        }
        let Judgement { rejected, wanted, disliked } = self.terms.judge(&options);
        let answer = if !rejected.is_empty() {
            (Code::CONFIGURE_REJECT, rejected)
        } else if !wanted.is_empty() && self.may_fail(packet.identifier) {
            (Code::CONFIGURE_NAK, wanted)
        } else if !disliked.is_empty() {
            (Code::CONFIGURE_REJECT, disliked)
        } else {
            self.failures = (0, None);
            self.terms.grant(&options);
            (Code::CONFIGURE_ACK, packet.data.to_vec())
        };
        let event = if answer.0 == Code::CONFIGURE_ACK { Event::GoodRequest } else { Event::BadRequest };
        self.on_event(now, event, packet.identifier, Some(&answer), line)
    }

    fn on_event(
        &mut self,
        now: Duration,
        event: Event,
        identifier: u8,
        answer: Option<&Answer>,
        line: &mut Line,
    ) -> Outcome {
        if self.state() == State::Starting && event == Event::LowerUp {
            self.restart();
        }
        if matches!(event, Event::Ack | Event::LowerDown) {
            self.asked = None;
        }
        let actions = self.automaton.handle(now, event);
        self.act(actions, identifier, answer, line)
    }

    fn act(
        &mut self,
        actions: &[Action],
        identifier: u8,
        answer: Option<&Answer>,
        line: &mut Line,
    ) -> Outcome {
        let mut outcome = Outcome::default();
        for action in actions {
            match action {
                Action::LayerUp => outcome.up = true,
                Action::LayerDown => outcome.down = true,
                Action::SendRequest => {
                    let request = self.terms.request();
                    self.send(Code::CONFIGURE_REQUEST, &request, line);
                    (self.asked, self.asked_identifier) = (Some(request), self.identifier);
                }
                Action::SendAck | Action::SendNak => {
                    if let Some((code, data)) = answer {
                        self.reply(*code, identifier, data, line);
                    }
                }
                Action::SendTerminateRequest => {
                    self.asked = None;
                    self.send(Code::TERMINATE_REQUEST, &[], line);
                }
                Action::SendTerminateAck => self.reply(Code::TERMINATE_ACK, identifier, &[], line),
                Action::Finished => {
                    self.asked = None;
                    outcome.finished = true;
                }
                Action::InitRestart | Action::ZeroRestart => {}
            }
        }
        outcome
    }

    /// Counts a request that is to be answered by a Nak, if it may be once more.
    fn may_fail(&mut self, identifier: u8) -> bool {
        let (count, last) = self.failures;
        let is_new = last != Some(identifier);
        let may_fail = !is_new || count < MAX_FAILURE;
        if may_fail {
            self.failures = (count + u8::from(is_new), Some(identifier));
        }
        may_fail
    }

    fn restart(&mut self) {
        self.terms.restart();
        self.failures = (0, None);
        self.asked = None;
    }
}
