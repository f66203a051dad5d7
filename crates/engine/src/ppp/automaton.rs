//! The option negotiation automaton of RFC 1661, section 4: what each event does to a control
//! protocol, and its restart timer.
//!
//! This end always wants its layer, so the states Initial, Closed and Closing do not occur, nor do
//! the events Open and Close. Waiting in Stopped for the other end to begin is the RFC's passive option.
//! When this end has enough of a peer ([`Event::Abandon`]) it closes as the RFC has it, but by way
//! of Stopping instead of Closing, so that it waits again afterwards.

use std::time::Duration;

use Action::{
    Finished, InitRestart, LayerDown, LayerUp, SendAck, SendNak, SendRequest, SendTerminateAck,
    SendTerminateRequest, ZeroRestart,
};
use Event::{
    Abandon, Ack, BadRequest, FatalReject, GaveUp, GoodRequest, LowerDown, LowerUp, Refusal, Repeat,
    TerminateAck, TerminateRequest,
};
use State::{AckReceived, AckSent, Opened, RequestSent, Starting, Stopped, Stopping};

/// How long an answer is waited for before the request is sent again (RFC 1661 4.6).
const RESTART: Duration = Duration::from_secs(3);

/// How often a Configure-Request is sent.
const MAX_CONFIGURE: u8 = 10;

/// How often a Terminate-Request is sent.
const MAX_TERMINATE: u8 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// The layer below is down.
    Starting,
    /// Waiting for the peer's request.
    Stopped,
    /// The layer was ended; waiting until the peer knows.
    Stopping,
    /// A request is sent, nothing granted.
    RequestSent,
    /// The peer granted ours.
    AckReceived,
    /// We granted the peer's.
    AckSent,
    /// Both are granted: the layer is up.
    Opened,
}

/// What happened. The names in brackets are the RFC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// The layer below is up (Up).
    LowerUp,
    /// It is down (Down).
    LowerDown,
    /// This end wants no more of this peer.
    Abandon,
    /// The restart timer ended, and the request may be sent once more (TO+).
    Repeat,
    /// It ended, and it was sent often enough (TO-).
    GaveUp,
    /// A request that can be granted (RCR+).
    GoodRequest,
    /// One that cannot, as it is (RCR-).
    BadRequest,
    /// Our request is granted (RCA).
    Ack,
    /// It is not, as it is (RCN).
    Refusal,
    /// The peer ends the layer (RTR).
    TerminateRequest,
    /// The peer knows that it is ended (RTA).
    TerminateAck,
    /// The peer does not know what the layer cannot do without (RXJ-).
    FatalReject,
}

/// What is to be done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// The layer is up (tlu).
    LayerUp,
    /// It is no longer (tld).
    LayerDown,
    /// It is given up until the peer begins anew (tlf).
    Finished,
    /// The automaton's own: requests may be sent the full number of times (irc).
    InitRestart,
    /// The automaton's own: none may (zrc).
    ZeroRestart,
    /// A Configure-Request (scr).
    SendRequest,
    /// A Configure-Ack (sca).
    SendAck,
    /// A Configure-Nak or -Reject (scn).
    SendNak,
    /// A Terminate-Request (str).
    SendTerminateRequest,
    /// A Terminate-Ack (sta).
    SendTerminateAck,
}

/// One control protocol's state, and its timer.
#[derive(Debug)]
pub(super) struct Automaton {
    state: State,
    /// How often the request may still be sent.
    restarts: u8,
    deadline: Option<Duration>,
}

impl Automaton {
    pub(super) fn new(state: State) -> Self {
        Self { state, restarts: 0, deadline: None }
    }

    pub(super) fn state(&self) -> State {
        self.state
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.deadline
    }

    /// What is to be done at this time.
    pub(super) fn handle_timeout(&mut self, now: Duration) -> &'static [Action] {
        if self.deadline.is_none_or(|deadline| now < deadline) {
            return &[];
        }
        self.handle(now, if self.restarts > 0 { Repeat } else { GaveUp })
    }

    /// What is to be done about an event, in this order.
    pub(super) fn handle(&mut self, now: Duration, event: Event) -> &'static [Action] {
        let (state, actions) = transition(self.state, event);
        self.state = state;
        for action in actions {
            match action {
                InitRestart if state == Stopping => self.restarts = MAX_TERMINATE,
                InitRestart => self.restarts = MAX_CONFIGURE,
                ZeroRestart => (self.restarts, self.deadline) = (0, Some(now + RESTART)),
                SendRequest | SendTerminateRequest => {
                    self.restarts = self.restarts.saturating_sub(1);
                    self.deadline = Some(now + RESTART);
                }
                _ => {}
            }
        }
        if matches!(state, Starting | Stopped | Opened) {
            self.deadline = None;
        }
        actions
    }
}

