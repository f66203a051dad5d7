//! Keeps router advertisements (RFC 4861, 4.2) from the host's interface.
//!
//! A router advertisement gives the machine a default route, and so whatever it sends. The kernel is told not to
//! take any on the interface; but it cannot be where `/proc/sys` is read-only, and it forgets what it was told when
//! an MTU below 1280 is raised. So they are kept from it here.

use std::io;
use std::ops::Range;
use std::os::fd::BorrowedFd;

use hypertap_platform::queue::PacketQueue;
use hypertap_wire::batch::Batch;
use hypertap_wire::ethernet::{EtherType, payload};
use hypertap_wire::packet::Tally;

/// An interface's queue that takes every frame but router advertisements.
pub struct WithoutAdvertisements(pub Box<dyn PacketQueue>);

impl PacketQueue for WithoutAdvertisements {
    fn recv(&mut self, batch: &mut Batch, tally: &mut Tally) -> io::Result<bool> {
        self.0.recv(batch, tally)
    }

    fn send(&mut self, batch: &Batch, packets: Range<usize>, tally: &mut Tally) -> io::Result<()> {
        let mut from = packets.start;
        for at in packets.clone() {
            if batch.get(at).is_some_and(is_router_advertisement) {
                self.0.send(batch, from..at, tally)?;
                from = at + 1;
            }
        }
        if from < packets.end { self.0.send(batch, from..packets.end, tally) } else { Ok(()) }
    }

    fn another(&self) -> Box<dyn PacketQueue> {
        Box::new(Self(self.0.another()))
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.0.descriptor()
    }
}

/// Whether the kernel could take a frame for a router advertisement: a message of that type, whatever
/// extension headers are before it. It takes none that comes in fragments (RFC 6980, 5).
fn is_router_advertisement(frame: &[u8]) -> bool {
    const IPV6_HEADER: usize = 40;
    const ROUTER_ADVERTISEMENT: u8 = 134;
    let Some((EtherType::IPV6, packet)) = payload(frame) else { return false };
    let Some(mut next) = packet.get(6).copied() else { return false };
    let mut rest = packet.get(IPV6_HEADER..).unwrap_or_default();
    loop {
        // RFC 8200, 4: hop-by-hop options, routing, destination options, fragment; RFC 4302: authentication.
        let len = match (next, rest) {
            (58, _) => return rest.first() == Some(&ROUTER_ADVERTISEMENT),
            (0 | 43 | 60, [_, len, ..]) => 8 + 8 * usize::from(*len),
            (44, [_, _, high, low, ..]) if u16::from_be_bytes([*high, *low]) >> 3 == 0 => 8,
            (51, [_, len, ..]) => 8 + 4 * usize::from(*len),
            _ => return false,
        };
        let (Some(after), Some(left)) = (rest.first().copied(), rest.get(len..)) else { return false };
        (next, rest) = (after, left);
    }
}

#[cfg(test)]
mod tests {
    use hypertap_platform::queue::{MemoryQueue, receive_batch};

    use super::*;

    /// A frame of a message of a type, behind a tag and extension headers.
    fn frame(tags: &[u8], extensions: &[(u8, usize)], icmp: u8) -> Vec<u8> {
        let mut frame = [&[0x33, 0x33, 0, 0, 0, 1, 2, 0, 0, 0, 0, 9][..], tags, &[0x86, 0xdd]].concat();
        let first = extensions.first().map_or(58, |(kind, _)| *kind);
        frame.extend([0x60, 0, 0, 0, 0, 8, first, 255]);
        frame.extend([0; 32]);
        for (at, (_, len)) in extensions.iter().enumerate() {
            let next = extensions.get(at + 1).map_or(58, |(kind, _)| *kind);
            let mut extension = vec![0; *len];
            extension[0] = next;
            extension[1] = u8::try_from(len / 8 - 1).expect("short");
            frame.extend(extension);
        }
        frame.extend([icmp, 0, 0, 0]);
        frame
    }

    #[test]
    fn a_router_advertisement_is_told_behind_whatever_is_before_it() {
        for (tags, extensions) in [
            (&[][..], &[][..]),
            (&[0x81, 0, 0, 0], &[]),
            (&[], &[(0, 8)]),
            (&[], &[(0, 16), (43, 24), (60, 8)]),
            (&[0x88, 0xa8, 0, 1, 0x81, 0, 0, 2], &[(44, 8)]),
        ] {
            let advertisement = frame(tags, extensions, 134);
            assert!(is_router_advertisement(&advertisement), "{advertisement:02x?}");
            for other in [128, 133, 135, 136] {
                assert!(!is_router_advertisement(&frame(tags, extensions, other)), "{other}");
            }
            for len in 0..advertisement.len() - 4 {
                assert!(!is_router_advertisement(&advertisement[..len]), "{len}");
            }
        }
    }

    #[test]
    fn a_later_fragment_is_none_whatever_it_begins_with() {
        let mut fragment = frame(&[], &[(44, 8)], 134);
        fragment[14 + 40 + 3] = 8;
        assert!(!is_router_advertisement(&fragment));
    }

    #[test]
    fn all_others_of_a_run_get_through_in_order() {
        let (one, mut other) = MemoryQueue::pair().expect("a pair");
        let mut queue = WithoutAdvertisements(Box::new(one));
        let bad = frame(&[], &[], 134);
        for pattern in [&[false, true, true, false][..], &[true], &[true, false], &[false, true], &[false; 3]]
        {
            let (mut sent, mut received) = (receive_batch(0), receive_batch(0));
            for (at, is_bad) in pattern.iter().enumerate() {
                let good = [b'a', u8::try_from(at).expect("few")];
                sent.push(if *is_bad { &bad } else { &good });
            }
            let mut tally = Tally::default();
            queue.send(&sent, 0..pattern.len(), &mut tally).expect("it is there");
            other.recv(&mut received, &mut Tally::default()).expect("it is there");
            let wanted: Vec<&[u8]> = sent.iter().filter(|frame| *frame != bad).collect();
            assert_eq!(received.iter().collect::<Vec<_>>(), wanted, "{pattern:?}");
            assert_eq!(tally.packets, wanted.len() as u64);
        }
    }
}
