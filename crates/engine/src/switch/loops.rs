//! Loops and forgers, played through: what is behind each port, and how long a frame takes there.

use std::collections::BTreeMap;
use std::collections::btree_map::OccupiedEntry;
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;

use super::{DropCause, Forward, Looping, PortId, Switch, SwitchSettings};

const GROUP: MacAddress = MacAddress([0xff; 6]);
const HOST: MacAddress = station(0);
const START: Duration = Duration::from_secs(100);

const fn station(number: u8) -> MacAddress {
    MacAddress([2, 0, 0, 0, 0, number])
}

fn frame(to: MacAddress, from: MacAddress, tag: u32) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x08, 0x06], &tag.to_be_bytes()].concat()
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A switch whose ports have something behind them.
struct Network {
    switch: Switch,
    ports: Vec<PortId>,
    /// What goes out by the first comes in by the second so much later.
    wires: Vec<(PortId, PortId, Duration)>,
    /// Frames under way, by when and in which order they come in.
    under_way: BTreeMap<(Duration, usize), (PortId, Vec<u8>)>,
    sent: usize,
    /// Frames that came out, by port.
    received: Vec<(PortId, Vec<u8>)>,
    told: Vec<(Duration, Looping)>,
}

impl Network {
    /// The host's port and `clients` more.
    fn new(clients: usize) -> Self {
        let mut switch = Switch::new(&SwitchSettings::new(1));
        let mut ports = vec![switch.add_host_port(HOST).expect("room")];
        ports.extend((0..clients).map(|_| switch.add_port().expect("room")));
        Self {
            switch,
            ports,
            wires: Vec::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            received: Vec::new(),
            told: Vec::new(),
        }
    }

    fn wire(&mut self, from: usize, to: usize, delay: Duration) {
        self.wires.push((self.ports[from], self.ports[to], delay));
    }

    fn bridge(&mut self, one: usize, other: usize, delay: Duration) {
        self.wire(one, other, delay);
        self.wire(other, one, delay);
    }

    fn send(&mut self, at: Duration, by: usize, frame: Vec<u8>) {
        self.sent += 1;
        self.under_way.insert((at, self.sent), (self.ports[by], frame));
    }

    /// Plays all that happens before `end` and returns how many frames the switch was given.
    fn run(&mut self, end: Duration) -> usize {
        let mut handled = 0;
        while let Some(((now, _), (by, frame))) =
            self.under_way.first_entry().filter(|next| next.key().0 < end).map(OccupiedEntry::remove_entry)
        {
            handled += 1;
            assert!(handled < 1_000_000, "a storm");
            let outs: Vec<PortId> = match self.switch.handle_frame(now, by, &frame) {
                Forward::To(port) => vec![port],
                Forward::Flood => self.switch.ports().filter(|port| *port != by).collect(),
                Forward::Drop(_) => Vec::new(),
            };
            self.told.extend(self.switch.take_looping().map(|looping| (now, looping)));
            for out in outs {
                self.received.push((out, frame.clone()));
                for (_, to, delay) in self.wires.iter().filter(|(from, ..)| *from == out) {
                    self.sent += 1;
                    self.under_way.insert((now + *delay, self.sent), (*to, frame.clone()));
                }
            }
        }
        handled
    }

    fn received(&self, port: usize, frame: &[u8]) -> usize {
        self.received.iter().filter(|(by, bytes)| *by == self.ports[port] && bytes == frame).count()
    }

    fn port_of(&self, now: Duration, address: MacAddress) -> Option<usize> {
        let (_, port) = self.switch.stations(now).find(|(known, _)| *known == address)?;
        self.ports.iter().position(|known| *known == port)
    }

    fn dropped(&self, port: usize, cause: DropCause) -> u64 {
        self.switch.counters(self.ports[port]).expect("there").dropped(cause)
    }
}

