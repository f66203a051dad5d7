//! The machine of the demo: ordinary traffic with ordinary sockets, which know nothing of hypertap.

use std::io::{ErrorKind, Read};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use hypertap_wire::checksum::Sum;
use socket2::{Domain, Protocol, Socket, Type};

use super::PATIENCE;
use super::report::Rate;

/// The echo service's port (RFC 862).
const ECHO: u16 = 7;
/// Packets that are under way at once while measuring.
const WINDOW: u64 = 64;

/// Sends pings one after the other and returns their round-trip times, sorted (RFC 792).
pub fn ping(host: [u8; 4], count: u16) -> anyhow::Result<Vec<Duration>> {
    let mut socket =
        Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::ICMPV4)).context("an ICMP socket")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    let target = SocketAddr::from((host, 0)).into();
    let mut times = Vec::new();
    for sequence in 0..count {
        let mut message = [8, 0, 0, 0, 0x68, 0x79, 0, 0];
        message[6..8].copy_from_slice(&sequence.to_be_bytes());
        let sum = Sum::ZERO.add(&message).checksum();
        message[2..4].copy_from_slice(&sum);
        let sent = Instant::now();
        socket.send_to(&message, &target).with_context(|| format!("ping {}", Ipv4Addr::from(host)))?;
        let mut answer = [0; 128];
        loop {
            let read = socket.read(&mut answer);
            let length =
                read.map_err(|_| anyhow!("no answer to ping {sequence} of {}", Ipv4Addr::from(host)))?;
            // The socket yields the IP header too, and every ICMP message of the machine.
            let reply = answer.get(20..length).unwrap_or_default();
            if reply.first() == Some(&0) && reply.get(4..8) == Some(&message[4..8]) {
                break;
            }
        }
        times.push(sent.elapsed());
    }
    times.sort();
    Ok(times)
}

/// Whether the machine has no way to a host.
pub fn is_unreachable(host: [u8; 4]) -> anyhow::Result<bool> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    match socket.connect((Ipv4Addr::from(host), ECHO)) {
        Ok(()) => Ok(false),
        Err(error) if error.kind() == ErrorKind::NetworkUnreachable => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Asks a resolver for a name's IPv4 address (RFC 1035).
pub fn resolve(resolver: [u8; 4], name: &str) -> anyhow::Result<Ipv4Addr> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.connect((Ipv4Addr::from(resolver), 53)).context("no way to the resolver")?;
    let mut query = vec![0x68, 0x79, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    for label in name.split('.') {
        query.push(u8::try_from(label.len()).context("a long label")?);
        query.extend(label.as_bytes());
    }
    query.extend([0, 0, 1, 0, 1]);
    socket.send(&query)?;
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).context("no answer to the DNS query")?;
    let answer = &answer[..length];
    ensure!(answer.starts_with(&[0x68, 0x79]) && answer.get(7) == Some(&1), "a strange answer: {answer:?}");
    let address = answer.last_chunk::<4>().context("a short answer")?;
    Ok(Ipv4Addr::from(*address))
}

/// Sends 64-byte packets to a host's echo port and counts what comes back.
pub fn echo(host: [u8; 4], time: Duration, progress: impl Fn(u64)) -> anyhow::Result<Rate> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect((Ipv4Addr::from(host), ECHO))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let (payload, mut answer) = ([0x68; 36], [0; 64]);
    let (mut sent, mut returned, mut lost) = (0, 0, 0);
    let start = Instant::now();
    while start.elapsed() < time {
        while sent - returned - lost < WINDOW {
            match socket.send(&payload) {
                Ok(_) => sent += 1,
                // The interface's queue is full.
                Err(error) if error.raw_os_error() == Some(105) => break,
                Err(error) => bail!("cannot send: {error}"),
            }
        }
        match socket.recv(&mut answer) {
            Ok(_) => returned += 1,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                lost = sent - returned
            }
            Err(error) => bail!("cannot receive: {error}"),
        }
        if sent % 1024 == 0 {
            progress(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
        }
    }
    let time = start.elapsed();
    // What is still under way counts as lost only if it does not come.
    while sent > returned + lost && socket.recv(&mut answer).is_ok() {
        returned += 1;
    }
    Ok(Rate { sent, returned, time })
}

/// Whether the interface is gone.
pub fn is_clean() -> anyhow::Result<()> {
    let links = std::fs::read_to_string("/proc/net/dev")?;
    ensure!(!links.contains("hypertap"), "an interface is left: {links}");
    let entries = std::fs::read_dir("/run/hypertap/journal").into_iter().flatten().flatten();
    let journal = entries.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "json")).count();
    ensure!(journal == 0, "{journal} entries are left in the journal");
    Ok(())
}
