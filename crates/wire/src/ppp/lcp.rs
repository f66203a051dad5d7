//! The options of the link control protocol (RFC 1661 6, RFC 1662 7).

use super::Protocol;
use super::control::ConfigureOption;
use crate::hdlc::Accm;

/// An option about the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LcpOption<'a> {
    /// The longest packet in bytes that the sender takes.
    Mru(u16),
    /// Which control characters the sender would have escaped.
    Accm(Accm),
    /// The sender would have the other end prove who it is, by this protocol.
    Authentication(Protocol),
    /// A number by which an end knows itself.
    Magic(u32),
    /// The sender takes protocol numbers of one byte.
    ProtocolCompression,
    /// The sender takes frames without address and control.
    AddressCompression,
    /// Another one, or one whose value is not as it should be.
    Other(ConfigureOption<'a>),
}

impl<'a> LcpOption<'a> {
    /// What an option says.
    pub fn parse(option: ConfigureOption<'a>) -> Self {
        match (option.kind, option.value) {
            (1, [high, low]) => Self::Mru(u16::from_be_bytes([*high, *low])),
            (2, [a, b, c, d]) => Self::Accm(Accm(u32::from_be_bytes([*a, *b, *c, *d]))),
            (3, [high, low]) => Self::Authentication(Protocol(u16::from_be_bytes([*high, *low]))),
            (5, [a, b, c, d]) => Self::Magic(u32::from_be_bytes([*a, *b, *c, *d])),
            (7, []) => Self::ProtocolCompression,
            (8, []) => Self::AddressCompression,
            _ => Self::Other(option),
        }
    }

    /// Appends the option.
    pub fn write(self, list: &mut Vec<u8>) {
        let mut write = |kind, value: &[u8]| ConfigureOption { kind, value }.write(list);
        match self {
            Self::Mru(mru) => write(1, &mru.to_be_bytes()),
            Self::Accm(accm) => write(2, &accm.0.to_be_bytes()),
            Self::Authentication(protocol) => write(3, &protocol.0.to_be_bytes()),
            Self::Magic(magic) => write(5, &magic.to_be_bytes()),
            Self::ProtocolCompression => write(7, &[]),
            Self::AddressCompression => write(8, &[]),
            Self::Other(option) => write(option.kind, option.value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ppp::control::options;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_option_is_written_as_it_was_read(kind in 0..10_u8, value in prop::collection::vec(any::<u8>(), 0..6)) {
            let option = ConfigureOption { kind, value: &value };
            let mut list = Vec::new();
            LcpOption::parse(option).write(&mut list);
            prop_assert_eq!(options(&list), Some(vec![option]));
        }
    }

    #[test]
    fn options_have_the_numbers_of_the_rfc() {
        let cases: [(&[u8], LcpOption); 6] = [
            (&[1, 4, 5, 0xdc], LcpOption::Mru(1500)),
            (&[2, 6, 0, 0x0a, 0, 0], LcpOption::Accm(Accm(0x000a_0000))),
            (&[3, 4, 0xc0, 0x23], LcpOption::Authentication(Protocol::PAP)),
            (&[5, 6, 1, 2, 3, 4], LcpOption::Magic(0x0102_0304)),
            (&[7, 2], LcpOption::ProtocolCompression),
            (&[8, 2], LcpOption::AddressCompression),
        ];
        for (list, meaning) in cases {
            let read: Vec<_> = options(list).expect("a list").into_iter().map(LcpOption::parse).collect();
            assert_eq!(read, [meaning]);
        }
    }
}