/// The table of RFC 1661 4.1.
#[allow(clippy::match_same_arms, reason = "it is to be read beside the RFC's")]
fn transition(state: State, event: Event) -> (State, &'static [Action]) {
    match (state, event) {
        (Opened, LowerDown) => (Starting, &[LayerDown]),
        (_, LowerDown) => (Starting, &[]),

        (Starting, LowerUp) => (RequestSent, &[InitRestart, SendRequest]),
        (state, LowerUp) | (state @ Starting, _) => (state, &[]),

        (Stopped, GoodRequest) => (AckSent, &[InitRestart, SendRequest, SendAck]),
        (Stopped, BadRequest) => (RequestSent, &[InitRestart, SendRequest, SendNak]),
        (Stopped, Ack | Refusal | TerminateRequest) => (Stopped, &[SendTerminateAck]),
        (Stopped, FatalReject) => (Stopped, &[Finished]),
        (Stopped, Abandon | Repeat | GaveUp | TerminateAck) => (Stopped, &[]),

        (Stopping, Repeat) => (Stopping, &[SendTerminateRequest]),
        (Stopping, GaveUp | TerminateAck | FatalReject) => (Stopped, &[Finished]),
        (Stopping, TerminateRequest) => (Stopping, &[SendTerminateAck]),
        (Stopping, Abandon | GoodRequest | BadRequest | Ack | Refusal) => (Stopping, &[]),

        (RequestSent | AckReceived, Repeat) => (RequestSent, &[SendRequest]),
        (AckSent, Repeat) => (AckSent, &[SendRequest]),
        (RequestSent | AckReceived | AckSent, GaveUp | FatalReject) => (Stopped, &[Finished]),
        (RequestSent | AckReceived | AckSent, Abandon) => (Stopping, &[InitRestart, SendTerminateRequest]),
        (RequestSent | AckReceived | AckSent, TerminateRequest) => (RequestSent, &[SendTerminateAck]),
        (RequestSent | AckReceived, TerminateAck) => (RequestSent, &[]),
        (AckSent, TerminateAck) => (AckSent, &[]),

        (RequestSent | AckSent, GoodRequest) => (AckSent, &[SendAck]),
        (RequestSent | AckSent, BadRequest) => (RequestSent, &[SendNak]),
        (RequestSent, Ack) => (AckReceived, &[InitRestart]),
        (RequestSent, Refusal) => (RequestSent, &[InitRestart, SendRequest]),
        (AckSent, Ack) => (Opened, &[InitRestart, LayerUp]),
        (AckSent, Refusal) => (AckSent, &[InitRestart, SendRequest]),
        (AckReceived, GoodRequest) => (Opened, &[SendAck, LayerUp]),
        (AckReceived, BadRequest) => (AckReceived, &[SendNak]),
        (AckReceived, Ack | Refusal) => (RequestSent, &[SendRequest]),

        (Opened, GoodRequest) => (AckSent, &[LayerDown, SendRequest, SendAck]),
        (Opened, BadRequest) => (RequestSent, &[LayerDown, SendRequest, SendNak]),
        (Opened, Ack | Refusal | TerminateAck) => (RequestSent, &[LayerDown, SendRequest]),
        (Opened, TerminateRequest) => (Stopping, &[LayerDown, ZeroRestart, SendTerminateAck]),
        (Opened, Abandon | FatalReject) => (Stopping, &[LayerDown, InitRestart, SendTerminateRequest]),
        (Opened, Repeat | GaveUp) => (Opened, &[]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [Event; 10] = [
        LowerUp,
        LowerDown,
        Abandon,
        GoodRequest,
        BadRequest,
        Ack,
        Refusal,
        TerminateRequest,
        TerminateAck,
        FatalReject,
    ];

    /// The times at which the request is sent until the automaton gives up, and when it does.
    fn unanswered(automaton: &mut Automaton) -> (Vec<u64>, Duration) {
        let mut sent = Vec::new();
        while let Some(now) = automaton.timeout() {
            match automaton.handle_timeout(now) {
                [SendRequest | SendTerminateRequest] => sent.push(now.as_secs()),
                actions => {
                    assert_eq!(actions, [Finished]);
                    return (sent, now);
                }
            }
        }
        panic!("it never gave up");
    }

    #[test]
    fn a_request_is_sent_ten_times_three_seconds_apart() {
        let mut automaton = Automaton::new(Starting);
        assert_eq!(automaton.handle(Duration::ZERO, LowerUp), [InitRestart, SendRequest]);
        assert_eq!(automaton.handle_timeout(Duration::from_millis(2999)), []);
        let again = (1..10).map(|nth| nth * 3).collect();
        assert_eq!(unanswered(&mut automaton), (again, Duration::from_secs(30)));
        assert_eq!((automaton.state(), automaton.timeout()), (Stopped, None));
    }

    #[test]
    fn an_end_is_asked_for_twice() {
        let mut automaton = Automaton::new(Opened);
        automaton.handle(Duration::ZERO, Abandon);
        assert_eq!(unanswered(&mut automaton), (vec![3], Duration::from_secs(6)));
    }

    #[test]
    fn the_peers_end_is_final_after_one_restart_time() {
        let mut automaton = Automaton::new(Opened);
        let actions = automaton.handle(Duration::ZERO, TerminateRequest);
        assert_eq!(actions, [LayerDown, ZeroRestart, SendTerminateAck]);
        assert_eq!(unanswered(&mut automaton), (vec![], Duration::from_secs(3)));
    }

    proptest! {
        /// RFC 1661 4.1: the timer runs in these states and no others.
        #[test]
        fn whatever_happens_the_layer_is_told_and_the_timer_runs_where_something_is_waited_for(
            happenings in prop::collection::vec((prop::option::of(prop::sample::select(&EVENTS[..])), 0..5_u64), 0..60),
        ) {
            let (mut automaton, mut now, mut is_up) = (Automaton::new(Stopped), Duration::ZERO, false);
            for (event, wait) in happenings {
                now += Duration::from_secs(wait);
                let actions = match event {
                    Some(event) => automaton.handle(now, event),
                    None => automaton.handle_timeout(now),
                };
                for action in actions {
                    match action {
                        LayerUp => prop_assert!(!std::mem::replace(&mut is_up, true)),
                        LayerDown => prop_assert!(std::mem::replace(&mut is_up, false)),
                        _ => {}
                    }
                }
                prop_assert_eq!(is_up, automaton.state() == Opened);
                let waits = matches!(automaton.state(), Stopping | RequestSent | AckReceived | AckSent);
                prop_assert_eq!(automaton.timeout().is_some(), waits, "{:?}", automaton);
            }
        }
    }
}
