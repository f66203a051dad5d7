//! Which station is at which port.

use std::collections::HashMap;
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;

use super::SwitchSettings;
use super::hash::{Keys, Station};
use super::port::{Port, PortId, Ports};

/// A full table is searched for what is too old this often at most.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of a frame's source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// It is at the port the frame came by, and was refreshed.
    Here,
    /// It is at another port.
    Elsewhere,
    /// It is at another port, and stays there.
    Pinned,
    /// Nothing.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    port: PortId,
    heard_at: Duration,
    pinned: bool,
}

/// The learned addresses.
#[derive(Debug)]
pub(super) struct Table {
    entries: HashMap<Station, Entry, Keys>,
    ageing: Duration,
    per_port: usize,
    shared: usize,
    shared_used: usize,
    next_sweep: Duration,
}

impl Table {
    pub(super) fn new(settings: &SwitchSettings, keys: Keys) -> Self {
        Self {
            entries: HashMap::with_hasher(keys),
            ageing: settings.ageing,
            per_port: settings.addresses_per_port,
            shared: settings.addresses_shared,
            shared_used: 0,
            next_sweep: Duration::ZERO,
        }
    }

    /// The port a station is at.
    pub(super) fn port_of(&self, now: Duration, station: Station) -> Option<PortId> {
        self.entries.get(&station).filter(|entry| entry.holds(now, self.ageing)).map(|entry| entry.port)
    }

    /// Refreshes a source that is known at the port it was heard at, and says what is known of it.
    pub(super) fn hear(&mut self, now: Duration, station: Station, from: PortId) -> Source {
        match self.entries.get_mut(&station) {
            Some(entry) if !entry.holds(now, self.ageing) => Source::Unknown,
            Some(entry) if entry.port == from => {
                entry.heard_at = now;
                Source::Here
            }
            Some(entry) if entry.pinned => Source::Pinned,
            Some(_) => Source::Elsewhere,
            None => Source::Unknown,
        }
    }

    /// Learns or moves a station that is not pinned. Where there is no room it is known nowhere afterwards.
    pub(super) fn learn(&mut self, now: Duration, ports: &mut Ports, station: Station, from: PortId) {
        let moved = self.port_of(now, station).is_some();
        self.forget(ports, station);
        if !self.has_room(ports, from) {
            self.sweep(now, ports);
        }
        let room = self.has_room(ports, from);
        let Some(port) = ports.get_mut(from) else { return };
        if !room {
            port.counters.unlearned += 1;
            return;
        }
        *if moved { &mut port.counters.moved } else { &mut port.counters.learned } += 1;
        self.shared_used += usize::from(port.stations >= self.per_port);
        port.stations += 1;
        self.entries.insert(station, Entry { port: from, heard_at: now, pinned: false });
    }

    /// Sets where a station is for as long as that port is there.
    pub(super) fn pin(&mut self, ports: &mut Ports, station: Station, port: PortId) {
        self.forget(ports, station);
        self.entries.insert(station, Entry { port, heard_at: Duration::ZERO, pinned: true });
    }

    /// Forgets the stations of a port that was removed.
    pub(super) fn forget_port(&mut self, id: PortId, port: &Port) {
        self.entries.retain(|_, entry| entry.port != id);
        self.shared_used -= port.stations.saturating_sub(self.per_port);
    }

    pub(super) fn stations(&self, now: Duration) -> impl Iterator<Item = (MacAddress, PortId)> + '_ {
        let there = self.entries.iter().filter(move |(_, entry)| entry.holds(now, self.ageing));
        there.map(|(station, entry)| (station.address(), entry.port))
    }

    fn has_room(&self, ports: &Ports, id: PortId) -> bool {
        let stations = ports.get(id).map_or(0, |port| port.stations);
        let beyond = stations.checked_sub(self.per_port);
        beyond.is_none_or(|beyond| beyond < self.shared / 2 && self.shared_used < self.shared)
    }

    fn forget(&mut self, ports: &mut Ports, station: Station) {
        if let Some(entry) = self.entries.remove(&station) {
            release(ports, &mut self.shared_used, self.per_port, &entry);
        }
    }

    fn sweep(&mut self, now: Duration, ports: &mut Ports) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP_INTERVAL;
        let Self { entries, shared_used, .. } = self;
        entries.retain(|_, entry| {
            let stays = entry.holds(now, self.ageing);
            if !stays {
                release(ports, shared_used, self.per_port, entry);
            }
            stays
        });
    }
}

impl Entry {
    fn holds(&self, now: Duration, ageing: Duration) -> bool {
        self.pinned || now.saturating_sub(self.heard_at) < ageing
    }
}

