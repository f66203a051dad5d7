//! The shape of a control protocol's packets: a code, an identifier, a length, and often a list of
//! options (RFC 1661 5 and 6).

/// The length in bytes of a packet's header.
pub const HEADER: usize = 4;

/// What a control packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code(pub u8);

impl Code {
    /// What the sender would have for itself.
    pub const CONFIGURE_REQUEST: Self = Self(1);
    /// All of the request is granted.
    pub const CONFIGURE_ACK: Self = Self(2);
    /// These options are known, but not with these values: others would do.
    pub const CONFIGURE_NAK: Self = Self(3);
    /// These options are not known, or not to be had.
    pub const CONFIGURE_REJECT: Self = Self(4);
    /// The sender ends this.
    pub const TERMINATE_REQUEST: Self = Self(5);
    /// It is ended.
    pub const TERMINATE_ACK: Self = Self(6);
    /// A code is not known; holds the packet.
    pub const CODE_REJECT: Self = Self(7);
    /// LCP only: a protocol is not known; holds its number and the packet.
    pub const PROTOCOL_REJECT: Self = Self(8);
    /// LCP only: asks for an answer.
    pub const ECHO_REQUEST: Self = Self(9);
    /// LCP only: that answer.
    pub const ECHO_REPLY: Self = Self(10);
    /// LCP only: to be ignored.
    pub const DISCARD_REQUEST: Self = Self(11);
}

/// A packet of a control protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControlPacket<'a> {
    /// What it is.
    pub code: Code,
    /// What ties an answer to its question.
    pub identifier: u8,
    /// What follows the header.
    pub data: &'a [u8],
}

impl<'a> ControlPacket<'a> {
    /// Reads a packet. What follows its length is padding; none when it is shorter than it says.
    pub fn parse(packet: &'a [u8]) -> Option<Self> {
        let [code, identifier, high, low, ..] = *packet else { return None };
        let data = packet.get(HEADER..usize::from(u16::from_be_bytes([high, low])))?;
        Some(Self { code: Code(code), identifier, data })
    }

    /// The packet's bytes. Data past what a length can say is cut off.
    pub fn to_bytes(self) -> Vec<u8> {
        let len = u16::try_from(HEADER + self.data.len()).unwrap_or(u16::MAX);
        let data = &self.data[..usize::from(len) - HEADER];
        let [high, low] = len.to_be_bytes();
        [&[self.code.0, self.identifier, high, low], data].concat()
    }
}

/// One option of a Configure packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConfigureOption<'a> {
    /// What it is about; each protocol has its own numbers.
    pub kind: u8,
    /// Its value.
    pub value: &'a [u8],
}

impl ConfigureOption<'_> {
    /// Appends the option.
    ///
    /// # Panics
    /// When the value is longer than 253 bytes, which none is that came in an option.
    pub fn write(self, list: &mut Vec<u8>) {
        let len = u8::try_from(2 + self.value.len()).expect("an option is at most 255 bytes long");
        list.extend([self.kind, len]);
        list.extend(self.value);
    }
}

/// The options of a Configure packet's data, in their order; none when the list is not well formed.
pub fn options(mut list: &[u8]) -> Option<Vec<ConfigureOption<'_>>> {
    let mut options = Vec::new();
    while !list.is_empty() {
        let [kind, len, ..] = *list else { return None };
        let (option, rest) = list.split_at_checked(usize::from(len))?;
        options.push(ConfigureOption { kind, value: option.get(2..)? });
        list = rest;
    }
    Some(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_packet_comes_out_as_it_went_in(code: u8, identifier: u8, data: Vec<u8>, padding: Vec<u8>) {
            let packet = ControlPacket { code: Code(code), identifier, data: &data };
            let bytes = [packet.to_bytes(), padding].concat();
            prop_assert_eq!(ControlPacket::parse(&bytes), Some(packet));
        }

        #[test]
        fn a_list_of_options_is_written_as_it_was_read(list in prop::collection::vec(0..9_u8, 0..60)) {
            if let Some(options) = options(&list) {
                let mut written = Vec::new();
                for option in options {
                    option.write(&mut written);
                }
                prop_assert_eq!(written, list);
            }
        }
    }

    #[test]
    fn a_packet_shorter_than_it_says_is_none() {
        for bytes in [&[][..], &[1, 2, 0], &[1, 2, 0, 3], &[1, 2, 0, 5], &[1, 2, 0xff, 0xff, 0]] {
            assert_eq!(ControlPacket::parse(bytes), None, "{bytes:02x?}");
        }
    }

    #[test]
    fn an_option_ends_within_its_list() {
        for list in [&[1][..], &[1, 0], &[1, 1], &[1, 3], &[7, 2, 1]] {
            assert_eq!(options(list), None, "{list:02x?}");
        }
        assert_eq!(options(&[7, 2]), Some(vec![ConfigureOption { kind: 7, value: &[] }]));
    }
}
