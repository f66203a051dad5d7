//! What TCP in user space costs: `cargo run --release -p hypertap-engine --example tcp_figures`.
//!
//! A program made of single segments talks to [`Tcp`] without a device between them, as a device of 64 KiB
//! with segmentation and checksum offload would. The daemon tells glibc's allocator to map buffers, and so give
//! them back; here `MALLOC_MMAP_THRESHOLD_=131072` does.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use hypertap_engine::tcp::{Event, FlowId, Tcp, TcpSettings};
use hypertap_wire::batch::Batch;
use hypertap_wire::ip::{Ip, TCP, write_header};
use hypertap_wire::offload::VirtioHeader;
use hypertap_wire::tcp::{Flags, Segment};

/// The checksum is the kernel's business.
const OFFLOADED: VirtioHeader =
    VirtioHeader { flags: 1, gso_type: 0, hdr_len: 60, gso_size: 0, csum_start: 40, csum_offset: 16 };
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const SYN_OPTIONS: [u8; 12] = [2, 4, 0xff, 0xc3, 1, 3, 3, 7, 1, 1, 4, 2];

/// A program's connection.
#[derive(Clone, Copy)]
struct Program {
    flow: Option<FlowId>,
    number: u32,
    /// The next number to send, and to receive.
    seq: u32,
    ack: u32,
}

/// The stack, and the batch between it and the device.
struct Bench {
    tcp: Tcp,
    batch: Batch,
    packet: Vec<u8>,
    now: Duration,
}

impl Program {
    fn build(&self, packet: &mut Vec<u8>, flags: u8, options: &[u8], payload: &[u8]) {
        let address = |net, host| IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, net, 0, host));
        let host = u16::try_from(self.number / 50_000).expect("few enough") + 2;
        let port = u16::try_from(self.number % 50_000).expect("a port") + 1024;
        let words = 5 + options.len() / 4;
        packet.clear();
        packet.resize(40, 0);
        packet.extend(port.to_be_bytes());
        packet.extend(80_u16.to_be_bytes());
        packet.extend(self.seq.to_be_bytes());
        packet.extend(self.ack.to_be_bytes());
        packet.extend([u8::try_from(words << 4).expect("few options"), flags, 0xea, 0x60, 0, 0, 0, 0]);
        packet.extend_from_slice(options);
        packet.extend_from_slice(payload);
        let length = packet.len() - 40;
        write_header(packet, address(1, host), address(0, 1), TCP, length).expect("a packet");
    }
}

impl Bench {
    fn new() -> Self {
        let settings = TcpSettings { keep_alive: None, ..TcpSettings::new([1, 2]) };
        Self {
            tcp: Tcp::new(settings),
            batch: Batch::with_prefix(512 << 10, 64, VirtioHeader::LEN),
            packet: Vec::new(),
            now: Duration::from_secs(1),
        }
    }

    fn send(&mut self, program: &Program, flags: u8, options: &[u8], payload: &[u8]) {
        program.build(&mut self.packet, flags, options, payload);
        self.tcp.handle_packet(self.now, &OFFLOADED, &mut self.packet);
    }

    /// Takes what the stack sends. Returns how many packets that was.
    fn receive(&mut self, program: &mut Program) -> usize {
        self.batch.clear();
        self.tcp.poll_transmit(self.now, &mut self.batch);
        if let Some(last) = self.batch.len().checked_sub(1).and_then(|last| self.batch.get(last)) {
            let ip = Ip::parse(last).expect("a packet");
            let segment = Segment::parse(&ip).expect("a segment");
            program.ack = segment.sequence.wrapping_add(segment.sequence_len());
            assert!(!segment.flags.contains(Flags::RST), "it goes on");
        }
        self.batch.len()
    }

    fn drain_events(&mut self) {
        while self.tcp.poll_event().is_some() {}
    }

    fn open(&mut self, number: u32) -> Program {
        let mut program = Program { flow: None, number, seq: 7, ack: 0 };
        self.send(&program, SYN, &SYN_OPTIONS, &[]);
        program.seq += 1;
        if let Some(Event::Syn { flow, .. }) = self.tcp.poll_event() {
            self.tcp.accept(self.now, flow);
            program.flow = Some(flow);
        }
        self.receive(&mut program);
        self.send(&program, ACK, &[], &[]);
        self.drain_events();
        program
    }

