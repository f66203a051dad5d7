//! One program's datagrams to one service, on the client's side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use hypertap_engine::udp::{FlowKey, Outbox};
use hypertap_wire::icmp::{Unreachable, unreachable};
use hypertap_wire::ip::{Fragment, Ip, UDP};
use hypertap_wire::service_stream::{Answer, Item, Refusal};

use super::super::interface::Interface;
use super::super::ready::{Alarm, Ready};
use super::far::DatagramFar;

/// How many pieces a flow receives before others have a turn.
const TURN: usize = 8;
/// The most bytes that wait for a far end: some of the longest datagrams.
const MAX_WAITING: usize = 256 << 10;
/// The most that wait while the far end is being asked: a program's first datagram and what it sends
/// before there can be an answer.
const MAX_WAITING_OPENING: usize = 64 << 10;
/// How much of the last packet is kept for an error to quote, in bytes: as much as one over IPv6 may.
const QUOTE: usize = 1280 - 40 - 8;

/// What the far end of a flow will be.
pub type Opening = BoxFuture<'static, Result<DatagramFar, Refusal>>;

/// A flow.
pub struct Flow {
    key: FlowKey,
    state: State,
    outbox: Outbox,
    /// The beginning of the last packet.
    quote: Vec<u8>,
    /// Whether nothing has come back since.
    is_unanswered: bool,
    alarm: Alarm<FlowKey>,
}

enum State {
    Opening(Opening),
    Open(DatagramFar),
}

/// What is to be done with a flow afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It goes on when it is woken.
    Wait,
    /// The same, and something came from the far end.
    Active,
    /// The same, and there may be more.
    Again,
    /// It is over.
    Over,
}

impl Flow {
    /// A flow whose far end is being asked.
    pub fn new(key: FlowKey, opening: Opening, ready: &Arc<Ready<FlowKey>>) -> Self {
        let alarm = Alarm::new(key, ready);
        Self {
            key,
            state: State::Opening(opening),
            outbox: Outbox::new(),
            quote: Vec::new(),
            is_unanswered: false,
            alarm,
        }
    }

    /// Has it looked after soon.
    pub fn wake(&self) {
        self.alarm.ring();
    }

    /// How many bytes wait to be sent.
    pub fn waiting(&self) -> usize {
        self.outbox.len()
    }

    /// Remembers the program's packet that came last.
    pub fn note(&mut self, packet: &[u8]) {
        self.is_unanswered = true;
        self.quote.clear();
        self.quote.extend_from_slice(packet.get(..QUOTE).unwrap_or(packet));
    }

    /// Sends a datagram, some time. Returns whether it was taken.
    pub fn push(&mut self, data: &[u8]) -> bool {
        let most = match self.state {
            State::Opening(_) => MAX_WAITING_OPENING,
            State::Open(_) => MAX_WAITING,
        };
        self.outbox.push(Item::Datagram(data), most)
    }

    /// Moves what can be moved.
    pub fn pump(&mut self, interface: &mut Interface) -> Next {
        let waker = self.alarm.answer();
        let cx = &mut Context::from_waker(&waker);
        if let State::Opening(opening) = &mut self.state {
            match opening.as_mut().poll(cx) {
                Poll::Pending => return Next::Wait,
                Poll::Ready(Ok(far)) => self.state = State::Open(far),
                Poll::Ready(Err(refusal)) => {
                    let why = match refusal.answer() {
                        Answer::Reset => Unreachable::Port,
                        Answer::Unreachable(why) => why,
                    };
                    self.refuse(why, interface);
                    return Next::Over;
                }
            }
        }
        let State::Open(far) = &mut self.state else { return Next::Wait };
        if far.poll_cut(cx).is_ready() {
            return Next::Over;
        }
        let is_gone = matches!(far.poll_send(cx, &mut self.outbox), Poll::Ready(Err(_)));
        let (mut next, mut is_refused) = (if is_gone { Next::Over } else { Next::Wait }, false);
        let FlowKey { local, remote } = self.key;
        for turn in 1..=TURN {
            let received = far.poll_recv(cx, &mut |item| match item {
                Item::Datagram(data) => {
                    interface.push_datagram(local, remote, data);
                    self.is_unanswered = false;
                }
                Item::Refused => is_refused = true,
            });
            next = match received {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if turn == TURN => Next::Again,
                Poll::Ready(Ok(())) => Next::Active,
                Poll::Ready(Err(_)) => Next::Over,
            };
            if next == Next::Over {
                break;
            }
        }
        if is_refused {
            self.refuse(Unreachable::Port, interface);
        } else if next == Next::Over && self.is_unanswered {
            self.refuse(Unreachable::Host, interface);
        }
        next
    }

    /// Tells the program that its last packet got no further.
    fn refuse(&self, why: Unreachable, interface: &mut Interface) {
        let FlowKey { local, remote } = self.key;
        let ip = ip(remote, local, &self.quote);
        if let Some(answer) = unreachable(&ip, why) {
            interface.push(&answer);
        }
    }
}

/// A packet of which only the beginning is there.
fn ip(source: SocketAddr, destination: SocketAddr, packet: &[u8]) -> Ip<'_> {
    Ip {
        source: source.ip(),
        destination: destination.ip(),
        hop_limit: 0,
        protocol: UDP,
        fragment: Fragment::Whole,
        payload: &[],
        packet,
    }
}
