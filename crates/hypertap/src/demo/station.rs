//! A station of the demo's LAN: what an emulator or a guest is to the server, with an address and the
//! two protocols that two stations need to find each other, ARP and ping.

use std::net::Ipv4Addr;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use hypertap_client::blocking::TapInterface;
use hypertap_client::tap::{MAX_FRAME, TapServer};
use hypertap_client::{Address, packet};
use hypertap_wire::arp::{Arp, Operation};
use hypertap_wire::checksum::Sum;
use hypertap_wire::ethernet::{self, EtherType, MacAddress};

use super::PATIENCE;
use super::report::Rate;

/// How long nobody answers before what is under way counts as lost, and how often a thread looks whether
/// it should stop.
const LOOK: Duration = Duration::from_millis(50);
/// Pings that are under way at once while measuring.
const WINDOW: u64 = 64;
/// An IPv4 header without options and an ICMP message of 36 bytes: 64 bytes.
const PING: u8 = 64;

/// What joins a station to the server.
enum Socket {
    /// A stream of frames, each after its length.
    Stream(Box<TapInterface>),
    /// A datagram a frame, as of a virtual machine.
    Datagram(UnixDatagram),
}

/// A station, attached.
pub struct Station {
    socket: Socket,
    mac: MacAddress,
    address: Ipv4Addr,
}

impl Station {
    /// Attaches a station by a stream socket.
    pub fn stream(server: &Path, number: u8) -> anyhow::Result<Self> {
        let server = TapServer::new(Address::Unix(server.to_owned()));
        Ok(Self::new(Socket::Stream(Box::new(TapInterface::connect(&server)?)), number))
    }

    /// Attaches a station by a datagram socket, bound to `own`, where its frames come.
    pub fn datagram(server: &Path, own: &Path, number: u8) -> anyhow::Result<Self> {
        let socket = UnixDatagram::bind(own).with_context(|| format!("cannot bind {}", own.display()))?;
        socket.connect(server).with_context(|| format!("cannot connect to {}", server.display()))?;
        Ok(Self::new(Socket::Datagram(socket), number))
    }

    fn new(socket: Socket, number: u8) -> Self {
        let mac = MacAddress([2, 0x68, 0x79, 0, 0, number]);
        Self { socket, mac, address: Ipv4Addr::new(10, 87, 0, number) }
    }

    /// Its IPv4 address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Tells the others that it is there (RFC 5227, section 3), so that the server knows a datagram station.
    pub fn announce(&self) -> anyhow::Result<()> {
        self.send(&Arp::request(self.mac, self.address, self.address).frame(MacAddress::BROADCAST))
    }

    /// Answers ARP and pings until `stop`.
    pub fn serve(&self, stop: impl Fn() -> bool) {
        let mut buffer = vec![0; MAX_FRAME];
        while !stop() {
            // What fails, the asker misses.
            let Ok(Some(length)) = self.recv(&mut buffer, LOOK) else { continue };
            if let Some(answer) = self.answer(&mut buffer[..length]) {
                let _ = self.send(&answer);
            }
        }
    }

    /// Asks who has an address (RFC 826).
    pub fn resolve(&self, address: Ipv4Addr) -> anyhow::Result<MacAddress> {
        let end = Instant::now() + PATIENCE;
        let mut buffer = vec![0; MAX_FRAME];
        while Instant::now() < end {
            self.send(&Arp::request(self.mac, self.address, address).frame(MacAddress::BROADCAST))?;
            while let Some(length) = self.recv(&mut buffer, LOOK)? {
                match Arp::parse(&buffer[..length]) {
                    Some(arp) if arp.operation == Operation::Reply && arp.sender_ip == address => {
                        return Ok(arp.sender_mac);
                    }
                    _ => {}
                }
            }
        }
        bail!("nobody says that {address} is theirs");
    }

