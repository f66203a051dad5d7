//! base58btc and base36: bytes as one number in other digits, the way libp2p writes keys and ids.
//!
//! Each leading zero byte is a leading zero digit, so nothing is lost, and every text that is read is
//! the one that would be written. The work grows with the square of the length, which is bounded.

/// The longest text that is read, in bytes: more than any key or id needs.
pub(crate) const MAX_TEXT: usize = 256;

/// The digits of a base, the lowest first.
#[derive(Clone, Copy)]
pub(crate) struct Base {
    digits: &'static [u8],
    is_case_folded: bool,
}

/// `base58btc`: without the digits and letters that look alike.
pub(crate) const BASE58: Base =
    Base { digits: b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz", is_case_folded: false };

/// `base36`: written in lower case, read in either.
pub(crate) const BASE36: Base =
    Base { digits: b"0123456789abcdefghijklmnopqrstuvwxyz", is_case_folded: true };

impl Base {
    /// Reads a text; `None` when it is too long or has another character.
    pub(crate) fn decode(self, text: &str) -> Option<Vec<u8>> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let values = text.bytes().map(|digit| self.value(digit)).collect::<Option<Vec<_>>>()?;
        Some(convert(&values, self.digits.len(), 256))
    }

    /// Writes bytes.
    pub(crate) fn encode(self, bytes: &[u8]) -> String {
        let digit = |value: u8| self.digits.get(usize::from(value)).copied().map_or('?', char::from);
        convert(bytes, 256, self.digits.len()).into_iter().map(digit).collect()
    }

    fn value(self, digit: u8) -> Option<u8> {
        let digit = if self.is_case_folded { digit.to_ascii_lowercase() } else { digit };
        self.digits.iter().position(|known| *known == digit).and_then(|value| u8::try_from(value).ok())
    }
}

/// The same number in another base of at most 256, with as many zeros in front.
fn convert(number: &[u8], from: usize, to: usize) -> Vec<u8> {
    // The lowest digit first, until the end.
    let mut digits: Vec<u8> = Vec::new();
    for value in number {
        let mut carry = usize::from(*value);
        for digit in &mut digits {
            carry += usize::from(*digit) * from;
            [*digit, ..] = (carry % to).to_le_bytes();
            carry /= to;
        }
        while carry > 0 {
            let [digit, ..] = (carry % to).to_le_bytes();
            digits.push(digit);
            carry /= to;
        }
    }
    let zeros = number.iter().take_while(|value| **value == 0).count();
    digits.resize(digits.len() + zeros, 0);
    digits.reverse();
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn writes_the_published_examples_of_base58() {
        for (bytes, text) in [
            (b"Hello World!".as_slice(), "2NEpo7TZRRrLZSi2U"),
            (
                b"The quick brown fox jumps over the lazy dog.",
                "USm3fpXnKG5EUBx2ndxBDMPVciP5hGey2Jh4NDv6gmeo1LkMeiKrLJUUBk6Z",
            ),
            (&[0, 0, 0x28, 0x7f, 0xb4, 0xcd], "11233QC4"),
            (&[], ""),
        ] {
            assert_eq!(BASE58.encode(bytes), text);
            assert_eq!(BASE58.decode(text).as_deref(), Some(bytes));
        }
    }

    #[test]
    fn base36_is_read_in_either_case() {
        assert_eq!(BASE36.encode(b"yes mani !"), "2lcpzo5yikidynfl");
        assert_eq!(BASE36.decode("2LCPZO5YIKIDYNFL").as_deref(), Some(b"yes mani !".as_slice()));
    }

    #[test]
    fn other_characters_and_long_texts_are_refused() {
        for text in ["0", "O", "I", "l", "é", " 1", "1\n"] {
            assert_eq!(BASE58.decode(text), None, "{text:?}");
        }
        assert_eq!(BASE58.decode(&"z".repeat(MAX_TEXT + 1)), None);
        assert!(BASE58.decode(&"z".repeat(MAX_TEXT)).is_some());
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(bytes in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..80)) {
            for base in [BASE58, BASE36] {
                let text = base.encode(&bytes);
                prop_assert_eq!(base.decode(&text), Some(bytes.clone()));
            }
        }

        #[test]
        fn what_is_read_is_written_back(text in "[1-9A-HJ-NP-Za-km-z]{0,100}") {
            prop_assert_eq!(BASE58.encode(&BASE58.decode(&text).expect("its own digits")), text);
        }
    }
}
