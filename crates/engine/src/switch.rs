//! A learning Ethernet switch (IEEE 802.1D, clause 7) for one broadcast domain in user space.
//!
//! # Theory of operation
//!
//! [`Switch::handle_frame`] takes a frame and the port it came in by and says where it goes; the caller has
//! the ports and moves the bytes. A frame between known stations costs two look-ups in one hash table: of
//! the destination, and of the source, which is learned or refreshed.
//!
//! *Learning.* A source is learned at the port it came in by, moved when it comes in by another, and
//! forgotten when it has not been heard for the ageing time. Sources that are no station (group or zero)
//! are dropped. The address of this machine's own interface is pinned to its port: a frame that bears it
//! and comes from elsewhere is a forgery or came round a loop, and is dropped. Any other address can be
//! claimed by any port, as on every switch that learns.
//!
//! *Bounds.* A port may always hold [`SwitchSettings::addresses_per_port`] addresses; beyond that it takes
//! from a store of [`SwitchSettings::addresses_shared`], and at most half of it. Nothing is ever evicted
//! for something newer: who floods the switch with made-up sources loses no other's address and leaves room
//! for all. What cannot be learned is forwarded all the same.
//!
//! *Flooding.* Group frames and those to unknown stations go to all other ports, which costs every client's
//! time and buffers, so each port may cause only so many a second ([`FloodLimit`]).
//!
//! *Reserved.* 01:80:c2:00:00:00 to 0f are between neighbours (spanning tree, LLDP, 802.1X, PAUSE) and are
//! not forwarded (802.1D, 7.12.6). We are not a party to any of these: spanning trees of two bridges behind
//! us do not see each other, which is why loops are found otherwise:
//!
//! # Loops
//!
//! Two of our ports may be joined outside (a guest that bridges its two interfaces), and then each flooded
//! frame comes back, for ever. Copies are recognised by what they are: the keyed hash of each flooded frame
//! is remembered with the port that first sent it, until it has not come again for 500 ms.
//!
//! - The same frame *by another port* is an echo. It moves no station, so the table stays right while
//!   there is a loop; except back to the port from which the frame's first sender took it. Each port may
//!   send eight echoes at once and eight a second; further ones are dropped, which ends the storm: each
//!   drop ends one of the frames that go round. (A loop that takes longer than 125 ms a turn keeps a few
//!   going; that is no storm.)
//! - The same frame *by the same port* is a repetition. Past a hundred at once and 200 a second they are
//!   dropped: there is a loop beyond that port.
//! - The host's own frames by another port are dropped whatever their number.
//!
//! No port is ever shut, for then a forger who sends his victim's frames before the victim does could have
//! the victim's port shut. As it is, a forger can do this: a frame that he foretells byte for byte and
//! sends first, everybody gets from him, and when the victim sends it too that is an echo. If the victim's
//! port sends more than eight echoes a second, those beyond are dropped: equal beacons many times a second
//! are thinned. A single ARP request or DHCP discovery passes whatever others send, and so does every frame
//! that nobody could foretell. Where the forged frame took the victim's address, the victim's own takes it back,
//! and the answer goes to the victim. It does not where the forger had the address already, by another forged
//! frame or since the victim was never heard: then he has it until the victim's next frame that is no echo.
//! But whoever may send with any source can hold an address anyhow, by sending more often than its owner.
//! The price: while a loop goes through the port that a station has just left, what comes back moves the station
//! to that port until its next frame.
//!
//! The memory holds 1,024 frames a port, oldest out first, so a port can only make its own be forgotten; a
//! loop that this hides is still held by the limit of flooding. The seed of the hashes is secret.

mod counters;
mod echoes;
mod hash;
mod limit;
#[cfg(test)]
mod loops;
#[cfg(test)]
mod model;
mod port;
mod table;

use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;

pub use counters::{DropCause, PortCounters};
pub use echoes::Looping;
pub use port::PortId;

use echoes::{Echoes, Verdict};
use hash::{Keys, Station};
use limit::RateLimit;
use port::{Port, Ports};
use table::{Source, Table};