    /// Pings a neighbour for `time`, with some pings under way at once.
    pub fn ping(
        &self,
        neighbour: (MacAddress, Ipv4Addr),
        time: Duration,
        progress: impl Fn(u64),
    ) -> anyhow::Result<Rate> {
        let ping = self.echo_request(neighbour);
        let mut buffer = vec![0; MAX_FRAME];
        let (mut sent, mut returned, mut lost) = (0, 0, 0);
        let start = Instant::now();
        while start.elapsed() < time {
            while sent - returned - lost < WINDOW {
                self.send(&ping)?;
                sent += 1;
            }
            match self.recv(&mut buffer, LOOK)? {
                Some(length) => returned += u64::from(is_echo_reply(&buffer[..length])),
                None => lost = sent - returned,
            }
            if sent % 1024 == 0 {
                progress(u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX));
            }
        }
        let time = start.elapsed();
        // What is still under way counts as lost only if it does not come.
        while returned < sent
            && let Some(length) = self.recv(&mut buffer, LOOK)?
        {
            returned += u64::from(is_echo_reply(&buffer[..length]));
        }
        ensure!(returned > 0, "{} answered none of {sent} pings", neighbour.1);
        Ok(Rate { sent, returned, time })
    }

    fn answer(&self, frame: &mut [u8]) -> Option<Vec<u8>> {
        if let Some(arp) = Arp::parse(frame) {
            let is_for_us = arp.operation == Operation::Request && arp.target_ip == self.address;
            return is_for_us.then(|| arp.reply(self.mac).frame(arp.sender_mac).to_vec());
        }
        let is_for_us = ethernet::destination(frame)? == self.mac;
        let (header, ip) = frame.split_at_mut_checked(ethernet::HEADER)?;
        if !is_for_us || !packet::answer_echo(ip) {
            return None;
        }
        header.copy_within(6..12, 0);
        header[6..12].copy_from_slice(&self.mac.0);
        Some(frame.to_vec())
    }

    /// A frame with a ping in it (RFC 791, RFC 792).
    fn echo_request(&self, (mac, address): (MacAddress, Ipv4Addr)) -> Vec<u8> {
        let mut ip = [0; PING as usize];
        ip[..10].copy_from_slice(&[0x45, 0, 0, PING, 0, 0, 0, 0, 64, 1]);
        ip[12..16].copy_from_slice(&self.address.octets());
        ip[16..20].copy_from_slice(&address.octets());
        let sum = Sum::ZERO.add(&ip[..20]).checksum();
        ip[10..12].copy_from_slice(&sum);
        ip[20] = 8;
        let sum = Sum::ZERO.add(&ip[20..]).checksum();
        ip[22..24].copy_from_slice(&sum);
        [&mac.0[..], &self.mac.0, &EtherType::IPV4.0.to_be_bytes(), &ip].concat()
    }

    fn send(&self, frame: &[u8]) -> anyhow::Result<()> {
        match &self.socket {
            Socket::Stream(tap) => tap.send(frame)?,
            Socket::Datagram(socket) => {
                socket.send(frame)?;
            }
        }
        Ok(())
    }

    fn recv(&self, buffer: &mut [u8], timeout: Duration) -> anyhow::Result<Option<usize>> {
        match &self.socket {
            Socket::Stream(tap) => Ok(tap.recv(buffer, timeout)?),
            Socket::Datagram(socket) => {
                socket.set_read_timeout(Some(timeout))?;
                match socket.recv(buffer) {
                    Ok(length) => Ok(Some(length)),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
                    Err(error) => Err(error.into()),
                }
            }
        }
    }
}

fn is_echo_reply(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&EtherType::IPV4.0.to_be_bytes())
        && frame.get(ethernet::HEADER + 20) == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_station_answers_the_ping_that_another_makes() {
        let (one, other) = UnixDatagram::pair().expect("a pair");
        let one = Station::new(Socket::Datagram(one), 1);
        let other = Station::new(Socket::Datagram(other), 2);
        let mut ping = one.echo_request((other.mac, other.address));
        assert!(!is_echo_reply(&ping));
        let answer = other.answer(&mut ping).expect("an answer");
        assert!(is_echo_reply(&answer));
        assert_eq!(ethernet::destination(&answer), Some(one.mac));
        assert_eq!(ethernet::source(&answer), Some(other.mac));
        assert_eq!(other.answer(&mut one.echo_request((one.mac, other.address))), None, "not for it");
    }
}
