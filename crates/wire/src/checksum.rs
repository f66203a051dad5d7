//! The internet checksum (RFC 1071).
//!
//! The sum does not depend on byte order as long as it is read and written in the same one, so
//! everything here adds in the machine's own order, 32 bits at a time into 64-bit accumulators,
//! and folds once at the end.

/// A running one's complement sum, not yet folded or complemented.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// The sum of nothing.
    pub const ZERO: Self = Self(0);

    /// Adds bytes that begin at an even offset of what is summed. An odd last byte counts as if a
    /// zero followed, so only the last piece may have one.
    #[must_use]
    #[allow(clippy::should_implement_trait, reason = "a sum of bytes is not the operator")]
    pub fn add(self, bytes: &[u8]) -> Self {
        let (mut low, mut high) = ([0_u64; 4], [0_u64; 4]);
        let (blocks, rest) = bytes.as_chunks::<32>();
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            for ((word, low), high) in words.iter().zip(&mut low).zip(&mut high) {
                let word = u64::from_ne_bytes(*word);
                *low += word & 0xffff_ffff;
                *high += word >> 32;
            }
        }
        let mut total = shorten(self.0);
        for lane in low.into_iter().chain(high) {
            total += shorten(lane);
        }
        let (words, rest) = rest.as_chunks::<4>();
        for word in words {
            total += u64::from(u32::from_ne_bytes(*word));
        }
        let (halves, rest) = rest.as_chunks::<2>();
        for half in halves {
            total += u64::from(u16::from_ne_bytes(*half));
        }
        if let [last] = rest {
            total += u64::from(u16::from_ne_bytes([*last, 0]));
        }
        Self(total)
    }

    /// Adds a number, as its 16-bit big-endian field would be.
    #[must_use]
    pub fn add_u16(self, value: u16) -> Self {
        Self(shorten(self.0) + u64::from(value.to_be()))
    }

    /// Takes a 16-bit big-endian field out of the sum.
    #[must_use]
    pub fn remove_u16(self, value: u16) -> Self {
        self.add_u16(!value)
    }

    /// The folded sum, uncomplemented, as the two bytes of the field.
    pub fn folded(self) -> [u8; 2] {
        let mut sum = shorten(self.0);
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        #[allow(clippy::cast_possible_truncation, reason = "the loop ends with 16 bits")]
        (sum as u16).to_ne_bytes()
    }

    /// The checksum: the complement of the folded sum, as the two bytes of the field.
    pub fn checksum(self) -> [u8; 2] {
        self.folded().map(|byte| !byte)
    }

    /// The checksum with zero written as its equal 0xffff, as UDP wants it (RFC 768) and TCP
    /// tolerates it.
    pub fn checksum_not_zero(self) -> [u8; 2] {
        match self.checksum() {
            [0, 0] => [0xff, 0xff],
            checksum => checksum,
        }
    }

    /// Whether a sum taken over data and its checksum says that the data is whole.
    pub fn is_whole(self) -> bool {
        self.folded() == [0xff, 0xff]
    }
}

/// Folds once, to at most 33 bits, so that sums of sums cannot overflow.
fn shorten(sum: u64) -> u64 {
    (sum & 0xffff_ffff) + (sum >> 32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 1071 as it is written: big-endian words, one at a time.
    fn naive(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) << 8 | u32::from(pair.get(1).copied().unwrap_or(0));
            sum = (sum & 0xffff) + (sum >> 16);
        }
        u16::try_from(sum).unwrap()
    }

    proptest! {
        #[test]
        fn equals_the_naive_form(bytes in prop::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Sum::ZERO.add(&bytes).folded(), naive(&bytes).to_be_bytes());
        }

        #[test]
        fn pieces_add_up_to_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..150_usize) {
            let cut = (cut * 2).min(bytes.len() & !1);
            let pieces = Sum::ZERO.add(&bytes[..cut]).add(&bytes[cut..]);
            prop_assert_eq!(pieces.folded(), Sum::ZERO.add(&bytes).folded());
        }

        #[test]
        fn data_with_its_checksum_is_whole(mut bytes in prop::collection::vec(any::<u8>(), 2..200)) {
            bytes[0] = 0;
            bytes[1] = 0;
            let checksum = Sum::ZERO.add(&bytes).checksum();
            bytes[..2].copy_from_slice(&checksum);
            prop_assert!(Sum::ZERO.add(&bytes).is_whole());
        }

        #[test]
        fn a_removed_field_is_as_if_never_added(bytes in prop::collection::vec(1..255_u8, 2..50), value: u16) {
            let there = Sum::ZERO.add(&bytes).add_u16(value).remove_u16(value);
            prop_assert_eq!(there.folded(), Sum::ZERO.add(&bytes).folded());
        }
    }

    #[test]
    fn sums_the_example_of_rfc_1071() {
        assert_eq!(Sum::ZERO.add(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]).folded(), [0xdd, 0xf2]);
    }

    #[test]
    fn the_longest_data_of_ones_does_not_overflow() {
        assert_eq!(Sum::ZERO.add(&vec![0xff; 1 << 20]).folded(), [0xff, 0xff]);
    }
}
