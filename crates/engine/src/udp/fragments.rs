//! Fragments put together (RFC 791, section 3.2; RFC 8200, section 4.5).
//!
//! They come from this machine's own kernel, which makes them when a datagram is longer than the interface takes,
//! or when a program wants small packets. So they come in order and one right after the other; what
//! does not is dropped, and so is what overlaps (RFC 5722).

use std::net::IpAddr;
use std::time::Duration;

use hypertap_wire::checksum::Sum;
use hypertap_wire::ip::{Fragment, Ip, UDP};

/// How many packets may be unfinished at once.
const MAX_UNFINISHED: usize = 16;
/// After this time an unfinished packet gives way to another.
const AGE: Duration = Duration::from_secs(1);
/// The most that a packet has behind its header, in bytes.
const MAX_PAYLOAD: usize = 65_535;
/// The lengths in bytes of headers without options.
const IPV4_HEADER: usize = 20;
const IPV6_HEADER: usize = 40;
/// The length in bytes of IPv6's fragment header, and its number.
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT: u8 = 44;
/// What offsets are counted in, in bytes.
const UNITS: usize = 8;

/// Which packet a fragment is of.
type Whose = (IpAddr, IpAddr, u32);

/// Packets of which some fragments have come.
#[derive(Debug, Default)]
pub struct Fragments {
    unfinished: Vec<Unfinished>,
}

#[derive(Debug)]
struct Unfinished {
    whose: Whose,
    since: Duration,
    /// The header and what came behind it.
    packet: Vec<u8>,
    header: usize,
}

/// A fragment taken apart.
struct Piece<'a> {
    whose: Whose,
    /// The header that the whole packet has, but for its lengths.
    header: Vec<u8>,
    offset: usize,
    is_last: bool,
    data: &'a [u8],
}

impl Fragments {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a fragment of a UDP datagram, and yields the packet once it is whole. Fragments of anything
    /// else are dropped.
    pub fn add(&mut self, now: Duration, packet: &[u8]) -> Option<Vec<u8>> {
        let piece = Piece::parse(packet)?;
        let at = self.unfinished.iter().position(|unfinished| unfinished.whose == piece.whose);
        let mut unfinished = match at {
            Some(at) => self.unfinished.swap_remove(at),
            None if piece.offset > 0 => return None,
            None => Unfinished {
                whose: piece.whose,
                since: now,
                header: piece.header.len(),
                packet: piece.header,
            },
        };
        let has = unfinished.packet.len() - unfinished.header;
        let is_even = piece.is_last || piece.data.len() % UNITS == 0;
        if piece.offset != has || !is_even || has + piece.data.len() > MAX_PAYLOAD {
            return None;
        }
        unfinished.packet.extend_from_slice(piece.data);
        if piece.is_last {
            return write_lengths(&mut unfinished.packet).map(|()| unfinished.packet);
        }
        self.unfinished.retain(|unfinished| now < unfinished.since + AGE);
        if self.unfinished.len() < MAX_UNFINISHED {
            self.unfinished.push(unfinished);
        }
        None
    }
}

impl<'a> Piece<'a> {
    fn parse(packet: &'a [u8]) -> Option<Self> {
        let ip = Ip::parse(packet).ok()?;
        if ip.protocol != UDP || ip.fragment == Fragment::Whole {
            return None;
        }
        let ends = |id| (ip.source, ip.destination, id);
        if ip.source.is_ipv4() {
            let (header, data) = packet.split_at_checked(packet.len() - ip.payload.len())?;
            let field = |at: usize| Some(u16::from_be_bytes(*header.get(at..)?.first_chunk()?));
            let flags = field(6)?;
            return Some(Self {
                whose: ends(field(4)?.into()),
                header: header.to_vec(),
                offset: usize::from(flags & 0x1fff) * UNITS,
                is_last: flags & 0x2000 == 0,
                data,
            });
        }
        // The kernel puts nothing before this header that a program did not ask for.
        let (header, rest) = packet.split_at_checked(IPV6_HEADER)?;
        let (fragment, data) = rest.split_first_chunk::<FRAGMENT_HEADER>()?;
        if header.get(6) != Some(&FRAGMENT) || fragment[0] != UDP {
            return None;
        }
        let [_, _, o0, o1, id @ ..] = *fragment;
        let flags = u16::from_be_bytes([o0, o1]);
        let mut header = header.to_vec();
        *header.get_mut(6)? = UDP;
        Some(Self {
            whose: ends(u32::from_be_bytes(id)),
            header,
            offset: usize::from(flags & 0xfff8),
            is_last: flags & 1 == 0,
            data,
        })
    }
}