/// Takes an entry that is gone from its port's account.
fn release(ports: &mut Ports, shared_used: &mut usize, per_port: usize, entry: &Entry) {
    if let Some(port) = ports.get_mut(entry.port).filter(|_| !entry.pinned) {
        port.stations -= 1;
        *shared_used -= usize::from(port.stations >= per_port);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1000);

    fn station(number: u64) -> Station {
        let [_, _, _, _, a, b, c, d] = number.to_be_bytes();
        Station::new(MacAddress([2, 0, a, b, c, d]))
    }

    fn table(per_port: usize, shared: usize) -> (Table, Ports, [PortId; 3]) {
        let settings = SwitchSettings {
            addresses_per_port: per_port,
            addresses_shared: shared,
            ..SwitchSettings::new(1)
        };
        let mut ports = Ports::default();
        let ids = [(); 3].map(|()| ports.insert(Port::new(None)).expect("room"));
        (Table::new(&settings, Keys::new(1)), ports, ids)
    }

    #[test]
    fn a_station_ages_unless_it_is_heard() {
        let (mut table, mut ports, [a, b, _]) = table(2, 0);
        table.learn(NOW, &mut ports, station(1), a);
        table.learn(NOW, &mut ports, station(2), b);
        let later = NOW + Duration::from_secs(299);
        assert_eq!(table.hear(later, station(1), a), Source::Here);
        let later = NOW + Duration::from_secs(300);
        assert_eq!((table.port_of(later, station(1)), table.port_of(later, station(2))), (Some(a), None));
        assert_eq!(table.hear(later, station(2), b), Source::Unknown);
    }

    #[test]
    fn a_port_always_has_its_own_places_and_at_most_half_of_the_shared() {
        let (mut table, mut ports, [a, b, c]) = table(2, 10);
        for number in 0..100 {
            table.learn(NOW, &mut ports, station(number), a);
            table.learn(NOW, &mut ports, station(1000 + number), b);
        }
        for number in 2000..2010 {
            table.learn(NOW, &mut ports, station(number), c);
        }
        let held = [a, b, c].map(|id| ports.get(id).expect("there").stations);
        assert_eq!(held, [7, 7, 2]);
        assert_eq!(table.entries.len(), 16);
        assert_eq!(ports.get(a).expect("there").counters.unlearned, 93);
        assert_eq!(table.port_of(NOW, station(0)), Some(a), "what was learned first stays");
    }

    #[test]
    fn a_full_table_makes_room_of_what_is_too_old() {
        let (mut table, mut ports, [a, ..]) = table(3, 0);
        for number in 0..5 {
            table.learn(NOW, &mut ports, station(number), a);
        }
        let later = NOW + Duration::from_secs(300);
        table.learn(later, &mut ports, station(9), a);
        assert_eq!(table.port_of(later, station(9)), Some(a));
        assert_eq!((table.entries.len(), ports.get(a).expect("there").stations), (1, 1));
    }

    #[test]
    fn shared_places_are_given_back() {
        let (mut table, mut ports, [a, b, c]) = table(1, 4);
        for number in 0..9 {
            table.learn(NOW, &mut ports, station(number), a);
            table.learn(NOW, &mut ports, station(10 + number), b);
        }
        assert_eq!((table.entries.len(), table.shared_used), (6, 4));
        table.learn(NOW, &mut ports, station(0), c);
        assert_eq!(
            (table.entries.len(), table.shared_used),
            (6, 3),
            "one has moved to a place of its new port's"
        );
        let later = NOW + Duration::from_secs(300);
        for number in 20..29 {
            table.learn(later, &mut ports, station(number), a);
            table.learn(later, &mut ports, station(number + 10), b);
        }
        assert_eq!((table.entries.len(), table.shared_used), (6, 4));
    }

    #[test]
    fn a_station_that_moves_to_a_full_port_is_known_nowhere() {
        let (mut table, mut ports, [a, b, _]) = table(1, 0);
        table.learn(NOW, &mut ports, station(1), a);
        table.learn(NOW, &mut ports, station(2), b);
        table.learn(NOW, &mut ports, station(1), b);
        assert_eq!(table.port_of(NOW, station(1)), None);
        assert_eq!([a, b].map(|id| ports.get(id).expect("there").stations), [0, 1]);
    }

    #[test]
    fn a_removed_port_gives_its_places_back() {
        let (mut table, mut ports, [a, b, _]) = table(1, 4);
        for number in 0..9 {
            table.learn(NOW, &mut ports, station(number), a);
        }
        table.pin(&mut ports, station(50), a);
        let port = ports.remove(a).expect("there");
        table.forget_port(a, &port);
        assert_eq!((table.entries.len(), table.shared_used), (0, 0));
        table.learn(NOW, &mut ports, station(50), b);
        assert_eq!(table.port_of(NOW, station(50)), Some(b));
    }
}
