//! The switch against a table that is a list, and against its own bounds.

use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;
use proptest::prelude::*;

use super::{DropCause, Forward, PortId, Switch, SwitchSettings};

const HOST: MacAddress = MacAddress([2, 0, 0, 0, 0, 0]);

#[derive(Clone, Debug)]
enum Step {
    /// By which port, to whom, from whom.
    Frame(prop::sample::Index, MacAddress, MacAddress),
    Wait(u16),
    Add,
    Remove(prop::sample::Index),
}

/// Few addresses, so that they meet again.
fn address() -> impl Strategy<Value = MacAddress> {
    prop_oneof![
        20 => (0u8..24).prop_map(|number| MacAddress([2, 0, 0, 0, 0, number])),
        1 => Just(MacAddress([0xff; 6])),
        1 => Just(MacAddress([0; 6])),
        1 => (0u8..20).prop_map(|last| MacAddress([0x01, 0x80, 0xc2, 0, 0, last])),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        30 => (any::<prop::sample::Index>(), address(), address())
            .prop_map(|(by, to, from)| Step::Frame(by, to, from)),
        2 => (0u16..400).prop_map(Step::Wait),
        1 => Just(Step::Add),
        1 => any::<prop::sample::Index>().prop_map(Step::Remove),
    ]
}

/// The rules, as plainly as they can be said, without bounds. No two frames are equal, so there are no
/// echoes.
struct Model {
    host: PortId,
    stations: Vec<(MacAddress, PortId, Duration)>,
}

impl Model {
    fn port_of(&self, address: MacAddress) -> Option<PortId> {
        let learned = self.stations.iter().find(|(known, ..)| *known == address).map(|(_, port, _)| *port);
        if address == HOST { Some(self.host) } else { learned }
    }

    fn handle(&mut self, now: Duration, by: PortId, to: MacAddress, from: MacAddress) -> Forward {
        self.stations.retain(|(.., heard)| now < *heard + Duration::from_secs(300));
        if from.is_multicast() || from.is_zero() {
            return Forward::Drop(DropCause::BadSource);
        }
        if to.0[..5] == [0x01, 0x80, 0xc2, 0, 0] && to.0[5] < 16 {
            return Forward::Drop(DropCause::Reserved);
        }
        if from == HOST && by != self.host {
            return Forward::Drop(DropCause::HostAddress);
        }
        let target = if to.is_multicast() { None } else { self.port_of(to) };
        self.stations.retain(|(known, ..)| *known != from);
        self.stations.push((from, by, now));
        match target {
            None => Forward::Flood,
            Some(port) if port == by => Forward::Drop(DropCause::SamePort),
            Some(port) => Forward::To(port),
        }
    }
}

fn frame(to: MacAddress, from: MacAddress, tag: usize) -> Vec<u8> {
    [&to.0[..], &from.0, &[0x88, 0xb5], &tag.to_be_bytes()].concat()
}

proptest! {
    #[test]
    fn it_agrees_with_a_list(seed: u64, steps in prop::collection::vec(step(), 1..200)) {
        let mut switch = Switch::new(&SwitchSettings { flood_limit: None, ..SwitchSettings::new(seed) });
        let host = switch.add_host_port(HOST).expect("room");
        let mut ports = vec![host, switch.add_port().expect("room"), switch.add_port().expect("room")];
        let mut model = Model { host, stations: Vec::new() };
        let mut now = Duration::from_secs(1);
        for (tag, step) in steps.into_iter().enumerate() {
            match step {
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Add => ports.push(switch.add_port().expect("room")),
                Step::Remove(index) if ports.len() > 2 => {
                    let port = ports.remove(1 + index.index(ports.len() - 1));
                    prop_assert!(switch.remove_port(port).is_some());
                    model.stations.retain(|(_, at, _)| *at != port);
                }
                Step::Remove(_) => {}
                Step::Frame(by, to, from) => {
                    let by = ports[by.index(ports.len())];
                    let forward = switch.handle_frame(now, by, &frame(to, from, tag));
                    prop_assert_eq!(forward, model.handle(now, by, to, from));
                }
            }
        }
        let mut there = switch.ports().collect::<Vec<_>>();
        there.sort();
        ports.sort();
        prop_assert_eq!(there, ports);
    }

    #[test]
    fn bounds_hold_and_no_frame_returns_to_its_port(
        per_port in 0usize..4,
        shared in 0usize..8,
        steps in prop::collection::vec(step(), 1..300),
    ) {
        let settings = SwitchSettings {
            addresses_per_port: per_port,
            addresses_shared: shared,
            ..SwitchSettings::new(3)
        };
        let mut switch = Switch::new(&settings);
        let mut ports = vec![switch.add_host_port(HOST).expect("room"), switch.add_port().expect("room")];
        let mut now = Duration::from_secs(1);
        for step in steps {
            match step {
                Step::Wait(seconds) => now += Duration::from_secs(seconds.into()),
                Step::Add => ports.push(switch.add_port().expect("room")),
                Step::Remove(index) if ports.len() > 1 => {
                    switch.remove_port(ports.remove(index.index(ports.len())));
                }
                Step::Remove(_) => {}
                Step::Frame(by, to, from) => {
                    let by = ports[by.index(ports.len())];
                    // Equal frames, so that there are echoes too.
                    match switch.handle_frame(now, by, &frame(to, from, 0)) {
                        Forward::To(port) => {
                            prop_assert_ne!(port, by);
                            prop_assert!(ports.contains(&port));
                        }
                        Forward::Flood => {}
                        Forward::Drop(cause) => prop_assert_ne!(cause, DropCause::NoSuchPort),
                    }
                }
            }
            let learned = |port: Option<PortId>| {
                let clients = switch.stations(now).filter(|(address, _)| *address != HOST);
                clients.filter(|(_, at)| port.is_none_or(|port| *at == port)).count()
            };
            prop_assert!(learned(None) <= per_port * ports.len() + shared);
            for port in &ports {
                prop_assert!(learned(Some(*port)) <= per_port + shared / 2);
            }
        }
    }
}
