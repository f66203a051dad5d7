//! The program of the demo: what a user of hypertap writes. It plays a whole network.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use hypertap_client::blocking::DataSocket;
use hypertap_client::packet;
use hypertap_wire::checksum::Sum;

/// What the name in the demo's DNS query stands for (RFC 5737).
const ANSWER: [u8; 4] = [192, 0, 2, 86];
/// How often the thread looks whether it should stop.
const LOOK: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Seen {
    pings: AtomicU64,
    echoes: AtomicU64,
    questions: Mutex<Vec<String>>,
    stop: AtomicBool,
}

/// The running program.
pub struct Program {
    seen: Arc<Seen>,
    thread: JoinHandle<()>,
}

impl Program {
    /// Starts answering.
    pub fn start(socket: DataSocket) -> anyhow::Result<Self> {
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = std::thread::Builder::new()
            .name("demo program".to_owned())
            .spawn(move || serve(&socket, &shared))
            .context("a thread")?;
        Ok(Self { seen, thread })
    }

    /// How many pings it answered.
    pub fn pings(&self) -> u64 {
        self.seen.pings.load(Ordering::Relaxed)
    }

    /// How many datagrams it echoed.
    pub fn echoes(&self) -> u64 {
        self.seen.echoes.load(Ordering::Relaxed)
    }

    /// The names it was asked for.
    pub fn questions(&self) -> Vec<String> {
        self.seen.questions.lock().map(|list| list.clone()).unwrap_or_default()
    }

    /// Ends it.
    pub fn stop(self) {
        self.seen.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }
}

fn serve(socket: &DataSocket, seen: &Seen) {
    let mut packet = vec![0; 65_535];
    while !seen.stop.load(Ordering::Relaxed) {
        let Ok(Some(length)) = socket.recv(&mut packet, LOOK) else { continue };
        if let Some(answer) = answer(&mut packet[..length], seen) {
            // Nothing is lost that a ping or a query would not ask for again.
            let _ = socket.send(&answer);
        }
    }
}

/// What the network answers to a packet.
fn answer(ip: &mut [u8], seen: &Seen) -> Option<Vec<u8>> {
    if packet::answer_echo(ip) {
        seen.pings.fetch_add(1, Ordering::Relaxed);
        return Some(ip.to_vec());
    }
    let udp = usize::from(ip.first()? & 15) * 4;
    if ip.first()? >> 4 != 4 || ip.get(9) != Some(&17) || ip.len() < udp + 8 {
        return None;
    }
    match u16::from_be_bytes([ip[udp + 2], ip[udp + 3]]) {
        53 => dns(ip, udp, seen),
        7 => {
            seen.echoes.fetch_add(1, Ordering::Relaxed);
            turn_around(ip, udp);
            Some(ip.to_vec())
        }
        _ => None,
    }
}

/// Swaps addresses and ports, which leaves every checksum right.
fn turn_around(ip: &mut [u8], udp: usize) {
    for at in 0..4 {
        ip.swap(12 + at, 16 + at);
    }
    ip.swap(udp, udp + 2);
    ip.swap(udp + 1, udp + 3);
}

/// Answers a DNS query with one address (RFC 1035, section 4.1).
fn dns(ip: &mut [u8], udp: usize, seen: &Seen) -> Option<Vec<u8>> {
    let query = packet::dns_query(ip)?;
    seen.questions.lock().ok()?.push(query.name);
    turn_around(ip, udp);
    let mut reply = ip.to_vec();
    let header = udp + 8;
    reply.get_mut(header + 2..header + 4)?.copy_from_slice(&[0x81, 0x80]);
    *reply.get_mut(header + 7)? = 1;
    reply.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
    reply.extend(ANSWER);
    let length = u16::try_from(reply.len()).ok()?;
    reply[2..4].copy_from_slice(&length.to_be_bytes());
    reply[udp + 4..udp + 6].copy_from_slice(&(length - u16::try_from(udp).ok()?).to_be_bytes());
    // No UDP checksum, as IPv4 allows; the header's own anew.
    reply[udp + 6..udp + 8].fill(0);
    reply[10..12].fill(0);
    let sum = Sum::ZERO.add(&reply[..udp]).checksum();
    reply[10..12].copy_from_slice(&sum);
    Some(reply)
}
