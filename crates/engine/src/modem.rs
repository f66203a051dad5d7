//! A telephone line's guest as a station of an Ethernet.
//!
//! A console's emulated modem sends and takes a stream of bytes: PPP in HDLC frames. A [`Modem`] is the
//! other end of that line ([`crate::ppp`]) and, once the guest has its address, a station of the LAN
//! that answers ARP for it, puts its packets into Ethernet frames and its frames' packets on the line.
//! The LAN sees one more station, the guest a link to the host side, which is its gateway. Packets of any
//! source but the guest's address are dropped.

mod drops;
mod neighbours;
mod station;
#[cfg(test)]
mod tests;

use std::net::Ipv4Addr;
use std::time::Duration;

use hypertap_wire::ethernet::MacAddress;
use hypertap_wire::hdlc::{Decoder, HdlcError};
use ipnet::Ipv4Net;

pub use crate::ppp::Credentials;
use crate::ppp::{MAX_FRAME, NotSent, PppServer, PppSettings, Received};
pub use drops::{ModemDrop, ModemDrops};
use station::Station;

/// The longest message to a client, in bytes: Dolphin drops larger ones. A frame that escapes make
/// longer goes in two messages, which it joins.
pub const MAX_MESSAGE: usize = 2048;

/// Who the guest is on the network.
#[derive(Clone, Debug)]
pub struct ModemSettings {
    /// The station's address.
    pub mac: MacAddress,
    /// The guest's address, and the prefix that is on the link.
    pub address: Ipv4Net,
    /// The host side's address: our end of the line, and the guest's gateway.
    pub host: Ipv4Addr,
    /// The guest's DNS servers, the first two of which it is told. With none it is refused any.
    pub dns: Vec<Ipv4Addr>,
    /// What the guest has to say, by PAP, to be let in; nothing when everybody is.
    pub credentials: Option<Credentials>,
    /// A random number, from which the link's magic numbers come.
    pub magic: u32,
}

/// A guest on a line, and its place on an Ethernet. Times are since any origin.
#[derive(Debug)]
pub struct Modem {
    decoder: Decoder,
    server: PppServer,
    was_open: bool,
    station: Station,
    /// The rest of a frame that is longer than a message.
    rest: Vec<u8>,
    drops: ModemDrops,
}

impl Modem {
    /// A line on which nobody called yet.
    pub fn new(settings: ModemSettings) -> Self {
        let ModemSettings { mac, address, host, dns, credentials, magic } = settings;
        let link = PppSettings { own: host, guest: address.addr(), dns, credentials, magic };
        Self {
            decoder: Decoder::new(MAX_FRAME),
            server: PppServer::new(link),
            was_open: false,
            station: Station::new(mac, address, host),
            rest: Vec::new(),
            drops: ModemDrops::default(),
        }
    }

    /// Takes the bytes in the client's messages, cut in any way.
    pub fn handle_stream(&mut self, now: Duration, mut bytes: &[u8]) {
        while let Some(frame) = self.decoder.next(&mut bytes) {
            let cause = match frame.map(|frame| self.server.handle_frame(now, frame)) {
                Ok(Received::Control) => None,
                Ok(Received::Packet(packet)) => {
                    self.station.handle_packet(now, packet, &mut self.drops);
                    None
                }
                Ok(Received::Malformed) => Some(ModemDrop::MalformedFrame),
                Ok(Received::OutOfPhase) => Some(ModemDrop::OutOfPhase),
                Err(HdlcError::TooLong) => Some(ModemDrop::OverlongFrame),
                Err(HdlcError::TooShort | HdlcError::BadFcs | HdlcError::Aborted) => {
                    Some(ModemDrop::DamagedFrame)
                }
            };
            if let Some(cause) = cause {
                self.drops.count(cause, 1);
            }
            let is_open = self.server.is_open();
            let was_open = std::mem::replace(&mut self.was_open, is_open);
            if is_open && !was_open {
                self.station.announce(&mut self.drops);
            }
        }
    }

    /// Takes a frame from the LAN, without check sequence.
    pub fn handle_frame(&mut self, now: Duration, frame: &[u8]) {
        let is_open = self.server.is_open();
        let Some(packet) = self.station.handle_frame(now, frame, is_open, &mut self.drops) else { return };
        let cause = match self.server.send_packet(packet) {
            Ok(()) => return,
            Err(NotSent::NoLink) => ModemDrop::NoLink,
            Err(NotSent::TooLong) => ModemDrop::TooLong,
            Err(NotSent::Full) => ModemDrop::GuestFull,
        };
        self.drops.count(cause, 1);
    }

    /// The next frame to the LAN, neither padded nor with a check sequence.
    pub fn poll_frame(&mut self) -> Option<Vec<u8>> {
        self.station.poll_frame()
    }

    /// The next message to the client, without its length: 1 to [`MAX_MESSAGE`] bytes.
    pub fn poll_stream(&mut self) -> Option<Vec<u8>> {
        let mut message = match std::mem::take(&mut self.rest) {
            rest if rest.is_empty() => self.server.poll_transmit()?,
            rest => rest,
        };
        if message.len() > MAX_MESSAGE {
            self.rest = message.split_off(MAX_MESSAGE);
        }
        Some(message)
    }

    /// When [`Self::handle_timeout`] is due, if nothing comes before.
    pub fn timeout(&self) -> Option<Duration> {
        [self.server.timeout(), self.station.timeout()].into_iter().flatten().min()
    }

    /// Does what is due at this time.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.server.handle_timeout(now);
        self.was_open &= self.server.is_open();
        self.station.handle_timeout(now, &mut self.drops);
    }

    /// Whether packets pass between the guest and the LAN.
    pub fn is_open(&self) -> bool {
        self.server.is_open()
    }

    /// Whether a link was ended. The next call on the same line begins another.
    pub fn is_over(&self) -> bool {
        self.server.is_over()
    }

    /// How much was dropped, by cause.
    pub fn drops(&self) -> ModemDrops {
        let mut drops = self.drops;
        drops.count(ModemDrop::GuestFull, self.server.control_dropped());
        drops
    }
}
