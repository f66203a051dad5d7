//! The guest's place on the Ethernet: a station that has the guest's IPv4 address.

use std::collections::VecDeque;
use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_wire::arp::{Arp, Operation};
use hypertap_wire::ethernet::{self, EtherType, MacAddress};
use hypertap_wire::packet::{MAX_PACKET, validate};
use hypertap_wire::ppp::DEFAULT_MRU;
use ipnet::Ipv4Net;

use super::drops::{ModemDrop, ModemDrops};
use super::neighbours::{Neighbours, Resolution};

/// How many frames may wait for the LAN.
const FRAMES: usize = 64;

#[derive(Debug)]
pub(super) struct Station {
    mac: MacAddress,
    /// The guest's address, and what is on the link.
    address: Ipv4Net,
    gateway: Ipv4Addr,
    neighbours: Neighbours,
    frames: VecDeque<Vec<u8>>,
}

impl Station {
    pub(super) fn new(mac: MacAddress, address: Ipv4Net, gateway: Ipv4Addr) -> Self {
        Self { mac, address, gateway, neighbours: Neighbours::default(), frames: VecDeque::new() }
    }

    /// Tells the LAN where the guest is (RFC 5227 2.3).
    pub(super) fn announce(&mut self, drops: &mut ModemDrops) {
        self.ask(self.address.addr(), drops);
    }

    /// Takes a packet from the guest.
    pub(super) fn handle_packet(&mut self, now: Duration, packet: &[u8], drops: &mut ModemDrops) {
        let packet = match self.outgoing(packet) {
            Ok(packet) => packet,
            Err(cause) => return drops.count(cause, 1),
        };
        let destination = packet.destination;
        if let Some(mac) = self.group(destination) {
            return self.send(mac, packet.bytes, drops);
        }
        let next = if self.address.contains(&destination) { destination } else { self.gateway };
        match self.neighbours.resolve(now, next, packet.bytes) {
            Resolution::Known(mac) => self.send(mac, packet.bytes, drops),
            Resolution::Ask => self.ask(next, drops),
            Resolution::Waits => {}
            Resolution::Full => drops.count(ModemDrop::TooManyUnresolved, 1),
        }
    }