    fn bulk_in(&mut self, program: &mut Program, segments: u32, size: usize, every: u32) -> Duration {
        let flow = program.flow.expect("an open flow");
        program.build(&mut self.packet, ACK, &[], &vec![7; size]);
        let start = Instant::now();
        let mut taken = 0;
        for number in 1..=segments {
            self.packet[44..48].copy_from_slice(&program.seq.to_be_bytes());
            self.packet[48..52].copy_from_slice(&program.ack.to_be_bytes());
            self.tcp.handle_packet(self.now, &OFFLOADED, &mut self.packet);
            program.seq = program.seq.wrapping_add(u32::try_from(size).expect("a segment"));
            while let count @ 1.. = self.tcp.peek(flow).len() {
                self.tcp.consume(self.now, flow, count);
                taken += count;
            }
            if number % every == 0 {
                self.batch.clear();
                self.tcp.poll_transmit(self.now, &mut self.batch);
                self.drain_events();
            }
        }
        assert_eq!(taken, segments as usize * size, "nothing was beyond the window");
        start.elapsed()
    }

    fn bulk_out(&mut self, program: &mut Program, total: usize) -> (Duration, usize) {
        let flow = program.flow.expect("an open flow");
        let payload = vec![7; 64 << 10];
        let (mut written, mut segments) = (0, 0);
        let start = Instant::now();
        while written < total {
            while let count @ 1.. = self.tcp.write(self.now, flow, &payload) {
                written += count;
            }
            segments += self.receive(program);
            self.send(program, ACK, &[], &[]);
            self.drain_events();
        }
        let elapsed = start.elapsed();
        while self.receive(program) > 0 {
            self.send(program, ACK, &[], &[]);
        }
        self.drain_events();
        (elapsed, segments)
    }

    /// 64 bytes there and back.
    fn exchange(&mut self, program: &mut Program) {
        let flow = program.flow.expect("an open flow");
        self.send(program, ACK, &[], &[7; 64]);
        program.seq = program.seq.wrapping_add(64);
        self.tcp.consume(self.now, flow, 64);
        self.tcp.write(self.now, flow, &[7; 64]);
        self.receive(program);
        self.send(program, ACK, &[], &[]);
        self.receive(program);
        self.drain_events();
    }

    fn idle(&mut self) {
        let end = self.now + Duration::from_secs(5);
        while let Some(at) = self.tcp.timeout().filter(|at| *at <= end) {
            self.now = at;
            self.tcp.handle_timeout(at);
            self.batch.clear();
            self.tcp.poll_transmit(at, &mut self.batch);
        }
        self.now = end;
    }
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4096
}

fn main() {
    for flows in [1_u32, 100_000] {
        let (mut bench, before, start) = (Bench::new(), resident(), Instant::now());
        let mut programs: Vec<Program> = (0..flows).map(|number| bench.open(number)).collect();
        let (each, memory) = (start.elapsed() / flows, resident().saturating_sub(before) / flows as usize);
        println!("{flows} flows: handshake {each:?}, {memory} bytes");
        let program = &mut programs[0];
        // Until the buffers are at their largest.
        bench.bulk_in(program, 1000, 1400, 8);
        bench.bulk_in(program, 100, 60_000, 2);
        for (segments, size) in [(20_000, 65_000), (100_000, 1400), (100_000, 64)] {
            let each = bench.bulk_in(program, segments, size, 4) / segments;
            println!("{flows} flows: in, {size} bytes a segment: {each:?}");
        }
        let (elapsed, segments) = bench.bulk_out(program, 1 << 30);
        let each = elapsed / u32::try_from(segments).expect("few");
        println!("{flows} flows: out, {} bytes a segment: {each:?}", (1 << 30) / segments);
    }

    let mut bench = Bench::new();
    let mut programs: Vec<Program> = (0..20_000).map(|number| bench.open(number)).collect();
    for _ in 0..3 {
        let start = Instant::now();
        for program in &mut programs {
            bench.exchange(program);
        }
        println!("64 bytes there and back on each of 20000 idle flows: {:?}", start.elapsed() / 20_000);
    }
    for round in 0..3 {
        for program in programs.iter_mut().skip(round * 1000).take(200) {
            bench.bulk_in(program, 1000, 1400, 8);
            bench.bulk_in(program, 30, 60_000, 2);
            bench.bulk_out(program, 3 << 20);
        }
        let busy = resident() >> 20;
        bench.idle();
        println!("200 flows with bulk, round {round}: {busy} MiB resident, idle {} MiB", resident() >> 20);
    }
}
