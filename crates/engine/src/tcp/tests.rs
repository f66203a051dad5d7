use std::net::SocketAddr;
use std::time::Duration;

use proptest::prelude::*;

use super::TcpSettings;

mod flood;
mod handshake;
mod limits;
mod peer;
mod raw;
mod transfer;
mod world;

use world::{App, Faults, Program, World};

fn settings() -> TcpSettings {
    TcpSettings::new([7, 11])
}

fn local(v4: bool) -> SocketAddr {
    if v4 { "198.18.0.1:80" } else { "[fd00:6879:7072:7370:7376::1]:80" }.parse().expect("an address")
}

fn remote(v4: bool, port: u16) -> SocketAddr {
    let ip: SocketAddr =
        if v4 { "100.64.1.2:1" } else { "[fd00:6879:7072:7370:6163:6500::1]:1" }.parse().expect("an address");
    SocketAddr::new(ip.ip(), port)
}

/// One connection: the program sends `up` bytes and closes, the application `down` bytes and closes.
fn exchange(
    settings: TcpSettings,
    faults: Faults,
    seed: u64,
    v4: bool,
    mtu: usize,
    (up, down, after_end): (usize, usize, bool),
    chunk: usize,
) -> World {
    let mut world = World::new(settings, faults, seed);
    let index = world.connect(remote(v4, 40_000), local(v4), mtu, 1 << 20);
    let mut app = App::new(down, after_end, chunk);
    let mut program = Program { to_write: up, ..Program::default() };
    let (mut finished, mut steps) = (false, 0);
    while !finished {
        steps += 1;
        assert!(
            steps < 2_000_000,
            "it comes to an end: {:?}, {} up, {} down",
            world.tcp.counters(),
            app.read,
            program.read
        );
        let stepped = world.step(|tcp, now, event| app.on(tcp, now, event));
        program.work(&mut world.peers[index]);
        assert!(!app.reset, "not reset; {} of {up} up, {} of {down} down", app.read, program.read);
        assert!(
            world.now < Duration::from_secs(36_000),
            "{:?} {} {}",
            world.tcp.counters(),
            app.read,
            program.read
        );
        finished = app.closed && program.ended;
        let state = world.peers[index].socket().state();
        assert!(
            stepped || finished,
            "something is due: {} {}, {} {}, {state:?}",
            app.ended,
            app.closed,
            app.read,
            program.read
        );
    }
    assert_eq!((app.read, program.read), (up, down));
    world
}

/// Fewer than usual: each is a whole connection.
fn cases() -> u32 {
    ProptestConfig::default().cases / 5
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    #[test]
    fn every_byte_arrives_whatever_the_link_does(
        seed: u64, v4: bool, offload: bool, mtu in prop::sample::select(vec![1280_usize, 1420, 9000, 65_535]),
        loss in 0..100_u32, duplicates in 0..200_u32, jitter in 0..3000_u64,
        up in 0..300_000_usize, down in 0..300_000_usize, after_end: bool, chunk in 1..40_000_usize,
        small: bool, warm in 0..2_usize,
    ) {
        let settings = TcpSettings {
            offload, mtu, warm_flows: warm,
            // On such a link a FIN may well be lost for two minutes.
            user_timeout: Duration::from_secs(36_000), warm_for: Duration::from_millis(2),
            buffers: if small { [2048, 8192, 65_536] } else { settings().buffers },
            ..settings()
        };
        let faults = Faults { loss, duplicates, jitter };
        exchange(settings, faults, seed, v4, mtu, (up, down, after_end), chunk);
    }
}
