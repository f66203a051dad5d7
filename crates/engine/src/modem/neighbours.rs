//! Which station has an IPv4 address of the LAN (RFC 826), and the packets that wait to know.

use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;

/// How many addresses are kept.
const NEIGHBOURS: usize = 64;

/// How many packets wait for one answer.
const WAITING: usize = 4;

/// How long an answer is waited for before it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// How often it is asked.
const MAX_ASKED: u8 = 3;

/// How long an answer holds.
const LIFETIME: Duration = Duration::from_secs(60);

/// What to do with a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Resolution {
    /// Send it there.
    Known(MacAddress),
    /// It waits; ask who has the address.
    Ask,
    /// It waits; somebody was asked.
    Waits,
    /// Drop it.
    Full,
}

/// What is to be done at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Due {
    /// Addresses to ask for again.
    pub(super) ask: Vec<Ipv4Addr>,
    /// How many packets waited in vain.
    pub(super) unresolved: usize,
}

#[derive(Debug, Default)]
pub(super) struct Neighbours(Vec<Neighbour>);

#[derive(Debug)]
struct Neighbour {
    address: Ipv4Addr,
    state: State,
}

#[derive(Debug)]
enum State {
    Asked { times: u8, again: Duration, waiting: Vec<Vec<u8>> },
    Known { mac: MacAddress, until: Duration },
}

impl Neighbours {
    /// Finds the station to which a packet goes that is for this address next; the packet is kept where
    /// it has to wait.
    pub(super) fn resolve(&mut self, now: Duration, address: Ipv4Addr, packet: &[u8]) -> Resolution {
        self.forget(now);
        match self.find(address) {
            Some(State::Known { mac, .. }) => return Resolution::Known(*mac),
            Some(State::Asked { waiting, .. }) if waiting.len() < WAITING => {
                waiting.push(packet.to_vec());
                return Resolution::Waits;
            }
            Some(State::Asked { .. }) => return Resolution::Full,
            None => {}
        }
        if !self.make_room() {
            return Resolution::Full;
        }
        let waiting = vec![packet.to_vec()];
        self.0.push(Neighbour { address, state: State::Asked { times: 1, again: now + ASK_AGAIN, waiting } });
        Resolution::Ask
    }

    /// A station says that it has this address. What waited for it is returned. Who was not asked for
    /// is only remembered when it `talks_to_us`, since we are likely to answer.
    pub(super) fn learn(
        &mut self,
        now: Duration,
        address: Ipv4Addr,
        mac: MacAddress,
        talks_to_us: bool,
    ) -> Vec<Vec<u8>> {
        let known = State::Known { mac, until: now + LIFETIME };
        if let Some(state) = self.find(address) {
            return match std::mem::replace(state, known) {
                State::Asked { waiting, .. } => waiting,
                State::Known { .. } => Vec::new(),
            };
        }
        if talks_to_us && self.make_room() {
            self.0.push(Neighbour { address, state: known });
        }
        Vec::new()
    }

    /// When [`Self::handle_timeout`] is due.
    pub(super) fn timeout(&self) -> Option<Duration> {
        let again = |neighbour: &Neighbour| match neighbour.state {
            State::Asked { again, .. } => Some(again),
            State::Known { .. } => None,
        };
        self.0.iter().filter_map(again).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration) -> Due {
        let mut due = Due::default();
        self.0.retain_mut(|neighbour| match &mut neighbour.state {
            State::Asked { times, again, waiting } if *again <= now => {
                if *times == MAX_ASKED {
                    due.unresolved += waiting.len();
                    return false;
                }
                *times += 1;
                *again = now + ASK_AGAIN;
                due.ask.push(neighbour.address);
                true
            }
            _ => true,
        });
        due
    }

    fn find(&mut self, address: Ipv4Addr) -> Option<&mut State> {
        self.0.iter_mut().find(|neighbour| neighbour.address == address).map(|found| &mut found.state)
    }

    fn forget(&mut self, now: Duration) {
        self.0.retain(|neighbour| !matches!(neighbour.state, State::Known { until, .. } if until <= now));
    }

    /// Forgets the one that was heard of longest ago when all places are taken, but none whose answer is
    /// waited for.
    fn make_room(&mut self) -> bool {
        if self.0.len() < NEIGHBOURS {
            return true;
        }
        let until = |neighbour: &Neighbour| match neighbour.state {
            State::Known { until, .. } => Some(until),
            State::Asked { .. } => None,
        };
        let oldest = self.0.iter().enumerate().filter_map(|(at, one)| Some((until(one)?, at))).min();
        oldest.map(|(_, at)| self.0.swap_remove(at)).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
    const MAC: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const START: Duration = Duration::from_secs(1000);

    fn other(number: usize) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + u32::try_from(number).expect("a small number"))
    }

    #[test]
    fn packets_wait_for_the_answer_and_leave_in_order() {
        let mut neighbours = Neighbours::default();
        assert_eq!(neighbours.resolve(START, HOST, b"1"), Resolution::Ask);
        assert_eq!(neighbours.resolve(START, HOST, b"2"), Resolution::Waits);
        assert_eq!(neighbours.learn(START, HOST, MAC, false), [b"1", b"2"]);
        assert_eq!(neighbours.resolve(START, HOST, b"3"), Resolution::Known(MAC));
    }

    #[test]
    fn the_newest_packet_is_dropped_when_too_many_wait() {
        let mut neighbours = Neighbours::default();
        for _ in 0..WAITING {
            neighbours.resolve(START, HOST, b"");
        }
        assert_eq!(neighbours.resolve(START, HOST, b""), Resolution::Full);
    }

    #[test]
    fn it_is_asked_three_times_a_second_apart() {
        let mut neighbours = Neighbours::default();
        neighbours.resolve(START, HOST, b"1");
        for nth in 1..3 {
            let due = neighbours.timeout().expect("it is waited for");
            assert_eq!(due, START + nth * ASK_AGAIN);
            assert_eq!(neighbours.handle_timeout(due), Due { ask: vec![HOST], unresolved: 0 });
        }
        assert_eq!(neighbours.handle_timeout(START + 3 * ASK_AGAIN), Due { ask: vec![], unresolved: 1 });
        assert_eq!(neighbours.timeout(), None);
        assert_eq!(neighbours.resolve(START, HOST, b"2"), Resolution::Ask);
    }

    #[test]
    fn an_answer_is_forgotten_after_its_lifetime() {
        let mut neighbours = Neighbours::default();
        neighbours.learn(START, HOST, MAC, true);
        let end = START + LIFETIME;
        assert_eq!(neighbours.resolve(START + LIFETIME / 2, HOST, b""), Resolution::Known(MAC));
        assert_eq!(neighbours.resolve(end, HOST, b""), Resolution::Ask);
    }

    #[test]
    fn a_station_that_does_not_talk_to_us_is_not_remembered() {
        let mut neighbours = Neighbours::default();
        neighbours.learn(START, HOST, MAC, false);
        assert_eq!(neighbours.resolve(START, HOST, b""), Resolution::Ask);
    }

    #[test]
    fn the_oldest_answer_makes_room_and_a_question_does_not() {
        let mut neighbours = Neighbours::default();
        neighbours.learn(START, HOST, MAC, true);
        for number in 1..NEIGHBOURS {
            assert_eq!(neighbours.resolve(START, other(number), b""), Resolution::Ask);
        }
        assert_eq!(neighbours.resolve(START, other(NEIGHBOURS), b""), Resolution::Ask);
        assert_eq!(neighbours.resolve(START, HOST, b""), Resolution::Full);
        assert_eq!(neighbours.0.len(), NEIGHBOURS);
    }
}
