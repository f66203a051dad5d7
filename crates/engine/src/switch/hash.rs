//! Stations' addresses as numbers, and hashes that nobody outside can foretell.
//!
//! Addresses are hashed by multiply-shift, `(a·x + b mod 2^128) / 2^64` with secret `a` and `b`, which is
//! strongly universal (Dietzfelbinger 1996): whatever addresses somebody chooses, two of them fall into one
//! bucket no more often than random ones. Whole frames are hashed by `SipHash` behind a secret prefix.

use std::collections::hash_map::DefaultHasher;
use std::hash::{BuildHasher, Hasher};

use hypertap_wire::ethernet::{HEADER, MacAddress};

/// An address of 48 bits, the first byte on top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Station(u64);

impl Station {
    pub(super) fn new(MacAddress(address): MacAddress) -> Self {
        let mut word = [0; 8];
        word[2..].copy_from_slice(&address);
        Self(u64::from_be_bytes(word))
    }

    /// Destination and source of a frame; `None` when it is shorter than an Ethernet header.
    pub(super) fn of_frame(frame: &[u8]) -> Option<(Self, Self)> {
        let header: &[u8; HEADER] = frame.first_chunk()?;
        let (destination, rest) = header.split_first_chunk()?;
        Some((Self::new(MacAddress(*destination)), Self::new(MacAddress(*rest.first_chunk()?))))
    }

    pub(super) fn address(self) -> MacAddress {
        let mut address = [0; 6];
        address.copy_from_slice(&self.0.to_be_bytes()[2..]);
        MacAddress(address)
    }

    pub(super) fn is_group(self) -> bool {
        self.0 >> 40 & 1 == 1
    }

    /// Whether it can be a source: neither a group nor zero.
    pub(super) fn is_individual(self) -> bool {
        !self.is_group() && self.0 != 0
    }

    /// Whether it is between neighbours only (802.1D, table 7-10).
    pub(super) fn is_reserved(self) -> bool {
        self.0 & !0xf == 0x0180_c200_0000
    }
}

/// The secrets of one switch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Keys {
    multiplier: u128,
    addend: u128,
}

impl Keys {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = seed;
        let mut wide = || u128::from(split_mix(&mut state)) << 64 | u128::from(split_mix(&mut state));
        Self { multiplier: wide() | 1, addend: wide() }
    }

    /// The hash of a whole frame.
    pub(super) fn hash_frame(&self, frame: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        hasher.write_u128(self.addend);
        hasher.write(frame);
        hasher.finish()
    }
}

impl BuildHasher for Keys {
    type Hasher = MultiplyShift;

    fn build_hasher(&self) -> MultiplyShift {
        MultiplyShift { keys: *self, hash: 0 }
    }
}

/// Hashes one `u64`.
pub(super) struct MultiplyShift {
    keys: Keys,
    hash: u64,
}

impl Hasher for MultiplyShift {
    fn write_u64(&mut self, word: u64) {
        let product = self.keys.multiplier.wrapping_mul(u128::from(self.hash ^ word));
        self.hash = (product.wrapping_add(self.keys.addend) >> 64) as u64;
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn finish(&self) -> u64 {
        self.hash
    }
}

/// `SplitMix64` (Steele, Lea, Flood 2014): makes one seed into many.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut word = *state;
    word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_one_vendor_spread_over_the_buckets() {
        let keys = Keys::new(1);
        let mut buckets = [0; 256];
        for last in 0..16_384u64 {
            let hash = keys.hash_one(Station(0x5254_0000_0000 | last));
            buckets[usize::try_from(hash & 0xff).expect("a byte")] += 1;
        }
        assert!(buckets.iter().all(|filled| (20..=140).contains(filled)), "{buckets:?}");
    }

    #[test]
    fn another_seed_makes_other_hashes() {
        assert_ne!(Keys::new(1).hash_one(Station(7)), Keys::new(2).hash_one(Station(7)));
        assert_ne!(Keys::new(1).hash_frame(b"frame"), Keys::new(2).hash_frame(b"frame"));
    }

    #[test]
    fn reserved_are_the_sixteen_group_addresses_and_no_others() {
        for last in 0..=0xff {
            let station = Station::new(MacAddress([0x01, 0x80, 0xc2, 0, 0, last]));
            assert_eq!(station.is_reserved(), last < 16, "{last:#x}");
        }
        assert!(!Station::new(MacAddress([0x01, 0x80, 0xc2, 0, 1, 0])).is_reserved());
    }

    #[test]
    fn a_station_gives_its_address_back() {
        let address = MacAddress([2, 3, 4, 5, 6, 7]);
        assert_eq!(Station::new(address).address(), address);
    }
}