    /// Takes a frame from the LAN; the packet in it that is the guest's. ARP is answered while the
    /// guest has its address.
    pub(super) fn handle_frame<'a>(
        &mut self,
        now: Duration,
        frame: &'a [u8],
        has_address: bool,
        drops: &mut ModemDrops,
    ) -> Option<&'a [u8]> {
        let found = match ethernet::payload(frame) {
            _ if !ethernet::destination(frame).is_some_and(|mac| mac == self.mac || mac.is_multicast()) => {
                Err(ModemDrop::NotForGuest)
            }
            // A tagged frame is of another LAN.
            Some((EtherType::IPV4, payload)) if frame.len() - payload.len() == ethernet::HEADER => {
                self.incoming(payload)
            }
            Some((EtherType::ARP, payload)) if frame.len() - payload.len() == ethernet::HEADER => {
                if let Some(arp) = Arp::parse(frame) {
                    self.on_arp(now, arp, has_address, drops);
                }
                return None;
            }
            _ => Err(ModemDrop::OtherProtocol),
        };
        found.map_err(|cause| drops.count(cause, 1)).ok()
    }

    /// The next frame to the LAN.
    pub(super) fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    pub(super) fn timeout(&self) -> Option<Duration> {
        self.neighbours.timeout()
    }

    pub(super) fn handle_timeout(&mut self, now: Duration, drops: &mut ModemDrops) {
        let due = self.neighbours.handle_timeout(now);
        drops.count(ModemDrop::Unresolved, due.unresolved as u64);
        for address in due.ask {
            self.ask(address, drops);
        }
    }

    fn on_arp(&mut self, now: Duration, arp: Arp, has_address: bool, drops: &mut ModemDrops) {
        let own = self.address.addr();
        let is_station = !arp.sender_mac.is_multicast() && !arp.sender_mac.is_zero();
        if arp.sender_mac == self.mac || !is_station || arp.sender_ip == own {
            return;
        }
        let is_for_us = arp.target_ip == own;
        if !arp.sender_ip.is_unspecified() {
            for packet in self.neighbours.learn(now, arp.sender_ip, arp.sender_mac, is_for_us) {
                self.send(arp.sender_mac, &packet, drops);
            }
        }
        if is_for_us && arp.operation == Operation::Request && has_address {
            self.queue(arp.reply(self.mac).frame(arp.sender_mac).to_vec(), drops);
        }
    }

    fn outgoing<'a>(&self, packet: &'a [u8]) -> Result<Packet<'a>, ModemDrop> {
        let packet = Packet::parse(packet, usize::from(DEFAULT_MRU))?;
        let destination = packet.destination;
        if packet.source != self.address.addr() {
            Err(ModemDrop::ForeignSource)
        } else if destination == self.address.addr()
            || destination.is_loopback()
            || destination.is_unspecified()
        {
            Err(ModemDrop::NoDestination)
        } else {
            Ok(packet)
        }
    }

    fn incoming<'a>(&self, payload: &'a [u8]) -> Result<&'a [u8], ModemDrop> {
        let packet = Packet::parse(payload, MAX_PACKET)?;
        let destination = packet.destination;
        if destination == self.address.addr() || self.group(destination).is_some() {
            Ok(packet.bytes)
        } else {
            Err(ModemDrop::NotForGuest)
        }
    }

    /// The Ethernet address of a broadcast or a multicast group (RFC 1112 6.4).
    fn group(&self, destination: Ipv4Addr) -> Option<MacAddress> {
        let has_broadcast = self.address.prefix_len() < 31;
        if destination.is_broadcast() || (has_broadcast && destination == self.address.broadcast()) {
            Some(MacAddress::BROADCAST)
        } else if destination.is_multicast() {
            let [_, a, b, c] = destination.octets();
            Some(MacAddress([0x01, 0x00, 0x5e, a & 0x7f, b, c]))
        } else {
            None
        }
    }

    fn ask(&mut self, address: Ipv4Addr, drops: &mut ModemDrops) {
        let request = Arp::request(self.mac, self.address.addr(), address);
        self.queue(request.frame(MacAddress::BROADCAST).to_vec(), drops);
    }

    fn send(&mut self, destination: MacAddress, packet: &[u8], drops: &mut ModemDrops) {
        let frame = [&destination.0, &self.mac.0, &EtherType::IPV4.0.to_be_bytes()[..], packet].concat();
        self.queue(frame, drops);
    }

    fn queue(&mut self, frame: Vec<u8>, drops: &mut ModemDrops) {
        if self.frames.len() < FRAMES {
            self.frames.push_back(frame);
        } else {
            drops.count(ModemDrop::LanFull, 1);
        }
    }
}

/// A whole IPv4 packet.
struct Packet<'a> {
    bytes: &'a [u8],
    source: Ipv4Addr,
    destination: Ipv4Addr,
}

impl<'a> Packet<'a> {
    /// The packet that is in these bytes; what follows its length is padding.
    fn parse(bytes: &'a [u8], mtu: usize) -> Result<Self, ModemDrop> {
        let bad = ModemDrop::BadPacket;
        let header = bytes.first_chunk::<20>().ok_or(bad)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        let bytes = bytes.get(..len).ok_or(bad)?;
        if header[0] >> 4 != 4 || validate(bytes, mtu).is_err() {
            return Err(bad);
        }
        let [source, destination] =
            [12, 16].map(|at| [header[at], header[at + 1], header[at + 2], header[at + 3]]);
        Ok(Self { bytes, source: source.into(), destination: destination.into() })
    }
}
