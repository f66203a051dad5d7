//! What waits to be sent to the guest: frames as they go on the line.

use std::collections::VecDeque;

use hypertap_wire::hdlc::{self, Accm};
use hypertap_wire::ppp::control::{ControlPacket, HEADER};
use hypertap_wire::ppp::{self, Protocol};

use super::NotSent;
use super::lcp::GuestLink;

/// How many frames may wait before a packet is dropped.
const PACKETS: usize = 64;

/// How many more may wait when they are answers and requests of control protocols.
const CONTROL: usize = 16;

#[derive(Debug)]
pub(super) struct Line {
    frames: VecDeque<Vec<u8>>,
    /// What holds for frames other than those of LCP, which are always escaped as for a stranger: the
    /// guest may have started anew (RFC 1662 7).
    pub(super) guest: GuestLink,
    /// How many control packets found no room.
    pub(super) dropped: u64,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { frames: VecDeque::new(), guest: GuestLink::DEFAULT, dropped: 0 }
    }

    /// Queues a control protocol's packet. Data past what the guest takes is cut off, as a reject has
    /// to be (RFC 1661 5.6).
    pub(super) fn send_control(&mut self, protocol: Protocol, packet: ControlPacket<'_>) {
        if self.frames.len() >= PACKETS + CONTROL {
            self.dropped += 1;
            return;
        }
        let accm = if protocol == Protocol::LCP { Accm::ALL } else { self.guest.accm };
        let room = usize::from(self.guest.mru).saturating_sub(HEADER);
        let data = &packet.data[..packet.data.len().min(room)];
        self.push(protocol, &ControlPacket { data, ..packet }.to_bytes(), accm);
    }

    /// Queues an IPv4 packet.
    pub(super) fn send_packet(&mut self, packet: &[u8]) -> Result<(), NotSent> {
        if packet.len() > usize::from(self.guest.mru) {
            return Err(NotSent::TooLong);
        }
        if self.frames.len() >= PACKETS {
            return Err(NotSent::Full);
        }
        self.push(Protocol::IPV4, packet, self.guest.accm);
        Ok(())
    }

    /// The next frame, flags included.
    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    fn push(&mut self, protocol: Protocol, packet: &[u8], accm: Accm) {
        let mut frame = Vec::with_capacity(packet.len() + packet.len() / 8 + 16);
        hdlc::encode(&ppp::frame(protocol, packet), accm, &mut frame);
        self.frames.push_back(frame);
    }
}
