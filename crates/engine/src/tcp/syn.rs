//! The options of a SYN (RFC 9293, section 3.2; RFC 7323; RFC 2018).

/// The options that only a SYN has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SynOptions {
    /// The largest payload that the other side takes, in bytes (RFC 9293, section 3.7.1).
    pub mss: u16,
    /// How far its windows are shifted, at most 14 (RFC 7323).
    pub scale: Option<u8>,
    /// Whether it takes selective acknowledgements (RFC 2018).
    pub sack: bool,
}

impl SynOptions {
    pub fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self { mss: 536, scale: None, sack: false };
        while let [kind, rest @ ..] = bytes {
            match (kind, rest) {
                (0, _) => break,
                (1, _) => bytes = rest,
                (_, [length, ..]) if *length >= 2 && usize::from(*length) <= bytes.len() => {
                    match (kind, &bytes[2..usize::from(*length)]) {
                        (2, &[high, low]) => options.mss = u16::from_be_bytes([high, low]).max(64),
                        (3, &[scale]) => options.scale = Some(scale.min(14)),
                        (4, []) => options.sack = true,
                        _ => {}
                    }
                    bytes = &bytes[usize::from(*length)..];
                }
                _ => break,
            }
        }
        options
    }

    /// Writes them, a multiple of four bytes.
    pub fn emit(self) -> Vec<u8> {
        let [high, low] = self.mss.to_be_bytes();
        let mut bytes = vec![2, 4, high, low];
        if let Some(scale) = self.scale {
            bytes.extend_from_slice(&[1, 3, 3, scale]);
        }
        if self.sack {
            bytes.extend_from_slice(&[1, 1, 4, 2]);
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(mss in 64_u16.., scale in prop::option::of(0..=14_u8), sack: bool) {
            let options = SynOptions { mss, scale, sack };
            prop_assert_eq!(SynOptions::parse(&options.emit()), options);
            prop_assert_eq!(options.emit().len() % 4, 0);
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..44)) {
            prop_assert!(SynOptions::parse(&bytes).mss >= 64);
        }
    }

    #[test]
    fn an_option_of_a_wrong_length_is_as_if_not_there() {
        assert_eq!(SynOptions::parse(&[2, 3, 9, 4, 2]), SynOptions { mss: 536, scale: None, sack: true });
        assert!(!SynOptions::parse(&[4, 0, 4, 2]).sack);
        assert!(!SynOptions::parse(&[4, 60, 4, 2]).sack);
        assert_eq!(SynOptions::parse(&[3, 3, 200]).scale, Some(14));
    }
}
