//! ARP for IPv4 over Ethernet (RFC 826): parse and emit.

use std::net::Ipv4Addr;

use crate::ethernet::{self, EtherType, MacAddress};

/// The length in bytes of a frame with a message, without padding.
pub const FRAME: usize = ethernet::HEADER + MESSAGE;

/// The length in bytes of a message.
const MESSAGE: usize = 28;

/// The fields before the operation: Ethernet, IPv4, and the lengths of their addresses.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Who has the target's IPv4 address?
    Request,
    /// The sender has the sender's.
    Reply,
}

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    /// What it is for.
    pub operation: Operation,
    /// The sender's address.
    pub sender_mac: MacAddress,
    /// The sender's IPv4 address; unspecified in a probe (RFC 5227).
    pub sender_ip: Ipv4Addr,
    /// The target's address; in requests it says nothing.
    pub target_mac: MacAddress,
    /// The target's IPv4 address.
    pub target_ip: Ipv4Addr,
}

impl Arp {
    /// The question who has `target_ip`.
    pub fn request(sender_mac: MacAddress, sender_ip: Ipv4Addr, target_ip: Ipv4Addr) -> Self {
        let target_mac = MacAddress::ZERO;
        Self { operation: Operation::Request, sender_mac, sender_ip, target_mac, target_ip }
    }

    /// The answer to a request: it is `mac` that has what was asked for.
    #[must_use]
    pub fn reply(&self, mac: MacAddress) -> Self {
        Self {
            operation: Operation::Reply,
            sender_mac: mac,
            sender_ip: self.target_ip,
            target_mac: self.sender_mac,
            target_ip: self.sender_ip,
        }
    }

    /// The message in a frame, tagged or not: none when it carries something else, another
    /// operation, or addresses of other kinds.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let (ethertype, payload) = ethernet::payload(frame)?;
        if ethertype != EtherType::ARP {
            return None;
        }
        let message = payload.first_chunk::<MESSAGE>()?;
        let (kind, rest) = message.split_first_chunk()?;
        let (operation, rest) = rest.split_first_chunk()?;
        let (sender_mac, rest) = rest.split_first_chunk()?;
        let (sender_ip, rest) = rest.split_first_chunk::<4>()?;
        let (target_mac, rest) = rest.split_first_chunk()?;
        let target_ip = rest.first_chunk::<4>()?;
        let operation = match u16::from_be_bytes(*operation) {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return None,
        };
        (*kind == KIND).then(|| Self {
            operation,
            sender_mac: MacAddress(*sender_mac),
            sender_ip: Ipv4Addr::from(*sender_ip),
            target_mac: MacAddress(*target_mac),
            target_ip: Ipv4Addr::from(*target_ip),
        })
    }

    /// The frame that carries the message from its sender to `destination`, not padded.
    pub fn frame(&self, destination: MacAddress) -> [u8; FRAME] {
        let operation = match self.operation {
            Operation::Request => 1_u16,
            Operation::Reply => 2,
        };
        let mut frame = [0; FRAME];
        let mut rest = frame.as_mut_slice();
        for field in [
            destination.0.as_slice(),
            &self.sender_mac.0,
            &EtherType::ARP.0.to_be_bytes(),
            &KIND,
            &operation.to_be_bytes(),
            &self.sender_mac.0,
            &self.sender_ip.octets(),
            &self.target_mac.0,
            &self.target_ip.octets(),
        ] {
            let (front, back) = rest.split_at_mut(field.len());
            front.copy_from_slice(field);
            rest = back;
        }
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANNA: MacAddress = MacAddress([2, 0, 0, 0, 0, 1]);
    const BERT: MacAddress = MacAddress([2, 0, 0, 0, 0, 2]);

    fn request() -> Arp {
        Arp::request(ANNA, Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2))
    }

    #[test]
    fn a_request_is_the_frame_of_rfc_826() {
        let frame = request().frame(MacAddress::BROADCAST);
        let wanted = [
            [0xff; 6].as_slice(),
            &[2, 0, 0, 0, 0, 1, 8, 6],
            &[0, 1, 8, 0, 6, 4, 0, 1],
            &[2, 0, 0, 0, 0, 1, 10, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 10, 0, 0, 2],
        ];
        assert_eq!(frame.as_slice(), wanted.concat());
    }

    #[test]
    fn a_reply_says_who_has_what_was_asked_for() {
        let reply = request().reply(BERT);
        assert_eq!((reply.operation, reply.sender_mac, reply.target_mac), (Operation::Reply, BERT, ANNA));
        assert_eq!((reply.sender_ip, reply.target_ip), (request().target_ip, request().sender_ip));
    }

    #[test]
    fn a_message_is_found_behind_tags_and_before_padding() {
        let frame = request().frame(MacAddress::BROADCAST);
        let tagged = [&frame[..12], &[0x81, 0, 0, 7], &frame[12..], &[0; 14]].concat();
        assert_eq!(Arp::parse(&tagged), Some(request()));
    }

    #[test]
    fn what_is_no_arp_for_ipv4_over_ethernet_is_none() {
        let frame = request().frame(MacAddress::BROADCAST);
        assert_eq!(Arp::parse(&frame), Some(request()));
        for (at, value) in [(13, 0), (15, 2), (16, 0x86), (18, 1), (19, 16), (21, 3), (20, 1)] {
            let mut frame = frame;
            frame[at] = value;
            assert_eq!(Arp::parse(&frame), None, "byte {at} is {value}");
        }
        for len in 0..frame.len() {
            assert_eq!(Arp::parse(&frame[..len]), None, "{len} bytes");
        }
    }

    proptest! {
        #[test]
        fn every_message_is_read_as_it_was_written(
            is_request: bool, sender: [u8; 6], sender_ip: [u8; 4], target: [u8; 6], target_ip: [u8; 4],
        ) {
            let arp = Arp {
                operation: if is_request { Operation::Request } else { Operation::Reply },
                sender_mac: MacAddress(sender),
                sender_ip: sender_ip.into(),
                target_mac: MacAddress(target),
                target_ip: target_ip.into(),
            };
            prop_assert_eq!(Arp::parse(&arp.frame(MacAddress(target))), Some(arp));
        }

        #[test]
        fn any_bytes_are_parsed(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = Arp::parse(&bytes);
        }
    }
}