/// What a switch is made with.
#[derive(Clone, Debug)]
pub struct SwitchSettings {
    /// Random and secret: who knows it can make addresses and frames collide.
    pub seed: u64,
    /// How long a station is remembered that is not heard (802.1D, table 7-5).
    pub ageing: Duration,
    /// How many addresses each port may have learned, whatever the others do.
    pub addresses_per_port: usize,
    /// How many more there may be, of all ports together; one port has at most half of them.
    pub addresses_shared: usize,
    /// How much each port may have flooded; no limit when `None`.
    pub flood_limit: Option<FloodLimit>,
}

impl SwitchSettings {
    /// What suits a few dozen guests, with a random seed.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            ageing: Duration::from_secs(300),
            addresses_per_port: 32,
            addresses_shared: 4096,
            flood_limit: Some(FloodLimit::default()),
        }
    }
}

/// How many frames a port may have flooded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FloodLimit {
    /// Frames a second in the long run.
    pub frames_per_second: u32,
    /// Frames at once.
    pub burst: u32,
}

/// Far above what a quiet network has (a busy LAN's ARP and discovery are hundreds of frames a second, a
/// video by multicast at 100 Mbit/s is nine thousand), and low enough that what 30 clients are made to
/// receive takes a fraction of a processor. The burst is a window of some 6 MB to a station not heard yet.
impl Default for FloodLimit {
    fn default() -> Self {
        Self { frames_per_second: 20_000, burst: 4_000 }
    }
}

/// Where a frame goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    /// To this port, which is not the one it came by.
    To(PortId),
    /// To all ports but the one it came by.
    Flood,
    /// Nowhere; it is counted.
    Drop(DropCause),
}

/// A learning switch. Its ports are made by it and known by their ids.
#[derive(Debug)]
pub struct Switch {
    flood_limit: Option<FloodLimit>,
    ports: Ports,
    table: Table,
    echoes: Echoes,
}

impl Switch {
    /// A switch without ports.
    pub fn new(settings: &SwitchSettings) -> Self {
        let keys = Keys::new(settings.seed);
        Self {
            flood_limit: settings.flood_limit,
            ports: Ports::default(),
            table: Table::new(settings, keys),
            echoes: Echoes::new(keys),
        }
    }

    /// Adds a port; `None` when there are 65,535.
    pub fn add_port(&mut self) -> Option<PortId> {
        self.ports.insert(Port::new(self.flood_limit))
    }

    /// Adds the port of this machine's own interface: `address` is at that port, whoever else claims it.
    pub fn add_host_port(&mut self, address: MacAddress) -> Option<PortId> {
        let id = self.add_port()?;
        self.table.pin(&mut self.ports, Station::new(address), id);
        Some(id)
    }

    /// Removes a port with all that was learned of it, and returns what was counted; `None` when it is not
    /// there.
    pub fn remove_port(&mut self, id: PortId) -> Option<PortCounters> {
        let port = self.ports.remove(id)?;
        self.table.forget_port(id, &port);
        self.echoes.forget_port(id, &port);
        Some(port.counters)
    }

    /// Where a frame goes that came in by `from` at `now`, a time that never goes back. Its source is
    /// learned.
    ///
    /// `frame` starts with the Ethernet header, without a preamble; its end is the caller's word.
    pub fn handle_frame(&mut self, now: Duration, from: PortId, frame: &[u8]) -> Forward {
        let forward = self.decide(now, from, frame).unwrap_or_else(Forward::Drop);
        if let Some(port) = self.ports.get_mut(from) {
            port.counters.count(forward);
        }
        forward
    }

    /// The next loop to tell about, each port at most once in 10 s.
    pub fn take_looping(&mut self) -> Option<Looping> {
        self.echoes.take_looping()
    }

