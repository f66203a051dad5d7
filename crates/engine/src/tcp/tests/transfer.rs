//! Bytes both ways, against another stack.

use std::time::Duration;

use super::super::{Event, TcpSettings};
use super::world::{App, Faults, Program, World, pattern};
use super::{exchange, local, remote, settings};

#[test]
fn a_reply_after_half_close_arrives_whole() {
    for v4 in [false, true] {
        let amounts = (8 << 20, 1 << 20, true);
        let world = exchange(settings(), Faults::default(), 1, v4, 65_535, amounts, 64 << 10);
        assert_eq!(world.tcp.counters().no_buffers, 0);
    }
}

#[test]
fn the_service_may_close_first() {
    let mut world = World::new(settings(), Faults::default(), 3);
    let index = world.connect(remote(false, 40_000), local(false), 65_535, 1 << 20);
    let mut app = App::new(1 << 20, false, 50_000);
    let mut program = Program { to_write: 0, closed: true, ..Program::default() };
    while !app.closed {
        assert!(world.step(|tcp, now, event| app.on(tcp, now, event)), "something is due");
        program.work(&mut world.peers[index]);
        if program.ended && program.to_write == 0 {
            // Half-closed the other way round: the program answers after the service's end.
            program.to_write = 300_000;
            program.closed = false;
        }
    }
    assert_eq!((program.read, app.read), (1 << 20, 300_000));
}

#[test]
fn it_works_without_offload_on_a_small_mtu() {
    let settings = TcpSettings { offload: false, mtu: 1420, ..settings() };
    exchange(settings, Faults::default(), 2, false, 1420, (1 << 20, 1 << 20, false), 5000);
}

#[test]
fn segments_for_a_small_mtu_are_cut_by_the_device() {
    // The link checks that each packet's virtio-net header cuts it into right packets.
    for v4 in [false, true] {
        exchange(settings(), Faults::default(), 4, v4, 1420, (0, 2 << 20, false), 64 << 10);
    }
}

#[test]
fn a_program_without_window_scaling_and_a_slow_one_are_served() {
    let mut world = World::new(settings(), Faults { jitter: 300, ..Faults::default() }, 3);
    // smoltcp offers no scale below 64 KiB.
    let index = world.connect(remote(false, 40_000), local(false), 1420, 3000);
    let mut app = App::new(200_000, false, 7777);
    let (mut read, mut next) = (0, Duration::ZERO);
    while !app.closed {
        assert!(world.step(|tcp, now, event| app.on(tcp, now, event)), "something is due");
        assert!(world.now < Duration::from_secs(3600));
        // It reads at times of its own, so the window closes again and again.
        if world.now >= next {
            next = world.now + Duration::from_millis(30);
            let socket = world.peers[index].socket();
            let _ = socket.recv(|bytes| {
                let count = bytes.len().min(500);
                for (index, byte) in bytes[..count].iter().enumerate() {
                    assert_eq!(*byte, pattern(read + index, 2));
                }
                read += count;
                (count, ())
            });
            if read == 200_000 {
                socket.close();
            }
        }
    }
    assert_eq!(read, 200_000);
}

#[test]
fn many_flows_at_once_over_a_bad_link_all_arrive() {
    let faults = Faults { loss: 20, duplicates: 20, jitter: 500 };
    let settings = TcpSettings { warm_flows: 3, warm_for: Duration::from_millis(3), ..settings() };
    let mut world = World::new(settings, faults, 77);
    let count = 40;
    let mut programs = Vec::new();
    let mut apps = std::collections::HashMap::new();
    for number in 0..count {
        world.connect(remote(number % 2 == 0, 40_000 + number), local(number % 2 == 0), 1420, 20_000);
        let to_write = 1000 * usize::from(number);
        programs.push(Program { to_write, ..Program::default() });
    }
    let mut closed = 0;
    while closed < count || !programs.iter().all(|program| program.ended) {
        assert!(world.now < Duration::from_secs(600), "{:?}", world.tcp.counters());
        let stepped = world.step(|tcp, now, event| {
            let (Event::Syn { flow, .. }
            | Event::Readable { flow }
            | Event::Writable { flow }
            | Event::Delivered { flow }
            | Event::Ended { flow }
            | Event::Closed { flow }
            | Event::Reset { flow }) = event;
            let app = apps.entry(flow).or_insert_with(|| App::new(30_000, false, 900));
            app.on(tcp, now, event);
            closed += u16::from(matches!(event, Event::Closed { .. }));
        });
        assert!(stepped, "something is due");
        for (program, peer) in programs.iter_mut().zip(&mut world.peers) {
            program.work(peer);
        }
    }
    assert!(programs.iter().all(|program| program.read == 30_000));
    assert_eq!(apps.values().map(|app| app.read).sum::<usize>(), (0..40).sum::<usize>() * 1000);
}