#[test]
fn a_broadcast_between_bridged_ports_ends() {
    let mut network = Network::new(3);
    network.bridge(2, 3, millis(0));
    let broadcast = frame(GROUP, station(1), 0);
    network.send(START, 1, broadcast.clone());
    let handled = network.run(START + Duration::from_secs(3600));
    assert!(handled <= 1 + 2 * 9, "{handled} frames");
    assert!(network.received(0, &broadcast) <= 1 + 2 * 8);
    assert_eq!(network.port_of(START, station(1)), Some(1), "the sender has not moved");
    let (_, Looping { port, by, .. }) = network.told[0];
    assert_eq!(port, network.ports[1]);
    assert!(by == network.ports[2] || by == network.ports[3]);
}

#[test]
fn traffic_goes_on_while_there_is_a_loop() {
    let mut network = Network::new(4);
    network.bridge(2, 3, millis(1));
    for tag in 0..1000 {
        network.send(START + millis(10) * tag, 1, frame(GROUP, station(1), tag));
        network.send(START + millis(10) * tag + millis(5), 4, frame(station(1), station(4), tag));
    }
    let handled = network.run(START + Duration::from_secs(60));
    // Each port may send 88 echoes in ten seconds; each of them, and each broadcast, comes back twice.
    assert!(handled < 2000 + 2 * (1000 + 2 * 88), "{handled} frames");
    for tag in 0..1000 {
        assert!(network.received(4, &frame(GROUP, station(1), tag)) >= 1, "broadcast {tag} was lost");
        assert_eq!(network.received(1, &frame(station(1), station(4), tag)), 1, "unicast {tag}");
    }
    assert_eq!(network.port_of(START + millis(10_000), station(1)), Some(1));
}

#[test]
fn a_loop_is_told_once_in_ten_seconds() {
    let mut network = Network::new(2);
    network.wire(2, 2, millis(0));
    for tag in 0..3000 {
        network.send(START + millis(10) * tag, 1, frame(GROUP, station(1), tag));
    }
    network.run(START + Duration::from_secs(60));
    let times: Vec<Duration> = network.told.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 3, "{times:?}");
    assert!(times.windows(2).all(|pair| pair[1] >= pair[0] + Duration::from_secs(10)));
    let told: u64 = network.told.iter().map(|(_, looping)| looping.dropped).sum();
    assert!(told > 1500, "{told} dropped");
}

#[test]
fn a_slow_loop_neither_grows_nor_moves_anybody() {
    let mut network = Network::new(3);
    network.bridge(2, 3, millis(200));
    for tag in 0..100 {
        network.send(START + millis(100) * tag, 1, frame(GROUP, station(1), tag));
    }
    network.run(START + Duration::from_secs(60));
    let handled = network.run(START + Duration::from_secs(70));
    assert!(handled <= 2 * 2 * 8 * 10, "{handled} frames in ten seconds");
    assert_eq!(network.port_of(START + Duration::from_secs(70), station(1)), Some(1));
}

#[test]
fn a_port_that_throws_everything_back_is_held() {
    let mut network = Network::new(2);
    network.wire(2, 2, millis(0));
    for tag in 0..100 {
        network.send(START + millis(1) * tag, 1, frame(GROUP, station(1), tag));
    }
    network.run(START + Duration::from_secs(10));
    let switch = &network.switch;
    assert!(switch.counters(network.ports[2]).expect("there").flooded <= 8 + 1);
    assert_eq!(network.port_of(START, station(1)), Some(1));
}

#[test]
fn a_loop_beyond_the_port_that_sends_is_held() {
    let mut network = Network::new(2);
    let broadcast = frame(GROUP, station(1), 0);
    for repetition in 0..10_000 {
        network.send(START + Duration::from_micros(50) * repetition, 1, broadcast.clone());
    }
    network.run(START + Duration::from_secs(10));
    let received = network.received(2, &broadcast);
    assert!((100..=202).contains(&received), "{received} of 10,000 in half a second");
    let (_, Looping { port, by, .. }) = network.told[0];
    assert_eq!((port, by), (network.ports[1], network.ports[1]));
    network.send(START + Duration::from_secs(1), 1, frame(GROUP, station(1), 1));
    network.run(START + Duration::from_secs(10));
    assert_eq!(network.received(2, &frame(GROUP, station(1), 1)), 1, "other frames pass");
}