    /// The ports that are there.
    pub fn ports(&self) -> impl Iterator<Item = PortId> + '_ {
        self.ports.ids()
    }

    /// What was counted at a port; `None` when it is not there.
    pub fn counters(&self, id: PortId) -> Option<&PortCounters> {
        self.ports.get(id).map(|port| &port.counters)
    }

    /// The stations that are known at `now`, in no order, each with its port.
    pub fn stations(&self, now: Duration) -> impl Iterator<Item = (MacAddress, PortId)> + '_ {
        self.table.stations(now)
    }

    fn decide(&mut self, now: Duration, from: PortId, frame: &[u8]) -> Result<Forward, DropCause> {
        let port = self.ports.get(from).ok_or(DropCause::NoSuchPort)?;
        let (destination, source) = Station::of_frame(frame).ok_or(DropCause::TooShort)?;
        if !source.is_individual() {
            return Err(DropCause::BadSource);
        }
        if destination.is_reserved() {
            return Err(DropCause::Reserved);
        }
        let target = if destination.is_group() { None } else { self.table.port_of(now, destination) };
        let known = self.table.hear(now, source, from);
        if known == Source::Pinned {
            let verdict = self.echoes.handle_frame(now, from, &mut self.ports, frame, false, None);
            return Err(if verdict == Verdict::Drop { DropCause::Loop } else { DropCause::HostAddress });
        }
        let floods = target.is_none();
        if floods && port.flooding.as_ref().is_some_and(|limit| limit.is_spent(now)) {
            return Err(DropCause::Storm);
        }
        let elsewhere = match known {
            Source::Elsewhere(port) => Some(port),
            _ => None,
        };
        let verdict = if floods || elsewhere.is_some() {
            self.echoes.handle_frame(now, from, &mut self.ports, frame, floods, elsewhere)
        } else {
            Verdict::New
        };
        match verdict {
            Verdict::Drop => return Err(DropCause::Loop),
            Verdict::New | Verdict::Return if known != Source::Here => {
                self.table.learn(now, &mut self.ports, source, from)
            }
            Verdict::New | Verdict::Return | Verdict::Echo => {}
        }
        match target {
            Some(to) if to == from => Err(DropCause::SamePort),
            Some(to) => Ok(Forward::To(to)),
            None => {
                if let Some(limit) = self.ports.get_mut(from).and_then(|port| port.flooding.as_mut()) {
                    limit.take(now);
                }
                Ok(Forward::Flood)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(50);
    const GROUP: MacAddress = MacAddress([0xff; 6]);
    const HOST: MacAddress = station(0);

    const fn station(number: u8) -> MacAddress {
        MacAddress([2, 0, 0, 0, 0, number])
    }

    /// A frame whose contents are `tag`.
    fn frame(to: MacAddress, from: MacAddress, tag: u32) -> Vec<u8> {
        [&to.0[..], &from.0, &[0x88, 0xb5], &tag.to_be_bytes()].concat()
    }

    /// A switch with the host's port and two more.
    fn switch(settings: &SwitchSettings) -> (Switch, PortId, PortId, PortId) {
        let mut switch = Switch::new(settings);
        let host = switch.add_host_port(HOST).expect("room");
        let [a, b] = [(); 2].map(|()| switch.add_port().expect("room"));
        (switch, host, a, b)
    }

    #[test]
    fn a_known_station_gets_its_frames_alone() {
        let (mut switch, _, a, b) = switch(&SwitchSettings::new(1));
        assert_eq!(switch.handle_frame(NOW, a, &frame(station(2), station(1), 0)), Forward::Flood);
        assert_eq!(switch.handle_frame(NOW, b, &frame(station(1), station(2), 1)), Forward::To(a));
        assert_eq!(switch.handle_frame(NOW, a, &frame(station(2), station(1), 2)), Forward::To(b));
        let counters = switch.counters(a).expect("there");
        assert_eq!((counters.flooded, counters.forwarded, counters.learned), (1, 1, 1));
    }

    #[test]
    fn a_station_that_moved_is_found_at_once() {
        let (mut switch, _, a, b) = switch(&SwitchSettings::new(1));
        switch.handle_frame(NOW, a, &frame(GROUP, station(1), 0));
        switch.handle_frame(NOW, b, &frame(GROUP, station(1), 1));
        assert_eq!(switch.handle_frame(NOW, a, &frame(station(1), station(2), 2)), Forward::To(b));
        assert_eq!(switch.counters(b).expect("there").moved, 1);
    }

    #[test]
    fn the_host_address_is_at_its_port_whoever_claims_it() {
        let (mut switch, host, a, b) = switch(&SwitchSettings::new(1));
        let much_later = NOW + Duration::from_secs(100_000);
        let forged = switch.handle_frame(much_later, a, &frame(GROUP, HOST, 0));
        assert_eq!(forged, Forward::Drop(DropCause::HostAddress));
        assert_eq!(switch.handle_frame(much_later, b, &frame(HOST, station(2), 1)), Forward::To(host));
    }

    #[test]
    fn the_host_port_learns_what_is_bridged_to_it() {
        let (mut switch, host, a, _) = switch(&SwitchSettings::new(1));
        switch.handle_frame(NOW, host, &frame(GROUP, station(7), 0));
        assert_eq!(switch.handle_frame(NOW, a, &frame(station(7), station(1), 1)), Forward::To(host));
    }

    #[test]
    fn what_no_station_may_send_is_dropped_by_its_cause() {
        let (mut switch, host, a, _) = switch(&SwitchSettings::new(1));
        let stp = MacAddress([0x01, 0x80, 0xc2, 0, 0, 0]);
        let cases = [
            (frame(GROUP, MacAddress([0; 6]), 0), DropCause::BadSource),
            (frame(GROUP, GROUP, 0), DropCause::BadSource),
            (frame(stp, station(1), 0), DropCause::Reserved),
            (frame(HOST, station(1), 0)[..13].to_vec(), DropCause::TooShort),
            (Vec::new(), DropCause::TooShort),
        ];
        for (frame, cause) in cases {
            let before = switch.counters(a).expect("there").dropped(cause);
            assert_eq!(switch.handle_frame(NOW, a, &frame), Forward::Drop(cause));
            assert_eq!(switch.counters(a).expect("there").dropped(cause), before + 1);
        }
        assert_eq!(switch.stations(NOW).collect::<Vec<_>>(), [(HOST, host)], "nothing was learned");
    }

    #[test]
    fn a_removed_port_is_forgotten_with_its_stations() {
        let (mut switch, _, a, b) = switch(&SwitchSettings::new(1));
        switch.handle_frame(NOW, a, &frame(GROUP, station(1), 0));
        switch.remove_port(a).expect("there");
        assert_eq!(switch.handle_frame(NOW, b, &frame(station(1), station(2), 1)), Forward::Flood);
        let late = switch.handle_frame(NOW, a, &frame(GROUP, station(1), 2));
        assert_eq!(late, Forward::Drop(DropCause::NoSuchPort));
        assert_eq!(switch.handle_frame(NOW, b, &frame(GROUP, station(1), 0)), Forward::Flood);
        assert_eq!(switch.counters(b).expect("there").learned, 2, "nothing tells of the old port");
        assert!(switch.counters(a).is_none() && switch.remove_port(a).is_none());
    }

    #[test]
    fn one_ports_storm_leaves_the_others_theirs() {
        let flood_limit = Some(FloodLimit { frames_per_second: 100, burst: 10 });
        let (mut switch, _, a, b) = switch(&SwitchSettings { flood_limit, ..SwitchSettings::new(1) });
        for tag in 0..50 {
            switch.handle_frame(NOW, a, &frame(GROUP, station(1), tag));
        }
        let counters = switch.counters(a).expect("there");
        assert_eq!((counters.flooded, counters.dropped(DropCause::Storm)), (10, 40));
        assert_eq!(switch.handle_frame(NOW, b, &frame(GROUP, station(2), 0)), Forward::Flood);
        let unicast = switch.handle_frame(NOW, a, &frame(station(2), station(1), 0));
        assert_eq!(unicast, Forward::To(b), "what is not flooded passes");
        let later = NOW + Duration::from_millis(10);
        assert_eq!(switch.handle_frame(later, a, &frame(GROUP, station(1), 99)), Forward::Flood);
    }

    #[test]
    fn a_flood_of_sources_takes_no_place_from_another_port() {
        let (mut switch, _, a, b) = switch(&SwitchSettings::new(1));
        let start = NOW;
        switch.handle_frame(start, b, &frame(GROUP, station(2), 0));
        for number in 0..100_000u32 {
            let [_, high, middle, low] = number.to_be_bytes();
            switch.handle_frame(start, a, &frame(HOST, MacAddress([2, 9, 9, high, middle, low]), number));
        }
        switch.handle_frame(start, b, &frame(GROUP, station(3), 1));
        for number in [2, 3] {
            let forward = switch.handle_frame(start, a, &frame(station(number), station(1), 2));
            assert_eq!(forward, Forward::To(b));
        }
        assert_eq!(switch.stations(start).count(), 1 + 2 + 32 + 2048);
    }
}