/// Makes the header that of a whole packet.
fn write_lengths(packet: &mut [u8]) -> Option<()> {
    let len = packet.len();
    if packet.first()? >> 4 == 6 {
        let length = u16::try_from(len.checked_sub(IPV6_HEADER)?).ok()?;
        packet.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        return Some(());
    }
    let header = packet.get_mut(..usize::from(packet.first()? & 0x0f) * 4)?;
    let fixed = header.first_chunk_mut::<IPV4_HEADER>()?;
    fixed[2..4].copy_from_slice(&u16::try_from(len).ok()?.to_be_bytes());
    fixed[6..8].fill(0);
    fixed[10..12].fill(0);
    let checksum = Sum::ZERO.add(header).checksum();
    header.get_mut(10..12)?.copy_from_slice(&checksum);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hypertap_wire::udp::{Datagram, emit};
    use proptest::prelude::*;

    /// A datagram's packet.
    fn whole(v6: bool, len: usize) -> Vec<u8> {
        let ends = if v6 { ["[fd00::1]:9", "[fd00::2]:53"] } else { ["10.0.0.1:9", "10.0.0.2:53"] };
        let [source, destination] = ends.map(|end| end.parse().unwrap());
        let data: Vec<_> = (0..len).map(|at| u8::try_from(at % 251).unwrap()).collect();
        let mut packet = vec![0; len + 48];
        let len = emit(&mut packet, source, destination, &data).unwrap();
        packet.truncate(len);
        packet
    }

    /// A packet in pieces of so many bytes of data, whose packet's number is `id`.
    fn cut(packet: &[u8], size: usize, id: u8) -> Vec<Vec<u8>> {
        let is_v6 = packet[0] >> 4 == 6;
        let (header, data) = packet.split_at(if is_v6 { IPV6_HEADER } else { IPV4_HEADER });
        let count = data.len().div_ceil(size);
        let pieces = data.chunks(size).enumerate().map(|(index, piece)| {
            let (offset, more) = (u16::try_from(index * size).unwrap(), u16::from(index + 1 < count));
            let mut header = header.to_vec();
            if is_v6 {
                header[4..6].copy_from_slice(&u16::try_from(piece.len() + 8).unwrap().to_be_bytes());
                header[6] = FRAGMENT;
                let [o0, o1] = (offset | more).to_be_bytes();
                header.extend([UDP, 0, o0, o1, 0, 0, 0, id]);
            } else {
                header[2..4].copy_from_slice(&u16::try_from(piece.len() + 20).unwrap().to_be_bytes());
                header[4..6].copy_from_slice(&[0, id]);
                header[6..8].copy_from_slice(&((offset / 8) | (more << 13)).to_be_bytes());
                header[10..12].fill(0);
                let checksum = Sum::ZERO.add(&header).checksum();
                header[10..12].copy_from_slice(&checksum);
            }
            [&header, piece].concat()
        });
        pieces.collect()
    }

    #[test]
    fn the_longest_datagram_comes_together() {
        for (v6, len) in [(false, 65_507), (true, 65_527)] {
            let packet = whole(v6, len);
            let mut fragments = Fragments::new();
            let pieces = cut(&packet, 65_000, 1);
            let made: Vec<_> =
                pieces.iter().filter_map(|piece| fragments.add(Duration::ZERO, piece)).collect();
            let [made] = made.as_slice() else { panic!("{} packets", made.len()) };
            let ip = Ip::parse(made).unwrap();
            assert!(ip.is_checksum_right() && Datagram::parse(&ip).unwrap().payload.len() == len);
        }
    }

    #[test]
    fn a_packet_whose_fragments_are_out_of_order_or_overlap_is_dropped() {
        let packet = whole(true, 3000);
        for order in [[1, 0, 2], [0, 2, 1], [0, 0, 1], [0, 1, 1]] {
            let mut fragments = Fragments::new();
            let pieces = cut(&packet, 1200, 1);
            for index in order {
                assert_eq!(fragments.add(Duration::ZERO, &pieces[index]), None, "{order:?}");
            }
        }
    }

    #[test]
    fn unfinished_packets_are_bounded_and_give_way_after_a_while() {
        let packet = whole(true, 3000);
        let mut fragments = Fragments::new();
        for id in 0..=255 {
            fragments.add(Duration::ZERO, &cut(&packet, 1200, id)[0]);
        }
        assert_eq!(fragments.unfinished.len(), MAX_UNFINISHED);
        let pieces = cut(&packet, 1200, 100);
        let last = pieces.iter().filter_map(|piece| fragments.add(AGE, piece)).last();
        assert!(last.is_some());
    }

    proptest! {
        #[test]
        fn what_was_cut_is_put_together(len in 0..5000_usize, eighths in 1..200_usize, v6: bool) {
            let packet = whole(v6, len);
            let (mut fragments, pieces) = (Fragments::new(), cut(&packet, eighths * 8, 1));
            if pieces.len() > 1 {
                let made: Vec<_> =
                    pieces.iter().filter_map(|piece| fragments.add(Duration::ZERO, piece)).collect();
                prop_assert_eq!(made.len(), 1);
                let (made, ip) = (Ip::parse(&made[0]).unwrap(), Ip::parse(&packet).unwrap());
                prop_assert_eq!(made.payload, ip.payload);
                prop_assert_eq!((made.source, made.destination, made.fragment), (ip.source, ip.destination, ip.fragment));
                prop_assert!(fragments.unfinished.is_empty());
            }
        }

        #[test]
        fn no_bytes_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..100), v6: bool) {
            let model = cut(&whole(v6, 100), 48, 1);
            for (byte, model) in bytes.iter_mut().zip(&model[0]) {
                if *byte % 2 == 0 { *byte = *model; }
            }
            let mut fragments = Fragments::new();
            for packet in [&bytes, &model[0], &bytes, &model[1], &bytes] {
                let _ = fragments.add(Duration::ZERO, packet);
            }
        }
    }
}