#[test]
fn who_repeats_himself_slowly_is_heard_for_ever() {
    let mut network = Network::new(2);
    let beacon = frame(GROUP, station(1), 0);
    for repetition in 0..10_000 {
        network.send(START + millis(10) * repetition, 1, beacon.clone());
    }
    network.run(START + Duration::from_secs(200));
    assert_eq!(network.received(2, &beacon), 10_000);
}

#[test]
fn the_hosts_own_broadcast_never_comes_back() {
    let mut network = Network::new(3);
    network.bridge(2, 3, millis(0));
    for tag in 0..20 {
        network.send(START, 0, frame(GROUP, HOST, tag));
    }
    let handled = network.run(START + Duration::from_secs(10));
    assert_eq!(handled, 3 * 20);
    assert_eq!(network.dropped(2, DropCause::HostAddress) + network.dropped(2, DropCause::Loop), 20);
    assert!(network.told.iter().all(|(_, looping)| looping.port == network.ports[0]));
    assert_eq!(network.told.len(), 2, "one of each port");
}

#[test]
fn copies_of_a_unicast_that_was_flooded_move_nobody() {
    let mut network = Network::new(4);
    network.bridge(2, 3, millis(2));
    network.send(START, 1, frame(station(4), station(1), 0));
    network.send(START + millis(1), 4, frame(station(1), station(4), 1));
    network.run(START + Duration::from_secs(1));
    assert_eq!(network.port_of(START, station(1)), Some(1));
    assert_eq!(network.port_of(START, station(4)), Some(4));
}

#[test]
fn a_forger_cannot_suppress_what_his_victim_asks_for() {
    let mut network = Network::new(3);
    let (forger, victim) = (1, 2);
    let request = frame(GROUP, station(2), 0);
    for second in 0..60 {
        // Before and after, and as often as he likes.
        for forged in 0..100 {
            network.send(START + millis(1000) * second + millis(4) * forged, forger, request.clone());
        }
        network.send(START + millis(1000) * second + millis(399), victim, request.clone());
    }
    network.run(START + Duration::from_secs(100));
    assert_eq!(network.dropped(victim, DropCause::Loop), 0);
    assert_eq!(network.switch.counters(network.ports[victim]).expect("there").flooded, 60);
}

#[test]
fn a_forger_cannot_stop_his_victims_port() {
    let mut network = Network::new(3);
    let (forger, victim) = (1, 2);
    let foretold = frame(GROUP, station(2), 0);
    for tick in 0..1000 {
        let at = START + millis(10) * tick;
        network.send(at, forger, foretold.clone());
        network.send(at + millis(1), victim, foretold.clone());
        network.send(at + millis(2), victim, frame(GROUP, station(2), 1 + tick));
        network.send(at + millis(3), victim, frame(HOST, station(2), 1 + tick));
    }
    network.run(START + Duration::from_secs(20));
    assert!(network.dropped(victim, DropCause::Loop) > 800, "the foretold ones were thinned");
    let eight_a_second = network.received(1, &foretold);
    assert!((80..=88).contains(&eight_a_second), "{eight_a_second} of the foretold ones in ten seconds");
    for tick in 0..1000 {
        assert_eq!(network.received(3, &frame(GROUP, station(2), 1 + tick)), 1, "broadcast {tick}");
        assert_eq!(network.received(0, &frame(HOST, station(2), 1 + tick)), 1, "unicast {tick}");
    }
}

#[test]
fn old_frames_are_forgotten() {
    let mut network = Network::new(2);
    for tag in 0..100 {
        network.send(START, 1, frame(GROUP, station(1), tag));
    }
    network.send(START + millis(500), 1, frame(GROUP, station(1), 100));
    network.run(START + Duration::from_secs(1));
    assert_eq!(network.switch.echoes.remembered(), 1);
}

#[test]
fn a_removed_port_leaves_no_frames_behind() {
    let mut network = Network::new(2);
    for tag in 0..5000 {
        network.send(START + Duration::from_micros(50) * tag, 1, frame(GROUP, station(1), tag));
    }
    network.run(START + Duration::from_secs(1));
    assert_eq!(network.switch.echoes.remembered(), 1024, "bounded");
    network.switch.remove_port(network.ports[1]).expect("there");
    assert_eq!(network.switch.echoes.remembered(), 0);
}
